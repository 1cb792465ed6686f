//! Role: makes a log out of a directory, before anything is accepted.
//! Owns: nothing that outlives a recovery; the work is done on a thread of its own, `wal-recover`.
//! Receives: `Recover`.
//! Sends: `Replay` to the host, one at a time.
//! Never: blocks its Arbiter; lets anyone append.

use std::future::{Future, poll_fn};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::Poll;
use std::time::Duration;

use actix::dev::{MessageResponse, OneshotSender, RecipientRequest};
use actix::{Actor, Arbiter, ArbiterHandle, Context, Handler, Supervised};

use super::flush_thread::panic_message;
use crate::config::{Existence, WalConfig};
use crate::engine::recovery::{Begun, Progress, ReplaySink, recover};
use crate::engine::state::parts::LogParts;
use crate::engine::state::shared::Shared;
use crate::error::{Cause, IoFault, IoOp, OpenError};
use crate::lsn::Lsn;
use crate::messages::{Recover, RecoveredLog, Replay, ReplayRefused, ReplayTarget};
use crate::record::RecordBatch;
use crate::runtime::block_on;
use crate::runtime::threads::{Once, SystemThreads, Threads};
use crate::storage::{Directory, LockError, Metered, Obstacle, Patience, Storage, obstacle};

/// The name of the thread that recovers.
const THREAD: &str = "wal-recover";

/// How long an Arbiter may take to answer whether it was stopped. One that takes longer is busy.
const ARBITER_ANSWERS: Duration = Duration::from_secs(2);

/// How long an opener waits for a reader of a closed log: one that reads a last batch has ended by then.
const READER_ENDS: Duration = Duration::from_secs(1);

/// The actor that recovers a log. It is needed once, and stops when its last address is dropped.
#[derive(Debug)]
pub struct Recovery {
    shared: Arc<Shared>,
    config: WalConfig,
    threads: Arc<dyn Threads>,
}

impl Recovery {
    /// A Recovery for the log with these settings.
    pub fn new(parts: &LogParts, config: WalConfig) -> Self {
        Recovery { shared: Arc::clone(&parts.shared), config, threads: SystemThreads::shared() }
    }

    /// Has the work done by these threads, and not by one of the system.
    pub(crate) fn driven_by(mut self, threads: Arc<dyn Threads>) -> Self {
        self.threads = threads;
        self
    }
}

impl Actor for Recovery {
    type Context = Context<Self>;
}

impl Supervised for Recovery {}

impl Handler<Recover> for Recovery {
    type Result = Job;

    fn handle(&mut self, request: Recover, _: &mut Self::Context) -> Job {
        let (shared, config) = (Arc::clone(&self.shared), self.config.clone());
        let (threads, arbiter) = (Arc::clone(&self.threads), Arbiter::try_current());
        Job { request, shared, config, threads, arbiter }
    }
}

type Reply = OneshotSender<Result<RecoveredLog, OpenError>>;

/// A recovery that waits for its thread. It is the answer to [`Recover`], so that the thread holds the other end of
/// the answer, and sees when nobody waits for it any more.
#[derive(Debug)]
#[allow(unreachable_pub, reason = "the answer of a handler has to be public")]
pub struct Job {
    request: Recover,
    shared: Arc<Shared>,
    config: WalConfig,
    threads: Arc<dyn Threads>,
    /// Where the actors of the log are going to run.
    arbiter: Option<ArbiterHandle>,
}

impl MessageResponse<Recovery, Recover> for Job {
    fn handle(self, _: &mut Context<Recovery>, reply: Option<Reply>) {
        // Without one the log would be closed as soon as it was recovered.
        let Some(reply) = reply else { return };
        // The actors need timers. tokio says only by a panic that there are none.
        if catch_unwind(|| drop(tokio::time::sleep(Duration::ZERO))).is_err() {
            return drop(reply.send(Err(OpenError::NoTimers)));
        }
        // Both come back out of here if there is no thread.
        let threads = Arc::clone(&self.threads);
        let work = Arc::new(Mutex::new(Some((self, reply))));
        let there = Arc::clone(&work);
        let run = move || {
            if let Some((job, reply)) = take(&there) {
                job.run(reply);
            }
        };
        if let Err(error) = threads.spawn(THREAD, Box::new(Once::new(run)))
            && let Some((_, reply)) = take(&work)
        {
            let cause = IoFault::no_thread(THREAD, error).into();
            let _ = reply.send(Err(OpenError::Start(cause)));
        }
    }
}

fn take<T>(there: &Mutex<Option<T>>) -> Option<T> {
    there.lock().unwrap_or_else(PoisonError::into_inner).take()
}

impl Job {
    fn run(self, mut reply: Reply) {
        // The directory is free before the answer is sent: the next attempt must not find it locked.
        let recovered = catch_unwind(AssertUnwindSafe(|| self.recover(&mut reply)));
        let recovered = recovered.unwrap_or_else(|panic| {
            let message = panic_message(&*panic);
            Err(OpenError::Start(Cause::Panic { place: "recovery thread", message }))
        });
        let _ = reply.send(recovered.map(RecoveredLog));
    }

    fn recover(self, reply: &mut Reply) -> Result<Begun, OpenError> {
        let Job { request, shared, config, arbiter, .. } = self;
        config.validate()?;
        let storage = match request.storage {
            Some(storage) => storage,
            None => open_directory(&config, &shared, arbiter, reply)?,
        };
        let metered = Metered::new(storage);
        shared.count_io(metered.counts());
        let storage: Arc<dyn Storage> = Arc::new(metered);
        shared.meter.attach(&storage);
        let mut host = Host { target: request.replay_to, asked: None, first: None, reply };
        recover(storage, &config, &shared, request.from, &mut host)
    }
}

fn open_directory(
    config: &WalConfig,
    shared: &Arc<Shared>,
    arbiter: Option<ArbiterHandle>,
    reply: &Reply,
) -> Result<Arc<dyn Storage>, OpenError> {
    config.check_directory()?;
    let path = &config.directory;
    let must_exist = config.existence == Existence::MustExist;
    let is_wanted = || !reply.is_closed();
    let patience = Patience { at_most: config.give_up_after, is_wanted: &is_wanted };
    let opened = Directory::open_when_free(path, !must_exist, &patience);
    let directory = opened.map_err(|error| refusal(path, must_exist, error))?;
    let shared = Arc::downgrade(shared);
    directory
        .ends_within(Box::new(move |patience| ends_within(&shared, arbiter.as_ref(), patience)));
    Ok(Arc::new(directory))
}

fn refusal(path: &Path, must_exist: bool, error: LockError) -> OpenError {
    let directory = path.display().to_string();
    let error = match error {
        LockError::Held(holder) => return OpenError::Locked { directory, holder },
        LockError::Io(error) => error,
    };
    if must_exist && error.kind() == io::ErrorKind::NotFound {
        return OpenError::NoLog { directory };
    }
    match in_the_way(path, &error) {
        Some((obstacle, problem)) => {
            OpenError::InTheWay { directory, obstacle, problem, source: Arc::new(error) }
        }
        None => IoFault::new(IoOp::OpenDirectory, directory, None, error).into(),
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

/// For how long an opener with so much patience should wait for this log to end: not at all while it is in use.
fn ends_within(
    shared: &Weak<Shared>,
    arbiter: Option<&ArbiterHandle>,
    patience: Duration,
) -> Duration {
    let Some(shared) = shared.upgrade() else {
        return patience;
    };
    if !shared.is_ending() && !arbiter.is_some_and(was_stopped) && !shared.is_ending() {
        Duration::ZERO
    } else if shared.state().is_final() && shared.catalog.is_read() {
        patience.min(READER_ENDS)
    } else {
        patience
    }
}

/// Whether an Arbiter was told to stop: it drops its actors soon, and the log with them. What is asked after a stop is
/// never run, since an Arbiter takes its orders in turn.
fn was_stopped(arbiter: &ArbiterHandle) -> bool {
    let (reply, answer) = crossbeam_channel::bounded(1);
    let asked = arbiter.spawn_fn(move || {
        let _ = reply.send(());
    });
    let dropped = crossbeam_channel::RecvTimeoutError::Disconnected;
    !asked || answer.recv_timeout(ARBITER_ANSWERS) == Err(dropped)
}

/// What records are replayed to, if anything. An actor works on one batch while the next one is read, which is
/// handed over when the actor has answered.
struct Host<'a> {
    target: Option<ReplayTarget>,
    asked: Option<RecipientRequest<Replay>>,
    /// The first LSN of what it was asked to take; `None` if that was nothing.
    first: Option<Lsn>,
    reply: &'a mut Reply,
}

impl ReplaySink for Host<'_> {
    fn replay(&mut self, records: RecordBatch, progress: Progress) -> Result<(), String> {
        self.settle()?;
        self.first = records.first_lsn();
        let replay = Replay { records, progress };
        match &mut self.target {
            None => Ok(()),
            Some(ReplayTarget::Function(function)) => call(function, replay),
            Some(ReplayTarget::Actor(host)) => {
                self.asked = Some(host.send(replay));
                Ok(())
            }
        }
    }

    fn settle(&mut self) -> Result<(), String> {
        let (asked, reply) = (self.asked.take(), &mut *self.reply);
        let Some(asked) = asked else {
            return if reply.is_closed() { Err(unwanted()) } else { Ok(()) };
        };
        let (place, mut asked) = (place(self.first), pin!(asked));
        block_on(poll_fn(|context| {
            // Nobody waits for the open any more: nor does the directory wait for the host.
            if reply.poll_closed(context).is_ready() {
                return Poll::Ready(Err(unwanted()));
            }
            asked.as_mut().poll(context).map(|answer| match answer {
                Ok(Ok(())) => Ok(()),
                Ok(Err(refused)) => Err(format!(
                    "the actor that it goes to refused what it was given{place}: {}",
                    refused.0
                )),
                // A panic of an actor is nobody's to catch: its thread has printed it.
                Err(_) => Err(format!(
                    "the actor that it goes to was stopped or has panicked{place}; if it panicked, the reason is on standard error"
                )),
            })
        }))
    }

    fn is_wanted(&self) -> bool {
        !self.reply.is_closed()
    }
}

fn unwanted() -> String {
    "nobody waits for the open any more".to_owned()
}

fn place(first: Option<Lsn>) -> String {
    first.map(|first| format!(" with the records from LSN {first} on")).unwrap_or_default()
}

fn call(
    function: &mut (dyn FnMut(Replay) -> Result<(), ReplayRefused> + Send),
    replay: Replay,
) -> Result<(), String> {
    let place = place(replay.records.first_lsn());
    let who = "the function that it goes to";
    match catch_unwind(AssertUnwindSafe(|| function(replay))) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(refused)) => Err(format!("{who} refused what it was given{place}: {}", refused.0)),
        Err(panic) => Err(format!("{who} panicked{place}: {}", panic_message(&*panic))),
    }
}

/// A recovery that fails is answered when the host is done too: what it was given is to be thrown away then.
impl Drop for Host<'_> {
    fn drop(&mut self) {
        let _ = self.settle();
    }
}
