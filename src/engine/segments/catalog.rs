//! Which segment holds which LSNs, and who needs them still.

use std::collections::{BTreeMap, VecDeque};
use std::mem;
use std::sync::PoisonError;
use std::time::Duration;

use crate::engine::segments::clearing::OldSegment;
use crate::lsn::{Lsn, LsnRange};
use crate::runtime::clock::Tick;
use crate::runtime::sync::{AtomicU64, Mutex, MutexGuard, Ordering};

/// A segment that is part of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SegmentInfo {
    /// Its sequence number.
    pub sequence: u64,
    /// The name of its file in the directory of the log.
    pub name: String,
    /// The size of its file in bytes, as it was begun, or as this life found it. A close cuts the file of the
    /// newest segment behind its last frame.
    pub size: u64,
    /// The last LSN that is live before it: its own records come after.
    pub cut: Lsn,
    /// The last LSN that is live in it; `None` for the segment that is being written.
    pub live_end: Option<Lsn>,
    /// Where its frames end at the latest, in bytes: a hint for a search for one of them.
    pub(crate) used: u64,
}

impl SegmentInfo {
    /// A segment that is written from now on.
    pub fn new(sequence: u64, name: impl Into<String>, size: u64, cut: Lsn) -> Self {
        SegmentInfo { sequence, name: name.into(), size, cut, live_end: None, used: size }
    }

    /// Whether its records will not change any more, so that its file can be copied away.
    pub fn is_complete(&self) -> bool {
        self.live_end.is_some()
    }

    /// From the first LSN to the last one that is live in it, with the LSNs in between that name no record;
    /// `None` if no record is live in it, and for the segment that is being written.
    pub fn lsns(&self) -> Option<LsnRange> {
        LsnRange::new(self.cut.next(), self.live_end?)
    }

    /// Whether nothing in it is live.
    fn is_empty(&self) -> bool {
        self.live_end.is_some_and(|end| end <= self.cut)
    }
}

impl From<SegmentInfo> for OldSegment {
    fn from(segment: SegmentInfo) -> Self {
        OldSegment { name: segment.name, size: segment.size }
    }
}

/// With so few segments their list keeps its memory.
const FEW: usize = 16;

/// The segments of a log in order, the low-water mark, and the holds on them.
#[derive(Debug)]
pub struct Catalog {
    inner: Mutex<Inner>,
    /// The offset behind the last frame of the segment that is being written; zero if it is not known.
    tail: AtomicU64,
}

impl Default for Catalog {
    fn default() -> Self {
        Catalog { inner: Mutex::new(Inner::default()), tail: AtomicU64::new(0) }
    }
}

#[derive(Debug, Default)]
struct Inner {
    /// Those that hold live records, in order, and the one that is being written. A live end is never below
    /// that of an earlier segment, which is what `find` searches by.
    segments: VecDeque<SegmentInfo>,
    /// Those of which nothing is live any more.
    empty: Vec<SegmentInfo>,
    low_water: Lsn,
    holds: BTreeMap<u64, Hold>,
    next_hold: u64,
}

#[derive(Debug)]
struct Hold {
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
        let tail = self.tail.swap(0, Ordering::Relaxed);
        if let Some(last) = inner.segments.back_mut().filter(|_| tail > 0) {
            last.used = tail;
        }
        // A segment that ends at or before the cut, and so all before it, is left as it is.
        let cut = segment.cut;
        let shortened =
            inner.segments.partition_point(|one| one.live_end.is_some_and(|end| end <= cut));
        for mut one in inner.segments.split_off(shortened) {
            one.live_end = Some(cut);
            if one.is_empty() {
                inner.empty.push(one);
            } else {
                inner.segments.push_back(one);
            }
        }
        inner.segments.push_back(segment);
    }

    /// The segment that is being written has frames up to this offset. Comes before the watermark that covers
    /// the last of them.
    pub fn note_tail(&self, offset: u64) {
        self.tail.store(offset, Ordering::Relaxed);
    }

    /// The segment that holds `lsn`, or would hold it next.
    pub fn find(&self, lsn: Lsn) -> Option<SegmentInfo> {
        let inner = self.lock();
        let at = inner.segments.partition_point(|one| one.live_end.is_some_and(|end| end < lsn));
        let mut found = inner.segments.get(at).filter(|segment| segment.cut < lsn)?.clone();
        let tail = self.tail.load(Ordering::Relaxed);
        if !found.is_complete() && tail > 0 {
            found.used = tail;
        }
        Some(found)
    }

    /// The segments that hold live records, in order, and the one that is being written.
    pub fn segments(&self) -> Vec<SegmentInfo> {
        self.lock().segments.iter().cloned().collect()
    }

    /// The segment that is being written, or was last.
    pub fn last(&self) -> Option<SegmentInfo> {
        self.lock().segments.back().cloned()
    }

    /// How many segments there are, with those of which nothing is live any more.
    pub fn len(&self) -> usize {
        let inner = self.lock();
        inner.segments.len() + inner.empty.len()
    }

    /// Whether no segment was begun yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The file of a segment was cut to this size.
    pub fn note_size(&self, sequence: u64, size: u64) {
        let mut inner = self.lock();
        let at = inner.segments.partition_point(|one| one.sequence < sequence);
        if let Some(segment) = inner.segments.get_mut(at).filter(|one| one.sequence == sequence) {
            (segment.size, segment.used) = (size, segment.used.min(size));
        }
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
        let first = inner.segments.front();
        !inner.empty.is_empty() || first.is_some_and(|first| is_released(first, releasable))
    }

    /// Takes out the segments that nobody needs. The low-water mark must be durable before.
    pub fn take_removable(&self, now: Tick) -> Vec<SegmentInfo> {
        let mut inner = self.lock();
        expire(&mut inner, now);
        let releasable = inner.releasable();
        let released = inner.segments.partition_point(|one| is_released(one, releasable));
        let mut gone: Vec<_> = inner.segments.drain(..released).collect();
        gone.append(&mut mem::take(&mut inner.empty));
        let left = inner.segments.len();
        if inner.segments.capacity() > 4 * left.max(FEW) {
            inner.segments.shrink_to(2 * left);
        }
        gone
    }

    /// Keeps everything from `from` on until the hold is given back or its lease runs out.
    pub fn hold(&self, from: Lsn, now: Tick, lease: Duration) -> u64 {
        let mut inner = self.lock();
        let id = inner.next_hold;
        inner.next_hold += 1;
        inner.holds.insert(id, Hold { from, touched: now, lease });
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

/// A stuck reader must not fill the disk. A hold that keeps nothing back does not expire.
fn expire(inner: &mut Inner, now: Tick) {
    let low_water = inner.low_water;
    inner
        .holds
        .retain(|_, held| held.from > low_water || now.saturating_sub(held.touched) <= held.lease);
}

fn is_released(segment: &SegmentInfo, releasable: Lsn) -> bool {
    segment.live_end.is_some_and(|end| end <= releasable)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(sequence: u64, cut: u64) -> SegmentInfo {
        let name = crate::format::segment::segment_name(sequence);
        SegmentInfo::new(sequence, name, 1 << 20, Lsn::new(cut))
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
