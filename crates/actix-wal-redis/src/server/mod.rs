//! Connections, expiry, start and end.
//!
//! Everything runs on one thread, as the commands of Redis do; the log has a thread of its own for the disk.

mod clients;
mod connection;
mod counters;
mod expiry;
mod recovered;
mod replies;
mod shared;
mod system;

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actix::Actor;
use actix_wal::error::{CloseError, ConfigError};
use actix_wal::{Cause, Lsn};
use actix_wal_txn::error::RecoverError;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::TaskTracker;

pub use self::clients::{Client, Clients, Registered};
use self::connection::Connection;
pub use self::counters::{Counter, Counters};
use self::expiry::Expiry;
pub use self::recovered::Recovered;
pub use self::shared::{Server, Settings};
use crate::metrics::{Endpoint, Publisher, Readiness};
use crate::session::Session;

/// Why a server does not start, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The settings do not fit together.
    #[error("{0}")]
    Settings(String),
    /// The directory can not be made or used.
    #[error("directory {directory}: {source}")]
    Directory {
        /// The directory.
        directory: String,
        /// Why.
        source: io::Error,
    },
    /// The log does not open, or is not of this server.
    #[error("the log can not be recovered: {0}")]
    Recover(#[from] RecoverError),
    /// The settings of the log are wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The log has ended before it was used.
    #[error("the log has ended: {0}")]
    Ended(Cause),
    /// The port is taken, or may not be used.
    #[error("can not listen on {address}: {source}")]
    Listen {
        /// Where.
        address: std::net::SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The log was not closed cleanly: the next start recovers it.
    #[error("the log was not closed cleanly: {0}")]
    Close(#[from] CloseError),
}

/// How long clients have to take their last answers when the server ends.
const LAST_ANSWERS: Duration = Duration::from_secs(5);

/// How often it looks for clients that are silent for too long.
const LOOK: Duration = Duration::from_secs(1);

/// A server that has recovered its log and listens.
#[derive(Debug)]
pub struct Listening {
    server: Rc<Server>,
    listener: TcpListener,
    recovered: Recovered,
    readiness: Readiness,
    /// Gives metrics to the recorder, if an endpoint shows them.
    publisher: Option<Publisher>,
}

impl Listening {
    /// Recovers the log and listens. It is to be called in an actix System. `readiness` follows what the server does,
    /// for an [`Endpoint`]; [`Readiness::default`] shows it to none.
    ///
    /// # Errors
    /// See [`ServerError`].
    pub async fn start(mut settings: Settings, readiness: Readiness) -> Result<Self, ServerError> {
        settings.check()?;
        let others = if readiness.is_watched() { Endpoint::DESCRIPTORS } else { 0 };
        let clients = system::make_room_for(settings.max_clients, others);
        if clients < settings.max_clients {
            let wanted = settings.max_clients;
            tracing::warn!(
                "there are descriptors for {clients} clients, not for {wanted}: see ulimit -n"
            );
            settings.max_clients = clients;
        }
        let address = settings.address;
        let (wal, coordinator, recovered) = recovered::open(&settings).await?;
        let listener = match TcpListener::bind(address).await {
            Ok(listener) => listener,
            Err(source) => {
                wal.close().await?;
                return Err(ServerError::Listen { address, source });
            }
        };
        let server = Rc::new(Server::new(coordinator, wal, settings));
        Expiry::new(server.coordinator.clone(), Arc::clone(&server.host)).start();
        let publisher = readiness.is_watched().then(|| Publisher::start(&server));
        readiness.serves(&server.wal);
        Ok(Listening { server, listener, recovered, readiness, publisher })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The system does not say.
    pub fn address(&self) -> io::Result<std::net::SocketAddr> {
        self.listener.local_addr()
    }

    /// What recovery has found.
    pub fn recovered(&self) -> &Recovered {
        &self.recovered
    }

    /// What ends the server when it is called: no further request is read, and those that were are answered.
    pub fn stopper(&self) -> impl Fn() + 'static {
        let stop = self.server.stop.clone();
        move || stop.cancel()
    }

    /// Serves clients until it is stopped, and closes the log. Returns the last LSN that is durable.
    ///
    /// # Errors
    /// The log could not be closed cleanly.
    pub async fn serve(self) -> Result<Lsn, ServerError> {
        let Listening { server, listener, readiness, publisher, .. } = self;
        let clients = TaskTracker::new();
        let mut looks = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                biased;
                () = server.stop.cancelled() => break,
                _ = looks.tick() => server.disconnect_silent_clients(),
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => accept(stream, &server, &clients),
                    Err(error) => {
                        // Mostly the process is short of descriptors, and that passes.
                        tracing::warn!(%error, "a client could not be accepted");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                },
            }
        }
        readiness.drains(&server.wal);
        drop(listener);
        clients.close();
        if tokio::time::timeout(LAST_ANSWERS, clients.wait()).await.is_err() {
            tracing::warn!(clients = clients.len(), "clients did not take their last answers");
        }
        let closed = server.wal.close().await;
        drop(publisher);
        let durable = server.wal.durable_lsn();
        closed?;
        Ok(durable)
    }
}

/// Begins with a client, or tells it that there are too many.
fn accept(stream: TcpStream, server: &Rc<Server>, clients: &TaskTracker) {
    // Answers are written whole, and the next one may be long in coming. A client that is gone already shows soon.
    let _ = stream.set_nodelay(true);
    let _ = system::keep_alive(&stream, server.settings.borrow().keepalive);
    let addresses = stream.peer_addr().and_then(|peer| Ok((peer, stream.local_addr()?)));
    // It has gone away already.
    let Ok((address, local)) = addresses else { return };
    match Session::begin(server, address, local) {
        Ok(session) => {
            let connection = Connection::new(stream, Rc::clone(server), session);
            actix::spawn(clients.track_future(connection.serve()));
        }
        Err(refusal) => {
            actix::spawn(refuse(stream, refusal));
        }
    }
}

async fn refuse(mut stream: TcpStream, refusal: crate::resp::Reply) {
    let mut bytes = bytes::BytesMut::new();
    refusal.write(&mut bytes, Default::default());
    // It is hung up on in any case.
    let _ = tokio::time::timeout(LAST_ANSWERS, stream.write_all(&bytes)).await;
}
