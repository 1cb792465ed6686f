//! What the handle says to the Appender: the messages behind [`Wal`](crate::Wal) and [`Outbox`](crate::Outbox).

use std::mem;
use std::sync::Arc;

use actix::{Message, Recipient};
use tokio::sync::oneshot;

use super::append::{Accepted, Ticket};
use crate::config::Durability;
use crate::engine::intake::admission::Permit;
use crate::engine::intake::entry::Payload;
use crate::engine::intake::inbox::Inbox;
use crate::error::{AppendError, Cause, CommitError};
use crate::lsn::{Epoch, Lsn, LsnRange};

/// What every append comes down to. The handle of the log sends it with `do_send`, which keeps the order
/// and can not be cancelled, and has its answer in a channel of its own.
#[derive(Debug)]
pub struct Submit {
    /// The records.
    pub payload: Payload,
    /// Who waits for them.
    pub durability: Durability,
    /// The epoch that they build on: they are refused once it counts as ended.
    pub builds_on: Option<Epoch>,
    /// The right to have them in flight.
    pub permit: Permit,
    /// Where the answer goes.
    pub reply: Reply,
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
    #[inline]
    pub fn new(owner: Arc<Recipient<Accepted>>, ticket: Ticket) -> Self {
        OwedAccepted { owner: Some(owner), ticket }
    }

    /// Whom to answer, and for which ticket. The caller has to answer from here on.
    #[inline]
    pub(crate) fn into_parts(mut self) -> Option<(Arc<Recipient<Accepted>>, Ticket)> {
        self.owner.take().map(|owner| (owner, self.ticket))
    }

    /// Answers that the append was refused.
    pub(crate) fn refuse(mut self, error: AppendError) {
        self.answer(error);
    }

    #[cold]
    fn answer(&mut self, error: AppendError) {
        if let Some(owner) = self.owner.take() {
            owner.do_send(Accepted { first: self.ticket, count: 1, result: Err(error) });
        }
    }
}

impl Drop for OwedAccepted {
    #[inline]
    fn drop(&mut self) {
        // Nearly always it is answered. Then no error is made, which would have to be dropped too.
        if self.owner.is_some() {
            self.answer(AppendError::Unknown { cause: Cause::Stopped { actor: "Appender" } });
        }
    }
}

/// Appends wait in the inbox of a handle: drain it.
///
/// Sent by the handle when it puts the first append into its inbox. If the Appender is gone, what
/// waits there is dropped with the message, and so its answers are.
#[derive(Debug)]
pub struct Collect {
    inbox: Option<Arc<Inbox<Submit>>>,
}

impl Collect {
    /// A call to drain this inbox.
    pub fn new(inbox: &Arc<Inbox<Submit>>) -> Self {
        Collect { inbox: Some(Arc::clone(inbox)) }
    }

    /// Takes what waits, and leaves an empty `room` in its place.
    pub fn take(mut self, room: Vec<Submit>) -> Vec<Submit> {
        self.inbox.take().map_or_else(Vec::new, |inbox| inbox.take(room))
    }
}

impl Drop for Collect {
    fn drop(&mut self) {
        if let Some(inbox) = self.inbox.take() {
            mem::drop(inbox.take(Vec::new()));
        }
    }
}

impl Message for Collect {
    type Result = ();
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
