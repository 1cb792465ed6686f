//! Who waits for which LSN, and which LSNs the watermark does not cover.

use std::collections::{BTreeMap, VecDeque};
use std::sync::PoisonError;

use super::watermark::Watermark;
use crate::error::{Cause, CommitError};
use crate::lsn::{Lsn, LsnRange};
use crate::runtime::sync::{AtomicU64, Ordering, RwLock};

/// What became of an LSN at or below the watermark, or of one that will never get there.
#[derive(Clone, Debug)]
pub enum Fate {
    /// It is durable.
    Durable,
    /// It is certainly not in the log.
    NotDurable(Cause),
    /// It may or may not be in the log.
    Unknown(Cause),
}

impl Fate {
    /// The answer to the client that waits for this LSN.
    pub fn into_result(self, lsn: Lsn) -> Result<(), CommitError> {
        match self {
            Fate::Durable => Ok(()),
            Fate::NotDurable(cause) => Err(CommitError::NotDurable { lsn, cause }),
            Fate::Unknown(cause) => Err(CommitError::Unknown { lsn, cause }),
        }
    }
}

/// Which LSNs failed, for all threads to look up.
#[derive(Debug)]
pub struct Outcomes {
    /// The highest LSN in the table: what is appended after a fault or an unclean end is above it, and need not be
    /// looked up.
    last_exception: AtomicU64,
    table: RwLock<Exceptions>,
}

impl Default for Outcomes {
    fn default() -> Self {
        Outcomes { last_exception: AtomicU64::new(0), table: RwLock::new(Exceptions::default()) }
    }
}

impl Outcomes {
    /// Notes LSNs that the watermark does not cover. Comes before the watermark passes them.
    pub fn note(&self, range: LsnRange, fate: Fate) {
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        table.note(range, fate);
        self.last_exception.fetch_max(range.last.get(), Ordering::AcqRel);
    }

    /// What became of `lsn`, or `None` while it is open. Each commit asks it: only the look into the table is a call.
    #[inline]
    pub fn fate(&self, lsn: Lsn, watermark: &Watermark) -> Option<Fate> {
        // The watermark first: an exception below it was noted before it was raised.
        let durable = lsn <= watermark.durable();
        if lsn.get() <= self.last_exception.load(Ordering::Acquire)
            && let Some(fate) = self.exception(lsn)
        {
            return Some(fate);
        }
        durable.then_some(Fate::Durable)
    }

    #[cold]
    fn exception(&self, lsn: Lsn) -> Option<Fate> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        table.fate(lsn).cloned()
    }

    /// May forget exceptions at or below `lsn`, which a checkpoint has released, if there are very many.
    pub fn forget_through(&self, lsn: Lsn) {
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        table.forget_through(lsn);
    }

    /// LSNs that are certainly not in the log, and those of which nobody knows, as far as no checkpoint
    /// has released them.
    pub fn exceptions(&self) -> (Vec<LsnRange>, Vec<LsnRange>) {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        let (mut failed, mut unknown) = (Vec::new(), Vec::new());
        for (range, fate) in table.iter() {
            match fate {
                Fate::NotDurable(_) => failed.push(range),
                Fate::Unknown(_) => unknown.push(range),
                Fate::Durable => {}
            }
        }
        (failed, unknown)
    }
}

/// How many ranges are kept for clients that ask late; a fault adds two at most.
const KEPT_RANGES: usize = 4096;

/// The LSNs that are not durable although the watermark may pass them, and those of which nobody knows.
///
/// Neighbouring ranges with the same kind of fate are joined, so the table grows with faults, not with
/// records. A checkpoint may forget the oldest of what lies below it, but only past a generous number: a
/// client that asks late must not be told that a refused record is durable.
#[derive(Debug, Default)]
pub struct Exceptions {
    ranges: BTreeMap<Lsn, (Lsn, Fate)>,
}

impl Exceptions {
    /// Notes the fate of a range that is not in the table yet.
    pub fn note(&mut self, range: LsnRange, fate: Fate) {
        if let Some((_, (last, before))) = self.ranges.range_mut(..range.first).next_back()
            && last.next() == range.first
            && std::mem::discriminant(before) == std::mem::discriminant(&fate)
        {
            *last = range.last;
            return;
        }
        self.ranges.insert(range.first, (range.last, fate));
    }

    /// The fate of `lsn` if it is an exception.
    pub fn fate(&self, lsn: Lsn) -> Option<&Fate> {
        let (_, (last, fate)) = self.ranges.range(..=lsn).next_back()?;
        (lsn <= *last).then_some(fate)
    }

    /// The ranges in LSN order, each with its fate.
    pub fn iter(&self) -> impl Iterator<Item = (LsnRange, &Fate)> {
        self.ranges.iter().map(|(first, (last, fate))| {
            let range = LsnRange { first: *first, last: *last };
            (range, fate)
        })
    }

    /// Forgets the oldest ranges that lie wholly at or below `lsn`, as far as there are too many.
    pub fn forget_through(&mut self, lsn: Lsn) {
        while self.ranges.len() > KEPT_RANGES
            && let Some(oldest) = self.ranges.first_entry()
            && oldest.get().0 <= lsn
        {
            oldest.remove();
        }
    }

    /// Whether there are none.
    #[cfg(any(test, feature = "testkit"))]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }
}

/// Those who wait for an LSN, in LSN order. `W` is how one of them is told.
#[derive(Debug)]
pub struct Waiters<W> {
    /// Commits arrive in LSN order, so this is all there is in the usual case.
    in_order: VecDeque<(Lsn, W)>,
    /// `wait_for_lsn` may come late.
    late: BTreeMap<Lsn, Vec<W>>,
    len: usize,
    /// At how many it is worth looking for those who have gone away.
    prune_at: usize,
}

/// Room for so many waiters is kept when none is left.
const MUCH_ROOM: usize = 4096;

/// Fewer waiters than this are not looked through for those who have gone away.
const PRUNE_FROM: usize = 1024;

impl<W> Default for Waiters<W> {
    fn default() -> Self {
        Waiters { in_order: VecDeque::new(), late: BTreeMap::new(), len: 0, prune_at: PRUNE_FROM }
    }
}

impl<W> Waiters<W> {
    /// Adds one who waits for `lsn`.
    pub fn add(&mut self, lsn: Lsn, waiter: W) {
        self.len += 1;
        if self.in_order.back().is_none_or(|(last, _)| *last <= lsn) {
            self.in_order.push_back((lsn, waiter));
        } else {
            self.late.entry(lsn).or_default().push(waiter);
        }
    }

    /// Takes out those who wait for an LSN up to `through`, and hands them to `tell`.
    pub fn take_through(&mut self, through: Lsn, tell: impl FnMut(Lsn, W)) {
        self.take(LsnRange { first: Lsn::NONE, last: through }, tell);
    }

    /// Takes out those who wait for an LSN in `range`, and hands them to `tell`.
    pub fn take(&mut self, range: LsnRange, mut tell: impl FnMut(Lsn, W)) {
        let from = self.in_order.partition_point(|(lsn, _)| *lsn < range.first);
        let to = self.in_order.partition_point(|(lsn, _)| *lsn <= range.last);
        self.len -= to - from;
        self.in_order.drain(from..to).for_each(|(lsn, waiter)| tell(lsn, waiter));
        if self.in_order.is_empty() && self.in_order.capacity() > MUCH_ROOM {
            self.in_order.shrink_to(MUCH_ROOM);
        }
        while let Some(lsn) = self.late.range(range.first..=range.last).next().map(|late| *late.0) {
            for waiter in self.late.remove(&lsn).unwrap_or_default() {
                self.len -= 1;
                tell(lsn, waiter);
            }
        }
    }

    /// Forgets waiters that have gone away, each time the number of waiters has doubled: a client that waits again and
    /// again with a time-out for a stuck disk must not fill the memory (promise P16).
    pub fn prune(&mut self, has_gone: impl Fn(&W) -> bool) {
        if self.len < self.prune_at {
            return;
        }
        self.in_order.retain(|(_, waiter)| !has_gone(waiter));
        self.late.values_mut().for_each(|waiters| waiters.retain(|waiter| !has_gone(waiter)));
        self.late.retain(|_, waiters| !waiters.is_empty());
        self.len = self.in_order.len() + self.late.values().map(Vec::len).sum::<usize>();
        self.prune_at = (2 * self.len).max(PRUNE_FROM);
    }

    /// How many wait.
    #[cfg(any(test, feature = "testkit"))]
    pub fn count(&self) -> usize {
        self.len
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: u64, last: u64) -> LsnRange {
        LsnRange::new(Lsn::new(first), Lsn::new(last)).expect("not empty")
    }

    #[test]
    fn neighbouring_exceptions_are_joined_and_a_checkpoint_forgets_only_the_oldest_of_very_many() {
        let mut table = Exceptions::default();
        table.note(range(5, 6), Fate::NotDurable(Cause::Closed));
        table.note(range(7, 9), Fate::NotDurable(Cause::Closed));
        table.note(range(10, 10), Fate::Unknown(Cause::Closed));
        assert_eq!(table.ranges.len(), 2);
        assert!(table.fate(Lsn::new(4)).is_none() && table.fate(Lsn::new(11)).is_none());
        assert!(matches!(table.fate(Lsn::new(9)), Some(Fate::NotDurable(_))));
        assert!(matches!(table.fate(Lsn::new(10)), Some(Fate::Unknown(_))));
        table.forget_through(Lsn::new(9));
        assert!(
            table.fate(Lsn::new(9)).is_some(),
            "a late question must not be answered with durable"
        );
        (10..10 + KEPT_RANGES as u64).for_each(|at| {
            table.note(range(2 * at, 2 * at), Fate::NotDurable(Cause::Closed));
        });
        table.forget_through(Lsn::new(9));
        assert!(table.fate(Lsn::new(9)).is_none() && table.fate(Lsn::new(10)).is_some());
        assert!(table.ranges.len() > KEPT_RANGES, "nothing above the checkpoint is forgotten");
    }

    #[test]
    fn p16_those_who_have_gone_away_are_forgotten() {
        let mut waiters = Waiters::default();
        for round in 0..100_000u64 {
            let gone = round % 100 > 0;
            waiters.add(Lsn::new(round % 7 + 1), gone);
            waiters.prune(|gone| *gone);
            assert!(waiters.count() <= 2 * (round as usize / 100 + 1) + PRUNE_FROM);
        }
        let mut told = 0;
        waiters.take_through(Lsn::MAX, |_, gone| told += usize::from(!gone));
        assert_eq!((told, waiters.count()), (1000, 0), "those that still wait are answered");
    }

    #[test]
    fn waiters_are_woken_up_to_the_watermark_and_not_beyond_also_those_who_came_late() {
        let mut waiters = Waiters::default();
        for lsn in [3, 5, 4, 5, 1, 9] {
            waiters.add(Lsn::new(lsn), lsn);
        }
        let mut told = Vec::new();
        waiters.take_through(Lsn::new(5), |lsn, waiter| {
            assert_eq!(lsn.get(), waiter);
            told.push(waiter);
        });
        told.sort_unstable();
        assert_eq!((told, waiters.count()), (vec![1, 3, 4, 5, 5], 1));
    }
}
