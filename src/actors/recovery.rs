//! Role: makes a log out of a directory, before anything is accepted.
//! Owns: nothing that outlives a recovery; the work is done on a thread of its own, `wal-recover`.
//! Receives: `Recover`.
//! Sends: `Replay` to the host, one at a time.
//! Never: blocks its Arbiter; lets anyone append.

use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, Wake, Waker};
use std::thread::{self, Thread};

use actix::dev::RecipientRequest;
use actix::{Actor, Context, Handler, Recipient, ResponseFuture, Supervised};
use tokio::sync::oneshot;

use super::flush_thread::panic_message;
use crate::config::{Existence, WalConfig};
use crate::engine::records::RecordBatch;
use crate::engine::recovery::{Progress, RecoveredLog, ReplaySink, recover};
use crate::engine::shared::Shared;
use crate::error::{Cause, IoFault, IoOp, OpenError};
use crate::lsn::Lsn;
use crate::messages::{Recover, Replay};
use crate::storage::{Directory, Metered, Obstacle, Storage, obstacle};
use crate::threads::{Once, SystemThreads, Threads};

/// The actor that recovers a log. It is needed once, and stops when its last address is dropped.
#[derive(Debug)]
pub struct Recovery {
    shared: Arc<Shared>,
    config: WalConfig,
    threads: Arc<dyn Threads>,
}

impl Recovery {
    /// A Recovery for the log with these settings.
    pub fn new(shared: Arc<Shared>, config: WalConfig) -> Self {
        Recovery { shared, config, threads: SystemThreads::shared() }
    }

    /// Has the work done by these threads, and not by one of the system.
    pub fn on_threads(mut self, threads: Arc<dyn Threads>) -> Self {
        self.threads = threads;
        self
    }
}

impl Actor for Recovery {
    type Context = Context<Self>;
}

impl Supervised for Recovery {}

impl Handler<Recover> for Recovery {
    type Result = ResponseFuture<Result<RecoveredLog, OpenError>>;

    fn handle(&mut self, request: Recover, _: &mut Self::Context) -> Self::Result {
        let (reply, answer) = oneshot::channel();
        let (shared, config) = (Arc::clone(&self.shared), self.config.clone());
        let work = move || {
            // It lets go of the directory before it answers: the next attempt must not find it locked.
            let recovered = catch_unwind(AssertUnwindSafe(|| run(request, &config, &shared)));
            let _ = reply.send(recovered.unwrap_or_else(|panic| {
                let message = panic_message(&*panic);
                Err(OpenError::Start(Cause::Panic { place: "recovery thread", message }))
            }));
        };
        let spawned = self.threads.spawn("wal-recover", Box::new(Once::new(work)));
        Box::pin(async move {
            if let Err(error) = spawned {
                return Err(OpenError::Start(IoFault::no_thread("wal-recover", error).into()));
            }
            let gone = OpenError::Start(Cause::Stopped { actor: "Recovery" });
            answer.await.unwrap_or(Err(gone))
        })
    }
}

fn run(request: Recover, config: &WalConfig, shared: &Shared) -> Result<RecoveredLog, OpenError> {
    config.validate()?;
    let storage = match request.storage {
        Some(storage) => storage,
        None => open_directory(config)?,
    };
    let metered = Metered::new(storage);
    shared.count_io(metered.counts());
    let mut host = Host { address: request.replay_to, asked: None, first: None };
    recover(Arc::new(metered), config, shared, request.from, &mut host)
}

fn open_directory(config: &WalConfig) -> Result<Arc<dyn Storage>, OpenError> {
    config.check_directory()?;
    let path = &config.directory;
    let opened = match config.existence {
        Existence::MustExist => Directory::open_existing(path),
        _ => Directory::open(path),
    };
    let directory = path.display().to_string();
    match opened {
        Ok(opened) => Ok(Arc::new(opened)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            Err(OpenError::Locked { directory })
        }
        Err(error)
            if error.kind() == io::ErrorKind::NotFound
                && config.existence == Existence::MustExist =>
        {
            Err(OpenError::NoLog { directory })
        }
        Err(error) => Err(match in_the_way(path, &error) {
            Some((obstacle, problem)) => {
                OpenError::InTheWay { directory, obstacle, problem, source: Arc::new(error) }
            }
            None => IoFault::new(IoOp::OpenDirectory, directory, None, error).into(),
        }),
    }
}

/// What keeps the directory from being opened, and what to do about it.
fn in_the_way(path: &Path, error: &io::Error) -> Option<(String, &'static str)> {
    use io::ErrorKind::{NotFound, PermissionDenied, ReadOnlyFilesystem};
    let (place, obstacle) = obstacle(path)?;
    let problem = match (obstacle, error.kind()) {
        (Obstacle::File, _) => "is no directory; move it away, or configure another directory",
        (Obstacle::DeadLink, NotFound) => {
            "is a symbolic link that leads nowhere; mount or create what it leads to, or remove it"
        }
        (Obstacle::Folder, PermissionDenied) => {
            "does not permit it; let the user of this process search, read and write it"
        }
        (Obstacle::Folder, ReadOnlyFilesystem) => {
            "lies on a read-only file system; mount that for writing"
        }
        _ => return None,
    };
    Some((place.display().to_string(), problem))
}

/// Whom records are replayed to, if anyone wants them. The next batch is read while the host is busy with one,
/// and handed over when the host has answered.
struct Host {
    address: Option<Recipient<Replay>>,
    asked: Option<RecipientRequest<Replay>>,
    /// The first LSN of what it was asked to take; `None` if that was nothing.
    first: Option<Lsn>,
}

impl ReplaySink for Host {
    fn replay(&mut self, records: RecordBatch, progress: Progress) -> Result<(), String> {
        self.settle()?;
        self.first = records.first_lsn();
        self.asked = self.address.as_ref().map(|host| host.send(Replay { records, progress }));
        Ok(())
    }

    fn settle(&mut self) -> Result<(), String> {
        match self.asked.take().map(block_on) {
            None => Ok(()),
            Some(Ok(answer)) => answer.map_err(|refused| {
                format!(
                    "the actor that it goes to refused what it was given{}: {}",
                    self.place(),
                    refused.0
                )
            }),
            // A panic of an actor is nobody's to catch: its thread has printed it.
            Some(Err(_)) => Err(format!(
                "the actor that it goes to was stopped or has panicked{}; if it panicked, the reason is on standard error",
                self.place()
            )),
        }
    }
}

impl Host {
    fn place(&self) -> String {
        self.first.map(|first| format!(" with the records from LSN {first} on")).unwrap_or_default()
    }
}

/// A recovery that fails is answered when the host is done too: what it was given is to be thrown away then.
impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.settle();
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for a future on a plain thread.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = TaskContext::from_waker(&waker);
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}
