//! When the next snapshot is written without being asked for.

use std::time::Duration;

use super::SnapshotPlan;

/// How long to wait after one that failed: a full disk is not written to all the time.
const RETRY: Duration = Duration::from_secs(10);

/// Whether it is time. Times are those of the host's clock.
#[derive(Debug)]
pub(crate) struct Due {
    after_log_bytes: Option<u64>,
    after_time: Option<Duration>,
    /// The size of the last one.
    last_bytes: u64,
    last: Duration,
    log_bytes: u64,
    not_before: Duration,
}

impl Due {
    /// The last one is this large, and the log has grown by so much since.
    pub(crate) fn new(plan: &SnapshotPlan, last_bytes: u64, log_bytes: u64) -> Self {
        Due {
            after_log_bytes: plan.after_log_bytes,
            after_time: plan.after_time,
            last_bytes,
            last: Duration::ZERO,
            log_bytes,
            not_before: Duration::ZERO,
        }
    }

    /// A record goes into the log.
    pub(crate) fn logged(&mut self, bytes: usize) {
        self.log_bytes += bytes as u64;
    }

    /// How much the log has grown since the last one.
    pub(crate) fn log_bytes(&self) -> u64 {
        self.log_bytes
    }

    /// Whether one is to be written now.
    pub(crate) fn is_due(&self, now: Duration) -> bool {
        let by_bytes = self
            .after_log_bytes
            .is_some_and(|most| self.log_bytes >= most.max(1) && self.log_bytes >= self.last_bytes);
        let by_time = self.after_time.is_some_and(|most| now.saturating_sub(self.last) >= most);
        now >= self.not_before && (by_bytes || by_time && self.log_bytes > 0)
    }

    /// One is good, that began when the log had grown by so much.
    pub(crate) fn written(&mut self, now: Duration, bytes: u64, log_bytes_then: u64) {
        (self.last, self.last_bytes) = (now, bytes);
        self.log_bytes = self.log_bytes.saturating_sub(log_bytes_then);
    }

    /// One failed.
    pub(crate) fn failed(&mut self, now: Duration) {
        self.not_before = now + RETRY;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn due(change: impl FnOnce(&mut SnapshotPlan)) -> Due {
        let mut plan = SnapshotPlan::in_folder("unused");
        plan.after_log_bytes = None;
        change(&mut plan);
        Due::new(&plan, 0, 0)
    }

    #[test]
    fn the_log_has_to_grow_by_the_bound_and_by_the_size_of_the_last_one() {
        let mut due = due(|plan| plan.after_log_bytes = Some(100));
        due.logged(99);
        assert!(!due.is_due(SECOND));
        due.logged(1);
        assert!(due.is_due(SECOND));
        due.logged(50);
        due.written(SECOND, 500, 100);
        assert_eq!(due.log_bytes(), 50, "what was logged while it was written");
        due.logged(449);
        assert!(!due.is_due(SECOND));
        due.logged(1);
        assert!(due.is_due(SECOND));
    }

    #[test]
    fn a_snapshot_that_is_old_is_written_again_if_the_log_has_grown() {
        let mut due = due(|plan| plan.after_time = Some(60 * SECOND));
        assert!(!due.is_due(90 * SECOND), "nothing has changed");
        due.logged(1);
        assert!(due.is_due(60 * SECOND) && !due.is_due(59 * SECOND));
        due.written(70 * SECOND, 500, 0);
        assert!(!due.is_due(129 * SECOND) && due.is_due(130 * SECOND));
    }

    #[test]
    fn after_one_that_failed_the_next_one_waits() {
        let mut due = due(|plan| plan.after_log_bytes = Some(100));
        due.logged(100);
        due.failed(SECOND);
        assert!(!due.is_due(10 * SECOND) && due.is_due(11 * SECOND));
    }
}
