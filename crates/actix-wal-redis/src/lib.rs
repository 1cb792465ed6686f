//! A server that Redis clients accept, made of the actors of [`actix_wal`] and [`actix_wal_txn`]: strings, keys and
//! transactions, each OK of which is durable.
//!
//! | part | what |
//! |---|---|
//! | [`resp`] | requests and replies as bytes |
//! | [`keyspace`] | how keys, values and databases lie in the store of versions |
//! | [`commands`] | what each command does with them, as plain functions |
//! | [`session`] | one client: its database, its password, its transaction |
//! | [`server`] | connections, expiry, start and end |
//! | [`metrics`] | what operators see of it |
//!
//! A request goes this way: `server` reads it, `session` decides whether it is answered here or is a transaction, the
//! [`TransactionCoordinator`](actix_wal_txn::coordinator::TransactionCoordinator) runs it on the newest state and gives the
//! answer back when all that it tells is durable.

pub mod commands;
pub mod keyspace;
pub mod metrics;
pub mod resp;
pub mod server;
pub mod session;
