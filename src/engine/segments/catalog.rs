//! Which segment holds which LSNs, and who needs them still.

use std::collections::{BTreeMap, VecDeque};
use std::mem;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use serde::Serialize;

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

/// Something that keeps a log from releasing records: see [`Wal::holds`](crate::Wal::holds).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct HoldInfo {
    /// The first LSN that it keeps, as a number.
    pub from: u64,
    /// What holds it: the name that a [`Hold`](crate::Hold) was given, or "a reader".
    pub owner: String,
    /// How long it has been there.
    pub age: Duration,
    /// After how long without progress it ends by itself; `None` for a [`Hold`](crate::Hold).
    pub lease: Option<Duration>,
}

/// What a log takes of the disk, and what keeps it from giving that back.
#[cfg_attr(not(feature = "metrics"), allow(dead_code, reason = "metrics alone ask for it"))]
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Segments, with those of which nothing is live any more.
    pub segments: usize,
    /// Their bytes.
    pub bytes: u64,
    /// The age of the oldest reader, or zero.
    pub oldest_reader: Duration,
    /// The age of the oldest hold without a lease, or zero.
    pub oldest_hold: Duration,
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
    /// The highest LSN that a checkpoint has asked to release.
    wished: Lsn,
    holds: BTreeMap<u64, Held>,
    next_hold: u64,
}

#[derive(Debug)]
struct Held {
    from: Lsn,
    owner: Arc<str>,
    since: Tick,
    touched: Tick,
    /// `None` for what the log itself must keep: a replay begins no later.
    lease: Option<Duration>,
}

impl Inner {
    fn add(&mut self, held: Held) -> u64 {
        let id = self.next_hold;
        self.next_hold += 1;
        self.holds.insert(id, held);
        id
    }

    /// The last LSN that nobody needs.
    fn releasable(&self) -> Lsn {
        let held = self.holds.values().map(|held| held.from.previous()).min();
        held.map_or(self.low_water, |held| held.min(self.low_water))
    }

    /// As far as was asked for, and as holds without a lease allow. Never goes back. Whether it has risen.
    fn raise_low_water(&mut self) -> bool {
        let before = self.low_water;
        let kept = self.holds.values().filter(|held| held.lease.is_none());
        let end = kept.map(|held| held.from.previous()).min().unwrap_or(Lsn::MAX);
        self.low_water = before.max(self.wished.min(end));
        self.low_water > before
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

    /// What the log takes of the disk, and what keeps that. Unlike [`holds`](Self::holds) it ends no lease: a look changes
    /// nothing.
    #[cfg_attr(not(feature = "metrics"), allow(dead_code, reason = "metrics alone ask for it"))]
    pub fn usage(&self, now: Tick) -> Usage {
        let inner = self.lock();
        let mut usage =
            Usage { segments: inner.segments.len() + inner.empty.len(), ..Usage::default() };
        usage.bytes = inner.segments.iter().chain(&inner.empty).map(|segment| segment.size).sum();
        for held in inner.holds.values() {
            let age = now.saturating_sub(held.since);
            let oldest = match held.lease {
                Some(_) => &mut usage.oldest_reader,
                None => &mut usage.oldest_hold,
            };
            *oldest = age.max(*oldest);
        }
        usage
    }

    /// Whether no segment was begun yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The file of a segment was cut to this size. Also where nothing in it is live any more: a file that is shorter than its
    /// segment must not be taken for one that can be used again.
    pub fn note_size(&self, sequence: u64, size: u64) {
        let mut inner = self.lock();
        let Inner { segments, empty, .. } = &mut *inner;
        let all = segments.iter_mut().chain(empty);
        for segment in all.filter(|segment| segment.sequence == sequence) {
            (segment.size, segment.used) = (size, segment.used.min(size));
        }
    }

    /// The highest LSN that a checkpoint has released.
    pub fn low_water(&self) -> Lsn {
        self.lock().low_water
    }

    /// The highest LSN that a checkpoint has asked to release.
    pub fn wished(&self) -> Lsn {
        self.lock().wished
    }

    /// Releases everything up to `lsn` that no [`Hold`](crate::Hold) keeps; the rest when those are gone.
    pub fn raise_low_water(&self, lsn: Lsn) {
        let mut inner = self.lock();
        inner.wished = inner.wished.max(lsn);
        inner.raise_low_water();
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

    /// Keeps everything from `from` on for a reader, until the hold is given back or its lease runs out.
    pub fn hold(&self, from: Lsn, now: Tick, lease: Duration) -> u64 {
        let (owner, lease) = (Arc::from("a reader"), Some(lease));
        self.lock().add(Held { from, owner, since: now, touched: now, lease })
    }

    /// Keeps everything from `from` on until the hold is given back.
    ///
    /// # Errors
    /// Some of it is released already: everything up to this LSN.
    pub fn keep(&self, from: Lsn, owner: Arc<str>, now: Tick) -> Result<u64, Lsn> {
        let mut inner = self.lock();
        if from <= inner.low_water {
            return Err(inner.low_water);
        }
        Ok(inner.add(Held { from, owner, since: now, touched: now, lease: None }))
    }

    /// Keeps what is appended from now on, which is above `accepted`.
    pub fn keep_what_comes(&self, accepted: Lsn, owner: Arc<str>, now: Tick) -> u64 {
        let mut inner = self.lock();
        let from = accepted.max(inner.low_water).next();
        inner.add(Held { from, owner, since: now, touched: now, lease: None })
    }

    /// Everything that holds something, the oldest LSN first.
    pub fn holds(&self, now: Tick) -> Vec<HoldInfo> {
        let mut inner = self.lock();
        expire(&mut inner, now);
        let mut holds: Vec<_> = inner.holds.values().map(|held| held.info(now)).collect();
        holds.sort_by_key(|held| held.from);
        holds
    }

    /// Renews a hold, and moves it up to `from`. `false` if its lease has run out.
    pub fn touch(&self, id: u64, from: Lsn, now: Tick) -> bool {
        let mut inner = self.lock();
        let Some(held) = inner.holds.get_mut(&id) else { return false };
        held.from = held.from.max(from);
        held.touched = now;
        true
    }

    /// Moves a hold without a lease up to `from`. Whether that releases anything.
    pub fn raise_hold(&self, id: u64, from: Lsn) -> bool {
        let mut inner = self.lock();
        let Some(held) = inner.holds.get_mut(&id) else { return false };
        held.from = held.from.max(from);
        inner.raise_low_water()
    }

    /// Whether a reader holds anything.
    pub fn is_read(&self) -> bool {
        self.lock().holds.values().any(|held| held.lease.is_some())
    }

    /// Gives a hold back. Whether that raises the low-water mark.
    pub fn unhold(&self, id: u64) -> bool {
        let mut inner = self.lock();
        inner.holds.remove(&id).is_some() && inner.raise_low_water()
    }
}

impl Held {
    fn info(&self, now: Tick) -> HoldInfo {
        HoldInfo {
            from: self.from.get(),
            owner: self.owner.to_string(),
            age: now.saturating_sub(self.since),
            lease: self.lease,
        }
    }
}

/// A stuck reader must not fill the disk. A hold that keeps nothing back does not expire.
fn expire(inner: &mut Inner, now: Tick) {
    let low_water = inner.low_water;
    inner.holds.retain(|_, held| {
        let is_fresh = |lease| now.saturating_sub(held.touched) <= lease;
        held.from > low_water || held.lease.is_none_or(is_fresh)
    });
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

    /// Recovery carries the last frame over. If it was the only one of its segment, nothing is live there when the file is cut.
    #[test]
    fn a_segment_has_the_size_that_its_file_was_cut_to_also_if_nothing_in_it_is_live() {
        let catalog = catalog();
        catalog.begin(segment(4, 20));
        catalog.note_size(2, 8192);
        catalog.note_size(3, 4096);
        catalog.raise_low_water(Lsn::new(99));
        let sizes = catalog.take_removable(Tick::ZERO).into_iter();
        let sizes: Vec<_> = sizes.map(|segment| (segment.sequence, segment.size)).collect();
        assert_eq!(sizes, [(1, 1 << 20), (2, 8192), (3, 4096)]);
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

    #[test]
    fn p19_what_is_kept_is_not_released_and_is_as_soon_as_it_is_kept_no_more() {
        let catalog = catalog();
        let (name, day) = (|name: &str| Arc::from(name), Tick::ZERO.saturating_add(DAY));
        let [old, new] = [10, 15]
            .map(|from| catalog.keep(Lsn::new(from), name("a transaction"), Tick::ZERO).unwrap());
        catalog.raise_low_water(Lsn::new(19));
        assert_eq!((catalog.low_water(), catalog.wished()), (Lsn::new(9), Lsn::new(19)));
        assert!(!catalog.has_removable(day), "it has no lease");
        assert_eq!(catalog.keep(Lsn::new(9), name("late"), Tick::ZERO), Err(Lsn::new(9)));
        let held: Vec<_> =
            catalog.holds(day).into_iter().map(|held| (held.from, held.age)).collect();
        assert_eq!(held, [(10, DAY), (15, DAY)]);
        catalog.unhold(old);
        assert_eq!(catalog.low_water(), Lsn::new(14));
        assert_eq!(sequences(catalog.take_removable(day)), [1]);
        assert!(catalog.raise_hold(new, Lsn::new(18)));
        assert_eq!(catalog.low_water(), Lsn::new(17));
        catalog.unhold(new);
        assert_eq!(catalog.low_water(), Lsn::new(19));
        // What comes next is above what is released, whatever is read of it before.
        let next = catalog.keep_what_comes(Lsn::new(12), name("a prepare"), day);
        assert_eq!(catalog.holds(day)[0].from, 20);
        assert!(!catalog.is_read(), "nobody reads a file");
        catalog.unhold(next);
        assert!(catalog.holds(day).is_empty());
    }

    const DAY: Duration = Duration::from_secs(86_400);
}
