//! The handle of a log.

use std::sync::Arc;

use actix::dev::ToEnvelope;
use actix::{Actor, Addr, Handler, Message, Recipient};
use bytes::Bytes;
use serde::Serialize;
use tokio::sync::oneshot;

use crate::actors::Appender;
use crate::codec::{Bincode, Codec};
use crate::config::WalConfig;
use crate::engine::intake::admission::{Admission, Permit};
use crate::engine::intake::entry::Payload;
use crate::engine::read::cursor::Cursor;
use crate::engine::recovery::RecoveryReport;
use crate::engine::segments::catalog::{HoldInfo, SegmentInfo};
use crate::engine::state::parts::LogParts;
use crate::engine::state::shared::Shared;
use crate::entrance::Entrance;
use crate::error::{
    AppendError, Cause, CheckpointError, CloseError, CommitError, ReadError, RotateError,
};
use crate::hold::Hold;
use crate::lsn::{LogId, Lsn, LsnRange};
use crate::messages::wire::{Await, Collect, Reply, Submit};
use crate::messages::{
    Accepted, AppendOptions, Checkpoint, Close, Flush, GetSegments, GetStats, GetStatus, LogEvent,
    Read, ReadRange, Recipients, Recover, Rotate, Subscribe, Unsubscribe,
};
use crate::metrics::Publisher;
use crate::outbox::Outbox;
use crate::reader::ReadStream;
use crate::runtime::OwnSystem;
use crate::status::{LogState, Stats, Status};

/// A handle of an open log. Clones are handles of the same log; they can be sent to other threads.
///
/// When the last handle is dropped, the log closes in the background: what was appended is flushed, if
/// the System lives long enough. Only [`close`](Self::close) tells when that is done, and how.
///
/// The asynchronous calls never block an Arbiter, and any executor can await them. Those that end in `_blocking` are
/// for plain threads. A future that is dropped withdraws nothing: once it has been polled, its record may become
/// durable all the same.
#[derive(Clone, Debug)]
pub struct Wal {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    entrance: Entrance,
    report: RecoveryReport,
    to: Recipients,
    /// The System of the log, if it is the log's own.
    system: Option<OwnSystem>,
    metrics: Publisher,
}

impl Drop for Inner {
    fn drop(&mut self) {
        let shared = Arc::clone(self.entrance.shared());
        shared.release();
        let Some(system) = self.system.take() else {
            return self.to.close.do_send(Close);
        };
        let close = self.to.close.clone();
        let arbiter = system.arbiter().clone();
        arbiter.spawn(async move {
            // A log whose sync is stuck answers with an error before it has closed: its System stays until then.
            while let Ok(Err(_)) = close.send(Close).await
                && !matches!(shared.state(), LogState::Closed(_))
            {}
            drop(system);
        });
    }
}

impl Wal {
    /// A handle over actors that the host has started itself. `flusher` is a [`Flusher`](crate::actors::Flusher), or an
    /// actor that stands between one and the log.
    pub fn compose<F>(
        config: &WalConfig,
        parts: &LogParts,
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
            + Handler<ReadRange>
            + Handler<GetSegments>
            + Handler<Rotate>
            + Handler<GetStats>
            + Handler<GetStatus>
            + Handler<Close>,
        F::Context: ToEnvelope<F, Subscribe>
            + ToEnvelope<F, Unsubscribe>
            + ToEnvelope<F, Checkpoint>
            + ToEnvelope<F, Read>
            + ToEnvelope<F, ReadRange>
            + ToEnvelope<F, GetSegments>
            + ToEnvelope<F, Rotate>
            + ToEnvelope<F, GetStats>
            + ToEnvelope<F, GetStatus>
            + ToEnvelope<F, Close>,
    {
        let to = Recipients {
            append: appender.clone().recipient(),
            append_all: appender.clone().recipient(),
            commit: appender.clone().recipient(),
            collect: appender.clone().recipient(),
            wait_for_lsn: appender.clone().recipient(),
            wait: appender.clone().recipient(),
            flush: appender.clone().recipient(),
            subscribe: flusher.clone().recipient(),
            unsubscribe: flusher.clone().recipient(),
            checkpoint: flusher.clone().recipient(),
            read: flusher.clone().recipient(),
            read_range: flusher.clone().recipient(),
            get_segments: flusher.clone().recipient(),
            rotate: flusher.clone().recipient(),
            get_stats: flusher.clone().recipient(),
            get_status: flusher.clone().recipient(),
            close: flusher.clone().recipient(),
        };
        let shared = Arc::clone(&parts.shared);
        let metrics = Publisher::new(config, &shared, &report);
        let entrance = Entrance::new(shared, config.overload, to.collect.clone());
        Wal { inner: Arc::new(Inner { entrance, report, to, system: None, metrics }) }
    }

    /// Publishes the metrics of the log from a thread that ends with it.
    pub(crate) fn publish_in_background(&self) {
        self.inner.metrics.run_in_background(self.shared());
    }

    /// Ends this System when the log has closed. Called before there is a second handle.
    pub(crate) fn with_system(mut self, system: Option<OwnSystem>) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.inner) {
            inner.system = system;
        }
        self
    }

    /// Phase one: gives the record an LSN and sends it on its way. Returns before it is durable.
    ///
    /// # Errors
    /// The record is not in the log, except with [`AppendError::Unknown`].
    pub async fn append(&self, payload: impl Into<Bytes>) -> Result<Lsn, AppendError> {
        self.append_with(payload, AppendOptions::default()).await
    }

    /// [`append`](Self::append) with a choice of who waits, and of what it builds on. `Synchronous` has the batch flushed
    /// at once, `Async` within `max_delay`; either way this returns as soon as there is an LSN.
    ///
    /// # Errors
    /// As for [`append`](Self::append), or [`EpochEnded`](AppendError::EpochEnded).
    pub async fn append_with(
        &self,
        payload: impl Into<Bytes>,
        options: impl Into<AppendOptions>,
    ) -> Result<Lsn, AppendError> {
        let payload = Payload::One(payload.into());
        let range = self.submit_accepted(payload, options.into()).await?;
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
        self.submit_accepted(Payload::Group(payloads), AppendOptions::default()).await
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
        self.commit_with(payload, AppendOptions::default()).await
    }

    /// [`commit`](Self::commit) with a choice of how, and of what it builds on. `Async` returns before the record is
    /// durable.
    ///
    /// # Errors
    /// See [`CommitError`].
    pub async fn commit_with(
        &self,
        payload: impl Into<Bytes>,
        options: impl Into<AppendOptions>,
    ) -> Result<Lsn, CommitError> {
        let (payload, options) = (Payload::One(payload.into()), options.into());
        self.inner.entrance.check(options.builds_on, payload.count())?;
        let permit = self.inner.entrance.permit(&payload).await?;
        let answer = self.submit_commit(payload, options, permit)?;
        let range = answer.await.unwrap_or_else(|_| Err(self.appender_gone().into()))?;
        Ok(range.first)
    }

    /// Makes everything durable that was appended so far, without waiting for a batch. Returns the LSN up
    /// to which everything is durable then.
    ///
    /// # Errors
    /// See [`CommitError`]; the LSN in it is the last one that was appended.
    pub async fn flush(&self) -> Result<Lsn, CommitError> {
        let lsn = self.shared().watermark.accepted();
        let gone = |_| CommitError::Unknown { lsn, cause: self.gone("Appender") };
        self.inner.entrance.call();
        self.inner.to.flush.send(Flush).await.map_err(gone)?
    }

    /// The durable watermark, without any message: a page may be written back only when the LSN of its
    /// last change is at or below it.
    pub fn durable_lsn(&self) -> Lsn {
        self.shared().watermark.durable()
    }

    /// What became of an LSN, without any message; `None` while that is open, and for an LSN that was
    /// never assigned. For actors that compare LSNs with the watermark themselves: an LSN at or below it
    /// may have failed, and an event may come before the answer to the append that it is about.
    ///
    /// An LSN that an earlier life gave out and lost is `NotDurable`; what a checkpoint has released
    /// counts as durable.
    pub fn outcome(&self, lsn: Lsn) -> Option<Result<(), CommitError>> {
        self.shared().outcome(lsn)
    }

    /// The way into the log for an actor that works by messages alone. It receives its LSNs as [`Accepted`], and their
    /// durability by a [subscription](Self::subscribe).
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

    /// Says that nothing up to `lsn` is needed any more. Segments that hold nothing else are used again, or
    /// removed by and by: the answer does not wait for that, and neither does any commit.
    /// Returns the low-water mark, which [`status`](Self::status) gives as `low_water`: from then on a replay
    /// begins behind it. It is below `lsn` if a [`Hold`] keeps some of that; when it is dropped, the rest is released.
    ///
    /// # Errors
    /// `lsn` is not durable yet, or was never assigned; or the log is closed.
    pub async fn checkpoint(&self, lsn: Lsn) -> Result<Lsn, CheckpointError> {
        let gone = |_| CheckpointError::Closed { cause: self.gone("Flusher") };
        self.inner.to.checkpoint.send(Checkpoint(lsn)).await.map_err(gone)?
    }

    /// Keeps everything from `from` on, whatever a checkpoint asks for, until the hold is dropped. `owner` is who is named
    /// by [`holds`](Self::holds), such as "prepared transaction 7".
    ///
    /// # Errors
    /// [`ReadError::Released`]: a checkpoint has released some of it already.
    pub fn hold(&self, from: Lsn, owner: impl Into<Arc<str>>) -> Result<Hold, ReadError> {
        let shared = Arc::clone(self.shared());
        let kept = shared.catalog.keep(from.max(Lsn::FIRST), owner.into(), shared.clock.now());
        let id = kept.map_err(|released| ReadError::Released { released })?;
        Ok(Hold::new(shared, id))
    }

    /// What keeps the log from releasing records, the oldest LSN first, without any message: holds and readers.
    pub fn holds(&self) -> Vec<HoldInfo> {
        self.shared().catalog.holds(self.shared().clock.now())
    }

    /// Reads durable records from `from` on, up to what is durable when it gets there; see
    /// [`ReadStream::follow`]. From the next LSN on there is nothing to read yet, which is no error. It may begin
    /// at any record above `low_water` of the [`status`](Self::status), where a replay begins too, and goes there
    /// at once, wherever that is.
    ///
    /// # Errors
    /// A checkpoint has released `from`, the log has never had it (an older copy may have been restored), or the
    /// log is closed.
    pub async fn read(&self, from: Lsn) -> Result<ReadStream, ReadError> {
        Ok(ReadStream::new(Arc::clone(self.shared()), self.cursor(from).await?))
    }

    pub(crate) async fn cursor(&self, from: Lsn) -> Result<Cursor, ReadError> {
        let gone = |_| ReadError::Closed { cause: self.gone("Flusher") };
        self.inner.to.read.send(Read { from }).await.map_err(gone)?
    }

    /// Reads the records of a range, and ends behind it. LSNs in it that name no record (they were answered
    /// `NotDurable`, or an earlier life lost them) are left out.
    ///
    /// # Errors
    /// [`ReadError::Released`] if a checkpoint has released any of it, [`ReadError::BeyondEnd`] if the log has never
    /// had its last LSN, [`ReadError::NotDurable`] if that is not durable yet, or the log is closed.
    pub async fn read_range(&self, range: LsnRange) -> Result<ReadStream, ReadError> {
        let gone = |_| ReadError::Closed { cause: self.gone("Flusher") };
        let cursor = self.inner.to.read_range.send(ReadRange(range)).await.map_err(gone)??;
        Ok(ReadStream::new(Arc::clone(self.shared()), cursor))
    }

    /// The files of the log that hold live records, in LSN order, without any message; the last one is being
    /// written. Those that were released are not among them, though their files may still be there for a while.
    pub fn segments(&self) -> Vec<SegmentInfo> {
        self.shared().catalog.segments()
    }

    /// Completes the segment that is being written, so that it can be archived. Returns when the log goes on
    /// in another one, with the last LSN that lies in a complete segment: at least what was durable when this was
    /// called. If nothing was durable in the current segment, it stays, and this returns at once. Appends go on
    /// meanwhile.
    ///
    /// # Errors
    /// There is no other segment to go on in, since the disk is full: the log goes on in the current one. Or the
    /// log is closed.
    pub async fn rotate(&self) -> Result<Lsn, RotateError> {
        let gone = |_| RotateError::Closed { cause: self.gone("Flusher") };
        self.inner.to.rotate.send(Rotate).await.map_err(gone)?
    }

    /// What has been counted since the log was opened.
    pub fn stats(&self) -> Stats {
        self.shared().stats()
    }

    /// The state of the log at a glance.
    pub fn status(&self) -> Status {
        self.shared().status()
    }

    /// Publishes the [metrics](crate::metrics) of the log now. A log that was [opened](Self::open) does so by itself once
    /// a second: this is for a host that is about to render them, and for one that [composes](Self::compose) its log.
    /// It waits for no disk and for no actor. After the log has closed, and that was published, it does nothing.
    #[cfg(feature = "metrics")]
    pub fn publish_metrics(&self) {
        self.inner.metrics.publish(self.shared());
    }

    /// The random name of the log.
    pub fn log_id(&self) -> LogId {
        self.inner.report.log_id
    }

    /// What recovery found when the log was opened.
    pub fn recovery_report(&self) -> &RecoveryReport {
        &self.inner.report
    }

    /// Takes no more appends, makes durable what was accepted, and gives the directory back. All handles
    /// are closed by it; closing twice is no error. A [`ReadStream`] that is still there keeps the
    /// directory locked until it is dropped. A log [on its own thread](crate::Open::on_own_thread) ends its System.
    ///
    /// # Errors
    /// The log could not be closed cleanly. Acknowledged records are safe all the same.
    pub async fn close(&self) -> Result<(), CloseError> {
        self.inner.entrance.call();
        self.shared().release();
        let closed = match self.inner.to.close.send(Close).await {
            Ok(result) => result,
            Err(_) => match self.gone("Flusher") {
                // It has closed, and its actors are gone.
                Cause::Closed => Ok(()),
                cause => Err(CloseError { cause, unresolved: None }),
            },
        };
        if let Some(system) = &self.inner.system
            && matches!(self.shared().state(), LogState::Closed(_))
        {
            self.appender_has_heard().await;
            system.end().await;
        }
        // From now on the metrics say that it is closed.
        self.inner.metrics.publish(self.shared());
        closed
    }

    /// Returns when the Appender has handled everything that was sent to it before.
    async fn appender_has_heard(&self) {
        let (reply, _) = oneshot::channel();
        // An Appender that is gone has answered everything too.
        let _ = self.inner.to.wait.send(Await { lsn: Lsn::NONE, reply }).await;
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

    async fn submit_accepted(
        &self,
        payload: Payload,
        options: AppendOptions,
    ) -> Result<LsnRange, AppendError> {
        let AppendOptions { durability, builds_on } = options;
        self.inner.entrance.check(builds_on, payload.count())?;
        let permit = self.inner.entrance.permit(&payload).await?;
        let (reply, answer) = oneshot::channel();
        self.inner.entrance.submit(Submit {
            payload,
            durability,
            builds_on,
            permit,
            reply: Reply::Accepted(reply),
        })?;
        answer.await.unwrap_or_else(|_| Err(self.appender_gone()))
    }

    fn submit_commit(
        &self,
        payload: Payload,
        AppendOptions { durability, builds_on }: AppendOptions,
        permit: Permit,
    ) -> Result<oneshot::Receiver<Result<LsnRange, CommitError>>, AppendError> {
        let (reply, answer) = oneshot::channel();
        self.inner.entrance.submit(Submit {
            payload,
            durability,
            builds_on,
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
    can_be_sent::<Collect>();
    can_be_sent::<Recover>();
};
