//! Blocking on a future, and running blocking work from a future, in programs of every kind.

use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use actix::Arbiter;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, unconstrained};

use crate::error::{Cause, IoFault, ReadError};

/// The name of a thread that reads for a program without a tokio runtime.
const READER: &str = "wal-read";

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for a future on this thread. Check [`is_on_arbiter`] before.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    // Inside a task of a tokio runtime, the channels of tokio charge the budget of that task. Once it is spent they
    // wake nobody before the task returns to its scheduler, which it does not do while it blocks here.
    let mut future = std::pin::pin!(unconstrained(future));
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

/// Whether this is the thread of a running Arbiter, whose actors could not answer while it blocks. A thread keeps
/// the name of its last Arbiter after that has ended, so the name alone does not count.
pub(crate) fn is_on_arbiter() -> bool {
    Arbiter::try_current().is_some_and(|arbiter| arbiter.alive())
}

/// Runs blocking work on a thread that may block: one of the current tokio runtime, or in programs without one a
/// thread of its own.
///
/// # Errors
/// There is no thread to be had, or the runtime ends.
pub(crate) async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ReadError> {
    let ended = || ReadError::Closed { cause: Cause::Stopped { actor: "runtime" } };
    if let Ok(runtime) = Handle::try_current() {
        return spawn_blocking(&runtime, work)?.await.map_err(|_| ended());
    }
    let (reply, answer) = oneshot::channel();
    let body = move || drop(reply.send(work()));
    thread::Builder::new().name(READER.into()).spawn(body).map_err(no_thread)?;
    answer.await.map_err(|_| ended())
}

/// tokio panics where it has no thread and the system refuses one.
fn spawn_blocking<T: Send + 'static>(
    runtime: &Handle,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, ReadError> {
    let spawned = catch_unwind(AssertUnwindSafe(|| runtime.spawn_blocking(work)));
    spawned.map_err(|_| no_thread(io::ErrorKind::WouldBlock.into()))
}

fn no_thread(error: io::Error) -> ReadError {
    IoFault::no_thread(READER, error).into()
}
