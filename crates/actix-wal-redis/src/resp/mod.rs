//! Requests and replies as bytes: RESP2, RESP3 and inline commands.

mod error;
mod inline;
mod parser;
mod reply;
mod request;
#[cfg(test)]
mod tests;

pub use self::error::ProtocolError;
pub use self::parser::{Limits, Parser, number};
pub use self::reply::{Protocol, Reply};
pub use self::request::Request;
