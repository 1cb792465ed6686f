//! A system that has no threads to give.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use actix_wal::testkit::internals::runtime::threads::{Running, SystemThreads, Threads, Worker};

/// Refuses so many of the next threads of some name, with an error number.
#[derive(Debug, Default)]
pub struct Refusing(Mutex<Option<(&'static str, usize, i32)>>);

impl Refusing {
    pub fn next(&self, name: &'static str, times: usize, errno: i32) {
        *self.lock() = Some((name, times, errno));
    }

    /// How many it has still to refuse.
    pub fn left(&self) -> usize {
        self.lock().map_or(0, |(_, left, _)| left)
    }

    fn lock(&self) -> MutexGuard<'_, Option<(&'static str, usize, i32)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Threads for Refusing {
    fn spawn(&self, name: &'static str, worker: Box<dyn Worker>) -> io::Result<Running> {
        if let Some((refused, left, errno)) = &mut *self.lock()
            && *refused == name
            && *left > 0
        {
            *left -= 1;
            return Err(io::Error::from_raw_os_error(*errno));
        }
        SystemThreads.spawn(name, worker)
    }
}
