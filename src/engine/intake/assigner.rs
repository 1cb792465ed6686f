//! Gives out LSNs: the only place where that happens.

use std::mem;
use std::sync::Arc;

use crate::config::Durability;
use crate::engine::intake::admission::Permit;
use crate::engine::intake::entry::{Entry, Payload, QueueItem, Tally};
use crate::engine::state::shared::Shared;
use crate::error::Cause;
use crate::lsn::{Lsn, LsnRange};
use crate::runtime::clock::Tick;

/// Gives each record the next LSN, and hands the records over to the queue in that order.
#[derive(Debug)]
pub struct Assigner {
    shared: Arc<Shared>,
    next_lsn: Lsn,
    /// What has LSNs and is not in the queue yet.
    assigned: Vec<Entry>,
    /// When the first of those came.
    since: Tick,
}

impl Assigner {
    /// An assigner that gives out nothing before [`resume`](Self::resume).
    pub fn new(shared: Arc<Shared>) -> Self {
        Assigner { shared, next_lsn: Lsn::NONE, assigned: Vec::new(), since: Tick::ZERO }
    }

    /// The LSN that the next record gets; [`Lsn::NONE`] before the log is ready.
    pub fn next_lsn(&self) -> Lsn {
        self.next_lsn
    }

    /// An epoch has begun; LSNs go on from `next_lsn`, or from where they are if that is further: an
    /// LSN that was given out is never given out again (promise P9).
    pub fn resume(&mut self, next_lsn: Lsn) {
        self.next_lsn = self.next_lsn.max(next_lsn);
        self.shared.watermark.raise_accepted(self.next_lsn.previous());
    }

    /// Gives LSNs to the records. The permit is for exactly these records. They are in nobody's hands
    /// before they are [handed over](Self::hand_over).
    ///
    /// # Errors
    /// There is no record, or no epoch has begun. No LSN was used up.
    pub fn assign(
        &mut self,
        payload: Payload,
        durability: Durability,
        permit: Permit,
    ) -> Result<LsnRange, Cause> {
        if self.assigned.is_empty() {
            self.since = self.shared.clock.now();
        }
        let entry = Entry { first_lsn: self.next_lsn, payload, durability, since: self.since };
        let last = entry.last_lsn();
        let range = LsnRange::new(self.next_lsn, last).filter(|_| !self.next_lsn.is_none());
        let range = range.ok_or_else(|| {
            let what = "an append needs a record and a log that is ready".to_owned();
            Cause::Broken { what }
        })?;
        self.assigned.push(entry);
        permit.spend();
        self.next_lsn = last.next();
        self.shared.watermark.raise_accepted(last);
        Ok(range)
    }

    /// Puts what has LSNs into the queue, as one item: the flush thread is woken once.
    ///
    /// # Errors
    /// The queue was full or its other end is gone: a defect, since permits rule out the first and the
    /// state the second. What was assigned will not be written.
    pub fn hand_over(&mut self) -> Result<(), Cause> {
        if self.assigned.is_empty() {
            return Ok(());
        }
        let entries = mem::take(&mut self.assigned);
        let Tally { entries: count, bytes, .. } = Tally::of(&entries);
        self.shared.counters.accepted.add(count as u64);
        self.shared.meter.handed_over(entries.first().map(|first| first.since), bytes);
        self.shared.requests.enqueue(QueueItem::Entries(entries)).map_err(|_| {
            self.shared.admission.release(count, bytes);
            let what = "the queue has room for everything that has a permit".to_owned();
            Cause::Broken { what }
        })
    }
}
