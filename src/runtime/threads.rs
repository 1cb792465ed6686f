//! The parts of a log that block, as values that somebody drives: a thread of its own in production, or a
//! simulator, which has all of them take turns on one thread and in a time of its own.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// What a [`Worker`] has to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// [`Worker::work`], now.
    Work,
    /// Nothing before it is called, or before this much time has passed.
    Wait(Option<Duration>),
    /// Nothing any more.
    End,
}

/// A part of a log that blocks: it writes, syncs, and waits for others.
///
/// Its driver calls [`look`](Self::look), and does what that says. A worker that is dropped
/// before its end hands back what it has.
pub trait Worker: Send {
    /// Takes in what others want of it, and says what is to be done.
    fn look(&mut self) -> Turn;

    /// Does one piece of work. Blocks as long as the disk does.
    fn work(&mut self);

    /// Blocks until it is called, or for this long.
    fn wait(&mut self, at_most: Option<Duration>);

    /// Whether it has been called: [`wait`](Self::wait) would return at once.
    // Only another driver than a thread asks it.
    #[cfg_attr(not(any(test, feature = "testkit")), allow(dead_code))]
    fn is_called(&self) -> bool;
}

/// Whatever drives workers.
pub trait Threads: Send + Sync + fmt::Debug {
    /// Drives a worker to its end, under this name.
    ///
    /// # Errors
    /// If the system refuses another thread. The worker was dropped.
    fn spawn(&self, name: &'static str, worker: Box<dyn Worker>) -> io::Result<Running>;
}

/// A worker that is being driven. Dropping this lets it go on.
#[derive(Debug)]
pub struct Running(Option<JoinHandle<()>>);

impl Running {
    /// A worker that has no thread of its own, so that there is nothing to wait for at its end.
    #[cfg(any(test, feature = "testkit"))]
    pub fn elsewhere() -> Self {
        Running(None)
    }

    /// Waits until it has ended.
    ///
    /// # Errors
    /// What its thread panicked with, if it did.
    pub fn join(self) -> thread::Result<()> {
        self.0.map_or(Ok(()), JoinHandle::join)
    }
}

/// Threads of the operating system, one for each worker.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemThreads;

impl SystemThreads {
    /// The same, to be handed on.
    pub fn shared() -> Arc<dyn Threads> {
        Arc::new(SystemThreads)
    }
}

impl Threads for SystemThreads {
    fn spawn(&self, name: &'static str, mut worker: Box<dyn Worker>) -> io::Result<Running> {
        let body = move || drive(&mut *worker);
        thread::Builder::new().name(name.into()).spawn(body).map(|thread| Running(Some(thread)))
    }
}

fn drive(worker: &mut dyn Worker) {
    loop {
        match worker.look() {
            Turn::Work => worker.work(),
            Turn::Wait(at_most) => worker.wait(at_most),
            Turn::End => return,
        }
    }
}

/// A worker that does one thing.
pub struct Once<F>(Option<F>);

impl<F: FnOnce() + Send> Once<F> {
    /// A worker that does this.
    pub fn new(action: F) -> Self {
        Once(Some(action))
    }
}

impl<F: FnOnce() + Send> Worker for Once<F> {
    fn look(&mut self) -> Turn {
        if self.0.is_some() { Turn::Work } else { Turn::End }
    }

    fn work(&mut self) {
        if let Some(action) = self.0.take() {
            action();
        }
    }

    fn wait(&mut self, _: Option<Duration>) {}

    fn is_called(&self) -> bool {
        false
    }
}
