//! The handle of a log, and the only file that starts actors and wires them.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;

use actix::dev::ToEnvelope;
use actix::{
    Actor, Addr, Arbiter, ArbiterHandle, Handler, MailboxError, Message, Recipient, Supervisor,
};
use bytes::Bytes;
use serde::Serialize;
use tokio::sync::oneshot;

use crate::actors::{Appender, Flusher, Recovery, block_on};
use crate::codec::{Bincode, Codec};
use crate::config::{Durability, WalConfig};
use crate::engine::admission::{Admission, Permit};
use crate::engine::clock::{Clock, SystemClock};
use crate::engine::entry::Payload;
use crate::engine::outcomes::Fate;
use crate::engine::recovery::RecoveryReport;
use crate::engine::shared::{LogState, QueueReceiver, Shared, Stats, Status};
use crate::entrance::Entrance;
use crate::error::{
    AppendError, Cause, CheckpointError, CloseError, CommitError, OpenError, ReadError,
};
use crate::lsn::{Lsn, LsnRange};
use crate::messages::{
    Accepted, Await, AwaitStart, Checkpoint, Close, Collect, Flush, GetStats, GetStatus, LogEvent,
    Read, Recipients, Recover, Replay, Reply, Submit, Subscribe, Unsubscribe,
};
use crate::outbox::Outbox;
use crate::read_stream::ReadStream;
use crate::storage::Storage;
use crate::threads::{SystemThreads, Threads};

/// A handle of an open log. Clones are handles of the same log; they can be sent to other threads.
///
/// When the last handle is dropped, the log closes in the background: what was appended is flushed, if
/// the System lives long enough. Only [`close`](Self::close) tells when that is done, and how.
///
/// All waiting is asynchronous and never blocks an Arbiter. A future that is dropped withdraws nothing:
/// once it has been polled, its record may become durable without anyone hearing of it.
#[derive(Clone, Debug)]
pub struct Wal {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    entrance: Entrance,
    report: RecoveryReport,
    to: Recipients,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.to.close.do_send(Close);
    }
}

/// What the two sides of a log share, for hosts that start the actors themselves: the state, and the
/// receiving end of the queue, which belongs to the Flusher or to what stands in for it.
#[derive(Debug)]
pub struct Link {
    /// What all parts share.
    pub shared: Arc<Shared>,
    /// Where appends come out.
    pub queue: QueueReceiver,
}

impl Link {
    /// The link of a log with these settings.
    pub fn new(config: &WalConfig) -> Self {
        Link::with_clock(config, Arc::new(SystemClock::default()))
    }

    /// The same with another source of time.
    pub fn with_clock(config: &WalConfig, clock: Arc<dyn Clock>) -> Self {
        let (shared, queue) = Shared::new(config, clock);
        Link { shared, queue }
    }
}

/// A log that is about to be opened: await it. See [`Wal::open`].
#[derive(Debug)]
#[must_use = "nothing is opened before this is awaited"]
pub struct Open {
    config: WalConfig,
    replay: Recover,
    arbiter: Option<ArbiterHandle>,
    clock: Option<Arc<dyn Clock>>,
    threads: Option<Arc<dyn Threads>>,
}

impl Open {
    /// Replays the log to an actor before anything is accepted: from `from` on, or with `None` everything
    /// that no checkpoint has released. The actor must be able to handle messages meanwhile, so it must
    /// not be the one that blocks on the open: also a failed open is answered only when the actor is done with
    /// what it has been given.
    pub fn replay_to(mut self, host: Recipient<Replay>, from: impl Into<Option<Lsn>>) -> Self {
        self.replay.replay_to = Some(host);
        self.replay.from = from.into();
        self
    }

    /// Runs the actors of the log in this Arbiter instead of the current one. In the Arbiter of the
    /// clients a commit takes fewer thread hops; in one of its own the log is not slowed by them.
    pub fn in_arbiter(mut self, arbiter: ArbiterHandle) -> Self {
        self.arbiter = Some(arbiter);
        self
    }

    /// Puts the log on another storage than the directory of the configuration.
    pub fn on_storage(mut self, storage: Arc<dyn Storage>) -> Self {
        self.replay.storage = Some(storage);
        self
    }

    /// Takes time and chance from elsewhere.
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Takes the threads of the log from elsewhere.
    pub fn on_threads(mut self, threads: Arc<dyn Threads>) -> Self {
        self.threads = Some(threads);
        self
    }

    async fn open(self) -> Result<Wal, OpenError> {
        self.config.validate()?;
        let arbiter = self.arbiter.unwrap_or_else(Arbiter::current);
        let clock = self.clock.unwrap_or_else(|| Arc::new(SystemClock::default()));
        let Link { shared, queue } = Link::with_clock(&self.config, clock);
        let stopped = |actor| move |_: MailboxError| OpenError::Start(Cause::Stopped { actor });

        let threads = self.threads.unwrap_or_else(SystemThreads::shared);
        let recovery = Recovery::new(Arc::clone(&shared), self.config.clone());
        let recovery = recovery.on_threads(Arc::clone(&threads));
        let recovery = Supervisor::start_in_arbiter(&arbiter, |_| recovery);
        let recovered = recovery.send(self.replay).await.map_err(stopped("Recovery"))??;
        let report = recovered.report().clone();

        let appender = Appender::new(Arc::clone(&shared), self.config.overload);
        let appender = Supervisor::start_in_arbiter(&arbiter, |_| appender);
        let flusher = Flusher::new(
            recovered,
            Arc::clone(&shared),
            queue,
            self.config.clone(),
            appender.clone().recipient(),
        );
        let flusher = flusher.on_threads(threads).that_must_start();
        let flusher = Supervisor::start_in_arbiter(&arbiter, |_| flusher);
        // From here on there is a handle that closes the log, also when this future is dropped.
        let wal = Wal::compose(&self.config, shared, report, &appender, &flusher);
        // Answered once its thread runs, and it has told the Appender that appends are welcome.
        let started = flusher.send(AwaitStart).await.map_err(stopped("Flusher"))?;
        started.map(|()| wal).map_err(OpenError::Start)
    }
}

impl IntoFuture for Open {
    type Output = Result<Wal, OpenError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output>>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.open())
    }
}

impl Wal {
    /// Opens the log in a directory, or begins one: recovers, replays if asked to, then accepts appends. Answers
    /// when the threads of the log run and appends are taken, or with why that can not be.
    /// Must be awaited in an actix System.
    ///
    /// ```no_run
    /// # use actix_wal::{Wal, WalConfig};
    /// # #[actix::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let wal = Wal::open(WalConfig::new("data/wal")).await?;
    /// # Ok(()) }
    /// ```
    pub fn open(config: WalConfig) -> Open {
        Open { config, replay: Recover::default(), arbiter: None, clock: None, threads: None }
    }

    /// A handle over actors that the host has started itself. `flusher` may be any actor that keeps the
    /// contract of one, such as the testkit's.
    pub fn compose<F>(
        config: &WalConfig,
        shared: Arc<Shared>,
        report: RecoveryReport,
        appender: &Addr<Appender>,
        flusher: &Addr<F>,
    ) -> Self
    where
        F: Actor
            + Handler<Subscribe>
            + Handler<Unsubscribe>
            + Handler<Checkpoint>
            + Handler<Read>
            + Handler<GetStats>
            + Handler<GetStatus>
            + Handler<Close>,
        F::Context: ToEnvelope<F, Subscribe>
            + ToEnvelope<F, Unsubscribe>
            + ToEnvelope<F, Checkpoint>
            + ToEnvelope<F, Read>
            + ToEnvelope<F, GetStats>
            + ToEnvelope<F, GetStatus>
            + ToEnvelope<F, Close>,
    {
        let to = Recipients {
            append: appender.clone().recipient(),
            append_all: appender.clone().recipient(),
            commit: appender.clone().recipient(),
            submit: appender.clone().recipient(),
            collect: appender.clone().recipient(),
            wait_for_lsn: appender.clone().recipient(),
            wait: appender.clone().recipient(),
            flush: appender.clone().recipient(),
            subscribe: flusher.clone().recipient(),
            unsubscribe: flusher.clone().recipient(),
            checkpoint: flusher.clone().recipient(),
            read: flusher.clone().recipient(),
            get_stats: flusher.clone().recipient(),
            get_status: flusher.clone().recipient(),
            close: flusher.clone().recipient(),
        };
        let entrance = Entrance::new(shared, config.overload, to.collect.clone());
        let inner = Inner { entrance, report, to };
        Wal { inner: Arc::new(inner) }
    }

    /// Phase one: gives the record an LSN and sends it on its way. Returns before it is durable.
    ///
    /// # Errors
    /// The record is not in the log, except with [`AppendError::Unknown`].
    pub async fn append(&self, payload: impl Into<Bytes>) -> Result<Lsn, AppendError> {
        self.append_with(payload, Durability::GroupCommit).await
    }

    /// [`append`](Self::append) with a choice of who waits. `Synchronous` has the batch flushed at once,
    /// `Async` within `max_delay`; either way this returns as soon as there is an LSN.
    ///
    /// # Errors
    /// As for [`append`](Self::append).
    pub async fn append_with(
        &self,
        payload: impl Into<Bytes>,
        durability: Durability,
    ) -> Result<Lsn, AppendError> {
        let range = self.submit_accepted(Payload::One(payload.into()), durability).await?;
        Ok(range.first)
    }

    /// Appends an atomic group: after a crash all of its records are there, or none.
    ///
    /// # Errors
    /// As for [`append`](Self::append).
    pub async fn append_all<P: Into<Bytes>>(
        &self,
        payloads: impl IntoIterator<Item = P>,
    ) -> Result<LsnRange, AppendError> {
        let payloads: Vec<Bytes> = payloads.into_iter().map(Into::into).collect();
        if payloads.is_empty() {
            return Err(AppendError::EmptyGroup);
        }
        self.submit_accepted(Payload::Group(payloads), Durability::GroupCommit).await
    }

    /// Appends a value, encoded with [`Bincode`].
    ///
    /// # Errors
    /// As for [`append`](Self::append), or the value can not be encoded.
    pub async fn append_record<T: Serialize + ?Sized>(
        &self,
        value: &T,
    ) -> Result<Lsn, AppendError> {
        let bytes = Bincode.encode(&value)?;
        self.append(bytes).await
    }

    /// Phase two: waits until a record is durable.
    ///
    /// # Errors
    /// See [`CommitError`]: the record is certainly not in the log, or nobody knows.
    pub async fn wait_for_lsn(&self, lsn: Lsn) -> Result<(), CommitError> {
        if let Some(outcome) = self.outcome(lsn) {
            return outcome;
        }
        let gone = |_| Err(CommitError::Unknown { lsn, cause: self.gone("Appender") });
        let (reply, answer) = oneshot::channel();
        self.inner.to.wait.do_send(Await { lsn, reply });
        answer.await.unwrap_or_else(gone)
    }

    /// Both phases in one round trip: appends, and returns when the record is durable.
    ///
    /// # Errors
    /// See [`CommitError`].
    pub async fn commit(&self, payload: impl Into<Bytes>) -> Result<Lsn, CommitError> {
        self.commit_with(payload, Durability::GroupCommit).await
    }

    /// [`commit`](Self::commit) with a choice of how. `Async` returns before the record is durable.
    ///
    /// # Errors
    /// See [`CommitError`].
    pub async fn commit_with(
        &self,
        payload: impl Into<Bytes>,
        durability: Durability,
    ) -> Result<Lsn, CommitError> {
        let payload = Payload::One(payload.into());
        let permit = self.inner.entrance.permit(&payload).await?;
        let answer = self.submit_commit(payload, durability, permit)?;
        let range = answer.await.unwrap_or_else(|_| Err(self.appender_gone().into()))?;
        Ok(range.first)
    }

    /// [`commit`](Self::commit) for plain threads: blocks until the record is durable.
    ///
    /// # Errors
    /// See [`CommitError`]. On the thread of an Arbiter it refuses to block.
    pub fn commit_blocking(&self, payload: impl Into<Bytes>) -> Result<Lsn, CommitError> {
        if Arbiter::try_current().is_some() {
            return Err(AppendError::WouldBlockArbiter.into());
        }
        block_on(self.commit(payload))
    }

    /// Makes everything durable that was appended so far, without waiting for a batch. Returns the LSN up
    /// to which everything is durable then.
    ///
    /// # Errors
    /// See [`CommitError`]; the LSN in it is the last one that was appended.
    pub async fn flush(&self) -> Result<Lsn, CommitError> {
        let lsn = self.shared().accepted();
        let gone = |_| CommitError::Unknown { lsn, cause: self.gone("Appender") };
        self.inner.entrance.call();
        self.inner.to.flush.send(Flush).await.map_err(gone)?
    }

    /// The durable watermark, without any message: a page may be written back only when the LSN of its
    /// last change is at or below it.
    pub fn durable_lsn(&self) -> Lsn {
        self.shared().durable()
    }

    /// What became of an LSN, without any message; `None` while that is open, and for an LSN that was
    /// never assigned. For actors that compare LSNs with the watermark themselves: an LSN at or below it
    /// may have failed, and an event may come before the answer to the append that it is about.
    ///
    /// An LSN that an earlier life gave out and lost is `NotDurable`; what a checkpoint has released
    /// counts as durable.
    pub fn outcome(&self, lsn: Lsn) -> Option<Result<(), CommitError>> {
        let shared = self.shared();
        // The state first: whatever the log knew when it ended is in its table.
        let state = shared.state();
        match (shared.fate(lsn), state) {
            (Some(Fate::Durable), _) => Some(Ok(())),
            (Some(Fate::NotDurable(cause)), _) => Some(Err(CommitError::NotDurable { lsn, cause })),
            (Some(Fate::Unknown(cause)), _) => Some(Err(CommitError::Unknown { lsn, cause })),
            (None, _) if lsn > shared.accepted() => None,
            (None, LogState::Poisoned(cause)) => Some(Err(CommitError::NotDurable { lsn, cause })),
            (None, LogState::Closed(cause)) => Some(Err(CommitError::Unknown { lsn, cause })),
            (None, _) => None,
        }
    }

    /// The way into the log for an actor that works by messages alone: it hears of its LSNs as [`Accepted`],
    /// and of durability by a [subscription](Self::subscribe).
    pub fn outbox(&self, owner: Recipient<Accepted>) -> Outbox {
        Outbox::new(self.inner.entrance.clone(), owner)
    }

    /// Sends everything that happens to the log to an actor. Returns the watermark from which the events
    /// go on. See [`Subscribe`].
    ///
    /// # Errors
    /// The log is closed.
    pub async fn subscribe(&self, recipient: Recipient<LogEvent>) -> Result<Lsn, Cause> {
        self.inner.to.subscribe.send(Subscribe(recipient)).await.map_err(|_| self.gone("Flusher"))
    }

    /// Ends a subscription. Whether there was one.
    ///
    /// # Errors
    /// The log is closed.
    pub async fn unsubscribe(&self, recipient: Recipient<LogEvent>) -> Result<bool, Cause> {
        self.inner
            .to
            .unsubscribe
            .send(Unsubscribe(recipient))
            .await
            .map_err(|_| self.gone("Flusher"))
    }

    /// Says that nothing up to `lsn` is needed any more. Segments that hold nothing else are used again.
    /// Returns the low-water mark.
    ///
    /// # Errors
    /// `lsn` is not durable yet, or the log is closed.
    pub async fn checkpoint(&self, lsn: Lsn) -> Result<Lsn, CheckpointError> {
        let gone = |_| CheckpointError::Closed { cause: self.gone("Flusher") };
        self.inner.to.checkpoint.send(Checkpoint(lsn)).await.map_err(gone)?
    }

    /// Reads durable records from `from` on, up to what is durable when it gets there; see
    /// [`ReadStream::follow`].
    ///
    /// # Errors
    /// A checkpoint has released `from`, or the log is closed.
    pub async fn read(&self, from: Lsn) -> Result<ReadStream, ReadError> {
        let gone = |_| ReadError::Closed { cause: self.gone("Flusher") };
        let cursor = self.inner.to.read.send(Read { from }).await.map_err(gone)??;
        Ok(ReadStream::new(Arc::clone(self.shared()), cursor))
    }

    /// What has been counted since the log was opened.
    pub fn stats(&self) -> Stats {
        self.shared().stats()
    }

    /// The state of the log at a glance.
    pub fn status(&self) -> Status {
        self.shared().status()
    }

    /// What recovery found when the log was opened.
    pub fn recovery_report(&self) -> &RecoveryReport {
        &self.inner.report
    }

    /// Takes no more appends, makes durable what was accepted, and gives the directory back. All handles
    /// are closed by it; closing twice is no error. A [`ReadStream`] that is still there keeps the
    /// directory locked until it is dropped.
    ///
    /// # Errors
    /// The log could not be closed cleanly. Acknowledged records are safe all the same.
    pub async fn close(&self) -> Result<(), CloseError> {
        self.inner.entrance.call();
        match self.inner.to.close.send(Close).await {
            Ok(result) => result,
            Err(_) => Err(CloseError { cause: self.gone("Flusher"), unresolved: None }),
        }
    }

    /// The bound on what is in flight, for hosts that send the messages themselves.
    pub fn admission(&self) -> &Arc<Admission> {
        &self.shared().admission
    }

    /// Where each message goes, for actors that would rather send than call. Those that append need a permit
    /// of [`admission`](Self::admission).
    pub fn recipients(&self) -> &Recipients {
        &self.inner.to
    }

    /// Where to send [`Submit`], for hosts that send the messages themselves.
    pub fn submit_recipient(&self) -> Recipient<Submit> {
        self.inner.to.submit.clone()
    }

    async fn submit_accepted(
        &self,
        payload: Payload,
        durability: Durability,
    ) -> Result<LsnRange, AppendError> {
        let permit = self.inner.entrance.permit(&payload).await?;
        let (reply, answer) = oneshot::channel();
        self.inner.entrance.submit(Submit {
            payload,
            durability,
            permit,
            reply: Reply::Accepted(reply),
        })?;
        answer.await.unwrap_or_else(|_| Err(self.appender_gone()))
    }

    fn submit_commit(
        &self,
        payload: Payload,
        durability: Durability,
        permit: Permit,
    ) -> Result<oneshot::Receiver<Result<LsnRange, CommitError>>, AppendError> {
        let (reply, answer) = oneshot::channel();
        self.inner.entrance.submit(Submit {
            payload,
            durability,
            permit,
            reply: Reply::Outcome(reply),
        })?;
        Ok(answer)
    }

    fn shared(&self) -> &Arc<Shared> {
        self.inner.entrance.shared()
    }

    fn gone(&self, actor: &'static str) -> Cause {
        self.inner.entrance.gone(actor)
    }

    fn appender_gone(&self) -> AppendError {
        AppendError::Unknown { cause: self.gone("Appender") }
    }
}

// Handles go to other threads, and messages to other Arbiters.
const _: fn() = || {
    fn crosses_threads<T: Send + Sync>() {}
    fn can_be_sent<T: Message + Send>() {}
    crosses_threads::<Wal>();
    can_be_sent::<Submit>();
    can_be_sent::<Collect>();
    can_be_sent::<Recover>();
};
