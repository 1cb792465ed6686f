//! What a coordinator and its participants say to each other.
//!
//! All of it may be lost, doubled, late or out of order. The host carries it to the [`Address`] that it is for, in whatever
//! form it likes: these are serde values. Nothing is answered by the transport itself, since each answer is a message
//! of its own; what gets no answer is sent again.

use actix::Message;
use actix_wal::LogId;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::ids::{Address, Branch, Life, Outcome};
use crate::messages::TxnId;
use crate::store::Write;

/// What a participant is to commit, and the life of the participant in which it began. In another life it is refused: so
/// nothing that is late by a restart is ever done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Work {
    /// The life of the participant. Its answer to `GetLife`.
    pub life: Life,
    /// What to do.
    pub kind: WorkKind,
}

/// What a participant is to commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WorkKind {
    /// What an open transaction of that participant has read and written.
    Open(TxnId),
    /// These, on the newest versions, at the moment at which it prepares.
    Whole(Vec<Operation>),
}

/// A step of work that is sent whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operation {
    /// Sets a key, or deletes it.
    Write(Write),
    /// Refuses unless the key has this value, and keeps that so until the transaction is decided.
    Expect {
        /// The key.
        key: Bytes,
        /// The value that it must have; `None`: none.
        value: Option<Bytes>,
    },
}

/// A message to a participant. Sent by the coordinator of the transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToParticipant {
    /// The log of the coordinator that sends this. Only the coordinator of the transaction can decide it.
    pub from: LogId,
    /// What it is about.
    pub branch: Branch,
    /// What to do.
    pub order: Order,
}

impl Message for ToParticipant {
    type Result = ();
}

/// What a participant is to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// Prepare, and answer with a [`Word`].
    Prepare(Work),
    /// Commit what is prepared, and acknowledge that when it is durable.
    Commit,
    /// Abort. It is not answered.
    Abort,
    /// Commit in one phase: there is no other participant.
    CommitAlone(Work),
    /// Say what became of that; if it has not come, it must not be done any more.
    EndAlone,
}

/// A message to a coordinator. Sent by a participant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToCoordinator {
    /// The log of the participant that sends this.
    pub from: LogId,
    /// What it is about.
    pub branch: Branch,
    /// What it says.
    pub word: Word,
}

impl Message for ToCoordinator {
    type Result = ();
}

/// What a participant says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Word {
    /// Its vote: the transaction is prepared, durably, and it will do what is decided.
    Prepared,
    /// Its vote: it has nothing to write or to keep, and leaves. It need not know what is decided.
    ReadOnly,
    /// Its vote: it can not commit, and has forgotten the transaction.
    Refused(Refusal),
    /// The commit is durable here.
    Acknowledged,
    /// It is prepared, and asks for the decision.
    InDoubt,
    /// What became of a transaction that it was to commit alone. `None`: it has forgotten.
    Alone(Option<Outcome>),
}

/// Why a participant does not prepare.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// The work can not be committed there: a conflict, a limit, a log that takes nothing.
    #[error("{0}")]
    Work(String),
    /// As much is prepared there and not decided as is allowed.
    #[error(
        "{what} of prepared transactions that are not decided have reached the limit of {limit}; bring their coordinators \
         back, or decide them by hand"
    )]
    Full {
        /// What is counted.
        what: String,
        /// The bound.
        limit: u64,
    },
    /// The transaction has ended there already, or is older than those that are remembered.
    #[error("the transaction has ended there already, or is older than all that are remembered")]
    Ended,
    /// The participant has been restarted since the work began.
    #[error("the participant has been restarted since the work began; begin again")]
    OtherLife,
    /// The participant works for as many coordinators as is allowed.
    #[error(
        "the participant remembers transactions of {limit} coordinators, and no more are allowed"
    )]
    Coordinators {
        /// The bound.
        limit: u64,
    },
}

/// A message on its way out, and where it goes. The host gives it to its transport.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing<M> {
    /// Where it goes.
    pub to: Address,
    /// The message.
    pub message: M,
}

impl<M: Send> Message for Outgoing<M> {
    type Result = ();
}
