//! Appends that wait for the Appender. Only the push that makes the inbox non-empty sends a wake-up, so a thousand
//! appends may cost the Appender one message.

use std::mem;
use std::sync::PoisonError;

use crate::runtime::sync::{Mutex, MutexGuard};

/// Things that wait to be taken, in the order in which they came. Their permits bound it.
#[derive(Debug)]
pub struct Inbox<T> {
    waiting: Mutex<Vec<T>>,
}

impl<T> Default for Inbox<T> {
    fn default() -> Self {
        Inbox { waiting: Mutex::new(Vec::new()) }
    }
}

impl<T> Inbox<T> {
    /// Puts one in. Whether it is the first, so that somebody has to be called.
    #[must_use = "the Appender must be woken for the first item"]
    pub fn push(&self, item: T) -> bool {
        let mut waiting = self.lock();
        waiting.push(item);
        waiting.len() == 1
    }

    /// Takes all that wait, and leaves an empty `room` for those to come.
    pub fn take(&self, room: Vec<T>) -> Vec<T> {
        debug_assert!(room.is_empty());
        mem::replace(&mut *self.lock(), room)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<T>> {
        // Nothing panics between the halves of a change.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_calls_and_the_others_ride_along_in_order() {
        let intake = Inbox::default();
        assert!(intake.push(1));
        assert!(!intake.push(2) && !intake.push(3));
        assert_eq!(intake.take(Vec::new()), [1, 2, 3]);
        assert!(intake.push(4), "the wake-up before has drained it");
        assert_eq!(intake.take(Vec::new()), [4]);
    }

    #[test]
    fn p6_threads_that_put_in_at_once_are_all_taken_and_nobody_waits_uncalled() {
        let intake = Inbox::default();
        let (called, calls) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (intake, called) = (&intake, called.clone());
                scope.spawn(move || {
                    for item in 0..10_000 {
                        if intake.push((thread, item)) {
                            called.send(()).expect("somebody comes");
                        }
                    }
                });
            }
            drop(called);
            let (mut next, mut room) = ([0; 4], Vec::new());
            for () in &calls {
                let mut taken = intake.take(room);
                assert!(!taken.is_empty(), "called for nothing");
                for (thread, item) in taken.drain(..) {
                    assert_eq!(item, next[thread]);
                    next[thread] += 1;
                }
                room = taken;
            }
            assert_eq!(next, [10_000; 4]);
        });
    }
}
