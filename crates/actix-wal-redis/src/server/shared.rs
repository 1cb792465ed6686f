//! What all connections share, on one thread.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::Addr;
use actix_wal::{Durability, Wal};
use actix_wal_txn::coordinator::TransactionCoordinator;
use tokio_util::sync::CancellationToken;

use super::{Clients, Counters, ServerError};
use crate::keyspace::Host;
use crate::session;

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
    /// How many bytes of a request, or of the commands that wait for an `EXEC`, a client may make the server hold.
    pub max_query: usize,
    /// After how many seconds a client that sends nothing is disconnected; 0 is never.
    pub timeout: u32,
    /// After how many seconds of silence the operating system asks whether a client is there; 0 is never. For new clients.
    pub keepalive: u32,
}

impl Settings {
    /// The usual ones, for data in this directory.
    pub fn in_directory(directory: impl Into<PathBuf>) -> Self {
        Settings {
            address: SocketAddr::from(([127, 0, 0, 1], 7379)),
            directory: directory.into(),
            durability: Durability::default(),
            max_clients: 10_000,
            max_memory: 0,
            password: String::new(),
            max_value: Host::MAX_VALUE,
            max_query: 64 << 20,
            timeout: 0,
            keepalive: 300,
        }
    }

    /// A size as Redis writes it: `100`, `1k` (1000), `1kb` (1024), `2mb`, `4gb`.
    ///
    /// # Errors
    /// It is none.
    pub fn parse_memory(text: &str) -> Result<usize, String> {
        // Redis takes nothing at all as 0; on a command line that is a mistake.
        let bytes = session::memory(text).filter(|_| !text.is_empty());
        let bytes = bytes.and_then(|bytes| usize::try_from(bytes).ok());
        bytes.ok_or_else(|| format!("{text} is no size: write 100mb, or 4gb"))
    }

    /// # Errors
    /// They do not fit together.
    pub(super) fn check(&self) -> Result<(), ServerError> {
        if self.address.ip().is_loopback() || !self.password.is_empty() {
            return Ok(());
        }
        Err(ServerError::Settings(format!(
            "{} can be reached from other machines, and there is no password: set one with --requirepass or \
             ACTIX_WAL_REDIS_PASSWORD, or listen on 127.0.0.1",
            self.address.ip()
        )))
    }
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
    /// Who is connected.
    pub clients: Clients,
    /// What is counted.
    pub counters: Counters,
    /// What is read goes through here, so that no silent connection has a buffer of its own.
    pub(super) scratch: RefCell<Box<[u8]>>,
}

/// So much is read at once.
const READ: usize = 64 << 10;

impl Server {
    /// Disconnects clients that wait for nothing and have sent nothing for longer than is allowed.
    pub(super) fn disconnect_silent_clients(&self) {
        let timeout = Duration::from_secs(self.settings.borrow().timeout.into());
        if timeout.is_zero() {
            return;
        }
        for client in self.clients.all() {
            if !client.is_served.get() && client.active.get().elapsed() > timeout {
                client.killed.cancel();
            }
        }
    }

    /// One that nobody is connected to yet.
    pub fn new(coordinator: Addr<TransactionCoordinator>, wal: Wal, settings: Settings) -> Self {
        let host = Host::default();
        host.apply(settings.max_value, settings.max_memory);
        Server {
            coordinator,
            wal,
            settings: RefCell::new(settings),
            host: Arc::new(host),
            stop: CancellationToken::new(),
            started: Instant::now(),
            clients: Clients::default(),
            counters: Counters::default(),
            scratch: RefCell::new(vec![0; READ].into_boxed_slice()),
        }
    }
}
