//! Which segment holds which LSNs, and who needs them still.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::clock::Tick;
use crate::lsn::Lsn;

/// A segment that is part of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentInfo {
    /// Its sequence number.
    pub sequence: u64,
    /// The name of its file.
    pub name: String,
    /// The last LSN that is live before it: its own records come after.
    pub cut: Lsn,
    /// The last LSN that is live in it; `None` for the segment that is being written.
    pub live_end: Option<Lsn>,
}

impl SegmentInfo {
    /// Whether nothing in it is live.
    fn is_empty(&self) -> bool {
        self.live_end.is_some_and(|end| end <= self.cut)
    }
}

/// The segments of a log in order, the low-water mark, and the holds on them.
#[derive(Debug, Default)]
pub struct Catalog {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    segments: Vec<SegmentInfo>,
    low_water: Lsn,
    holds: BTreeMap<u64, Held>,
    next_hold: u64,
}

#[derive(Debug)]
struct Held {
    from: Lsn,
    touched: Tick,
    lease: Duration,
}

impl Inner {
    /// The last LSN that nobody needs.
    fn releasable(&self) -> Lsn {
        let held = self.holds.values().map(|held| held.from.previous()).min();
        held.map_or(self.low_water, |held| held.min(self.low_water))
    }
}

impl Catalog {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Every change below is complete in itself, so a panic elsewhere leaves nothing half done.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds the segment that is written from now on. Its cut ends the ones before it.
    pub fn begin(&self, segment: SegmentInfo) {
        let mut inner = self.lock();
        for before in &mut inner.segments {
            before.live_end = Some(before.live_end.map_or(segment.cut, |end| end.min(segment.cut)));
        }
        inner.segments.push(segment);
    }

    /// The segment that holds `lsn`, or would hold it next.
    pub fn find(&self, lsn: Lsn) -> Option<SegmentInfo> {
        let holds = |segment: &&SegmentInfo| {
            segment.cut < lsn && segment.live_end.is_none_or(|end| lsn <= end)
        };
        self.lock().segments.iter().find(holds).cloned()
    }

    /// All segments, in order.
    pub fn segments(&self) -> Vec<SegmentInfo> {
        self.lock().segments.clone()
    }

    /// The highest LSN that a checkpoint has released.
    pub fn low_water(&self) -> Lsn {
        self.lock().low_water
    }

    /// Releases everything up to `lsn`, once nobody holds it. Never goes back.
    pub fn raise_low_water(&self, lsn: Lsn) {
        let mut inner = self.lock();
        inner.low_water = inner.low_water.max(lsn);
    }

    /// Whether there are segments that nobody needs.
    pub fn has_removable(&self, now: Tick) -> bool {
        let mut inner = self.lock();
        expire(&mut inner, now);
        let releasable = inner.releasable();
        inner.segments.iter().any(|segment| removable(segment, releasable))
    }

    /// Takes out the segments that nobody needs. The low-water mark must be durable before.
    pub fn take_removable(&self, now: Tick) -> Vec<SegmentInfo> {
        let mut inner = self.lock();
        expire(&mut inner, now);
        let releasable = inner.releasable();
        let segments = std::mem::take(&mut inner.segments);
        let (gone, kept) = segments.into_iter().partition(|segment| removable(segment, releasable));
        inner.segments = kept;
        gone
    }

    /// Keeps everything from `from` on until the hold is given back or its lease runs out.
    pub fn hold(&self, from: Lsn, now: Tick, lease: Duration) -> u64 {
        let mut inner = self.lock();
        let id = inner.next_hold;
        inner.next_hold += 1;
        inner.holds.insert(id, Held { from, touched: now, lease });
        id
    }

    /// Renews a hold, and moves it up to `from`. `false` if its lease has run out.
    pub fn touch(&self, id: u64, from: Lsn, now: Tick) -> bool {
        match self.lock().holds.get_mut(&id) {
            Some(held) => {
                held.from = held.from.max(from);
                held.touched = now;
                true
            }
            None => false,
        }
    }

    /// Whether a reader holds anything.
    pub fn is_held(&self) -> bool {
        !self.lock().holds.is_empty()
    }

    /// Gives a hold back.
    pub fn unhold(&self, id: u64) {
        self.lock().holds.remove(&id);
    }
}

/// A stuck reader must not fill the disk for ever. One that keeps nothing back can wait for ever.
fn expire(inner: &mut Inner, now: Tick) {
    let low_water = inner.low_water;
    inner
        .holds
        .retain(|_, held| held.from > low_water || now.saturating_sub(held.touched) <= held.lease);
}

fn removable(segment: &SegmentInfo, releasable: Lsn) -> bool {
    segment.is_empty() || segment.live_end.is_some_and(|end| end <= releasable)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(sequence: u64, cut: u64) -> SegmentInfo {
        let name = crate::format::segment::segment_name(sequence);
        SegmentInfo { sequence, name, cut: Lsn::new(cut), live_end: None }
    }

    fn catalog() -> Catalog {
        let catalog = Catalog::default();
        for (sequence, cut) in [(1, 0), (2, 10), (3, 20)] {
            catalog.begin(segment(sequence, cut));
        }
        catalog
    }

    fn sequences(segments: Vec<SegmentInfo>) -> Vec<u64> {
        segments.into_iter().map(|segment| segment.sequence).collect()
    }

    #[test]
    fn an_lsn_is_found_in_the_segment_that_holds_it() {
        let catalog = catalog();
        for (lsn, sequence) in [(1, 1), (10, 1), (11, 2), (20, 2), (21, 3), (999, 3)] {
            assert_eq!(catalog.find(Lsn::new(lsn)).map(|found| found.sequence), Some(sequence));
        }
    }

    #[test]
    fn a_cut_below_earlier_segments_takes_their_records_out_of_the_log() {
        let catalog = catalog();
        catalog.begin(segment(4, 15));
        assert_eq!(catalog.find(Lsn::new(15)).map(|found| found.sequence), Some(2));
        assert_eq!(catalog.find(Lsn::new(16)).map(|found| found.sequence), Some(4));
        assert_eq!(sequences(catalog.take_removable(Tick::ZERO)), [3]);
    }

    #[test]
    fn p19_nothing_above_the_low_water_mark_or_held_is_removed() {
        let catalog = catalog();
        let lease = Duration::from_secs(1);
        assert!(!catalog.has_removable(Tick::ZERO));
        let hold = catalog.hold(Lsn::new(10), Tick::ZERO, lease);
        catalog.raise_low_water(Lsn::new(19));
        assert!(!catalog.has_removable(Tick::ZERO));
        assert!(catalog.touch(hold, Lsn::new(11), Tick::ZERO));
        assert_eq!(sequences(catalog.take_removable(Tick::ZERO)), [1]);
        catalog.raise_low_water(Lsn::new(99));
        assert!(!catalog.has_removable(lease));
        assert_eq!(sequences(catalog.take_removable(lease * 2)), [2], "the lease has run out");
        assert!(!catalog.touch(hold, Lsn::new(12), lease * 2));
        assert_eq!(sequences(catalog.segments()), [3], "the segment being written stays");
    }
}
