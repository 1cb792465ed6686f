//! What all connections share, on one thread.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use actix::Addr;
use actix_wal::{Durability, Wal};
use actix_wal_txn::coordinator::TransactionCoordinator;
use tokio_util::sync::CancellationToken;

use crate::keyspace::Host;

/// The settings, some of which `CONFIG SET` changes.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the server listens.
    pub address: SocketAddr,
    /// The directory of log and snapshots.
    pub directory: PathBuf,
    /// When an answer is given.
    pub durability: Durability,
    /// How many clients may be connected.
    pub max_clients: usize,
    /// How many bytes keys and values may take; 0 is no limit.
    pub max_memory: usize,
    /// What clients have to send first; empty for no password.
    pub password: String,
    /// How long a value may be, in bytes.
    pub max_value: usize,
    /// How many commands one request of a pipeline, or one transaction, may have, and so on: see `CONFIG GET`.
    pub timeout: u64,
}

/// What all connections share. They run on one thread.
#[derive(Debug)]
pub struct Server {
    /// Runs the transactions.
    pub coordinator: Addr<TransactionCoordinator>,
    /// The log.
    pub wal: Wal,
    /// The settings.
    pub settings: RefCell<Settings>,
    /// What commands know beside the data.
    pub host: Arc<Host>,
    /// Cancelled when the server is to end.
    pub stop: CancellationToken,
    /// When it began.
    pub started: Instant,
    /// The number of the next client.
    pub next_client: Cell<u64>,
}
