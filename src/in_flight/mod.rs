//! Which commits of an actor are in flight, and what became of them.

mod book;

use std::fmt;

use book::Book;
use bytes::Bytes;

use crate::error::{AppendError, CommitError};
use crate::lsn::LsnRange;
use crate::messages::{Accepted, AppendOptions, LogEvent, Permit, Ticket};
use crate::outbox::Outbox;

/// What became of an append: the LSNs that are durable, or why they are not, or not yet known to be.
pub type Outcome = Result<LsnRange, CommitError>;

/// The commits that an actor has in flight: an [`Outbox`], and with each append a token of the actor, such as the
/// sender of its client's answer. Each token comes out exactly once, with the outcome of its append.
///
/// The actor that the outbox belongs to passes on every [`Accepted`] and every [`LogEvent`] that it receives, in the
/// order in which it receives them, and takes out what those have settled. It must have
/// [subscribed](crate::Wal::subscribe); it does not matter whether it appends or subscribes first.
///
/// | outcome of a token | since |
/// |---|---|
/// | `Ok`, its LSNs | a `Durable` event covers them; for [`Durability::Async`](crate::Durability) too |
/// | [`CommitError::Refused`] | an `Accepted` says so: it has no LSN |
/// | [`CommitError::NotDurable`] | an event counts its LSNs as failed, or the log is poisoned and never wrote it |
/// | [`CommitError::Unknown`] | the log was given up, poisoned or closed before there was an outcome |
///
/// After `Unknown` a later event may resolve what became of the record, but the token has been answered:
/// [`Wal::outcome`](crate::Wal::outcome) tells. If the subscription fails, because the log has ended, pass on
/// `LogEvent::Closed` with the cause that it gives.
///
/// An append costs one slot in each of two queues. Tokens that are settled by one event come out in the order of
/// their LSNs, those that are not durable first.
///
/// ```no_run
/// # use actix::{Actor, Context, Handler};
/// # use actix_wal::{messages::Accepted, InFlight, LogEvent};
/// struct Coordinator {
///     log: InFlight<&'static str>, // = InFlight::new(wal.outbox(context.address().recipient()))
/// }
/// # impl Actor for Coordinator { type Context = Context<Self>; }
/// impl Handler<Accepted> for Coordinator {
///     type Result = ();
///     fn handle(&mut self, accepted: Accepted, _: &mut Self::Context) {
///         for (token, outcome) in self.log.accepted(accepted) {
///             println!("{token}: {outcome:?}");
///         }
///     }
/// }
/// impl Handler<LogEvent> for Coordinator {
///     type Result = ();
///     fn handle(&mut self, event: LogEvent, _: &mut Self::Context) {
///         for (token, outcome) in self.log.event(&event) {
///             println!("{token}: {outcome:?}");
///         }
///     }
/// }
/// ```
#[derive(Debug)]
pub struct InFlight<T> {
    outbox: Outbox,
    book: Book<T>,
}

impl<T> InFlight<T> {
    /// Nothing in flight yet. What this outbox has appended before has no token, and is not reported.
    pub fn new(outbox: Outbox) -> Self {
        let book = Book::new(outbox.next_ticket());
        InFlight { outbox, book }
    }

    /// Appends a record. Never waits: the token comes out when the outcome is known.
    ///
    /// # Errors
    /// The append is refused at once, and the token is given back. See [`Outbox::append`].
    pub fn append(
        &mut self,
        payload: impl Into<Bytes>,
        token: T,
    ) -> Result<Ticket, (T, AppendError)> {
        let put_in = self.outbox.append(payload);
        self.book.put(put_in, token)
    }

    /// [`append`](Self::append) with a choice of when the batch is flushed, and of what it builds on.
    ///
    /// # Errors
    /// As for [`append`](Self::append).
    pub fn append_with(
        &mut self,
        payload: impl Into<Bytes>,
        options: impl Into<AppendOptions>,
        token: T,
    ) -> Result<Ticket, (T, AppendError)> {
        let put_in = self.outbox.append_with(payload, options);
        self.book.put(put_in, token)
    }

    /// [`append_with`](Self::append_with), with a permit that was [kept](Outbox::permit) for it.
    ///
    /// # Errors
    /// As for [`Outbox::append_permitted`].
    pub fn append_permitted(
        &mut self,
        payload: impl Into<Bytes>,
        options: impl Into<AppendOptions>,
        permit: Permit,
        token: T,
    ) -> Result<Ticket, (T, AppendError)> {
        let put_in = self.outbox.append_permitted(payload, options, permit);
        self.book.put(put_in, token)
    }

    /// Appends an atomic group: after a crash all of its records are there, or none. One token for all of it.
    ///
    /// # Errors
    /// As for [`append`](Self::append), or the group is empty.
    pub fn append_all<P: Into<Bytes>>(
        &mut self,
        payloads: impl IntoIterator<Item = P>,
        token: T,
    ) -> Result<Ticket, (T, AppendError)> {
        let put_in = self.outbox.append_all(payloads);
        self.book.put(put_in, token)
    }

    /// The Appender has answered appends. Takes out those that it settles: the refused ones.
    pub fn accepted(&mut self, accepted: Accepted) -> Settled<'_, T> {
        self.book.accepted(accepted);
        Settled { book: &mut self.book }
    }

    /// Something has happened to the log. Takes out the appends that it settles.
    pub fn event(&mut self, event: &LogEvent) -> Settled<'_, T> {
        self.book.event(event, |lsn| self.outbox.why_not_durable(lsn));
        Settled { book: &mut self.book }
    }

    /// The way into the log of these commits.
    pub fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// How many tokens have not come out yet.
    pub fn len(&self) -> usize {
        self.book.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Tokens that are settled, each with its outcome. What is not taken comes out of the next one.
#[must_use = "each token comes out once: its client waits for the outcome"]
pub struct Settled<'a, T> {
    book: &'a mut Book<T>,
}

impl<T> fmt::Debug for Settled<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settled").finish_non_exhaustive()
    }
}

impl<T> Iterator for Settled<'_, T> {
    type Item = (T, Outcome);

    fn next(&mut self) -> Option<Self::Item> {
        self.book.next_settled()
    }
}
