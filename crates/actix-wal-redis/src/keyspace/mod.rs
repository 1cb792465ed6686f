//! How keys, values and databases lie in the store of versions.
//!
//! | key in the store | value |
//! |---|---|
//! | `DIRECTORY` | which keyspace each database shows, and which ones are to be emptied |
//! | `DUE`, time, keyspace, key | nothing: the key expires at that time |
//! | keyspace, key | a [`Value`]: the bytes, and when they expire |
//!
//! Each begins with a number of four bytes, by which the store counts its keys. A keyspace is what a database shows until it
//! is flushed: then it shows a new one, in one small record, and the old one is emptied in pieces. `SWAPDB` exchanges two
//! numbers.

mod cursors;
mod database;
mod directory;
mod host;
mod upkeep;
mod value;
mod watch;

pub(crate) use self::database::PREFIX;
pub use self::database::{Database, Fault, Found};
pub use self::directory::{DATABASES, Directory, KeyspaceId};
pub use self::host::Host;
pub use self::upkeep::{empty_flushed, expire_due};
pub use self::value::{Encoding, Value};
pub use self::watch::Watch;
