//! Gives out LSNs: the only place where that happens.

use std::sync::Arc;

use super::admission::Permit;
use super::entry::{Entry, Payload, QueueItem};
use super::shared::Shared;
use crate::config::Durability;
use crate::error::Cause;
use crate::lsn::{Lsn, LsnRange};

/// Gives each record the next LSN and puts it into the queue, in that order.
#[derive(Debug)]
pub struct Assigner {
    shared: Arc<Shared>,
    next_lsn: Lsn,
}

impl Assigner {
    /// An assigner that gives out nothing before [`resume`](Self::resume).
    pub fn new(shared: Arc<Shared>) -> Self {
        Assigner { shared, next_lsn: Lsn::NONE }
    }

    /// The LSN that the next record gets; [`Lsn::NONE`] before the log is ready.
    pub fn next_lsn(&self) -> Lsn {
        self.next_lsn
    }

    /// An epoch has begun; LSNs go on from `next_lsn`, or from where they are if that is further: an
    /// LSN that was given out is never given out again (promise P9).
    pub fn resume(&mut self, next_lsn: Lsn) {
        self.next_lsn = self.next_lsn.max(next_lsn);
        self.shared.publish_accepted(self.next_lsn.previous());
    }

    /// Gives LSNs to the records and queues them. The permit is for exactly these records.
    ///
    /// # Errors
    /// The queue was full or its other end is gone: a defect, since a permit rules out the first and
    /// the state the second. No LSN was used up.
    pub fn assign(
        &mut self,
        payload: Payload,
        durability: Durability,
        permit: Permit,
    ) -> Result<LsnRange, Cause> {
        let count = payload.count() as u64;
        let since = self.shared.clock.now();
        let entry = Entry { first_lsn: self.next_lsn, payload, durability, since };
        let last = entry.last_lsn();
        let range = LsnRange::new(self.next_lsn, last).filter(|_| !self.next_lsn.is_none());
        let broken = |what: &str| Cause::Broken { what: what.to_owned() };
        let range =
            range.ok_or_else(|| broken("an append needs a record and a log that is ready"))?;
        self.shared
            .enqueue(QueueItem::Entry(entry))
            .map_err(|_| broken("the queue has room for everything that has a permit"))?;
        permit.spend();
        self.next_lsn = last.next();
        self.shared.publish_accepted(last);
        self.shared.counters.accepted.add(count);
        Ok(range)
    }
}
