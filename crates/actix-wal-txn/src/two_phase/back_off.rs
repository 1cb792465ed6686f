//! When something is sent again.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

/// How long to wait for an answer before a message is sent again: longer each time, and never the same for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackOff {
    /// About how long the first time.
    pub first: Duration,
    /// About how long at most.
    pub most: Duration,
}

impl Default for BackOff {
    /// From 200 ms to 10 s.
    fn default() -> Self {
        BackOff { first: Duration::from_millis(200), most: Duration::from_secs(10) }
    }
}

/// A number for the jitter. Each `RandomState` has fresh keys, seeded by the operating system.
pub(super) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// A message that is sent until it is answered.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Again {
    times: u32,
    due: Duration,
}

impl Again {
    /// It is to be sent at this time, for the first time.
    pub(super) fn due_at(due: Duration) -> Self {
        Again { times: 0, due }
    }

    /// It has been sent now, for the first time.
    pub(super) fn after(now: Duration, back_off: BackOff) -> Self {
        Again { times: 0, due: now + back_off.first }
    }

    /// Whether it is to be sent now; then this counts as done. `random` gives the jitter: between half of the time and all
    /// of it, so that many that lost their coordinator at once do not ask it at once.
    pub(super) fn is_due(
        &mut self,
        now: Duration,
        back_off: BackOff,
        random: &mut dyn FnMut() -> u64,
    ) -> bool {
        // The clock may have been set back.
        if now < self.due && self.due - now <= back_off.most {
            return false;
        }
        let wait = back_off.first.saturating_mul(1 << self.times.min(20)).min(back_off.most);
        self.times = self.times.saturating_add(1);
        self.due = now + wait / 2 + (wait / 2).mul_f64((random() % 1024) as f64 / 1024.0);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_waits_longer_each_time_up_to_a_bound_and_survives_a_clock_that_is_set_back() {
        let back_off =
            BackOff { first: Duration::from_millis(100), most: Duration::from_millis(1000) };
        let mut now = Duration::from_secs(100);
        let mut again = Again::after(now, back_off);
        assert!(!again.is_due(now + Duration::from_millis(99), back_off, &mut || 0));
        let mut waits = Vec::new();
        let mut last = now;
        while waits.len() < 6 {
            now += Duration::from_millis(1);
            if again.is_due(now, back_off, &mut || 512) {
                waits.push((now - last).as_millis());
                last = now;
            }
        }
        assert_eq!(waits, [100, 75, 150, 300, 600, 750]);
        assert!(again.is_due(Duration::from_secs(1), back_off, &mut || 0), "a year to wait");
    }
}
