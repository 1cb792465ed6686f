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
    state: LogState,
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
        self.unsaid.cause = Some(cause.clone());
    }

    /// Who waits for these is told that nobody knows.
    pub(super) fn unknown(&mut self, range: LsnRange, cause: &Cause) {
        self.unsaid.unknown += range.count();
        self.unsaid.cause = Some(cause.clone());
    }

    /// The log goes on to this state. Another cause of the same state is no change.
    pub(super) fn goes(&mut self, next: &LogState, now: Tick) {
        let before = std::mem::replace(&mut self.state, next.clone());
        if before.name() == next.name() {
            return;
        }
        let Sum { failures, not_durable, unknown, .. } = std::mem::take(&mut self.unsaid);
        self.said = Some(now);
        quietly(|| match next {
            LogState::Unavailable(cause) => {
                tracing::error!(%cause, failures, not_durable, unknown, "the log waits for the disk");
            }
            LogState::NoSpace(fault) => {
                tracing::warn!(%fault, not_durable, "the disk is full; appends are refused until there is space");
            }
            LogState::Running if !matches!(before, LogState::Opening) => {
                tracing::info!(failures, not_durable, unknown, "the log runs again");
            }
            LogState::Poisoned(cause) => {
                tracing::error!(%cause, failures, not_durable, unknown, "the log is poisoned: open it again once the cause is mended");
            }
            _ => tracing::debug!(
                failures,
                not_durable,
                unknown,
                state = next.name(),
                "the log goes on"
            ),
        });
    }

    /// Says what was not said yet, unless something was said a moment ago. No state follows on a last one, and nothing
    /// can repeat then.
    pub(super) fn sum_up(&mut self, clock: &dyn Clock) {
        if self.unsaid.is_empty() {
            return;
        }
        let now = clock.now();
        let is_early = self.said.is_some_and(|said| now.saturating_sub(said) < PAUSE);
        if is_early && !self.state.is_final() {
            return;
        }
        let Sum { failures, not_durable, unknown, cause } = std::mem::take(&mut self.unsaid);
        let cause = cause.as_ref().map(tracing::field::display);
        self.said = Some(now);
        quietly(|| match unknown {
            0 => tracing::warn!(cause, failures, not_durable, "records are not durable, or wait"),
            _ => tracing::error!(
                cause,
                failures,
                not_durable,
                unknown,
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
    fn is_empty(&self) -> bool {
        self.failures + self.not_durable + self.unknown == 0
    }
}
