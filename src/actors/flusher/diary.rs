//! What is said of faults through `tracing`: a change of state at once, and what repeats in sum, once a second. A storm
//! of failures must not fill the disk that it is about.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use crate::error::Cause;
use crate::lsn::LsnRange;
use crate::runtime::clock::{Clock, Tick};
use crate::status::LogState;

/// Between two sums.
const PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct Diary {
    unsaid: Sum,
    /// When something was said last.
    said: Option<Tick>,
}

/// What has happened since something was said.
#[derive(Debug, Default)]
struct Sum {
    failures: u64,
    not_durable: u64,
    unknown: u64,
    /// From the first to the last LSN of these.
    lsns: Option<LsnRange>,
    cause: Option<Cause>,
}

impl Diary {
    /// A write, a sync, or the flush thread failed.
    pub(super) fn failed(&mut self, fault: &Cause) {
        self.unsaid.failures += 1;
        self.unsaid.cause = Some(fault.clone());
    }

    /// Who waits for these is told that they are not durable.
    pub(super) fn not_durable(&mut self, range: LsnRange, cause: &Cause) {
        self.unsaid.not_durable += range.count();
        self.unsaid.add(range, cause);
    }

    /// Who waits for these is told that nobody knows.
    pub(super) fn unknown(&mut self, range: LsnRange, cause: &Cause) {
        self.unsaid.unknown += range.count();
        self.unsaid.add(range, cause);
    }

    /// The log has gone on from one state to the next. Another cause of the same state is no change.
    pub(super) fn went(&mut self, before: &LogState, next: &LogState, now: Tick) {
        if before.name() == next.name() {
            return;
        }
        let Sum { failures, not_durable, unknown, lsns, .. } = std::mem::take(&mut self.unsaid);
        let lsns = lsns.map(tracing::field::display);
        self.said = Some(now);
        quietly(|| match next {
            LogState::Unavailable(cause) => {
                tracing::error!(%cause, failures, not_durable, unknown, lsns, "the log waits for the disk");
            }
            LogState::NoSpace(fault) => {
                tracing::warn!(%fault, not_durable, lsns, "the disk is full; appends are refused until there is space");
            }
            LogState::Running if !matches!(before, LogState::Opening) => {
                tracing::info!(failures, not_durable, unknown, lsns, "the log runs again");
            }
            LogState::Poisoned(cause) => {
                tracing::error!(%cause, failures, not_durable, unknown, lsns, "the log is poisoned: open it again once the cause is mended");
            }
            _ => tracing::debug!(
                failures,
                not_durable,
                unknown,
                lsns,
                state = next.name(),
                "the log goes on"
            ),
        });
    }

    /// Says what was not said yet, unless something was said a moment ago. No state follows on a last one, and nothing
    /// can repeat then.
    pub(super) fn sum_up(&mut self, state: &LogState, clock: &dyn Clock) {
        if self.unsaid.is_empty() {
            return;
        }
        let now = clock.now();
        let is_early = self.said.is_some_and(|said| now.saturating_sub(said) < PAUSE);
        if is_early && !state.is_final() {
            return;
        }
        let Sum { failures, not_durable, unknown, lsns, cause } = std::mem::take(&mut self.unsaid);
        let lsns = lsns.map(tracing::field::display);
        let cause = cause.as_ref().map(tracing::field::display);
        self.said = Some(now);
        quietly(|| match unknown {
            0 => tracing::warn!(
                cause,
                failures,
                not_durable,
                lsns,
                "records are not durable, or wait"
            ),
            _ => tracing::error!(
                cause,
                failures,
                not_durable,
                unknown,
                lsns,
                "nobody knows whether records are durable"
            ),
        });
    }
}

/// A subscriber that panics, because its own file is on the disk that is full, ends no log (promise P23).
pub(super) fn quietly(say: impl FnOnce()) {
    let _ = catch_unwind(AssertUnwindSafe(say));
}

impl Sum {
    fn add(&mut self, range: LsnRange, cause: &Cause) {
        let known = self.lsns.unwrap_or(range);
        self.lsns = LsnRange::new(known.first.min(range.first), known.last.max(range.last));
        self.cause = Some(cause.clone());
    }

    fn is_empty(&self) -> bool {
        self.failures + self.not_durable + self.unknown == 0
    }
}
