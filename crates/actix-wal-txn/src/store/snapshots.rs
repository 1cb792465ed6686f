//! Which snapshots are open, and hence what may be collected.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use actix_wal::Lsn;

/// A view of the store as it was at an LSN. It keeps the versions that it shows from being collected until it is
/// dropped, with all of its clones, or grows too old.
#[derive(Clone, Debug)]
pub struct Snapshot {
    lsn: Lsn,
    // Its count says whether anybody still reads: nothing has to be released, and so nothing can be released twice.
    _open: Arc<()>,
}

impl Snapshot {
    /// It shows what was committed up to this LSN, and nothing later.
    pub fn lsn(&self) -> Lsn {
        self.lsn
    }
}

/// The snapshots that are open, oldest first; and some that have been dropped since.
#[derive(Debug, Default)]
pub(super) struct Snapshots {
    open: VecDeque<Entry>,
    /// At how many entries the dropped ones are taken out: twice what was left the last time.
    tidy_at: usize,
}

const FEW: usize = 64;

#[derive(Debug)]
struct Entry {
    snapshot: Snapshot,
    /// The time of the host's clock when it was opened.
    since: Duration,
    /// How old it may grow.
    age: Duration,
}

impl Entry {
    fn is_open(&self) -> bool {
        // One of them is the entry's own.
        Arc::strong_count(&self.snapshot._open) > 1
    }
}

impl Snapshots {
    /// Opens a snapshot, which may grow so old. Neither `lsn` nor `now` is ever lower than before.
    pub(super) fn open(&mut self, lsn: Lsn, now: Duration, age: Duration) -> Snapshot {
        if self.open.len() >= self.tidy_at.max(FEW) {
            self.open.retain(Entry::is_open);
            self.tidy_at = 2 * self.open.len();
        }
        let snapshot = Snapshot { lsn, _open: Arc::default() };
        self.open.push_back(Entry { snapshot: snapshot.clone(), since: now, age });
        snapshot
    }

    /// The oldest snapshot that is open, and when it was opened.
    pub(super) fn oldest(&mut self) -> Option<(Lsn, Duration)> {
        self.oldest_at(Duration::ZERO)
    }

    /// The same without those that are too old by now: their views end. One behind it that is too old is kept as long,
    /// which keeps nothing more.
    pub(super) fn oldest_at(&mut self, now: Duration) -> Option<(Lsn, Duration)> {
        while let Some(first) = self.open.front() {
            if first.is_open() && first.since.saturating_add(first.age) >= now {
                return Some((first.snapshot.lsn, first.since));
            }
            self.open.pop_front();
        }
        None
    }

    /// How many are open.
    pub(super) fn len(&self) -> usize {
        self.open.iter().filter(|entry| entry.is_open()).count()
    }

    #[cfg(test)]
    pub(super) fn entries(&self) -> usize {
        self.open.len()
    }
}
