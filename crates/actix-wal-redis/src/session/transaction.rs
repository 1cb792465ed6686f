//! What runs in the coordinator for one client.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use actix_wal_txn::error::TxnError;
use actix_wal_txn::latest::Latest;
use actix_wal_txn::messages;
use actix_wal_txn::store::StoreError;

use crate::commands::{Command, Run};
use crate::keyspace::{Database, Fault, Host, Watch};
use crate::resp::{Reply, Request};

/// A command on a database.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) command: &'static Command,
    pub(super) run: Run,
    pub(super) database: usize,
    pub(super) request: Request,
}

impl Call {
    /// Whether it may make the data larger: then it is refused past the limit on memory, as in Redis.
    fn may_grow(&self) -> bool {
        self.command.flags.split(' ').any(|flag| flag == "denyoom")
    }
}

/// One transaction: it is one record of the log, or none.
#[derive(Clone, Debug)]
pub struct Transaction {
    host: Arc<Host>,
    work: Work,
}

#[derive(Clone, Debug)]
enum Work {
    One(Call),
    Exec { calls: Vec<Call>, watched: Vec<Arc<Watch>> },
    Watch { database: usize, keys: Request },
}

/// What has become of a transaction.
pub type Outcome = Result<Output, TxnError>;

/// What a transaction gives.
#[derive(Clone, Debug)]
pub enum Output {
    /// The reply of its only command.
    Reply(Reply),
    /// The replies of the commands of an `EXEC`, in their order.
    Replies(Vec<Reply>),
    /// No command of the `EXEC` has run: a watched key has changed.
    NotExecuted,
    /// The keys are watched.
    Watching(Vec<Arc<Watch>>),
}

impl Transaction {
    pub(super) fn one(host: &Arc<Host>, call: Call) -> Self {
        Transaction { host: Arc::clone(host), work: Work::One(call) }
    }

    pub(super) fn exec(host: &Arc<Host>, calls: Vec<Call>, watched: Vec<Arc<Watch>>) -> Self {
        Transaction { host: Arc::clone(host), work: Work::Exec { calls, watched } }
    }

    /// The keys are those behind the name of the command.
    pub(super) fn watch(host: &Arc<Host>, database: usize, keys: Request) -> Self {
        Transaction { host: Arc::clone(host), work: Work::Watch { database, keys } }
    }

    /// The same at a time, in milliseconds since 1970.
    pub(super) fn run_at(&self, latest: &mut Latest<'_>, now: u64) -> Result<Output, TxnError> {
        self.check_memory(latest)?;
        let done = match &self.work {
            Work::One(call) => self.call(latest, call, now).map(Output::Reply),
            Work::Exec { calls, watched } => self.exec_at(latest, calls, watched, now),
            Work::Watch { database, keys } => self.watch_at(latest, *database, keys, now),
        };
        done.or_else(|fault| match fault {
            Fault::Error(reply) => Ok(Output::Reply(reply)),
            Fault::Txn(error) => Err(error),
        })
    }

    /// Whether there is memory for what may make the data larger. The limit is Redis's: one command may go past it, and the next
    /// one is refused.
    fn check_memory(&self, latest: &Latest<'_>) -> Result<(), StoreError> {
        let (held, limit) = (latest.held(), self.host.max_memory());
        if held <= limit {
            return Ok(());
        }
        let may_grow = match &self.work {
            Work::One(call) => call.may_grow(),
            Work::Exec { calls, .. } => calls.iter().any(Call::may_grow),
            Work::Watch { .. } => false,
        };
        if may_grow {
            return Err(StoreError::Overloaded { held, needed: 0, limit, pinned: 0 });
        }
        Ok(())
    }

    /// An error of a command is its reply.
    fn call(&self, latest: &mut Latest<'_>, call: &Call, now: u64) -> Result<Reply, Fault> {
        let mut database = Database::select(latest, &self.host, call.database, now)?;
        (call.run)(&mut database, &call.request).or_else(|fault| match fault {
            Fault::Error(reply) => Ok(reply),
            fault @ Fault::Txn(_) => Err(fault),
        })
    }

    fn exec_at(
        &self,
        latest: &mut Latest<'_>,
        calls: &[Call],
        watched: &[Arc<Watch>],
        now: u64,
    ) -> Result<Output, Fault> {
        if !watched.is_empty() {
            let mut database = Database::select(latest, &self.host, 0, now)?;
            for watch in watched {
                if database.is_changed(watch)? {
                    return Ok(Output::NotExecuted);
                }
            }
        }
        let replies = calls.iter().map(|call| self.call(latest, call, now));
        replies.collect::<Result<_, _>>().map(Output::Replies)
    }

    fn watch_at(
        &self,
        latest: &mut Latest<'_>,
        database: usize,
        keys: &Request,
        now: u64,
    ) -> Result<Output, Fault> {
        let mut database = Database::select(latest, &self.host, database, now)?;
        let watched = keys.parts_from(1).map(|key| database.watch(key));
        watched.collect::<Result<_, _>>().map(Output::Watching)
    }
}

/// After so many bytes of answers the commands behind them wait until those are written. The answers of one batch may be a
/// thousand lists of all keys.
const AT_ONCE: usize = 4 << 20;

impl messages::Transaction for Transaction {
    type Output = Output;

    const AT_ONCE: usize = AT_ONCE;

    fn weight(output: &Output) -> usize {
        match output {
            Output::Reply(reply) => reply.weight(),
            Output::Replies(replies) => replies.iter().map(Reply::weight).sum(),
            Output::NotExecuted | Output::Watching(_) => 0,
        }
    }

    fn run(&self, latest: &mut Latest<'_>) -> Result<Output, TxnError> {
        self.run_at(latest, now())
    }
}

/// The time, in milliseconds since 1970.
pub(crate) fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| u64::try_from(now.as_millis()).unwrap_or(u64::MAX))
}
