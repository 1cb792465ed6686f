//! What a mocked Flusher does with the appends it gets.

use std::collections::VecDeque;
use std::time::Duration;

use crate::error::Cause;
use crate::messages::LogEvent;

/// What the mock does with one append. Appends are dealt with in LSN order, one after the other: one that
/// waits holds up those behind it, as it does in a real log.
#[derive(Clone, Debug)]
pub enum MockStep {
    /// It becomes durable.
    Acknowledge,
    /// It becomes durable after this time.
    Delay(Duration),
    /// It stays open until the test says what becomes of it, through the [`MockHandle`](super::MockHandle).
    Hold,
    /// It is `NotDurable`, and the log goes on without it in a new epoch, as after a fault under
    /// [`FaultPolicy::FailFast`](crate::FaultPolicy); but what is in the queue already has its own step of the script.
    Fail(Cause),
    /// Nothing is answered from here on, as if a sync did not return. A close ends that; what is open is
    /// `Unknown` then.
    GoSilent,
    /// A fault and a restart: `Unavailable`, after this time `Ready` in a new epoch, and there the append is written
    /// again and becomes durable. After [`give_up_after`](crate::WalConfig::give_up_after) it is given up meanwhile.
    Restart(Cause, Duration),
    /// Restarts did not help: the append is `Unknown`, those behind it are `NotDurable`, and nothing is
    /// taken any more.
    Poison(Cause),
    /// The Appender and all subscribers are told this. The next step then is for the same append.
    Tell(LogEvent),
}

/// What the mock does with its appends: the first step is for the first one, and so on.
#[derive(Clone, Debug)]
pub struct MockScript {
    steps: VecDeque<MockStep>,
    then: MockStep,
}

impl MockScript {
    /// These steps, and after them everything is acknowledged.
    pub fn new(steps: impl IntoIterator<Item = MockStep>) -> Self {
        MockScript { steps: steps.into_iter().collect(), then: MockStep::Acknowledge }
    }

    /// Everything is acknowledged.
    pub fn acknowledge() -> Self {
        MockScript::new([])
    }

    /// Everything waits for the test to say what becomes of it.
    pub fn manual() -> Self {
        MockScript::new([]).then(MockStep::Hold)
    }

    /// After the script has ended, every append gets this step.
    #[must_use]
    pub fn then(mut self, step: MockStep) -> Self {
        self.then = step;
        self
    }

    /// Puts a step before all others.
    pub fn push_front(&mut self, step: MockStep) {
        self.steps.push_front(step);
    }

    /// The step for the next append.
    pub(super) fn next(&mut self) -> MockStep {
        self.steps.pop_front().unwrap_or_else(|| match &self.then {
            // Repeated, it would answer no append.
            MockStep::Tell(_) => MockStep::Acknowledge,
            step => step.clone(),
        })
    }
}

impl<S: IntoIterator<Item = MockStep>> From<S> for MockScript {
    fn from(steps: S) -> Self {
        MockScript::new(steps)
    }
}
