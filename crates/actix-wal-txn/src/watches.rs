//! Which ranges of keys serializable transactions have read, and which keys are watched from one transaction to the next; and
//! whether somebody has written there since.

mod keys;

use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use slab::Slab;

use self::keys::Keys;
pub use self::keys::{NewWatch, WatchedKey};
use crate::store::{KeyRange, Write};

/// The ranges that open transactions have read. Each commit looks at all of them, so their number is a cost that every
/// writer pays, and is bounded over all transactions.
#[derive(Debug)]
pub struct Watches {
    open: Slab<Open>,
    keys: Keys,
    limit: usize,
    /// At how many those that nobody asks for are taken out: twice what was left the last time.
    tidy_at: usize,
}

#[derive(Debug)]
struct Open {
    range: KeyRange,
    changed: Arc<AtomicBool>,
}

impl Open {
    /// Whether there is anybody left to be told that the range is changed.
    fn is_asked_for(&self) -> bool {
        // One count is the list's own.
        Arc::strong_count(&self.changed) > 1 && !self.changed.load(Ordering::Relaxed)
    }
}

const FEW: usize = 64;

/// As many ranges are watched as are allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{limit} ranges are watched for serializable transactions, and no more are allowed: try again when some have ended, \
     read larger pieces or untracked ones, or raise the limit"
)]
pub struct TooManyRanges {
    /// The bound.
    pub limit: usize,
}

/// A range that is watched until this is dropped.
#[derive(Debug)]
pub struct Watched {
    /// Its place, as long as it is not changed.
    id: usize,
    changed: Arc<AtomicBool>,
}

impl Watched {
    /// Whether somebody has written to the range.
    pub fn is_changed(&self) -> bool {
        // Only the owner of the store writes and asks.
        self.changed.load(Ordering::Relaxed)
    }
}

impl Default for Watches {
    fn default() -> Self {
        Watches::new(Watches::LIMIT)
    }
}

impl Watches {
    /// How many ranges may be watched unless told otherwise.
    pub const LIMIT: usize = 10_000;

    /// How many keys may be watched. They cost a commit nothing, only memory: about 100 bytes each.
    pub const KEYS: usize = 1_000_000;

    /// At most so many ranges, over all transactions.
    pub fn new(limit: usize) -> Self {
        Watches { open: Slab::new(), keys: Keys::default(), limit, tidy_at: 0 }
    }

    /// Watches a key from now on.
    pub(crate) fn watch_key(&mut self, watch: NewWatch) {
        self.keys.watch(watch);
    }

    /// How many more keys may be watched.
    pub(crate) fn room_for_keys(&mut self) -> usize {
        self.keys.room(Watches::KEYS)
    }

    /// Commits have been taken back: what was seen of the newest state may never have been.
    pub(crate) fn note_failure(&mut self) {
        self.keys.note_all();
    }

    /// Watches a range, which has been changed already or not.
    ///
    /// # Errors
    /// Too many are watched.
    pub fn watch(&mut self, range: KeyRange, is_changed: bool) -> Result<Watched, TooManyRanges> {
        if self.open.len() >= self.tidy_at.max(FEW).min(self.limit) {
            self.open.retain(|_, open| open.is_asked_for());
            self.tidy_at = 2 * self.open.len();
        }
        if self.open.len() >= self.limit {
            return Err(TooManyRanges { limit: self.limit });
        }
        let changed = Arc::new(AtomicBool::new(is_changed));
        let id = self.open.insert(Open { range, changed: Arc::clone(&changed) });
        Ok(Watched { id, changed })
    }

    /// Moves the end of a range behind what has been read since, and that has been changed already or not.
    pub fn extend(&mut self, watched: &Watched, to: Bound<Bytes>, is_changed: bool) {
        // One that is changed is not watched any more, and its place may be that of another one.
        if watched.is_changed() {
            return;
        }
        watched.changed.store(is_changed, Ordering::Relaxed);
        if let Some(open) = self.open.get_mut(watched.id) {
            open.range.to = to;
        }
    }

    /// Somebody commits these writes. A commit that fails later leaves its marks: a transaction may be refused for
    /// nothing, but none commits that should not.
    pub fn note(&mut self, writes: &[Write]) {
        self.keys.note(writes);
        self.open.retain(|_, open| {
            if writes.iter().any(|write| open.range.contains(&write.key)) {
                open.changed.store(true, Ordering::Relaxed);
            }
            open.is_asked_for()
        });
    }

    /// How many ranges are watched, with some whose transactions have ended.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(from: &'static str, to: &'static str) -> KeyRange {
        KeyRange { from: Bound::Included(from.into()), to: Bound::Included(to.into()) }
    }

    fn write(key: &'static str) -> [Write; 1] {
        [Write { key: key.into(), value: None }]
    }

    #[test]
    fn p16_ranges_of_ended_transactions_take_no_memory_though_nobody_commits() {
        let mut watches = Watches::default();
        let stays = watches.watch(KeyRange::all(), false).unwrap();
        for _ in 0..10_000 {
            drop(watches.watch(KeyRange::all(), false).unwrap());
        }
        assert!(watches.len() < 200, "{}", watches.len());
        watches.note(&write("a"));
        assert!(stays.is_changed() && watches.is_empty());
    }

    #[test]
    fn p16_ranges_are_bounded_over_all_transactions_and_one_that_ends_makes_room() {
        let mut watches = Watches::new(3);
        let mut watched: Vec<_> =
            (0..3).map(|_| watches.watch(range("a", "b"), false).unwrap()).collect();
        let refused = watches.watch(range("a", "b"), false).unwrap_err();
        assert_eq!(refused, TooManyRanges { limit: 3 });
        assert_eq!(watches.len(), 3);
        watched.pop();
        watched.push(watches.watch(range("c", "d"), false).unwrap());
        watches.note(&write("a"));
        assert_eq!(
            watched.iter().map(Watched::is_changed).collect::<Vec<_>>(),
            [true, true, false]
        );
    }

    #[test]
    fn p25_a_range_that_has_grown_is_watched_up_to_its_new_end() {
        for (key, is_changed) in [("a", true), ("b", true), ("c", true), ("d", false)] {
            let mut watches = Watches::default();
            let grows = watches.watch(range("a", "b"), false).unwrap();
            watches.extend(&grows, Bound::Included("c".into()), false);
            watches.note(&write(key));
            assert_eq!(grows.is_changed(), is_changed, "{key}");
        }
        let mut watches = Watches::default();
        let grows = watches.watch(range("a", "b"), false).unwrap();
        watches.extend(&grows, Bound::Included("c".into()), true);
        assert!(grows.is_changed(), "what was added had been changed");
    }

    #[test]
    fn p25_a_changed_range_that_grows_does_not_take_the_place_of_another_one() {
        let mut watches = Watches::default();
        let changed = watches.watch(range("a", "b"), false).unwrap();
        watches.note(&write("a"));
        let other = watches.watch(range("c", "d"), false).unwrap();
        watches.extend(&changed, Bound::Included("b".into()), false);
        watches.note(&write("d"));
        assert!(changed.is_changed() && other.is_changed());
    }
}
