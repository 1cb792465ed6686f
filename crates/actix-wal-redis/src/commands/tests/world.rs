//! A store, a clock that the test sets, and what a session does around a command.

use actix_wal::Lsn;
use actix_wal_txn::commits::Commits;
use actix_wal_txn::error::TxnError;
use actix_wal_txn::latest::Latest;
use actix_wal_txn::store::{Limits as StoreLimits, Store, Write};
use actix_wal_txn::workspace::WorkLimits;
use bytes::BytesMut;

use crate::keyspace::{Database, Fault, Host};
use crate::resp::{Limits, Parser, Protocol, Reply, Request};

pub(super) struct World {
    commits: Commits<()>,
    pub(super) host: Host,
    pub(super) now: u64,
    database: usize,
    next: Lsn,
    /// What the last command has written.
    pub(super) written: Vec<Write>,
}

impl Default for World {
    fn default() -> Self {
        let mut store = Store::new(StoreLimits::default());
        store.count_by_first(4);
        World {
            commits: Commits::new(store),
            host: Host::default(),
            now: 1_700_000_000_000,
            database: 0,
            next: Lsn::FIRST,
            written: Vec::new(),
        }
    }
}

/// A value of the longest length has to fit, beside its key.
const LIMITS: WorkLimits = WorkLimits { keys: 100_000, bytes: 64 << 20, reads: 1_000_000 };

/// A line as one writes it by hand, as a request.
pub(super) fn request(line: &str) -> Request {
    let limits = Limits { arguments: 1 << 20, bulk: 1 << 29, request: 1 << 30, is_stranger: false };
    let mut buffer = BytesMut::from(line);
    buffer.extend_from_slice(b"\r\n");
    Parser::default().next(&mut buffer, &limits).unwrap().unwrap()
}

/// The bytes of an answer on one line.
pub(super) fn shown(answer: &[u8]) -> String {
    let text = answer.escape_ascii().to_string().replace("\\r\\n", " ");
    text.replace("\\'", "'").trim_end().to_owned()
}

impl World {
    /// Does what the line says, and gives what a client would read.
    pub(super) fn ask(&mut self, line: &str) -> String {
        self.ask_as(&request(line))
    }

    pub(super) fn ask_as(&mut self, request: &Request) -> String {
        let reply = self.run(request).unwrap();
        let mut bytes = BytesMut::new();
        reply.write(&mut bytes, Protocol::Resp2);
        shown(&bytes)
    }

    /// What a session does.
    pub(super) fn run(&mut self, request: &Request) -> Result<Reply, TxnError> {
        let name = request.part(0).to_ascii_lowercase();
        if name == b"select" {
            let index = String::from_utf8_lossy(request.part(1)).parse();
            self.database = index.unwrap();
            return Ok(Reply::OK);
        }
        let command = super::super::find(&name).unwrap_or_else(|| panic!("{request:?}"));
        let (parts, arity) = (request.len() as i32, command.arity);
        if (arity >= 0 && parts != arity) || parts < -arity {
            let name = command.name;
            return Ok(Reply::err(format!("wrong number of arguments for '{name}' command")));
        }
        let run = command.run.unwrap();
        self.on(|db| run(db, request))
    }

    /// A transaction of one command.
    pub(super) fn on(
        &mut self,
        work: impl FnOnce(&mut Database<'_, '_>) -> Result<Reply, Fault>,
    ) -> Result<Reply, TxnError> {
        let World { commits, host, now, database, .. } = self;
        let ran = commits.run(LIMITS, |latest| {
            let done = Database::select(latest, host, *database, *now)
                .and_then(|mut database| work(&mut database));
            match done {
                Ok(reply) | Err(Fault::Error(reply)) => Ok(reply),
                Err(Fault::Txn(error)) => Err(error),
            }
        });
        self.commit(&ran.writes);
        ran.result
    }

    /// A transaction of the server.
    pub(super) fn upkeep<T>(
        &mut self,
        work: impl FnOnce(&mut Latest<'_>, &Host, u64) -> Result<T, TxnError>,
    ) -> T {
        let (host, now) = (&self.host, self.now);
        let ran = self.commits.run(LIMITS, |latest| work(latest, host, now));
        self.commit(&ran.writes);
        ran.result.unwrap()
    }

    fn commit(&mut self, writes: &[Write]) {
        self.written = writes.to_vec();
        if !writes.is_empty() {
            let number = self.commits.put(writes.to_vec(), ()).unwrap();
            self.commits.settled(number, Ok(self.next));
            self.next = Lsn::new(self.next.get() + 1);
        }
    }

    /// Frees what no snapshot shows.
    pub(super) fn collect(&mut self) {
        while self.commits.store_mut().collect(std::time::Duration::ZERO, 1000) {}
    }

    /// How many keys the store has, its own ones included.
    pub(super) fn stored(&mut self) -> usize {
        self.collect();
        self.commits.store_mut().usage().keys
    }
}
