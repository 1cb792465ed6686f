//! Requests and replies as bytes: RESP2, RESP3 and inline commands.

mod reply;
mod request;

pub use self::reply::{Protocol, Reply};
pub use self::request::{Limits, Parser, ProtocolError, Request, number};
