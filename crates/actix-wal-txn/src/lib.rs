//! Transactions on [`actix_wal`]: parts for servers that other people write.
//!
//! | part | what |
//! |---|---|
//! | [`store`] | versions of keys in memory, without actors: the newest state, and snapshots of what is durable |

pub mod store;
