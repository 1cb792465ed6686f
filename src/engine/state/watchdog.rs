//! When to say that a sync is slow, stuck, or beyond hope. Decides, and does nothing else.
//!
//! It counts the time in which the process ran, as far as its own looks show it: a look that comes much later
//! than it was due counts as one interval. A debugger, a freezer or a live migration stops the process and
//! not the clock, and what passes then is not the disk's time.

use std::time::Duration;

use crate::config::WalConfig;
use crate::runtime::clock::Tick;

/// Looks at how long things take, and raises each alarm once.
#[derive(Clone, Debug)]
pub struct Watchdog {
    slow_after: Duration,
    stalled_after: Duration,
    give_up_after: Duration,
    slow: bool,
    stalled: bool,
    /// When it looked last, by the clock.
    looked: Tick,
    /// How long the process has run while it looked. Below, times are by this count.
    awake: Duration,
    running: Option<Span>,
    unavailable: Option<Span>,
    /// When it last said that nobody should wait on.
    given_up: Option<Duration>,
}

/// Something that lasts.
#[derive(Clone, Copy, Debug)]
struct Span {
    /// When it began, by the clock: another time is another span.
    since: Tick,
    /// The same, by the count of the watchdog.
    from: Duration,
}

/// What the Flusher has to announce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alarm {
    /// A sync takes long.
    Slow,
    /// A sync does not return.
    Stalled,
    /// It has returned after all.
    Returned,
    /// Nobody should wait on. Repeated for those that have come to wait since.
    GivenUp,
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
            looked: Tick::ZERO,
            awake: Duration::ZERO,
            running: None,
            unavailable: None,
            given_up: None,
        }
    }

    /// How often it should look while anything is in flight.
    pub fn interval(&self) -> Duration {
        let shortest = self.slow_after.min(self.give_up_after) / 2;
        shortest.clamp(Duration::from_millis(5), Duration::from_secs(1))
    }

    /// Looks at `now`: since when a write or sync has been running, and since when there has been no epoch.
    pub fn look(
        &mut self,
        now: Tick,
        io_since: Option<Tick>,
        unavailable_since: Option<Tick>,
    ) -> Vec<Alarm> {
        let step = self.step(now);
        self.running = self.span(self.running, io_since, now, step);
        self.unavailable = self.span(self.unavailable, unavailable_since, now, step);
        let running = self.running();
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
        let unavailable = self.unavailable.map(|span| self.awake - span.from);
        let hopeless = stalled && running >= self.stalled_after.saturating_add(self.give_up_after)
            || unavailable.is_some_and(|time| time >= self.give_up_after);
        let due = self.given_up.is_none_or(|last| self.awake - last >= self.give_up_after);
        if hopeless && due {
            alarms.push(Alarm::GivenUp);
            self.given_up = Some(self.awake);
        }
        alarms
    }

    /// How long the write or sync has been running that ran at the last look.
    pub fn running(&self) -> Duration {
        self.running.map_or(Duration::ZERO, |span| self.awake - span.from)
    }

    /// Counts on to `now`, and returns by how much.
    fn step(&mut self, now: Tick) -> Duration {
        let passed = now.saturating_sub(std::mem::replace(&mut self.looked, now));
        let step = if passed > 2 * self.interval() { self.interval() } else { passed };
        self.awake += step;
        step
    }

    /// What lasts at this look: the same as at the last one, or something that began since.
    fn span(
        &self,
        before: Option<Span>,
        since: Option<Tick>,
        now: Tick,
        step: Duration,
    ) -> Option<Span> {
        let since = since?;
        let fresh = || Span { since, from: self.awake - now.saturating_sub(since).min(step) };
        Some(before.filter(|before| before.since == since).unwrap_or_else(fresh))
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

    /// Looks at each of these seconds at something that has lasted since the first of them.
    fn look_at(
        watchdog: &mut Watchdog,
        seconds: impl IntoIterator<Item = u32>,
        lasts: fn(Tick) -> (Option<Tick>, Option<Tick>),
    ) -> Vec<(u32, Alarm)> {
        let mut seconds = seconds.into_iter().peekable();
        let since = *seconds.peek().expect("a look") * SECOND;
        let mut alarms = Vec::new();
        for at in seconds {
            let (running, unavailable) = lasts(since);
            let raised = watchdog.look(at * SECOND, running, unavailable);
            alarms.extend(raised.into_iter().map(|alarm| (at, alarm)));
        }
        alarms
    }

    fn a_sync(since: Tick) -> (Option<Tick>, Option<Tick>) {
        (Some(since), None)
    }

    fn no_epoch(since: Tick) -> (Option<Tick>, Option<Tick>) {
        (None, Some(since))
    }

    #[test]
    fn p6_a_stuck_sync_raises_each_alarm_once_and_repeats_only_for_those_who_come_to_wait() {
        let mut watchdog = watchdog();
        let expected =
            [(1, Alarm::Slow), (10, Alarm::Stalled), (40, Alarm::GivenUp), (70, Alarm::GivenUp)];
        assert_eq!(look_at(&mut watchdog, 0..=75, a_sync), expected);
        assert_eq!(watchdog.running(), 75 * SECOND);
        assert_eq!(watchdog.look(76 * SECOND, None, None), [Alarm::Returned]);
        assert_eq!(watchdog.look(77 * SECOND, None, None), []);
    }

    #[test]
    fn p6_a_log_without_an_epoch_is_given_up_until_one_begins() {
        let mut watchdog = watchdog();
        assert_eq!(look_at(&mut watchdog, 0..=31, no_epoch), [(30, Alarm::GivenUp)]);
        watchdog.epoch_began();
        assert_eq!(watchdog.look(32 * SECOND, None, None), []);
        assert_eq!(look_at(&mut watchdog, 33..=64, no_epoch), [(63, Alarm::GivenUp)]);
    }

    #[test]
    fn p6_time_in_which_the_process_stood_still_is_not_the_disks() {
        // A sync, or a fault, that begins at 5 s. The process stands still from 8 s on for an hour, then runs.
        let hour = 3600;
        for lasts in [a_sync as fn(Tick) -> _, no_epoch] {
            let mut watchdog = watchdog();
            let looks = (5..=8).chain(hour + 8..=hour + 10);
            let alarms = look_at(&mut watchdog, looks, lasts);
            assert!(alarms.iter().all(|(_, alarm)| *alarm == Alarm::Slow), "{alarms:?}");
        }
        // Also over and over: what is left is the time in between.
        let mut watchdog = watchdog();
        let looks = (0..9).flat_map(|round| [round * hour, round * hour + 1]);
        let alarms = look_at(&mut watchdog, looks, a_sync);
        assert_eq!(
            alarms,
            [(1, Alarm::Slow), (6 * hour + 1, Alarm::Stalled)],
            "1 s of 1 h and half a second"
        );
    }

    #[test]
    fn p6_a_sync_that_is_stuck_is_found_also_after_the_process_stood_still() {
        let mut watchdog = watchdog();
        let looks = (0..=4).chain(1000..1100);
        let alarms = look_at(&mut watchdog, looks, a_sync);
        // Half a second of the time that it stood still counts.
        let expected = [
            (1, Alarm::Slow),
            (1006, Alarm::Stalled),
            (1036, Alarm::GivenUp),
            (1066, Alarm::GivenUp),
            (1096, Alarm::GivenUp),
        ];
        assert_eq!(alarms, expected);
    }

    #[test]
    fn p6_looks_that_always_come_late_find_a_stuck_sync_all_the_same() {
        let mut watchdog = watchdog();
        let alarms = look_at(&mut watchdog, (0..200).map(|look| look * 20), a_sync);
        let kinds: Vec<_> = alarms.into_iter().map(|(_, alarm)| alarm).take(3).collect();
        assert_eq!(kinds, [Alarm::Slow, Alarm::Stalled, Alarm::GivenUp]);
    }

    #[test]
    fn a_quick_disk_raises_no_alarm() {
        let mut watchdog = watchdog();
        for at in 1..100 {
            let since = at * SECOND - SECOND / 2;
            assert_eq!(watchdog.look(at * SECOND, Some(since), None), []);
        }
    }
}
