//! When to flush. Decides, and does nothing else: no thread, no clock, no queue.

use std::time::Duration;

use crate::config::{Bounds, FlushPolicy};
use crate::engine::state::meter::FlushCause;
use crate::runtime::clock::Tick;

/// What waits to be flushed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pending {
    /// Records.
    pub entries: usize,
    /// Bytes of records.
    pub bytes: usize,
    /// Appends that somebody waits for.
    pub commits: usize,
    /// When the oldest of them was appended.
    pub oldest: Option<Tick>,
    /// A `Synchronous` append, an explicit flush, or the close is among them.
    pub urgent: bool,
}

/// What to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Flush everything that is pending, now.
    Flush,
    /// Flush at this time, unless something changes before.
    WaitUntil(Tick),
    /// There is nothing to flush.
    Idle,
}

/// Decides when a batch is flushed.
#[derive(Clone, Debug)]
pub struct Batcher {
    policy: FlushPolicy,
    min_sync_interval: Duration,
    last_started: Option<Tick>,
    last_ended: Tick,
    /// Appends of the last batch that somebody waited for: its committers will be back.
    last_commits: usize,
    /// A running mean of how long a flush takes.
    flush_time: Duration,
}

impl Batcher {
    /// A batcher for this policy.
    pub fn new(policy: FlushPolicy, min_sync_interval: Duration) -> Self {
        Batcher {
            policy,
            min_sync_interval,
            last_started: None,
            last_ended: Tick::ZERO,
            last_commits: 0,
            flush_time: Duration::ZERO,
        }
    }

    /// What to do about `pending` at `now`.
    pub fn decide(&self, pending: &Pending, now: Tick) -> Decision {
        let Some(oldest) = pending.oldest else {
            return Decision::Idle;
        };
        let spaced = self
            .last_started
            .map_or(Tick::ZERO, |last| last.saturating_add(self.min_sync_interval));
        let due = self.due(pending, oldest).max(spaced);
        if due <= now { Decision::Flush } else { Decision::WaitUntil(due) }
    }

    /// When the policy wants the flush; zero is "at once".
    fn due(&self, pending: &Pending, oldest: Tick) -> Tick {
        if pending.urgent {
            return Tick::ZERO;
        }
        let reached = |bounds: Bounds| {
            pending.entries >= bounds.max_entries || pending.bytes >= bounds.max_bytes
        };
        match self.policy {
            FlushPolicy::Eager => Tick::ZERO,
            FlushPolicy::Adaptive(bounds) | FlushPolicy::Window(bounds) if reached(bounds) => {
                Tick::ZERO
            }
            FlushPolicy::Window(bounds) => oldest.saturating_add(bounds.max_delay),
            FlushPolicy::Adaptive(bounds) => {
                let latest = oldest.saturating_add(bounds.max_delay);
                if pending.commits == 0 { latest } else { self.linger_end(pending).min(latest) }
            }
        }
    }

    /// Until when it pays to wait for the committers of the last batch.
    ///
    /// Closed-loop committers that are not waited for split into cohorts that take turns at the device,
    /// each paying for the sync of the others. The time of a flush is the most that waiting may cost, and
    /// what it may save. After a lone commit nobody else is expected: the next one is flushed at once
    /// (promise P18). Measured in docs/decisions/0017.
    fn linger_end(&self, pending: &Pending) -> Tick {
        if pending.commits >= self.last_commits {
            return Tick::ZERO;
        }
        self.last_ended + self.flush_time
    }

    /// Why `pending` is flushed at `now`, which [`decide`](Self::decide) has decided: for metrics.
    pub fn cause(&self, pending: &Pending, now: Tick) -> FlushCause {
        let bounds = self.policy.bounds();
        let late = |bounds: Bounds| {
            pending.oldest.is_some_and(|oldest| oldest.saturating_add(bounds.max_delay) <= now)
        };
        let lingers = matches!(self.policy, FlushPolicy::Adaptive(_));
        if pending.urgent {
            FlushCause::Urgent
        } else if bounds.is_some_and(|bounds| pending.entries >= bounds.max_entries) {
            FlushCause::Count
        } else if bounds.is_some_and(|bounds| pending.bytes >= bounds.max_bytes) {
            FlushCause::Bytes
        } else if bounds.is_some_and(late) {
            FlushCause::Timer
        } else if lingers && pending.commits < self.last_commits {
            FlushCause::Linger
        } else {
            FlushCause::Idle
        }
    }

    /// How long a flush takes, as a running mean; zero before the first.
    pub fn flush_time(&self) -> Duration {
        self.flush_time
    }

    /// Notes a flush that worked: when it ran, and how many waited for it.
    pub fn flushed(&mut self, started: Tick, ended: Tick, commits: usize) {
        let took = ended.saturating_sub(started);
        self.flush_time =
            if self.flush_time.is_zero() { took } else { (self.flush_time * 7 + took) / 8 };
        self.last_started = Some(started);
        self.last_ended = ended;
        self.last_commits = commits;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn pending(entries: usize, oldest: Tick) -> Pending {
        Pending {
            entries,
            bytes: entries * 100,
            commits: entries,
            oldest: Some(oldest),
            urgent: false,
        }
    }

    fn batcher(policy: fn(Bounds) -> FlushPolicy) -> Batcher {
        Batcher::new(policy(Bounds::default()), Duration::ZERO)
    }

    #[test]
    fn r3_a_window_flushes_at_ten_milliseconds_or_a_hundred_entries_and_not_before() {
        let batcher = batcher(FlushPolicy::Window);
        let since = 5 * MS;
        for now in [5 * MS, 10 * MS, 15 * MS - Duration::from_nanos(1)] {
            assert_eq!(batcher.decide(&pending(99, since), now), Decision::WaitUntil(15 * MS));
        }
        assert_eq!(batcher.decide(&pending(99, since), 15 * MS), Decision::Flush);
        assert_eq!(batcher.decide(&pending(100, since), 5 * MS), Decision::Flush);
    }

    #[test]
    fn the_bytes_are_a_trigger_too() {
        for policy in [FlushPolicy::Window as fn(Bounds) -> FlushPolicy, FlushPolicy::Adaptive] {
            let heavy = Pending { bytes: 1 << 20, commits: 0, ..pending(1, Tick::ZERO) };
            assert_eq!(batcher(policy).decide(&heavy, Tick::ZERO), Decision::Flush);
            let light = Pending { bytes: (1 << 20) - 1, ..heavy };
            assert_eq!(batcher(policy).decide(&light, Tick::ZERO), Decision::WaitUntil(10 * MS));
        }
    }

    #[test]
    fn an_urgent_append_is_flushed_at_once_in_every_policy() {
        let urgent = Pending { urgent: true, ..pending(1, Tick::ZERO) };
        for policy in [FlushPolicy::Window as fn(Bounds) -> FlushPolicy, FlushPolicy::Adaptive] {
            assert_eq!(batcher(policy).decide(&urgent, Tick::ZERO), Decision::Flush);
        }
    }

    #[test]
    fn nothing_pending_is_idle() {
        assert_eq!(batcher(FlushPolicy::Window).decide(&Pending::default(), MS), Decision::Idle);
    }

    #[test]
    fn p18_a_lone_commit_pays_no_batching_wait() {
        let mut adaptive = batcher(FlushPolicy::Adaptive);
        let eager = Batcher::new(FlushPolicy::Eager, Duration::ZERO);
        for round in 0..5 {
            let now = round * 20 * MS;
            assert_eq!(adaptive.decide(&pending(1, now), now), Decision::Flush);
            assert_eq!(eager.decide(&pending(1, now), now), Decision::Flush);
            adaptive.flushed(now, now + MS, 1);
            let at_once = now + MS;
            assert_eq!(adaptive.decide(&pending(1, at_once), at_once), Decision::Flush);
        }
    }

    #[test]
    fn adaptive_lingers_for_the_committers_of_the_last_batch_at_most_as_long_as_a_flush() {
        let mut batcher = batcher(FlushPolicy::Adaptive);
        batcher.flushed(Tick::ZERO, 2 * MS, 8);
        assert_eq!(batcher.decide(&pending(7, 2 * MS), 2 * MS), Decision::WaitUntil(4 * MS));
        assert_eq!(batcher.decide(&pending(8, 2 * MS), 2 * MS), Decision::Flush);
        assert_eq!(batcher.decide(&pending(7, 2 * MS), 4 * MS), Decision::Flush);
    }

    #[test]
    fn the_cause_of_a_flush_is_what_made_it_due() {
        let mut adaptive = batcher(FlushPolicy::Adaptive);
        let window = batcher(FlushPolicy::Window);
        let eager = Batcher::new(FlushPolicy::Eager, Duration::ZERO);
        let one = pending(1, MS);
        assert_eq!(eager.cause(&pending(500, MS), 20 * MS), FlushCause::Idle);
        assert_eq!(adaptive.cause(&one, MS), FlushCause::Idle);
        adaptive.flushed(Tick::ZERO, 2 * MS, 8);
        assert_eq!(adaptive.cause(&one, 4 * MS), FlushCause::Linger);
        assert_eq!(adaptive.cause(&pending(8, MS), 2 * MS), FlushCause::Idle);
        for batcher in [&adaptive, &window] {
            assert_eq!(batcher.cause(&one, 11 * MS), FlushCause::Timer);
            assert_eq!(batcher.cause(&pending(100, MS), 2 * MS), FlushCause::Count);
            let heavy = Pending { bytes: 1 << 20, ..one };
            assert_eq!(batcher.cause(&heavy, 2 * MS), FlushCause::Bytes);
            let urgent = Pending { urgent: true, ..pending(100, MS) };
            assert_eq!(batcher.cause(&urgent, 20 * MS), FlushCause::Urgent);
        }
    }

    #[test]
    fn p4_appends_that_nobody_waits_for_are_flushed_within_max_delay() {
        let batcher = batcher(FlushPolicy::Adaptive);
        let nobody = Pending { commits: 0, ..pending(3, MS) };
        assert_eq!(batcher.decide(&nobody, MS), Decision::WaitUntil(11 * MS));
        assert_eq!(batcher.decide(&nobody, 11 * MS), Decision::Flush);
    }

    #[test]
    fn p17_no_linger_outlasts_max_delay() {
        let mut batcher = batcher(FlushPolicy::Adaptive);
        batcher.flushed(Tick::ZERO, 1000 * MS, 8);
        let oldest = 995 * MS;
        assert_eq!(batcher.decide(&pending(1, oldest), 1000 * MS), Decision::WaitUntil(1005 * MS));
    }

    #[test]
    fn the_sync_interval_spaces_flushes_out_even_urgent_ones() {
        let mut batcher = Batcher::new(FlushPolicy::Eager, 4 * MS);
        batcher.flushed(MS, 2 * MS, 1);
        let urgent = Pending { urgent: true, ..pending(1, 2 * MS) };
        assert_eq!(batcher.decide(&urgent, 2 * MS), Decision::WaitUntil(5 * MS));
        assert_eq!(batcher.decide(&urgent, 5 * MS), Decision::Flush);
    }
}
