//! Appending and waiting.

use std::sync::Arc;

use actix::Message;
use bytes::Bytes;

use crate::config::Durability;
use crate::engine::intake::admission::{Admission, Permit, Refusal};
use crate::engine::intake::entry::RECORD_OVERHEAD;
use crate::error::{AppendError, CommitError};
use crate::lsn::{Epoch, Lsn, LsnRange};

/// How an append is done. A [`Durability`] alone is one, too.
///
/// ```
/// use actix_wal::{AppendOptions, Durability};
///
/// let options: AppendOptions = Durability::Async.into();
/// assert_eq!(options.builds_on, None);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AppendOptions {
    /// Who waits for it.
    pub durability: Durability,
    /// The epoch that it builds on, for those that change their state before the log has answered: what they put in next
    /// may build on what the log gives up. Such an append is refused with [`AppendError::EpochEnded`] as soon as a record
    /// of that epoch was given up, or another append refused that builds on it. Under
    /// [`FaultPolicy::Resend`](crate::FaultPolicy) a fault gives nothing up, and then nothing is refused. What is refused
    /// before it is put in (`Overloaded`, `TooLarge`, `Closed`), or for what it is itself (`WrongPermit`, `EmptyGroup`), ends
    /// no epoch: put in what would build on it only when that is known. An [`Outbox`](crate::Outbox) says it at once.
    ///
    /// [`Outbox::epoch`](crate::Outbox::epoch) is the one to name. Go over to another one only when all that you have
    /// put in has its outcome: failures are not reported in the order of LSNs.
    pub builds_on: Option<Epoch>,
}

impl From<Durability> for AppendOptions {
    fn from(durability: Durability) -> Self {
        AppendOptions { durability, builds_on: None }
    }
}

/// Phase one: give the record an LSN. The answer says nothing about durability.
///
/// Sent by clients, answered by the Appender with the LSN. If the future of `send` is dropped before the
/// Appender takes the message, nothing is appended; after that, the record goes its way.
#[derive(Debug)]
pub struct Append {
    /// The record.
    pub payload: Bytes,
    /// Who waits for it, and what it builds on.
    pub options: AppendOptions,
    /// The right to have it in flight: for one record, and for its bytes with
    /// [`RECORD_OVERHEAD`](super::RECORD_OVERHEAD).
    pub permit: Permit,
}

impl Append {
    /// The message for one record in `GroupCommit` mode, with a permit if there is one now.
    ///
    /// # Errors
    /// As much is in flight as is allowed; the record is larger than any permit; or the log is closed.
    pub fn try_new(admission: &Arc<Admission>, payload: impl Into<Bytes>) -> Result<Self, Refusal> {
        let payload = payload.into();
        let permit = admission.try_acquire(1, encoded_len(&payload))?;
        Ok(Append { payload, options: AppendOptions::default(), permit })
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
    /// Who waits for them, and what they build on.
    pub options: AppendOptions,
    /// The right to have them in flight: for exactly as many records, and for their bytes with
    /// [`RECORD_OVERHEAD`](super::RECORD_OVERHEAD) each.
    pub permit: Permit,
}

impl AppendAll {
    /// The message for a group in `GroupCommit` mode, with a permit if there is one now.
    ///
    /// # Errors
    /// As much is in flight as is allowed; the group is larger than any permit; or the log is closed.
    pub fn try_new(admission: &Arc<Admission>, payloads: Vec<Bytes>) -> Result<Self, Refusal> {
        let bytes = payloads.iter().map(encoded_len).sum();
        let permit = admission.try_acquire(payloads.len(), bytes)?;
        Ok(AppendAll { payloads, options: AppendOptions::default(), permit })
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
    /// With `Async` it is answered like phase one, without durability.
    pub options: AppendOptions,
    /// The right to have it in flight.
    pub permit: Permit,
}

impl Commit {
    /// The message for one record in `GroupCommit` mode, with a permit if there is one now.
    ///
    /// # Errors
    /// As much is in flight as is allowed; the record is larger than any permit; or the log is closed.
    pub fn try_new(admission: &Arc<Admission>, payload: impl Into<Bytes>) -> Result<Self, Refusal> {
        let payload = payload.into();
        let permit = admission.try_acquire(1, encoded_len(&payload))?;
        Ok(Commit { payload, options: AppendOptions::default(), permit })
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
