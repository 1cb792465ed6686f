//! The seam between the flush thread and the flush loop, for a script in the loop's place.

use std::fmt;
use std::time::Duration;

use super::{FlushLoop, LoopEvent, Next, Worked};
use crate::engine::intake::entry::Entry;
use crate::error::Cause;
use crate::runtime::clock::Tick;

/// What the flush thread drives and the Flusher keeps while there is none. [`FlushLoop`] says what each step is for.
#[allow(missing_docs)]
pub trait FlushSteps: fmt::Debug + Send {
    fn next(&self, now: Tick) -> Next;
    fn offer(&mut self, entry: Entry) -> Result<(), Cause>;
    fn work(&mut self) -> Result<Worked, Cause>;
    fn tidy(&mut self);
    fn wait_for_segment(&mut self, at_most: Duration);
    fn take_events(&mut self) -> Vec<LoopEvent>;
    fn fault(&mut self, cause: &Cause);
    fn abandon(&mut self, cause: &Cause);
    fn stop_source(&mut self);
}

impl FlushSteps for FlushLoop {
    fn next(&self, now: Tick) -> Next {
        self.next(now)
    }

    fn offer(&mut self, entry: Entry) -> Result<(), Cause> {
        self.offer(entry)
    }

    fn work(&mut self) -> Result<Worked, Cause> {
        self.work()
    }

    fn tidy(&mut self) {
        self.tidy();
    }

    fn wait_for_segment(&mut self, at_most: Duration) {
        self.wait_for_segment(at_most);
    }

    fn take_events(&mut self) -> Vec<LoopEvent> {
        self.take_events()
    }

    fn fault(&mut self, cause: &Cause) {
        self.fault(cause);
    }

    fn abandon(&mut self, cause: &Cause) {
        self.abandon(cause);
    }

    fn stop_source(&mut self) {
        self.stop_source();
    }
}
