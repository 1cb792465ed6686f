//! How often a failed Flusher may start again, and how long it waits before.

use std::collections::VecDeque;
use std::time::Duration;

use crate::config::RestartBudget;
use crate::runtime::clock::Tick;

/// Counts restarts within the window of the budget.
#[derive(Clone, Debug)]
pub struct Restarts {
    budget: RestartBudget,
    recent: VecDeque<Tick>,
    /// Restarts that were not charged. They make the wait longer all the same.
    uncharged: VecDeque<Tick>,
}

/// The wait does not double more often than this.
const MOST_DOUBLINGS: usize = 16;

impl Restarts {
    /// None so far.
    pub fn new(budget: RestartBudget) -> Self {
        Restarts { budget, recent: VecDeque::new(), uncharged: VecDeque::new() }
    }

    /// A fault happened at `now`. How long to wait before the restart, or `None` if the budget is spent.
    /// What passes by itself (a full disk, a shortage of the process) is `charged: false`: it must not use the
    /// budget up (promise P21). Time in which the process stood still counts as any other: it only makes
    /// the log forgive earlier.
    pub fn after_fault(&mut self, now: Tick, charged: bool) -> Option<Duration> {
        let within = self.budget.within;
        let is_recent = |at: &Tick| now.saturating_sub(*at) < within;
        self.recent.retain(is_recent);
        self.uncharged.retain(is_recent);
        let before = self.recent.len() + self.uncharged.len();
        if !charged {
            self.uncharged.push_back(now);
            if self.uncharged.len() > MOST_DOUBLINGS {
                self.uncharged.pop_front();
            }
        } else if self.recent.len() as u64 >= u64::from(self.budget.restarts) {
            return None;
        } else {
            self.recent.push_back(now);
        }
        let doubled = self.budget.backoff.saturating_mul(1 << before.min(MOST_DOUBLINGS));
        Some(doubled.min(self.budget.max_backoff))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn restarts() -> Restarts {
        let within = Duration::from_secs(60);
        let backoff = Duration::from_millis(10);
        let max_backoff = Duration::from_millis(35);
        Restarts::new(RestartBudget { restarts: 4, within, backoff, max_backoff })
    }

    #[test]
    fn the_wait_doubles_up_to_its_limit_and_then_the_budget_is_spent() {
        let mut restarts = restarts();
        let waits: Vec<_> = (0..5)
            .map(|_| restarts.after_fault(Tick::ZERO, true).map(|wait| wait.as_millis()))
            .collect();
        assert_eq!(waits, [Some(10), Some(20), Some(35), Some(35), None]);
    }

    #[test]
    fn old_restarts_are_forgotten_and_a_full_disk_is_never_charged() {
        let mut restarts = restarts();
        for second in 0..4 {
            assert!(restarts.after_fault(Duration::from_secs(second), true).is_some());
        }
        for _ in 0..100 {
            let wait = restarts.after_fault(Duration::from_secs(4), false);
            assert_eq!(wait, Some(Duration::from_millis(35)), "but it is waited for");
        }
        assert!(restarts.uncharged.len() <= MOST_DOUBLINGS);
        assert_eq!(restarts.after_fault(Duration::from_secs(59), true), None);
        assert!(restarts.after_fault(Duration::from_secs(60), true).is_some());
    }
}
