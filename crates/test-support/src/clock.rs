//! The clock of the system, wrong in the way a test wants.

use std::fmt;

use actix_wal::testkit::internals::runtime::clock::{Clock, SystemClock, Tick};

type Bend<T> = Box<dyn Fn(T) -> T + Send + Sync>;

/// The clock of the system, but for what is replaced. Each replacement is given the right answer.
#[derive(Default)]
pub struct BentClock {
    system: SystemClock,
    now: Option<Bend<Tick>>,
    wall: Option<Bend<u64>>,
    random: Option<Bend<u64>>,
}

impl BentClock {
    /// Replaces the monotonic time.
    pub fn now(self, bend: impl Fn(Tick) -> Tick + Send + Sync + 'static) -> Self {
        BentClock { now: Some(Box::new(bend)), ..self }
    }

    /// Replaces the time of day, in microseconds.
    pub fn wall(self, bend: impl Fn(u64) -> u64 + Send + Sync + 'static) -> Self {
        BentClock { wall: Some(Box::new(bend)), ..self }
    }

    /// Replaces the chance.
    pub fn random(self, bend: impl Fn(u64) -> u64 + Send + Sync + 'static) -> Self {
        BentClock { random: Some(Box::new(bend)), ..self }
    }
}

impl fmt::Debug for BentClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BentClock")
    }
}

fn bent<T>(right: T, bend: &Option<Bend<T>>) -> T {
    match bend {
        Some(bend) => bend(right),
        None => right,
    }
}

impl Clock for BentClock {
    fn now(&self) -> Tick {
        bent(self.system.now(), &self.now)
    }

    fn wall_us(&self) -> u64 {
        bent(self.system.wall_us(), &self.wall)
    }

    fn random(&self) -> u64 {
        bent(self.system.random(), &self.random)
    }
}
