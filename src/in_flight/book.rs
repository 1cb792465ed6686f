//! The tokens of an actor, and what messages say of their appends. No actor and no log.

use std::collections::VecDeque;

use super::Outcome;
use crate::error::{AppendError, Cause, CommitError};
use crate::lsn::{Lsn, LsnRange};
use crate::messages::{Accepted, LogEvent, Ticket};

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
pub(super) struct Book<T> {
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
    pub(super) fn new(next: Ticket) -> Self {
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

    pub(super) fn put(
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

    pub(super) fn len(&self) -> usize {
        self.unnumbered.len() - self.holes + self.numbered.len() + self.settled.len()
    }

    pub(super) fn accepted(&mut self, Accepted { first, count, result }: Accepted) {
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
    pub(super) fn event(&mut self, event: &LogEvent, why: impl Fn(Lsn) -> Cause) {
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

    pub(super) fn next_settled(&mut self) -> Option<(T, Outcome)> {
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
mod tests;
