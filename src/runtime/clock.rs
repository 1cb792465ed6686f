//! Time and chance, as values that are handed in: the engine has no source of its own for either.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Monotonic time since an origin that is the same for all parts of one log.
pub type Tick = Duration;

/// Where the shells around the engine get time and chance from.
pub trait Clock: Send + Sync + fmt::Debug {
    /// Monotonic time.
    fn now(&self) -> Tick;

    /// Microseconds since 1970, for people only: nothing is decided by it, so it may jump.
    fn wall_us(&self) -> u64;

    /// A number that nobody can guess, for salts and the id of a new log.
    fn random(&self) -> u64;
}

/// The clock of the operating system.
#[derive(Clone, Debug)]
pub struct SystemClock {
    origin: Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        SystemClock { origin: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Tick {
        self.origin.elapsed()
    }

    fn wall_us(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64)
    }

    fn random(&self) -> u64 {
        // Every `RandomState` has fresh keys, seeded by the operating system.
        RandomState::new().build_hasher().finish()
    }
}
