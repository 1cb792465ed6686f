//! What is said to a [`TransactionCoordinator`](crate::coordinator::TransactionCoordinator), and what it answers.
//!
//! All are sent by clients. A dropped answer, which `send` reports as a closed mailbox, means that the coordinator is
//! gone: what became of a commit then is [`Unknown`](crate::error::TxnError::Unknown), and a [`Token`] tells later.

use std::fmt;
use std::time::Duration;

use actix::Message;
use actix_wal::{Durability, Lsn};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::error::{SnapshotFailure, TxnError};
use crate::latencies::CoordinatorLatencies;
use crate::latest::Latest;
use crate::store::{Budget, KeyRange, Usage};
use crate::tokens::{Token, TokenOutcome};
use crate::workspace::{Isolation, Rows};

/// The number of an open transaction. The next coordinator gives the same numbers again, to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TxnId(
    /// The number.
    pub u64,
);

/// Begins an interactive transaction on a snapshot of what is durable. It ends with [`Commit`], [`Abort`], or by itself
/// when it grows too old.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Begin {
    /// What it is protected from.
    pub isolation: Isolation,
}

impl Message for Begin {
    type Result = Result<TxnId, TxnError>;
}

/// Asks for the value of a key. Its own writes come first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Get {
    /// The transaction.
    pub txn: TxnId,
    /// The key.
    pub key: Bytes,
    /// Whether a later change of the key is a reason to refuse its commit, if it is serializable.
    pub tracked: bool,
}

impl Message for Get {
    type Result = Result<Option<Bytes>, TxnError>;
}

/// Asks for rows from the beginning of a range, in the order of keys: one piece. Its own writes are among them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scan {
    /// The transaction.
    pub txn: TxnId,
    /// The range; for the next piece, what lies [behind](KeyRange::behind) [`Rows::next`].
    pub range: KeyRange,
    /// How much one piece may look at.
    pub budget: Budget,
    /// Whether a later change in the range is a reason to refuse its commit, if it is serializable.
    pub tracked: bool,
}

impl Message for Scan {
    type Result = Result<Rows, TxnError>;
}

/// Sets a key when the transaction commits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Put {
    /// The transaction.
    pub txn: TxnId,
    /// The key.
    pub key: Bytes,
    /// Its value.
    pub value: Bytes,
}

impl Message for Put {
    type Result = Result<(), TxnError>;
}

/// Deletes a key when the transaction commits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delete {
    /// The transaction.
    pub txn: TxnId,
    /// The key.
    pub key: Bytes,
}

impl Message for Delete {
    type Result = Result<(), TxnError>;
}

/// Commits a transaction. The answer comes when it is durable, unless it is `Async`: then at once, and a crash may still
/// lose it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The transaction.
    pub txn: TxnId,
    /// When the answer comes, and whether the batch is flushed at once.
    pub durability: Durability,
    /// What its client asks for the outcome with, if the answer is lost.
    pub token: Option<Token>,
}

impl Message for Commit {
    type Result = Result<Committed, TxnError>;
}

/// A transaction has committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Its LSN, which is the timestamp of what it wrote. None if it wrote nothing, or is `Async`.
    pub lsn: Option<Lsn>,
}

/// Ends a transaction without effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abort {
    /// The transaction.
    pub txn: TxnId,
}

impl Message for Abort {
    type Result = Result<(), TxnError>;
}

/// What a whole transaction does: it reads and writes the newest versions, alone. An error makes it have no effect.
pub type Work<T> = Box<dyn FnOnce(&mut Latest<'_>) -> Result<T, TxnError> + Send>;

/// Runs a whole transaction on the newest versions, durable or not. It has no conflicts, so that many can change one key
/// between two syncs. The answer, an error of its own included, comes when everything that it has seen and written is
/// durable.
pub struct Execute<T> {
    /// What it does. It must not wait for anything: nobody else is served meanwhile.
    pub work: Work<T>,
    /// When the answer comes; with `Async` at once, though it may tell what a crash can lose.
    pub durability: Durability,
    /// What its client asks for the outcome with, if the answer is lost.
    pub token: Option<Token>,
}

impl<T> Execute<T> {
    /// A transaction that waits until it is durable.
    pub fn new(work: impl FnOnce(&mut Latest<'_>) -> Result<T, TxnError> + Send + 'static) -> Self {
        Execute { work: Box::new(work), durability: Durability::default(), token: None }
    }
}

impl<T> fmt::Debug for Execute<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Execute").field("token", &self.token).finish_non_exhaustive()
    }
}

impl<T: Send + 'static> Message for Execute<T> {
    type Result = Result<Executed<T>, TxnError>;
}

/// A whole transaction as a type of the host's own, for hosts that send [many](ExecuteEach).
pub trait Transaction: Send + 'static {
    /// What it gives its client.
    type Output: Send + 'static;

    /// What it does. It must not wait for anything: nobody else is served meanwhile. It may run again, when the log had no
    /// room for what it wrote.
    ///
    /// # Errors
    /// It has no effect then.
    fn run(&self, latest: &mut Latest<'_>) -> Result<Self::Output, TxnError>;

    /// Once the outputs of one message weigh so much together, the transactions behind them come back in [`Each::left`]: all
    /// outputs of a message are held until its last transaction is settled.
    const AT_ONCE: usize = usize::MAX;

    /// How much an output weighs, in the unit of [`AT_ONCE`](Self::AT_ONCE).
    fn weight(_output: &Self::Output) -> usize {
        0
    }
}

/// Runs whole transactions one after the other, each for itself: one that fails undoes no other. It does what as many
/// [`Execute`] do, for the price of one message and one answer, which comes when all of them are settled.
#[derive(Clone, Debug)]
pub struct ExecuteEach<W> {
    /// The transactions, in their order.
    pub transactions: Vec<W>,
    /// As for [`Execute::durability`], of all of them.
    pub durability: Durability,
}

impl<W: Transaction> Message for ExecuteEach<W> {
    type Result = Each<W>;
}

/// What became of several transactions.
#[derive(Debug)]
pub struct Each<W: Transaction> {
    /// One for each that has run, in their order. If there are fewer of these and of [`left`](Self::left) together than were
    /// sent, then the coordinator is gone, and the outcome of all is unknown.
    pub done: Vec<Result<Executed<W::Output>, TxnError>>,
    /// Those for which the log had no room, or the [message](Transaction::AT_ONCE), and those behind them. They have no
    /// effect: send them again.
    pub left: Vec<W>,
}

impl<W: Transaction> Each<W> {
    pub(crate) fn gone() -> Self {
        Each { done: Vec::new(), left: Vec::new() }
    }
}

/// A whole transaction has run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Executed<T> {
    /// What it gave.
    pub value: T,
    /// As for [`Committed::lsn`].
    pub lsn: Option<Lsn>,
}

/// Asks what became of the commit with this token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GetOutcome(
    /// The token.
    pub Token,
);

impl Message for GetOutcome {
    type Result = TokenOutcome;
}

/// Asks what the coordinator holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GetUsage;

impl Message for GetUsage {
    type Result = CoordinatorUsage;
}

/// What a coordinator holds now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CoordinatorUsage {
    /// Its store.
    pub store: Usage,
    /// Interactive transactions that have begun and not ended.
    pub open: usize,
    /// Commits that the log has not settled.
    pub on_the_way: usize,
    /// Ranges that are watched for serializable transactions.
    pub watched: usize,
    /// How many commits were answered before they were durable, and are not: `Async` ones, and those of which it was not
    /// known.
    pub lost: u64,
}

/// Asks what became of the transactions of clients, and how old what is open is. Sent by the host, for its metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GetCounts;

impl Message for GetCounts {
    type Result = CoordinatorCounts;
}

/// What a coordinator has counted since it started, and what is open now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CoordinatorCounts {
    /// The transactions of clients, by what became of them. Branches of two-phase commit do not count.
    pub outcomes: Outcomes,
    /// Answers that were kept back until what they tell was durable; those of transactions that have only read, or failed.
    pub kept_back: u64,
    /// How long the oldest snapshot has been open; zero if there is none.
    pub oldest_snapshot: Duration,
    /// Transactions that are prepared and not decided.
    pub prepared: usize,
    /// How long ago the oldest of those was prepared; zero if there is none.
    pub oldest_prepared: Duration,
    /// Transactions that an operator decided otherwise than their coordinator, until an operator has taken notice.
    pub mismatches: usize,
}

/// How many transactions ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcomes {
    /// They wrote, and that is durable.
    pub committed: u64,
    /// They have only read. One of them that was kept back and saw a commit that failed is in `saw_failed` instead.
    pub read_only: u64,
    /// Another transaction was first.
    pub conflict: u64,
    /// Their own work failed, or did too much.
    pub aborted: u64,
    /// The log or the store did not take their commit, or the token was used.
    pub refused: u64,
    /// Their commit is certainly not durable.
    pub not_durable: u64,
    /// They have seen a commit that failed.
    pub saw_failed: u64,
    /// It was not known whether their commit is durable when they were answered.
    pub unknown: u64,
}

/// Asks for a snapshot of what is durable now. Commits go on while it is written. The answer comes when it is durable,
/// and the log is released up to the snapshot before it. One at a time. A dropped answer means that the coordinator is
/// gone, and the snapshot there whole or not at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TakeSnapshot;

impl Message for TakeSnapshot {
    type Result = Result<SnapshotTaken, SnapshotFailure>;
}

/// A snapshot is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotTaken {
    /// It shows the commits up to this LSN, and none later.
    pub lsn: Lsn,
    /// How many keys it has.
    pub rows: u64,
    /// The size of its file.
    pub bytes: u64,
    /// How long it took to write; zero if the one before shows all that is durable, so that nothing was written.
    pub took: Duration,
    /// Up to where the log has been released for it; `None` if nothing was, since nothing stands behind a first one.
    pub released: Option<Lsn>,
}

/// Asks how it is with the snapshots. Answered with `None` where there is no folder for them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GetSnapshots;

impl Message for GetSnapshots {
    type Result = Option<SnapshotsStatus>;
}

/// How it is with the snapshots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SnapshotsStatus {
    /// The newest good one.
    pub newest: Option<Lsn>,
    /// The one before it, up to which the log may be released.
    pub older: Option<Lsn>,
    /// One that is being written.
    pub running: Option<Lsn>,
    /// How much the log has grown since the newest one, in bytes of commits.
    pub log_bytes: u64,
    /// How many this coordinator has written.
    pub taken: u64,
    /// How many failed.
    pub failed: u64,
    /// Why the last of those did.
    pub last_failure: Option<String>,
}

/// Asks how long commits take. The answer counts from the start of the coordinator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GetLatencies;

impl Message for GetLatencies {
    type Result = CoordinatorLatencies;
}
