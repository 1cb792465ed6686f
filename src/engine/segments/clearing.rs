//! Clearing up: old segments that nobody needs, removed one at a time, and one sync of the directory for many.
//!
//! Power loss may take any of the removals since the last sync and leave the others. Either is safe: the next
//! open finds what is left, of which nothing is live, and removes it. The sync only bounds how many it
//! finds.

use std::{
    collections::VecDeque,
    error::Error,
    fmt, io, mem,
    panic::{AssertUnwindSafe, catch_unwind},
};

use tracing::warn;

use crate::storage::Storage;

/// One sync of the directory makes so many removals durable.
pub(super) const REMOVALS_PER_SYNC: usize = 64;

/// A segment that nobody needs any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OldSegment {
    /// The name of its file.
    pub name: String,
    /// The size of its file in bytes: only a full one is used again.
    pub size: u64,
}

/// Old segments, oldest first, and how far their removal has come. Each is a file, so there are no more of them
/// than the disk has held.
#[derive(Default)]
pub(super) struct Clearing {
    old: VecDeque<OldSegment>,
    /// How many were removed since the directory was synced.
    unsynced: usize,
    /// How many of them could not be removed, and why not the first.
    left: (usize, Option<io::Error>),
    /// Whether the last time failed, and that was said.
    in_trouble: bool,
}

impl fmt::Debug for Clearing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to remove, {} to sync", self.old.len(), self.unsynced)
    }
}

impl Clearing {
    /// One more to remove.
    pub(super) fn add(&mut self, old: OldSegment) {
        self.old.push_back(old);
    }

    /// Whether everything is removed, durably.
    pub(super) fn is_clear(&self) -> bool {
        self.old.is_empty() && self.unsynced == 0
    }

    /// The one to remove next; `None` if it is time for a [`sync`](Self::sync).
    pub(super) fn next(&mut self) -> Option<OldSegment> {
        if self.unsynced >= REMOVALS_PER_SYNC {
            return None;
        }
        let next = self.old.pop_front();
        if self.old.is_empty() {
            // Many may have been released at once: their memory goes too.
            self.old = VecDeque::new();
        }
        next
    }

    /// Removes it, as far as the storage lets us.
    pub(super) fn remove(&mut self, storage: &dyn Storage, old: &OldSegment) {
        self.unsynced += 1;
        match guarded(|| storage.remove(&old.name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                self.left.0 += 1;
                self.left.1.get_or_insert(error);
            }
            _ => {}
        }
    }

    /// Makes the removals so far durable.
    pub(super) fn sync(&mut self, storage: &dyn Storage) {
        if mem::take(&mut self.unsynced) == 0 {
            return;
        }
        let synced = guarded(|| storage.sync_dir());
        let (count, error) = mem::take(&mut self.left);
        let error = error.or(synced.err());
        let was_in_trouble = mem::replace(&mut self.in_trouble, error.is_some());
        if let Some(error) = error.filter(|_| !was_in_trouble) {
            // The next open finds them below the low-water mark and removes them then.
            warn!(count, error = &error as &dyn Error, "can not remove old segments");
        }
    }
}

/// A panic in the storage is an error like any other.
pub(super) fn guarded(act: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    catch_unwind(AssertUnwindSafe(act))
        .unwrap_or_else(|_| Err(io::Error::other("the storage panicked")))
}
