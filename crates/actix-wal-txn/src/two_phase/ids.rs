//! The names of two-phase commit: of transactions over several logs, and of the lives of participants.

use std::fmt;

use actix_wal::LogId;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// The id of a transaction over several logs. The coordinator gives it out, and no coordinator gives it out again: each
/// start of a log begins a higher epoch, and the numbers of one life rise. The order of the ids of one log is the order in
/// which they were given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct GlobalId {
    /// The log of the coordinator: it alone knows the decision.
    pub log: LogId,
    /// The epoch in which the life of that coordinator began.
    pub epoch: u64,
    /// Its number in that life.
    pub number: u64,
}

impl fmt::Display for GlobalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.log, self.epoch, self.number)
    }
}

/// One life of a participant: from one open of its log to the next. Work is bound to the life in which it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Life {
    /// Its log.
    pub log: LogId,
    /// The epoch in which the life began.
    pub epoch: u64,
}

/// Where messages to a coordinator or a participant go. Only the host's transport understands the bytes. They are written
/// into the log, so they must mean the same after a restart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Address(
    /// The host's name of it.
    pub Bytes,
);

impl Address {
    /// The most bytes that one may have.
    pub const MAX: usize = 256;
}

impl From<&'static str> for Address {
    fn from(name: &'static str) -> Self {
        Address(name.into())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

/// The part of a transaction that one participant does, and where its two ends are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Branch {
    /// The transaction.
    pub id: GlobalId,
    /// Where its coordinator is.
    pub coordinator: Address,
    /// Where the coordinator reaches this participant.
    pub participant: Address,
}

/// What became of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// It has committed.
    Committed,
    /// It has no effect.
    Aborted,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Outcome::Committed => "committed",
            Outcome::Aborted => "aborted",
        })
    }
}
