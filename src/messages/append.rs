//! Appending and waiting.

use std::mem;
use std::sync::Arc;

use actix::{Message, Recipient};
use bytes::Bytes;
use tokio::sync::oneshot;

use crate::config::Durability;
use crate::engine::intake::admission::{Admission, Permit, Refusal};
use crate::engine::intake::entry::{Payload, RECORD_OVERHEAD};
use crate::engine::intake::inbox::Intake;
use crate::error::{AppendError, Cause, CommitError};
use crate::lsn::{Lsn, LsnRange};

/// Phase one: give the record an LSN. The answer says nothing about durability.
///
/// Sent by clients, answered by the Appender with the LSN. If the future of `send` is dropped before the
/// Appender takes the message, nothing is appended; after that, the record goes its way.
#[derive(Debug)]
pub struct Append {
    /// The record.
    pub payload: Bytes,
    /// Who waits for it.
    pub durability: Durability,
    /// The right to have it in flight: for one record and its
    /// [`encoded_len`](Payload::encoded_len).
    pub permit: Permit,
}

impl Append {
    /// The message for one record in `GroupCommit` mode, with a permit if there is one now.
    ///
    /// # Errors
    /// As much is in flight as is allowed; the record is too large for ever; or the log is closed.
    pub fn try_new(admission: &Arc<Admission>, payload: impl Into<Bytes>) -> Result<Self, Refusal> {
        let payload = payload.into();
        let permit = admission.try_acquire(1, encoded_len(&payload))?;
        Ok(Append { payload, durability: Durability::default(), permit })
    }
}

impl Message for Append {
    type Result = Result<Lsn, AppendError>;
}

/// Phase one for an atomic group: all of its records survive a crash, or none.
///
/// Sent by clients, answered by the Appender with the LSNs of the group, in the order of the records.
#[derive(Debug)]
pub struct AppendAll {
    /// The records; at least one.
    pub payloads: Vec<Bytes>,
    /// Who waits for them.
    pub durability: Durability,
    /// The right to have them in flight: for exactly as many records, and the sum of their encoded
    /// lengths.
    pub permit: Permit,
}

impl AppendAll {
    /// The message for a group in `GroupCommit` mode, with a permit if there is one now.
    ///
    /// # Errors
    /// As much is in flight as is allowed; the group is too large for ever; or the log is closed.
    pub fn try_new(admission: &Arc<Admission>, payloads: Vec<Bytes>) -> Result<Self, Refusal> {
        let bytes = payloads.iter().map(encoded_len).sum();
        let permit = admission.try_acquire(payloads.len(), bytes)?;
        Ok(AppendAll { payloads, durability: Durability::default(), permit })
    }
}

impl Message for AppendAll {
    type Result = Result<LsnRange, AppendError>;
}

fn encoded_len(payload: &Bytes) -> usize {
    payload.len() + RECORD_OVERHEAD
}

/// Both phases in one round trip.
///
/// Sent by clients. The Appender answers when the record is durable, or when its outcome is known to be
/// another one. A dropped answer means that the outcome is unknown.
#[derive(Debug)]
pub struct Commit {
    /// The record.
    pub payload: Bytes,
    /// `Synchronous` or `GroupCommit`; `Async` is answered like phase one, without durability.
    pub durability: Durability,
    /// The right to have it in flight.
    pub permit: Permit,
}

impl Commit {
    /// The message for one record in `GroupCommit` mode, with a permit if there is one now.
    ///
    /// # Errors
    /// As much is in flight as is allowed; the record is too large for ever; or the log is closed.
    pub fn try_new(admission: &Arc<Admission>, payload: impl Into<Bytes>) -> Result<Self, Refusal> {
        let payload = payload.into();
        let permit = admission.try_acquire(1, encoded_len(&payload))?;
        Ok(Commit { payload, durability: Durability::default(), permit })
    }
}

impl Message for Commit {
    type Result = Result<Lsn, CommitError>;
}

/// Phase two: wait until a record is durable.
///
/// Sent by clients, answered by the Appender as soon as the outcome is known, or with
/// `NeverAssigned` at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitForLsn(
    /// The LSN that phase one gave.
    pub Lsn,
);

impl Message for WaitForLsn {
    type Result = Result<(), CommitError>;
}

/// What every wait comes down to. The handle of the log sends it: when its future is dropped, the
/// Appender can tell, and forgets the waiter.
#[derive(Debug)]
pub struct Await {
    /// The LSN that phase one gave.
    pub lsn: Lsn,
    /// Where the answer goes. A dropped sender means that the Appender is gone.
    pub reply: oneshot::Sender<Result<(), CommitError>>,
}

impl Message for Await {
    type Result = ();
}

/// What every append comes down to. The handle of the log sends it with `do_send`, which keeps the order
/// and can not be cancelled, and has its answer in a channel of its own.
#[derive(Debug)]
pub struct Submit {
    /// The records.
    pub payload: Payload,
    /// Who waits for them.
    pub durability: Durability,
    /// The right to have them in flight.
    pub permit: Permit,
    /// Where the answer goes.
    pub reply: Reply,
}

impl Message for Submit {
    type Result = ();
}

/// Where, and when, the answer to a [`Submit`] goes. A dropped sender means that the Appender is gone.
#[derive(Debug)]
pub enum Reply {
    /// When the LSNs are given.
    Accepted(oneshot::Sender<Result<LsnRange, AppendError>>),
    /// When the outcome is known.
    Outcome(oneshot::Sender<Result<LsnRange, CommitError>>),
    /// When the LSNs are given, as a message.
    Message(OwedAccepted),
}

impl Reply {
    /// Gives the answer up, for a caller that reports the refusal itself.
    pub(crate) fn withdraw(self) {
        if let Reply::Message(owed) = self {
            let _ = owed.into_parts();
        }
    }
}

/// The [`Accepted`] that an append of an [`Outbox`](crate::Outbox) is owed. Dropped without an answer, because
/// the Appender is gone, it answers [`AppendError::Unknown`]: each ticket gets exactly one answer.
#[derive(Debug)]
pub struct OwedAccepted {
    /// `None` once it is answered.
    owner: Option<Arc<Recipient<Accepted>>>,
    ticket: Ticket,
}

impl OwedAccepted {
    /// An answer that the owner of an outbox is owed for this ticket.
    pub fn new(owner: Arc<Recipient<Accepted>>, ticket: Ticket) -> Self {
        OwedAccepted { owner: Some(owner), ticket }
    }

    /// Whom to answer, and for which ticket. The caller has to answer from here on.
    pub(crate) fn into_parts(mut self) -> Option<(Arc<Recipient<Accepted>>, Ticket)> {
        self.owner.take().map(|owner| (owner, self.ticket))
    }

    /// Answers that the append was refused.
    pub(crate) fn refuse(mut self, error: AppendError) {
        self.answer(error);
    }

    fn answer(&mut self, error: AppendError) {
        if let Some(owner) = self.owner.take() {
            owner.do_send(Accepted { first: self.ticket, count: 1, result: Err(error) });
        }
    }
}

impl Drop for OwedAccepted {
    fn drop(&mut self) {
        self.answer(AppendError::Unknown { cause: Cause::Stopped { actor: "Appender" } });
    }
}

/// Appends wait in the intake of a handle: come for all of them.
///
/// Sent by the handle whenever it puts the first append into its intake. If the Appender is gone, what
/// waits there is dropped with the message, and so its answers are.
#[derive(Debug)]
pub struct Collect {
    intake: Option<Arc<Intake<Submit>>>,
}

impl Collect {
    /// A call to come for what is in this intake.
    pub fn new(intake: &Arc<Intake<Submit>>) -> Self {
        Collect { intake: Some(Arc::clone(intake)) }
    }

    /// Takes what waits, and leaves an empty `room` in its place.
    pub fn take(mut self, room: Vec<Submit>) -> Vec<Submit> {
        self.intake.take().map_or_else(Vec::new, |intake| intake.take(room))
    }
}

impl Drop for Collect {
    fn drop(&mut self) {
        if let Some(intake) = self.intake.take() {
            mem::drop(intake.take(Vec::new()));
        }
    }
}

impl Message for Collect {
    type Result = ();
}

/// The number of an append among those of one [`Outbox`](crate::Outbox): 0, 1, 2 and so on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(
    /// The number.
    pub u64,
);

impl Ticket {
    /// The one after this many others.
    pub fn plus(self, count: u64) -> Self {
        Ticket(self.0 + count)
    }
}

/// What became of appends of an [`Outbox`](crate::Outbox) in phase one: they have LSNs, or they are refused.
///
/// Sent by the Appender to the actor that the outbox belongs to, exactly once for each ticket. Appends that
/// follow on each other share one such message. It comes before any [`LogEvent`](super::LogEvent) that covers
/// those LSNs; [`InFlight`](crate::InFlight) pairs the two. For an append that the Appender never handled, because
/// it is gone, the result is [`AppendError::Unknown`]; that message may come before those of earlier tickets.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// The first of the appends.
    pub first: Ticket,
    /// How many appends: `first`, and those after it. With more than one, each is a single record.
    pub count: u64,
    /// Their LSNs, in order; or why they are not in the log.
    pub result: Result<LsnRange, AppendError>,
}

impl Message for Accepted {
    type Result = ();
}
