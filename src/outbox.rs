//! The way into the log for an actor that works by messages alone.

use std::sync::Arc;

use actix::Recipient;
use bytes::Bytes;

use crate::engine::intake::admission::Permit;
use crate::engine::intake::entry::{Payload, RECORD_OVERHEAD};
use crate::engine::state::outcomes::Fate;
use crate::entrance::Entrance;
use crate::error::{AppendError, Cause, CommitError};
use crate::hold::Hold;
use crate::lsn::{Epoch, Lsn};
use crate::messages::wire::{OwedAccepted, Reply, Submit};
use crate::messages::{Accepted, AppendOptions, Ticket};

/// Appends without a future: an actor puts records in from its handlers. It receives their LSNs as
/// [`Accepted`] messages, and their durability by its [subscription](crate::Wal::subscribe). Made by
/// [`Wal::outbox`](crate::Wal::outbox).
///
/// Of all ways to commit this costs the least: there is no future and no channel per record, and
/// appends that are put in together share one message to the Appender and one back. They keep their order
/// among themselves, and towards what is appended by the handles of the log.
///
/// Each ticket is answered by exactly one `Accepted`, before any event that covers its LSNs.
/// [`InFlight`](crate::InFlight) keeps the tickets, the LSNs and whatever the actor wants to know with each of them,
/// and says what became of it.
///
/// It does not keep the log open: that closes with its last handle. It keeps its owner alive, so an actor that
/// holds its own outbox ends by `ctx.stop()`.
///
/// ```no_run
/// # use actix::{Actor, Context, Handler};
/// # use actix_wal::{messages::Accepted, Outbox, LogEvent};
/// struct Coordinator {
///     log: Outbox, // = wal.outbox(ctx.address().recipient())
/// }
/// # impl Actor for Coordinator { type Context = Context<Self>; }
/// impl Handler<Accepted> for Coordinator {
///     type Result = ();
///     fn handle(&mut self, accepted: Accepted, _: &mut Self::Context) {
///         println!("{:?} and {} more: {:?}", accepted.first, accepted.count - 1, accepted.result);
///     }
/// }
/// ```
#[derive(Debug)]
pub struct Outbox {
    entrance: Entrance,
    owner: Arc<Recipient<Accepted>>,
    next: Ticket,
}

impl Outbox {
    pub(crate) fn new(entrance: Entrance, owner: Recipient<Accepted>) -> Self {
        Outbox { entrance, owner: Arc::new(owner), next: Ticket::default() }
    }

    /// Appends a record. Never waits: its LSN comes as a message, and is durable later.
    ///
    /// # Errors
    /// The record is not in the log. Past the bound on what is in flight that is
    /// [`Overloaded`](AppendError::Overloaded), whatever the configured policy is: an actor can not wait.
    pub fn append(&mut self, payload: impl Into<Bytes>) -> Result<Ticket, AppendError> {
        self.append_with(payload, AppendOptions::default())
    }

    /// [`append`](Self::append) with a choice of when the batch is flushed, and of what it builds on.
    ///
    /// # Errors
    /// As for [`append`](Self::append); [`EpochEnded`](AppendError::EpochEnded) at once if that is known already.
    pub fn append_with(
        &mut self,
        payload: impl Into<Bytes>,
        options: impl Into<AppendOptions>,
    ) -> Result<Ticket, AppendError> {
        self.submit_now(Payload::One(payload.into()), options.into())
    }

    /// Appends an atomic group: after a crash all of its records are there, or none.
    ///
    /// # Errors
    /// As for [`append`](Self::append), or the group is empty.
    pub fn append_all<P: Into<Bytes>>(
        &mut self,
        payloads: impl IntoIterator<Item = P>,
    ) -> Result<Ticket, AppendError> {
        let payloads: Vec<Bytes> = payloads.into_iter().map(Into::into).collect();
        if payloads.is_empty() {
            return Err(AppendError::EmptyGroup);
        }
        self.submit_now(Payload::Group(payloads), AppendOptions::default())
    }

    /// The epoch that takes records: the one to [build on](AppendOptions::builds_on) for those that build on nothing that is
    /// not durable.
    pub fn epoch(&self) -> Epoch {
        self.entrance.shared().watermark.open()
    }

    /// Holds what is appended from now on, so that no checkpoint can come between an append and its hold. Once the
    /// record has its LSN, [`Hold::raise`] releases what was appended before it by others.
    pub fn hold(&self, owner: impl Into<Arc<str>>) -> Hold {
        let shared = Arc::clone(self.entrance.shared());
        let (accepted, now) = (shared.watermark.accepted(), shared.clock.now());
        let id = shared.catalog.keep_what_comes(accepted, owner.into(), now);
        Hold::new(shared, id)
    }

    /// The right to append one more record of at most this many bytes, whenever that is: an answer that must not be
    /// [`Overloaded`](AppendError::Overloaded), such as the decision about a transaction that is prepared. It counts as in
    /// flight until it is used or dropped.
    ///
    /// # Errors
    /// As much is in flight as is allowed, the record is larger than any permit, or the log is closed.
    pub fn permit(&self, bytes: usize) -> Result<Permit, AppendError> {
        self.entrance.permit_for(1, bytes.saturating_add(RECORD_OVERHEAD))
    }

    /// [`append_with`](Self::append_with), with a permit that was [kept](Self::permit) for it.
    ///
    /// # Errors
    /// The permit is of another log or for fewer bytes; the log is closed; or the epoch has ended. The permit is lost.
    pub fn append_permitted(
        &mut self,
        payload: impl Into<Bytes>,
        options: impl Into<AppendOptions>,
        permit: Permit,
    ) -> Result<Ticket, AppendError> {
        let payload = Payload::One(payload.into());
        let permit = self.entrance.check_permit(permit, &payload)?;
        self.submit(payload, options.into(), permit)
    }

    /// What became of an LSN, as by [`Wal::outcome`](crate::Wal::outcome).
    pub fn outcome(&self, lsn: Lsn) -> Option<Result<(), CommitError>> {
        self.entrance.shared().outcome(lsn)
    }

    /// The ticket of the next append.
    pub(crate) fn next_ticket(&self) -> Ticket {
        self.next
    }

    /// Why this LSN, which an event counts as failed, is not durable.
    pub(crate) fn why_not_durable(&self, lsn: Lsn) -> Cause {
        match self.entrance.shared().fate(lsn) {
            Some(Fate::NotDurable(cause)) => cause,
            // A checkpoint may forget very old ones.
            _ => Cause::Broken { what: "the log no longer has the cause".to_owned() },
        }
    }

    fn submit_now(
        &mut self,
        payload: Payload,
        options: AppendOptions,
    ) -> Result<Ticket, AppendError> {
        let permit = self.entrance.permit_now(&payload)?;
        self.submit(payload, options, permit)
    }

    #[inline]
    fn submit(
        &mut self,
        payload: Payload,
        options: AppendOptions,
        permit: Permit,
    ) -> Result<Ticket, AppendError> {
        let AppendOptions { durability, builds_on } = options;
        self.entrance.check(builds_on, payload.count())?;
        let ticket = self.next;
        let reply = Reply::Message(OwedAccepted::new(Arc::clone(&self.owner), ticket));
        self.entrance.submit(Submit { payload, durability, builds_on, permit, reply })?;
        self.next = ticket.plus(1);
        Ok(ticket)
    }
}
