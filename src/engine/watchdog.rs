//! When to say that a sync is slow, stuck, or beyond hope. Decides, and does nothing else.

use std::time::Duration;

use super::clock::Tick;
use crate::config::WalConfig;

/// Looks at how long things take, and raises each alarm once.
#[derive(Clone, Debug)]
pub struct Watchdog {
    slow_after: Duration,
    stalled_after: Duration,
    give_up_after: Duration,
    slow: bool,
    stalled: bool,
    /// When it last said that nobody should wait on.
    given_up: Option<Tick>,
}

/// What others have to hear of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alarm {
    /// A sync takes long.
    Slow,
    /// A sync does not return.
    Stalled,
    /// It has returned after all.
    Returned,
    /// Nobody should wait on.
    GivenUp {
        /// Whether this is news. It is repeated for those who have come to wait since.
        first: bool,
    },
}

impl Watchdog {
    /// A watchdog with the limits of these settings.
    pub fn new(config: &WalConfig) -> Self {
        Watchdog {
            slow_after: config.slow_sync,
            stalled_after: config.stalled_after,
            give_up_after: config.give_up_after,
            slow: false,
            stalled: false,
            given_up: None,
        }
    }

    /// How often it should look while anything is in flight.
    pub fn interval(&self) -> Duration {
        let shortest = self.slow_after.min(self.give_up_after) / 2;
        shortest.clamp(Duration::from_millis(5), Duration::from_secs(1))
    }

    /// Looks at `now`: how long a write or sync has been running, and how long there has been no epoch.
    pub fn look(
        &mut self,
        now: Tick,
        running: Option<Duration>,
        unavailable: Option<Duration>,
    ) -> Vec<Alarm> {
        let running = running.unwrap_or_default();
        let mut alarms = Vec::new();
        let was_slow = std::mem::replace(&mut self.slow, running >= self.slow_after);
        if self.slow && !was_slow {
            alarms.push(Alarm::Slow);
        }
        let stalled = running >= self.stalled_after;
        if stalled && !self.stalled {
            self.stalled = true;
            alarms.push(Alarm::Stalled);
        } else if self.stalled && !self.slow {
            self.stalled = false;
            self.given_up = None;
            alarms.push(Alarm::Returned);
        }
        let hopeless = stalled && running >= self.stalled_after.saturating_add(self.give_up_after)
            || unavailable.is_some_and(|time| time >= self.give_up_after);
        let due = self.given_up.is_none_or(|last| now.saturating_sub(last) >= self.give_up_after);
        if hopeless && due {
            alarms.push(Alarm::GivenUp { first: self.given_up.is_none() });
            self.given_up = Some(now);
        }
        alarms
    }

    /// An epoch has begun: whatever was given up before, waiting makes sense again.
    pub fn epoch_began(&mut self) {
        self.given_up = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Slow after 1 s, stalled after 10 s, given up 30 s later.
    fn watchdog() -> Watchdog {
        Watchdog::new(&WalConfig::new("unused"))
    }

    #[test]
    fn p6_a_stuck_sync_raises_each_alarm_once_and_repeats_only_for_those_who_come_to_wait() {
        let mut watchdog = watchdog();
        let alarms: Vec<_> = (0..=75)
            .flat_map(|at| {
                watchdog
                    .look(at * SECOND, Some(at * SECOND), None)
                    .into_iter()
                    .map(move |it| (at, it))
            })
            .collect();
        let expected = [
            (1, Alarm::Slow),
            (10, Alarm::Stalled),
            (40, Alarm::GivenUp { first: true }),
            (70, Alarm::GivenUp { first: false }),
        ];
        assert_eq!(alarms, expected);
        assert_eq!(watchdog.look(76 * SECOND, None, None), [Alarm::Returned]);
        assert_eq!(watchdog.look(77 * SECOND, None, None), []);
    }

    #[test]
    fn p6_a_log_without_an_epoch_is_given_up_until_one_begins() {
        let mut watchdog = watchdog();
        assert_eq!(watchdog.look(29 * SECOND, None, Some(29 * SECOND)), []);
        let first = Alarm::GivenUp { first: true };
        assert_eq!(watchdog.look(30 * SECOND, None, Some(30 * SECOND)), [first]);
        watchdog.epoch_began();
        assert_eq!(watchdog.look(99 * SECOND, None, Some(30 * SECOND)), [first]);
    }

    #[test]
    fn a_quick_disk_raises_no_alarm() {
        let mut watchdog = watchdog();
        for at in 0..100 {
            assert_eq!(watchdog.look(at * SECOND, Some(SECOND / 2), None), []);
        }
    }
}
