//! Work that hangs in a sync while everybody else goes on: what it has written can be seen, and is not durable.
//! It runs on a thread of its own; but of that thread and the one of the life only one moves at a time, so
//! one seed is one run all the same.

use std::cell::RefCell;
use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use actix_wal::testkit::internals::runtime::threads::Worker;
use tokio::runtime::Handle;

use super::world::{origin, time_began};
use demo::panics::INJECTED;

thread_local! {
    static GATE: RefCell<Option<Gate>> = const { RefCell::new(None) };
}

/// Where a worker hangs at its next sync.
struct Gate {
    arrived: Sender<()>,
    go_on: Receiver<()>,
}

/// A sync is about to be done. A worker on a real thread hangs in it.
pub(crate) fn at_sync() {
    let Some(Gate { arrived, go_on }) = GATE.take() else { return };
    if arrived.send(()).is_err() || go_on.recv().is_err() {
        // The life has ended meanwhile, and nothing may happen any more.
        resume_unwind(Box::new(format!("{INJECTED}: its life is over")));
    }
}

/// A worker at work on a thread of its own.
pub(crate) struct Hanging {
    thread: Option<JoinHandle<Box<dyn Worker>>>,
    arrived: Receiver<()>,
    go_on: Option<Sender<()>>,
}

impl Hanging {
    /// Has it do its work as far as the first sync.
    pub(crate) fn begin(mut worker: Box<dyn Worker>) -> Self {
        let ((arrives, arrived), (go_on, goes_on)) = (channel(), channel());
        let gate = Gate { arrived: arrives, go_on: goes_on };
        let (began, runtime) = (origin(), Handle::current());
        let thread = thread::spawn(move || {
            let _in_the_time_of_the_life = runtime.enter();
            time_began(began);
            GATE.set(Some(gate));
            worker.work();
            GATE.take();
            worker
        });
        Hanging { thread: Some(thread), arrived, go_on: Some(go_on) }
    }

    /// Whether it hangs in a sync now; otherwise its work is done.
    pub(crate) fn is_stuck(&self) -> bool {
        self.arrived.recv().is_ok()
    }

    /// Lets it end its work, and gives it back.
    pub(crate) fn end(mut self) -> Box<dyn Worker> {
        if let Some(go_on) = &self.go_on {
            // Refused if it never came to a sync.
            let _ = go_on.send(());
        }
        let ended = self.thread.take().map(JoinHandle::join);
        ended.and_then(Result::ok).unwrap_or_else(|| unreachable!("a worker catches panics"))
    }
}

impl Drop for Hanging {
    fn drop(&mut self) {
        self.go_on = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
