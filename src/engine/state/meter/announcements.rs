//! Batches that are durable and of which the Flusher has not sent the event yet.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::lsn::Lsn;
use crate::runtime::clock::Tick;

/// So many batches may wait for the Flusher before several of them count as one.
const WAITING: usize = 64;

/// A batch that is durable.
#[derive(Clone, Copy, Debug)]
pub(super) struct Done {
    /// Its last LSN.
    pub(super) through: Lsn,
    /// When its sync returned.
    pub(super) synced: Tick,
    /// When its oldest record had its LSN.
    pub(super) oldest: Tick,
    /// How many batches it stands for.
    pub(super) batches: u64,
}

#[derive(Debug, Default)]
struct Slot {
    through: AtomicU64,
    synced: AtomicU64,
    oldest: AtomicU64,
    batches: AtomicU64,
}

/// A ring from the flush thread, which alone puts in, to the Flusher, which alone takes out.
#[derive(Debug)]
pub(super) struct Announcements {
    slots: Box<[Slot]>,
    put: AtomicU64,
    taken: AtomicU64,
}

impl Default for Announcements {
    fn default() -> Self {
        let slots = (0..WAITING).map(|_| Slot::default()).collect();
        Announcements { slots, put: AtomicU64::new(0), taken: AtomicU64::new(0) }
    }
}

impl Announcements {
    fn slot(&self, at: u64) -> &Slot {
        &self.slots[(at % WAITING as u64) as usize]
    }

    /// Puts a batch in. `false` if there is no room.
    pub(super) fn put(&self, done: Done) -> bool {
        let put = self.put.load(Ordering::Relaxed);
        if put - self.taken.load(Ordering::Acquire) >= WAITING as u64 {
            return false;
        }
        let slot = self.slot(put);
        slot.through.store(done.through.get(), Ordering::Relaxed);
        slot.synced.store(nanos(done.synced), Ordering::Relaxed);
        slot.oldest.store(nanos(done.oldest), Ordering::Relaxed);
        slot.batches.store(done.batches, Ordering::Relaxed);
        self.put.store(put + 1, Ordering::Release);
        true
    }

    /// Takes the next batch out, if an event up to this LSN covers it.
    pub(super) fn take(&self, through: Lsn) -> Option<Done> {
        let taken = self.taken.load(Ordering::Relaxed);
        if taken == self.put.load(Ordering::Acquire) {
            return None;
        }
        let slot = self.slot(taken);
        let done = Done {
            through: Lsn::new(slot.through.load(Ordering::Relaxed)),
            synced: Tick::from_nanos(slot.synced.load(Ordering::Relaxed)),
            oldest: Tick::from_nanos(slot.oldest.load(Ordering::Relaxed)),
            batches: slot.batches.load(Ordering::Relaxed),
        };
        if done.through > through {
            return None;
        }
        self.taken.store(taken + 1, Ordering::Release);
        Some(done)
    }
}

/// The nanoseconds of a time; 584 years are enough.
pub(super) fn nanos(time: Tick) -> u64 {
    time.as_nanos() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_come_out_in_order_once_an_event_covers_them_and_a_full_ring_takes_no_more() {
        let ring = Announcements::default();
        let batch = |lsn: u64| Done {
            through: Lsn::new(lsn),
            synced: Tick::from_nanos(lsn * 2),
            oldest: Tick::from_nanos(lsn),
            batches: 1,
        };
        let (mut next, mut last) = (1, 0);
        for _ in 0..3 {
            while ring.put(batch(last + 1)) {
                last += 1;
            }
            assert_eq!(last + 1 - next, WAITING as u64);
            assert!(ring.take(Lsn::new(next - 1)).is_none());
            while let Some(done) = ring.take(Lsn::new(last - 3)) {
                assert_eq!((done.through.get(), nanos(done.synced)), (next, next * 2));
                next += 1;
            }
            assert_eq!(next, last - 2);
        }
    }
}
