//! Transactions on [`actix_wal`]: parts for servers that other people write.
//!
//! | part | what |
//! |---|---|
//! | [`store`] | versions of keys in memory, without actors: the newest state, and snapshots of what is durable |
//! | [`snapshot_file`] | the state at an LSN in a file, so that the log before it can be released |
//! | [`workspace`] | one interactive transaction: what it has read and written, and whether it may commit |
//! | [`latest`] | a transaction that is sent whole, on the newest versions |
//! | [`commits`] | commits on their way into the log, and the answers that wait for them |
//! | [`record`] | what a transaction writes into the log |
//! | [`tokens`] | what became of a commit whose answer was lost |
//! | [`watches`] | the ranges that serializable transactions have read |

pub mod commits;
pub mod latest;
pub mod record;
pub mod snapshot_file;
pub mod store;
pub mod tokens;
pub mod watches;
pub mod workspace;
mod writes;
