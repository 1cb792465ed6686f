//! How long the I/O that the flush thread waits for has been running, and whether anyone looks.

use std::time::Duration;

use crate::runtime::clock::Tick;
use crate::runtime::sync::{AtomicBool, AtomicU64, Ordering};

/// Between the flush thread, which does the I/O, and the Flusher, which looks whether it returns.
///
/// A write or sync that runs is always watched: before it begins the thread [says so](Self::is_coming), and the
/// Flusher [stops looking](Self::stop_watching) only when none runs or is coming.
#[derive(Debug)]
pub struct IoWatch {
    /// Whether the Flusher looks from time to time.
    watched: AtomicBool,
    /// Nanoseconds at which the I/O began, plus one; zero if none runs.
    since: AtomicU64,
    stalled: AtomicBool,
}

impl Default for IoWatch {
    fn default() -> Self {
        IoWatch {
            watched: AtomicBool::new(false),
            since: AtomicU64::new(0),
            stalled: AtomicBool::new(false),
        }
    }
}

impl IoWatch {
    /// A write or a sync is about to begin: it counts as running from now on, until [`ended`](Self::ended). Whether the
    /// Flusher has to be woken, since it does not look.
    #[must_use = "the Flusher does not look by itself"]
    pub fn is_coming(&self, now: Tick) -> bool {
        // First the time, then the flag: a Flusher that stops looking afterwards sees the time.
        self.awaits(now);
        !self.watched.swap(true, Ordering::SeqCst)
    }

    /// A write or a sync begins.
    pub fn begins(&self, now: Tick) {
        self.since.store(now.as_nanos() as u64 + 1, Ordering::SeqCst);
    }

    /// The flush thread waits for something that I/O elsewhere has to bring: a segment.
    pub fn awaits(&self, now: Tick) {
        let since = now.as_nanos() as u64 + 1;
        let _ = self.since.compare_exchange(0, since, Ordering::SeqCst, Ordering::SeqCst);
    }

    /// The write or sync returned.
    pub fn ended(&self) {
        self.since.store(0, Ordering::SeqCst);
    }

    /// When the write or sync that runs now began.
    pub fn since(&self) -> Option<Tick> {
        self.since.load(Ordering::SeqCst).checked_sub(1).map(Duration::from_nanos)
    }

    /// The Flusher looks from now on.
    pub fn start_watching(&self) {
        self.watched.store(true, Ordering::SeqCst);
    }

    /// Whether the Flusher looks from time to time, or was asked to.
    pub fn is_watched(&self) -> bool {
        self.watched.load(Ordering::SeqCst)
    }

    /// The Flusher looks no more. Whether it has to go on all the same: a write began in between, and its thread saw
    /// that someone looks.
    #[must_use = "a write that has begun must be watched"]
    pub fn stop_watching(&self) -> bool {
        // Not a store: it has to see what the thread did before it saw that someone looks.
        self.watched.swap(false, Ordering::SeqCst);
        self.since.load(Ordering::SeqCst) != 0 && !self.watched.swap(true, Ordering::SeqCst)
    }

    /// Whether a sync has not returned for longer than the configured limit.
    pub fn is_stalled(&self) -> bool {
        self.stalled.load(Ordering::Acquire)
    }

    /// Notes whether a sync is stuck.
    pub fn set_stalled(&self, stalled: bool) {
        self.stalled.store(stalled, Ordering::Release);
    }
}
