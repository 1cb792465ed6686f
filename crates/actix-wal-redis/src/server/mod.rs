//! Connections, expiry, start and end.

mod clients;
mod counters;
mod shared;

pub use self::clients::{Client, Clients, Registered};
pub use self::counters::{Counter, Counters};
pub use self::shared::{Server, Settings};
