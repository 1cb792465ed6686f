//! Which ranges of keys serializable transactions have read, and whether somebody has written there since.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::store::{KeyRange, Write};

/// The ranges that open transactions have read. Each commit looks at all of them, so their number is a cost that every
/// writer pays.
#[derive(Debug, Default)]
pub struct Watches {
    open: Vec<(KeyRange, Watched)>,
    /// At how many those that nobody asks for are taken out: twice what was left the last time.
    tidy_at: usize,
}

const FEW: usize = 64;

/// A range that is watched until this is dropped.
#[derive(Debug)]
pub struct Watched(Arc<AtomicBool>);

impl Watched {
    /// Whether somebody has written to the range.
    pub fn is_changed(&self) -> bool {
        // Only the owner of the store writes and asks.
        self.0.load(Ordering::Relaxed)
    }

    /// Whether there is anybody left to be told that the range is changed.
    fn is_asked_for(&self) -> bool {
        // One count is the list's own.
        Arc::strong_count(&self.0) > 1 && !self.is_changed()
    }
}

impl Watches {
    /// Watches a range, which has been changed already or not.
    pub fn watch(&mut self, range: KeyRange, is_changed: bool) -> Watched {
        if self.open.len() >= self.tidy_at.max(FEW) {
            self.open.retain(|(_, watched)| watched.is_asked_for());
            self.tidy_at = 2 * self.open.len();
        }
        let changed = Arc::new(AtomicBool::new(is_changed));
        self.open.push((range, Watched(Arc::clone(&changed))));
        Watched(changed)
    }

    /// Somebody commits these writes. A commit that fails later leaves its marks: a transaction may be refused for
    /// nothing, but none commits that should not.
    pub fn note(&mut self, writes: &[Write]) {
        self.open.retain(|(range, watched)| {
            if writes.iter().any(|write| range.contains(&write.key)) {
                watched.0.store(true, Ordering::Relaxed);
            }
            watched.is_asked_for()
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

    #[test]
    fn p16_ranges_of_ended_transactions_take_no_memory_though_nobody_commits() {
        let mut watches = Watches::default();
        let stays = watches.watch(KeyRange::all(), false);
        for _ in 0..10_000 {
            drop(watches.watch(KeyRange::all(), false));
        }
        assert!(watches.len() < 200, "{}", watches.len());
        watches.note(&[Write { key: "a".into(), value: None }]);
        assert!(stays.is_changed() && watches.is_empty());
    }
}
