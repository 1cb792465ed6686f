//! A server without a network: a real coordinator on a real log, and clients that talk to it in lines.

use std::cell::Cell;
use std::net::SocketAddr;

use actix_wal::{Wal, WalConfig};
use actix_wal_txn::coordinator::{CoordinatorLimits, TransactionCoordinator};
use actix_wal_txn::error::TxnError;
use actix_wal_txn::messages::{Execute, ExecuteEach, Executed};
use actix_wal_txn::recovery;
use actix_wal_txn::store::Limits as StoreLimits;
use bytes::BytesMut;

use crate::resp::{Parser, Request};
use crate::server::{Server, Settings};
use crate::session::{Outcome, Session, Step, Transaction};

pub(super) struct World {
    pub(super) server: Server,
    /// The time at which transactions run, in milliseconds since 1970; `None` for that of the system.
    pub(super) now: Cell<Option<u64>>,
    clients: u16,
    /// Removed when the log is closed.
    _folder: tempfile::TempDir,
}

impl World {
    pub(super) async fn begin() -> Self {
        World::with(|_| {}).await
    }

    pub(super) async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = Settings::in_directory(folder.path());
        change(&mut settings);
        let opening = Wal::open(WalConfig::new(folder.path().join("log")));
        let (wal, mut recovered) = recovery::open(opening, StoreLimits::default()).await.unwrap();
        recovered.store.count_by_first(4);
        let limits = CoordinatorLimits::default();
        let coordinator = TransactionCoordinator::start(&wal, recovered, limits).await.unwrap();
        let server = Server::new(coordinator, wal, settings);
        World { server, now: Cell::new(None), clients: 0, _folder: folder }
    }

    pub(super) fn client(&mut self) -> Talk {
        self.clients += 1;
        let address = SocketAddr::from(([127, 0, 0, 1], self.clients));
        let local = SocketAddr::from(([127, 0, 0, 1], 7379));
        Talk { session: Session::begin(&self.server, address, local).unwrap() }
    }

    pub(super) async fn end(self) {
        self.server.wal.close().await.unwrap();
    }

    pub(super) async fn run(&self, transaction: Transaction) -> Outcome {
        let durability = self.server.settings.borrow().durability;
        if let Some(now) = self.now.get() {
            let mut execute = Execute::new(move |latest| transaction.run_at(latest, now));
            execute.durability = durability;
            return self.server.coordinator.send(execute).await.unwrap().map(|done| done.value);
        }
        let each = ExecuteEach { transactions: vec![transaction], durability };
        let mut done = self.server.coordinator.send(each).await.unwrap();
        let first = done.done.pop();
        first.map_or_else(
            || Err(TxnError::aborted("no room")),
            |done| done.map(|Executed { value, .. }| value),
        )
    }
}

/// A client.
pub(super) struct Talk {
    pub(super) session: Session,
}

/// A line as one writes it by hand, as a request. `None`: it is none.
pub(super) fn request(line: &str) -> Request {
    let limits = crate::resp::Limits {
        arguments: 1 << 20,
        bulk: 1 << 29,
        request: 1 << 30,
        is_stranger: false,
    };
    let mut buffer = BytesMut::from(line);
    buffer.extend_from_slice(b"\r\n");
    Parser::default().next(&mut buffer, &limits).unwrap().unwrap()
}

impl Talk {
    /// What the client would read, on one line; `<end>` if it is disconnected then.
    pub(super) async fn ask(&mut self, world: &World, line: &str) -> String {
        let (server, session) = (&world.server, &mut self.session);
        let step = session.take(request(line), server);
        let reply = match step {
            Step::Reply(reply) => Some(reply),
            Step::Nothing => None,
            Step::Close(reply) => reply,
            Step::Transaction(transaction) => {
                let form = session.form();
                form.answer(world.run(transaction).await)
            }
            Step::Alone(transaction) => {
                let done = world.run(transaction).await;
                session.settle(done, server).await
            }
            Step::Ask(ask) => session.ask(ask, server).await,
        };
        let mut bytes = BytesMut::new();
        reply.into_iter().for_each(|reply| reply.write(&mut bytes, session.protocol()));
        let end = if session.is_closing() { "<end>" } else { "" };
        format!("{}{end}", shown(&bytes))
    }

    /// Each line, and what it is answered with.
    pub(super) async fn talk(&mut self, world: &World, lines: &[(&str, &str)]) {
        for (line, expected) in lines {
            assert_eq!(self.ask(world, line).await, *expected, "answer to {line}");
        }
    }
}

/// The bytes of an answer, on one line.
pub(super) fn shown(answer: &[u8]) -> String {
    let text = answer.escape_ascii().to_string().replace("\\r\\n", " ");
    text.replace("\\'", "'").replace("\\\"", "\"").trim_end().to_owned()
}
