//! Connections, expiry, start and end.

mod shared;

pub use self::shared::{Server, Settings};
