//! What commands know beside the data. Nothing of it is durable, and nothing of it decides what the data are.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use super::cursors::Cursors;
use super::watch::Watches;

/// So many places hold the times at which keys were accessed.
const PLACES: usize = 1 << 16;

/// Shared by all connections. Commands run on the thread of the coordinator; its locks are held for moments, by one at a time.
#[derive(Debug)]
pub struct Host {
    /// The longest value that a command may make, in bytes.
    max_value: AtomicUsize,
    /// How many bytes keys and values may take.
    max_memory: AtomicUsize,
    cursors: Mutex<Cursors>,
    /// When a key of each hash was accessed last, in seconds since 1970.
    accessed: Box<[AtomicU32]>,
    hashes: RandomState,
    /// When this began, in the same seconds: what was accessed before counts from here on.
    since: u32,
    random: AtomicU64,
    watches: Mutex<Watches>,
    /// How many keys were deleted since they had expired.
    expired: AtomicU64,
    /// How many those were when they were counted from 0 again.
    expired_at_reset: AtomicU64,
}

impl Default for Host {
    fn default() -> Self {
        let hashes = RandomState::new();
        let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
        let random = hashes.hash_one(since);
        Host {
            max_value: AtomicUsize::new(Host::MAX_VALUE),
            max_memory: AtomicUsize::new(usize::MAX),
            cursors: Mutex::new(Cursors::new(random)),
            accessed: (0..PLACES).map(|_| AtomicU32::new(0)).collect(),
            hashes,
            since: seconds(since.saturating_mul(1000)),
            random: AtomicU64::new(random),
            watches: Mutex::default(),
            expired: AtomicU64::new(0),
            expired_at_reset: AtomicU64::new(0),
        }
    }
}

impl Host {
    /// The longest value unless it is [set](Self::apply): 16 MiB.
    pub const MAX_VALUE: usize = 16 << 20;

    /// The longest value that a command may make, in bytes: `proto-max-bulk-len`.
    pub fn max_value(&self) -> usize {
        self.max_value.load(Ordering::Relaxed)
    }

    /// How many bytes keys and values may take; without a limit the most that there is.
    pub fn max_memory(&self) -> usize {
        self.max_memory.load(Ordering::Relaxed)
    }

    /// Changes the longest value, and how much memory there is; 0 is no limit.
    pub fn apply(&self, max_value: usize, max_memory: usize) {
        self.max_value.store(max_value, Ordering::Relaxed);
        let max_memory = if max_memory == 0 { usize::MAX } else { max_memory };
        self.max_memory.store(max_memory, Ordering::Relaxed);
    }

    /// The keys that clients watch.
    pub(super) fn watches(&self) -> MutexGuard<'_, Watches> {
        self.watches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many keys were deleted since they had expired, also by transactions that failed later.
    pub fn expired(&self) -> u64 {
        self.expired_in_all().wrapping_sub(self.expired_at_reset.load(Ordering::Relaxed))
    }

    /// The same since the start, whatever was reset.
    pub(crate) fn expired_in_all(&self) -> u64 {
        self.expired.load(Ordering::Relaxed)
    }

    /// Counts from 0 again.
    pub fn reset_expired(&self) {
        self.expired_at_reset.store(self.expired_in_all(), Ordering::Relaxed);
    }

    /// Keys are deleted since they had expired.
    pub(super) fn count_expired(&self, keys: u64) {
        self.expired.fetch_add(keys, Ordering::Relaxed);
    }

    /// Where each `SCAN` goes on.
    pub(crate) fn cursors(&self) -> MutexGuard<'_, Cursors> {
        self.cursors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a key of the store is accessed. `now` is in milliseconds since 1970.
    pub(super) fn touch(&self, path: &[u8], now: u64) {
        self.accessed[self.place(path)].store(seconds(now), Ordering::Relaxed);
    }

    /// For how many seconds the key of the store was not accessed, at least. Keys of one hash share a place, so an access to
    /// one of them hides that the others are idle; and what was accessed before the server started counts from its start.
    pub(super) fn idle(&self, path: &[u8], now: u64) -> u32 {
        let accessed = self.accessed[self.place(path)].load(Ordering::Relaxed);
        seconds(now).saturating_sub(accessed.max(self.since))
    }

    fn place(&self, path: &[u8]) -> usize {
        self.hashes.hash_one(path) as usize % PLACES
    }

    /// A number below this one, which is not 0, by chance (SplitMix64; Steele and others, OOPSLA 2014).
    pub(crate) fn random_below(&self, bound: usize) -> usize {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut mixed = self.random.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % bound.max(1) as u64) as usize
    }
}

fn seconds(milliseconds: u64) -> u32 {
    u32::try_from(milliseconds / 1000).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_idle_since_its_last_access_and_one_never_accessed_since_the_start() {
        let host = Host::default();
        let start = u64::from(host.since) * 1000;
        assert_eq!(host.idle(b"a", start + 5_999), 5);
        host.touch(b"a", start + 4_000);
        assert_eq!(host.idle(b"a", start + 10_000), 6);
        assert_eq!(host.idle(b"a", start), 0, "a clock may go back");
        assert_eq!(host.idle(b"b", 0), 0);
    }

    #[test]
    fn numbers_by_chance_lie_below_their_bound_and_reach_all_of_it() {
        let host = Host::default();
        let mut seen = [false; 10];
        (0..1000).for_each(|_| seen[host.random_below(10)] = true);
        assert_eq!(seen, [true; 10]);
        assert_eq!(host.random_below(0), 0);
    }
}
