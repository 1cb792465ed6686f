//! Single keys that somebody watches between two transactions.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use smallvec::SmallVec;

use crate::store::Write;

/// A key that is watched until this is dropped. It says whether another transaction has written the key since, also if that
/// one failed later: it may warn for nothing, and never fails to warn.
#[derive(Clone, Debug)]
pub struct WatchedKey {
    changed: Arc<AtomicBool>,
}

impl WatchedKey {
    /// Whether the key has been written since. Ask in a transaction on the newest state: there the answer is that of
    /// the moment at which it runs.
    pub fn is_changed(&self) -> bool {
        // Only the owner of the store writes it.
        self.changed.load(Ordering::Relaxed)
    }

    fn change(&self) {
        self.changed.store(true, Ordering::Relaxed);
    }

    fn is_asked_for(&self) -> bool {
        // One count is the list's own.
        Arc::strong_count(&self.changed) > 1
    }
}

/// A key that a transaction begins to watch when it has run.
#[derive(Clone, Debug)]
pub struct NewWatch {
    key: Bytes,
    watched: WatchedKey,
}

impl NewWatch {
    pub(crate) fn new(key: Bytes) -> Self {
        NewWatch { key, watched: WatchedKey { changed: Arc::default() } }
    }

    pub(crate) fn watched(&self) -> WatchedKey {
        self.watched.clone()
    }
}

/// The keys that are watched. A commit looks for each key that it writes, and pays nothing if none is watched.
#[derive(Debug, Default)]
pub(super) struct Keys {
    by_key: HashMap<Bytes, SmallVec<[WatchedKey; 1]>>,
    len: usize,
    /// At how many those that nobody asks for are taken out: twice what was left the last time.
    tidy_at: usize,
}

const FEW: usize = 64;

impl Keys {
    pub(super) fn watch(&mut self, NewWatch { key, watched }: NewWatch) {
        if self.len >= self.tidy_at.max(FEW) {
            self.tidy();
        }
        self.by_key.entry(key).or_default().push(watched);
        self.len += 1;
    }

    fn tidy(&mut self) {
        self.by_key.retain(|_, all| {
            all.retain(|watched| watched.is_asked_for());
            !all.is_empty()
        });
        self.len = self.by_key.values().map(SmallVec::len).sum();
        self.tidy_at = 2 * self.len;
    }

    pub(super) fn note(&mut self, writes: &[Write]) {
        if self.by_key.is_empty() {
            return;
        }
        for write in writes {
            if let Some(all) = self.by_key.remove(&write.key) {
                self.len -= all.len();
                all.iter().for_each(WatchedKey::change);
            }
        }
    }

    /// Nobody knows any more what the watched keys were.
    pub(super) fn note_all(&mut self) {
        self.by_key.drain().for_each(|(_, all)| all.iter().for_each(WatchedKey::change));
        self.len = 0;
    }

    /// How many more may be watched if so many may be in all.
    pub(super) fn room(&mut self, limit: usize) -> usize {
        if self.len >= limit {
            self.tidy();
        }
        limit.saturating_sub(self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p16_keys_that_nobody_watches_any_more_take_no_memory_and_make_room() {
        let mut keys = Keys::default();
        let stays = NewWatch::new("stays".into());
        let watched = stays.watched();
        keys.watch(stays);
        for at in 0..10_000 {
            let watch = NewWatch::new(format!("key {}", at % 100).into());
            drop(watch.watched());
            keys.watch(watch);
        }
        assert!(keys.len < 200 && keys.by_key.len() < 200, "{}", keys.len);
        keys.tidy();
        assert_eq!((keys.len, keys.room(1), keys.room(3)), (1, 0, 2));
        keys.note(&[Write { key: "stays".into(), value: None }]);
        assert!(watched.is_changed());
        assert_eq!((keys.len, keys.by_key.len(), keys.room(1)), (0, 0, 1));
    }
}
