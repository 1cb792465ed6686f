//! An actix System on a thread of its own, for a log in a program without one.

use std::io;
use std::thread;

use actix::{Arbiter, ArbiterHandle, System};
use tokio::runtime::Builder;
use tokio::sync::{oneshot, watch};

/// The name of the thread.
pub(crate) const ACTOR_THREAD: &str = "wal-actors";

/// The System, on the thread [`ACTOR_THREAD`]. Dropping this ends both without waiting.
#[derive(Debug)]
pub(crate) struct OwnSystem {
    arbiter: ArbiterHandle,
    /// `true` ends the System. Its receiver is dropped after the System was.
    end: watch::Sender<bool>,
}

impl OwnSystem {
    /// Starts the thread and the System.
    ///
    /// # Errors
    /// The operating system refuses the thread.
    pub(crate) async fn start() -> io::Result<OwnSystem> {
        let (end, ending) = watch::channel(false);
        let (ready, started) = oneshot::channel();
        thread::Builder::new().name(ACTOR_THREAD.into()).spawn(move || run(ready, ending))?;
        let ended = |_| Err(io::Error::other("the thread ended before its System ran"));
        let arbiter = started.await.unwrap_or_else(ended)?;
        Ok(OwnSystem { arbiter, end })
    }

    /// Where actors are started.
    pub(crate) fn arbiter(&self) -> &ArbiterHandle {
        &self.arbiter
    }

    /// Ends the System, and returns after it and its actors were dropped.
    pub(crate) async fn end(&self) {
        self.end.send_replace(true);
        self.end.closed().await;
    }
}

fn run(ready: oneshot::Sender<io::Result<ArbiterHandle>>, mut ending: watch::Receiver<bool>) {
    // The actors of a log need timers. Without I/O, no descriptor is needed that the process may have no more of.
    let runtime = match Builder::new_current_thread().enable_time().build() {
        Ok(runtime) => runtime,
        Err(error) => return drop(ready.send(Err(error))),
    };
    let system = System::with_tokio_rt(|| runtime);
    system.block_on(async {
        if ready.send(Ok(Arbiter::current())).is_ok() {
            // An error says that the owner was dropped, which ends the System as well.
            let _ = ending.wait_for(|end| *end).await;
        }
    });
    // `end` waits for the receiver: it must be dropped after the actors.
    drop(system);
    drop(ending);
}
