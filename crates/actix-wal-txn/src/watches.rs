//! Which ranges of keys serializable transactions have read, and whether somebody has written there since.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::store::{KeyRange, Write};

/// The ranges that open transactions have read. Each commit looks at all of them, so their number is a cost that every
/// writer pays.
#[derive(Debug, Default)]
pub struct Watches {
    open: Vec<(KeyRange, Watched)>,
}

/// A range that is watched until this is dropped.
#[derive(Debug)]
pub struct Watched(Arc<AtomicBool>);

impl Watched {
    /// Whether somebody has written to the range.
    pub fn is_changed(&self) -> bool {
        // Only the owner of the store writes and asks.
        self.0.load(Ordering::Relaxed)
    }
}

impl Watches {
    /// Watches a range, which has been changed already or not.
    pub fn watch(&mut self, range: KeyRange, is_changed: bool) -> Watched {
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
            // One count is the list's own. Nobody needs to be told twice.
            Arc::strong_count(&watched.0) > 1 && !watched.is_changed()
        });
    }

    /// How many ranges are watched, with those whose transactions have ended since the last commit.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }
}
