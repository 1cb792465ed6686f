//! How a log is opened, and the only file that starts actors and wires them.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;

use actix::{Arbiter, ArbiterHandle, MailboxError, Recipient, Supervisor};

use crate::actors::{Appender, Flusher, Recovery};
use crate::config::WalConfig;
use crate::engine::state::parts::LogParts;
use crate::engine::state::shared::Shared;
use crate::error::{Cause, IoFault, OpenError};
use crate::lsn::Lsn;
use crate::messages::{AwaitStart, Recover, Replay, ReplayRefused, ReplayTarget};
use crate::metrics::note_refused_open;
use crate::runtime::clock::{Clock, SystemClock};
use crate::runtime::threads::{SystemThreads, Threads};
use crate::runtime::{ACTOR_THREAD, OwnSystem};
use crate::storage::Storage;
use crate::wal::Wal;

/// A log that is about to be opened: await it, or call [`blocking`](Self::blocking). See [`Wal::open`].
///
/// If the future is dropped, the recovery ends at the next batch of records, and the directory is free.
#[derive(Debug)]
#[must_use = "nothing is opened before this is awaited"]
pub struct Open {
    config: WalConfig,
    replay: Recover,
    place: Place,
    clock: Option<Arc<dyn Clock>>,
    threads: Option<Arc<dyn Threads>>,
}

/// Where the actors of the log run.
#[derive(Debug)]
enum Place {
    /// In the Arbiter of the thread that polls the open first.
    Here,
    Arbiter(ArbiterHandle),
    OwnThread,
}

impl Wal {
    /// Opens the log in a directory, or begins one: recovers, replays if asked to, then accepts appends.
    ///
    /// The actors of the log run in the Arbiter that awaits this. Programs without actix choose
    /// [`on_own_thread`](Open::on_own_thread), and plain threads [`blocking`](Open::blocking). The handle works from
    /// any thread and in any runtime.
    ///
    /// If a log of this very process is about to give the directory back, since it was closed, its last handle was
    /// dropped or its System stopped, this waits for it, for at most
    /// [`give_up_after`](WalConfig::give_up_after). Any other owner is [`OpenError::Locked`] at once.
    ///
    /// ```no_run
    /// # use actix_wal::{Wal, WalConfig};
    /// # #[actix::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let wal = Wal::open(WalConfig::new("data/wal")).await?;
    /// # Ok(()) }
    /// ```
    pub fn open(config: WalConfig) -> Open {
        Open { config, replay: Recover::default(), place: Place::Here, clock: None, threads: None }
    }
}

impl Open {
    /// Replays the log to an actor before anything is accepted: from `from` on, or with `None` everything
    /// that no checkpoint has released. The open fails with [`OpenError::BeyondEnd`] if the log has never had `from`:
    /// then the host has seen a later copy of it. The actor must be able to handle messages meanwhile, so it must
    /// not be the one that blocks on the open: also a failed open is answered only when the actor is done with
    /// what it has been given.
    pub fn replay_to(mut self, host: Recipient<Replay>, from: impl Into<Option<Lsn>>) -> Self {
        self.replay.replay_to = Some(ReplayTarget::Actor(host));
        self.replay.from = from.into();
        self
    }

    /// Replays the log to a function before anything is accepted, as [`replay_to`](Self::replay_to) does to an actor:
    /// one batch after the other, on the recovery thread, where the function may block. An error ends the open.
    ///
    /// ```no_run
    /// # use std::sync::mpsc;
    /// # use actix_wal::{Wal, WalConfig};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let (send, records) = mpsc::channel();
    /// let opening = Wal::open(WalConfig::new("data/wal")).replay_with(None, move |replay| {
    ///     replay.records.records().for_each(|record| drop(send.send(record)));
    ///     Ok(())
    /// });
    /// let wal = opening.blocking()?;
    /// for record in records {
    ///     println!("{}: {:?}", record.lsn, record.payload);
    /// }
    /// # wal.close_blocking()?;
    /// # Ok(()) }
    /// ```
    pub fn replay_with(
        mut self,
        from: impl Into<Option<Lsn>>,
        function: impl FnMut(Replay) -> Result<(), ReplayRefused> + Send + 'static,
    ) -> Self {
        self.replay.replay_to = Some(ReplayTarget::Function(Box::new(function)));
        self.replay.from = from.into();
        self
    }

    /// Runs the actors of the log in this Arbiter instead of the current one. In the Arbiter of the
    /// clients a commit takes fewer thread hops; in one of its own the log is not slowed by them.
    pub fn in_arbiter(mut self, arbiter: ArbiterHandle) -> Self {
        self.place = Place::Arbiter(arbiter);
        self
    }

    /// Runs the actors of the log in an actix System of its own, on the thread `wal-actors`: for programs without
    /// actix. The open can be awaited in any runtime.
    ///
    /// The thread ends with the log. [`close`](Wal::close) returns after the System has ended. When the last handle is
    /// dropped, the log closes in the background, and the System ends then. A process that ends without either ends
    /// the thread with it, as a crash does: what was acknowledged is safe, and the next open repairs the rest. If the
    /// thread can not be started, the open is [`OpenError::Start`] with the error of the operating system.
    ///
    /// ```no_run
    /// # use actix_wal::{Wal, WalConfig};
    /// # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let wal = Wal::open(WalConfig::new("data/wal")).on_own_thread().await?;
    /// wal.commit("durable when this returns").await?;
    /// wal.close().await?;
    /// # Ok(()) }
    /// ```
    pub fn on_own_thread(mut self) -> Self {
        self.place = Place::OwnThread;
        self
    }

    /// On a thread of its own, where no place was chosen.
    pub(crate) fn anywhere(self) -> Self {
        match self.place {
            Place::Here => self.on_own_thread(),
            _ => self,
        }
    }

    /// Puts the log on another storage than the directory of the configuration.
    pub fn on_storage(mut self, storage: Arc<dyn Storage>) -> Self {
        self.replay.storage = Some(storage);
        self
    }

    /// Takes time and chance from elsewhere.
    #[cfg(any(test, feature = "testkit"))]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Takes the threads of the log from elsewhere, but for that of [`on_own_thread`](Self::on_own_thread). No thread
    /// publishes metrics then: [`Wal::publish_metrics`](crate::Wal) does.
    #[cfg(any(test, feature = "testkit"))]
    pub fn on_threads(mut self, threads: Arc<dyn Threads>) -> Self {
        self.threads = Some(threads);
        self
    }

    async fn open(self) -> Result<Wal, OpenError> {
        self.config.validate()?;
        let (arbiter, system) = self.place.arbiter().await?;
        let clock = self.clock.unwrap_or_else(|| Arc::new(SystemClock::default()));
        let parts = LogParts::at(&self.config, clock);
        // Until there is a handle, which does the same.
        let opening = Opening(Some(Arc::clone(&parts.shared)));

        let has_threads = self.threads.is_none();
        let threads = self.threads.unwrap_or_else(SystemThreads::shared);
        let recovery = Recovery::new(&parts, self.config.clone());
        let recovery = recovery.driven_by(Arc::clone(&threads));
        let recovery = Supervisor::start_in_arbiter(&arbiter, |_| recovery);
        let recovered = recovery.send(self.replay).await.map_err(stopped("Recovery"))?;
        let recovered =
            recovered.inspect_err(|error| note_refused_open(&self.config, &parts.shared, error))?;
        let report = recovered.report().clone();

        let appender = Appender::new(&parts, self.config.overload);
        let appender = Supervisor::start_in_arbiter(&arbiter, |_| appender);
        let events = appender.clone().recipient();
        let flusher = Flusher::new(recovered, &parts, self.config.clone(), events);
        let flusher = flusher.driven_by(threads).that_must_start();
        let flusher = Supervisor::start_in_arbiter(&arbiter, |_| flusher);
        // From here on there is a handle that closes the log, also when this future is dropped.
        let wal = Wal::compose(&self.config, &parts, report, &appender, &flusher);
        let wal = wal.with_system(system);
        opening.done();
        // Answered once its thread runs, and it has told the Appender that appends are welcome.
        let started = flusher.send(AwaitStart).await.map_err(stopped("Flusher"))?;
        // Another driver of threads has a time of its own, in which nothing should happen once a second.
        if has_threads && started.is_ok() {
            wal.publish_in_background();
        }
        started.map(|()| wal).map_err(OpenError::Start)
    }
}

impl Place {
    /// The Arbiter, and its System if the log is to end it.
    async fn arbiter(self) -> Result<(ArbiterHandle, Option<OwnSystem>), OpenError> {
        match self {
            Place::Here => {
                // A thread keeps the name of its last Arbiter after that has ended.
                let here = Arbiter::try_current().filter(ArbiterHandle::alive);
                Ok((here.ok_or(OpenError::NoSystem)?, None))
            }
            Place::Arbiter(arbiter) if arbiter.alive() => Ok((arbiter, None)),
            Place::Arbiter(_) => Err(OpenError::Start(Cause::Stopped { actor: "Arbiter" })),
            Place::OwnThread => {
                let refused = |error| IoFault::no_thread(ACTOR_THREAD, error).into();
                let system = OwnSystem::start().await;
                let system = system.map_err(|error| OpenError::Start(refused(error)))?;
                Ok((system.arbiter().clone(), Some(system)))
            }
        }
    }
}

fn stopped(actor: &'static str) -> impl Fn(MailboxError) -> OpenError {
    move |_| OpenError::Start(Cause::Stopped { actor })
}

/// An open that has no handle yet. If it fails or is dropped, the next open need not take its log for one in use.
struct Opening(Option<Arc<Shared>>);

impl Opening {
    fn done(mut self) {
        self.0 = None;
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        if let Some(shared) = self.0.take() {
            shared.release();
        }
    }
}

impl IntoFuture for Open {
    type Output = Result<Wal, OpenError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.open())
    }
}
