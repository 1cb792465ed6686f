//! When commits of an open loop are due.
//!
//! The latency of a commit counts from the moment at which it was due. Counted from the moment at which it was sent, a log
//! that stalls would be asked less, and would look better for it: "coordinated omission".

use std::time::Duration;

/// A fixed rate. Commits are numbered 0, 1, 2 and so on; times count from the start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    /// Commits per second, more than zero.
    pub(crate) rate: f64,
    /// Commits that are due from then on count.
    pub(crate) begin: Duration,
    /// No commit is due from then on.
    pub(crate) end: Duration,
}

impl Schedule {
    /// When a commit is due.
    pub(crate) fn due(&self, index: u64) -> Duration {
        Duration::from_secs_f64(index as f64 / self.rate)
    }

    /// How many commits there are in all.
    pub(crate) fn count(&self) -> u64 {
        self.due_before(self.end)
    }

    /// How many commits are due before a moment.
    pub(crate) fn due_before(&self, moment: Duration) -> u64 {
        let mut count = (moment.as_secs_f64() * self.rate).ceil() as u64;
        // The product is rounded, the moments are what counts.
        while count > 0 && self.due(count - 1) >= moment {
            count -= 1;
        }
        while self.due(count) < moment {
            count += 1;
        }
        count
    }

    /// The latency of a commit that was done at a moment, or `None` for one of the warm-up.
    pub(crate) fn latency(&self, index: u64, done: Duration) -> Option<Duration> {
        let due = self.due(index);
        (due >= self.begin).then(|| done.saturating_sub(due))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::figures::Latencies;

    const MS: Duration = Duration::from_millis(1);

    fn schedule() -> Schedule {
        Schedule { rate: 1000.0, begin: 100 * MS, end: 1100 * MS }
    }

    #[test]
    fn commits_are_due_at_the_rate_up_to_the_end() {
        let schedule = schedule();
        assert_eq!(schedule.due(250), 250 * MS);
        assert_eq!(schedule.count(), 1100);
        assert!(schedule.due(1099) < schedule.end && schedule.due(1100) >= schedule.end);
        assert_eq!(schedule.due_before(Duration::ZERO), 0);
        assert_eq!(schedule.due_before(Duration::from_nanos(1)), 1, "the first is due at once");
        assert_eq!(schedule.latency(99, 200 * MS), None, "the warm-up does not count");
        assert_eq!(schedule.latency(100, 101 * MS), Some(MS));
    }

    /// A log that answers within a millisecond, but stands still for half a second. A client that waits for its answer
    /// sends one commit in that time, and so sees one slow commit among five hundred. Half of all commits were late.
    #[test]
    fn a_stall_delays_all_commits_that_were_due_in_it() {
        let schedule = schedule();
        let stalls = 300 * MS..800 * MS;
        let mut latencies = Latencies::new();
        for index in 0..schedule.count() {
            let due = schedule.due(index);
            let sent = if stalls.contains(&due) { stalls.end } else { due };
            latencies.add(schedule.latency(index, sent + MS).unwrap_or_default());
        }
        let seen = latencies.quantiles();
        assert!((seen.max_us - 501_000.0).abs() < 1000.0, "{seen:?}");
        assert!(seen.p99_us > 450_000.0, "{seen:?}");
        let median = seen.p50_us;
        assert!(median < 100_000.0, "half of them were not in the stall: {seen:?}");
    }
}
