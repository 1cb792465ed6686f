//! Which commits of an actor are in flight, and what became of them.

use std::collections::VecDeque;
use std::fmt;

use bytes::Bytes;

use crate::config::Durability;
use crate::error::{AppendError, Cause, CommitError};
use crate::lsn::{Lsn, LsnRange};
use crate::messages::{Accepted, LogEvent, Ticket};
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
/// | `Ok`, its LSNs | a `Durable` event covers them; for [`Durability::Async`] too |
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

    /// [`append`](Self::append) with a choice of when the batch is flushed.
    ///
    /// # Errors
    /// As for [`append`](Self::append).
    pub fn append_with(
        &mut self,
        payload: impl Into<Bytes>,
        durability: Durability,
        token: T,
    ) -> Result<Ticket, (T, AppendError)> {
        let put_in = self.outbox.append_with(payload, durability);
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

/// How the log has ended.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
enum End {
    Poisoned(Cause),
    Closed(Cause),
}

/// The tokens, by ticket until they have LSNs, and by LSN after that.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
struct Book<T> {
    /// The ticket of the first token without an LSN.
    next: Ticket,
    /// `None` has been answered already: answers for tickets that the Appender never handled come early.
    unnumbered: VecDeque<Option<T>>,
    /// How many of those are `None`.
    holes: usize,
    /// In LSN order. Those up to `through` are durable: nothing else stays in here when the watermark passes it.
    numbered: VecDeque<(LsnRange, T)>,
    /// Those with any other outcome.
    settled: VecDeque<(T, Outcome)>,
    through: Lsn,
    /// The last LSN of a token or in an event. What is accepted is above it.
    covered: Lsn,
    end: Option<End>,
}

impl<T> Book<T> {
    fn new(next: Ticket) -> Self {
        Book {
            next,
            unnumbered: VecDeque::new(),
            holes: 0,
            numbered: VecDeque::new(),
            settled: VecDeque::new(),
            through: Lsn::NONE,
            covered: Lsn::NONE,
            end: None,
        }
    }

    fn put(
        &mut self,
        put_in: Result<Ticket, AppendError>,
        token: T,
    ) -> Result<Ticket, (T, AppendError)> {
        match put_in {
            Ok(ticket) => {
                debug_assert_eq!(ticket, self.next.plus(self.unnumbered.len() as u64));
                self.unnumbered.push_back(Some(token));
                Ok(ticket)
            }
            Err(refused) => Err((token, refused)),
        }
    }

    fn len(&self) -> usize {
        self.unnumbered.len() - self.holes + self.numbered.len() + self.settled.len()
    }

    fn accepted(&mut self, Accepted { first, count, result }: Accepted) {
        let put_in = self.next.plus(self.unnumbered.len() as u64).0;
        let mut lsn = result.as_ref().map_or(Lsn::NONE, |range| range.first);
        for ticket in first.0..first.0.saturating_add(count).min(put_in) {
            if let Some(token) = self.take(Ticket(ticket)) {
                match &result {
                    // One append with several LSNs is a group.
                    Ok(range) if count == 1 => self.number(*range, token),
                    Ok(_) => self.number(LsnRange { first: lsn, last: lsn }, token),
                    Err(refused) => self.settled.push_back((token, Err(refused.clone().into()))),
                }
            }
            lsn = lsn.next();
        }
    }

    fn take(&mut self, ticket: Ticket) -> Option<T> {
        let place = ticket.0.checked_sub(self.next.0)?;
        let token = self.unnumbered.get_mut(usize::try_from(place).ok()?)?.take()?;
        self.holes += 1;
        while let Some(None) = self.unnumbered.front() {
            self.unnumbered.pop_front();
            self.holes -= 1;
            self.next = self.next.plus(1);
        }
        Some(token)
    }

    fn number(&mut self, lsns: LsnRange, token: T) {
        let lsn = lsns.last;
        let error = if lsns.first <= self.covered {
            // It may have failed: what an event said of it is not known any more.
            let what = "an event that covers an append was passed on before its `Accepted`".into();
            CommitError::Unknown { lsn, cause: Cause::Broken { what } }
        } else {
            self.covered = lsn;
            match &self.end {
                None => return self.numbered.push_back((lsns, token)),
                Some(End::Poisoned(cause)) => not_durable(lsn, cause),
                Some(End::Closed(cause)) => unknown(lsn, cause),
            }
        };
        self.settled.push_back((token, Err(error)));
    }

    /// An event, and where to ask why an LSN has failed: events do not say.
    fn event(&mut self, event: &LogEvent, why: impl Fn(Lsn) -> Cause) {
        match event {
            LogEvent::Durable { through, failed, .. } => {
                // What has failed goes first: the watermark may pass it.
                failed
                    .iter()
                    .for_each(|range| self.fails(*range, |lsn| not_durable(lsn, &why(lsn))));
                self.through = self.through.max(*through);
                self.covered = self.covered.max(*through);
            }
            LogEvent::GivenUp { cause } => self.settle(ALL, |lsn| unknown(lsn, cause)),
            LogEvent::Poisoned { cause, failed, unknown: in_doubt } => {
                failed.iter().for_each(|range| self.fails(*range, |lsn| not_durable(lsn, cause)));
                in_doubt.iter().for_each(|range| self.fails(*range, |lsn| unknown(lsn, cause)));
                // The flush thread has never had it, and there is none any more.
                self.settle(ALL, |lsn| not_durable(lsn, cause));
                self.end.get_or_insert(End::Poisoned(cause.clone()));
            }
            LogEvent::Closed { cause } => {
                self.settle(ALL, |lsn| unknown(lsn, cause));
                self.end.get_or_insert(End::Closed(cause.clone()));
            }
            LogEvent::Ready { .. }
            | LogEvent::Unavailable { .. }
            | LogEvent::Stalled { .. }
            | LogEvent::SegmentComplete { .. }
            | LogEvent::Closing => {}
        }
    }

    fn fails(&mut self, range: LsnRange, error: impl Fn(Lsn) -> CommitError) {
        self.settle(range, error);
        self.covered = self.covered.max(range.last);
    }

    /// Those with an LSN in the range have this outcome, unless they are durable already.
    fn settle(&mut self, range: LsnRange, error: impl Fn(Lsn) -> CommitError) {
        let first = range.first.max(self.through.next());
        let from = self.numbered.partition_point(|(lsns, _)| lsns.last < first);
        let to = self.numbered.partition_point(|(lsns, _)| lsns.first <= range.last);
        if from < to {
            let settled = self.numbered.drain(from..to);
            self.settled.extend(settled.map(|(lsns, token)| (token, Err(error(lsns.last)))));
        }
    }

    fn next_settled(&mut self) -> Option<(T, Outcome)> {
        if let Some(settled) = self.settled.pop_front() {
            return Some(settled);
        }
        let (lsns, _) = self.numbered.front()?;
        if lsns.last > self.through {
            return None;
        }
        self.numbered.pop_front().map(|(lsns, token)| (token, Ok(lsns)))
    }
}

const ALL: LsnRange = LsnRange { first: Lsn::NONE, last: Lsn::MAX };

fn not_durable(lsn: Lsn, cause: &Cause) -> CommitError {
    CommitError::NotDurable { lsn, cause: cause.clone() }
}

fn unknown(lsn: Lsn, cause: &Cause) -> CommitError {
    CommitError::Unknown { lsn, cause: cause.clone() }
}

#[cfg(test)]
#[path = "in_flight_tests.rs"]
mod tests;
