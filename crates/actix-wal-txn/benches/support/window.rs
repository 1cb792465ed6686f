//! The time that counts.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Instant;

use super::load::Load;

/// Counts what is done between the end of the warm-up and the end.
pub(crate) struct Window {
    from: Instant,
    until: Instant,
    done: Rc<Cell<u64>>,
}

impl Window {
    pub(crate) fn new(load: &Load) -> Self {
        let from = Instant::now() + load.time / 4;
        Window { from, until: from + load.time, done: Rc::default() }
    }

    pub(crate) fn share(&self) -> Window {
        Window { done: Rc::clone(&self.done), ..*self }
    }

    /// Whether what is done now counts.
    pub(crate) fn is_open(&self) -> bool {
        (self.from..self.until).contains(&Instant::now())
    }

    /// One is done. Whether there is time for another one.
    pub(crate) fn goes_on(&self) -> bool {
        if self.is_open() {
            self.done.set(self.done.get() + 1);
        }
        Instant::now() < self.until
    }

    pub(crate) fn rate(&self) -> f64 {
        self.done.get() as f64 / (self.until - self.from).as_secs_f64()
    }
}
