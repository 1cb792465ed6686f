//! Role: owns the log through its flush thread; decides about faults; tells everyone what happens.
//! Owns: the flush thread, or while there is none the flush loop and the queue; the subscriptions; the
//! restart budget.
//! Receives: `Subscribe`, `Unsubscribe`, `Checkpoint`, `Read`, `ReadRange`, `Rotate`, `GetSegments`,
//! `GetStats`, `GetStatus`, `Close`, `AwaitStart`; news from the flush thread.
//! Sends: `LogEvent` to the Appender and the subscribers.
//! Never: touches a file; begins an epoch before the old flush thread has been joined.

mod diary;
mod faults;
mod requests;
#[cfg(any(test, feature = "testkit"))]
pub(crate) mod script;

use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, AsyncContext, Context, Handler, Recipient, SpawnHandle, Supervised};
use tokio::sync::oneshot;

use self::diary::{Diary, quietly};
use super::flush_thread::{self, Called, ThreadEnded, Wiring, news_of};
use super::subscribers::Subscribers;
use crate::config::WalConfig;
use crate::engine::recovery::Begun;
use crate::engine::segments::supply::{Pool, SegmentSource};
use crate::engine::state::lifecycle::Lifecycle;
use crate::engine::state::outbound::{News, Outbound};
use crate::engine::state::parts::LogParts;
use crate::engine::state::requests::QueueReceiver;
use crate::engine::state::restarts::Restarts;
use crate::engine::state::shared::Shared;
use crate::engine::state::watchdog::{Alarm, Watchdog};
use crate::engine::write::flush_loop::{FlushLoop, FlushSteps, LoopEvent};
use crate::error::{Cause, CheckpointError, CloseError, IoFault, RotateError};
use crate::lsn::{Epoch, Lsn, LsnRange};
use crate::messages::{LogEvent, RecoveredLog};
use crate::runtime::clock::Tick;
use crate::runtime::threads::{Running, SystemThreads, Threads};
use crate::status::LogState;
use crate::storage::Storage;

/// The actor that owns the log.
///
/// Start it under a `Supervisor`: after a fault it stops itself and counts on being restarted. It
/// forgets nothing in that restart.
#[derive(Debug)]
pub struct Flusher {
    /// Its own address, until the log is closed: a Supervisor restarts nobody whose last address was dropped,
    /// and what was accepted must be written all the same.
    alive: Option<Recipient<Called>>,
    shared: Arc<Shared>,
    config: WalConfig,
    /// `None` once the log is closed, since the directory is free then; and where a script stands in for the disk.
    storage: Option<Arc<dyn Storage>>,
    /// Up to the last event it got: an Appender that is gone closes the log for all others first.
    life: Lifecycle,
    hands: Hands,
    threads: Arc<dyn Threads>,
    thread: Option<Running>,
    outbound: Arc<Outbound>,
    restarts: Restarts,
    appender: Recipient<LogEvent>,
    subscribers: Subscribers,
    /// The epoch and the watermark that were told last.
    told: (Epoch, Lsn),
    checkpoints: Vec<(Lsn, oneshot::Sender<Result<Lsn, CheckpointError>>)>,
    /// Those who want a segment complete, and its sequence number.
    rotations: Vec<(u64, oneshot::Sender<Result<Lsn, RotateError>>)>,
    closers: Vec<oneshot::Sender<Result<(), CloseError>>>,
    /// LSNs of which nobody knows, in a log that was poisoned.
    unknown: Vec<LsnRange>,
    /// Since when no epoch could be begun, and why: the first fault, and the latest.
    unavailable: Option<(Tick, Cause)>,
    /// Why the system refused the flush thread, until what it was to have has come back.
    refused: Option<Cause>,
    /// Whether appends were ever taken.
    begun: bool,
    /// Whether a fault before that ends the log.
    must_start: bool,
    /// Those who wait for that.
    starters: Vec<oneshot::Sender<Result<(), Cause>>>,
    watchdog: Watchdog,
    diary: Diary,
    retrying: bool,
    /// The timer of the next look of the watchdog.
    watching: Option<SpawnHandle>,
}

/// What is not with the flush thread.
#[derive(Debug)]
struct Idle {
    flush_loop: Box<dyn FlushSteps>,
    queue: QueueReceiver,
}

/// Who has the flush loop.
#[derive(Debug)]
enum Hands {
    /// Nobody yet: the log is recovered, and not started.
    Recovered(Box<Begun>, QueueReceiver),
    /// The flush thread has everything.
    Thread,
    /// This actor, after a fault. The Supervisor restarts it, and then it waits that long.
    Faulted(Idle, Duration),
    /// This actor, until it starts a new flush thread.
    BackingOff(Idle),
    /// Nobody: no epoch follows. The supply of segments is being shut down, or has been.
    Nobody,
}

/// The supply of segments of a poisoned log has been shut down.
#[derive(Debug)]
struct Retired;

impl actix::Message for Retired {
    type Result = ();
}

impl Flusher {
    /// A Flusher for a log that was recovered. It tells `appender` everything, and never less.
    pub fn new(
        recovered: RecoveredLog,
        parts: &LogParts,
        config: WalConfig,
        appender: Recipient<LogEvent>,
    ) -> Self {
        let LogParts { shared, queue } = parts.clone();
        let RecoveredLog(recovered) = recovered;
        let storage = Some(Arc::clone(&recovered.storage));
        let hands = Hands::Recovered(Box::new(recovered), queue);
        Flusher::with(hands, storage, shared, config, appender)
    }

    fn with(
        hands: Hands,
        storage: Option<Arc<dyn Storage>>,
        shared: Arc<Shared>,
        config: WalConfig,
        appender: Recipient<LogEvent>,
    ) -> Self {
        let watchdog = Watchdog::new(&config);
        Flusher {
            alive: None,
            storage,
            life: Lifecycle::default(),
            hands,
            restarts: Restarts::new(config.restart_budget),
            shared,
            config,
            threads: SystemThreads::shared(),
            thread: None,
            outbound: Arc::default(),
            appender,
            subscribers: Subscribers::default(),
            told: (Epoch::default(), Lsn::NONE),
            checkpoints: Vec::new(),
            rotations: Vec::new(),
            closers: Vec::new(),
            unknown: Vec::new(),
            unavailable: None,
            refused: None,
            begun: false,
            must_start: false,
            starters: Vec::new(),
            watchdog,
            diary: Diary::default(),
            retrying: false,
            watching: None,
        }
    }

    /// Has the flush loop and the preparer driven by these threads, and not by those of the system.
    #[cfg(any(test, feature = "testkit"))]
    pub fn on_threads(self, threads: Arc<dyn Threads>) -> Self {
        self.driven_by(threads)
    }

    pub(crate) fn driven_by(mut self, threads: Arc<dyn Threads>) -> Self {
        self.threads = threads;
        self
    }

    /// A fault before the first epoch ends the log, so that the open that waits for it fails with the cause.
    pub(crate) fn that_must_start(mut self) -> Self {
        self.must_start = true;
        self
    }

    /// Starts the flush thread with everything that this actor holds.
    fn start(&mut self, context: &mut Context<Self>) {
        let idle = match std::mem::replace(&mut self.hands, Hands::Thread) {
            Hands::Recovered(recovered, queue) => self.build_loop(*recovered, queue),
            Hands::Faulted(idle, _) | Hands::BackingOff(idle) => Ok(idle),
            other => {
                self.hands = other;
                return;
            }
        };
        match idle {
            Ok(idle) => self.spawn(idle, context),
            Err(cause) => self.end(cause),
        }
    }

    fn build_loop(&mut self, recovered: Begun, queue: QueueReceiver) -> Result<Idle, Cause> {
        let Begun { storage, style, writer, position, prepared, next_sequence, removable, .. } =
            recovered;
        let pool =
            Pool::start(&*self.threads, storage, style, next_sequence, writer.size(), prepared);
        let mut pool = pool.map_err(|error| IoFault::no_thread("wal-prepare", error))?;
        self.shared.watch_space(pool.status());
        pool.recycle(removable);
        let shared = Arc::clone(&self.shared);
        let flush_loop =
            FlushLoop::new(&self.config, shared, style, Box::new(pool), position, writer);
        Ok(Idle { flush_loop: Box::new(flush_loop), queue })
    }

    fn spawn(&mut self, idle: Idle, context: &mut Context<Self>) {
        let wiring = Wiring {
            shared: Arc::clone(&self.shared),
            outbound: Arc::clone(&self.outbound),
            flusher: context.address().recipient(),
            ended: context.address().recipient(),
        };
        let Idle { flush_loop, queue } = idle;
        match flush_thread::spawn(&*self.threads, flush_loop, queue, wiring) {
            Ok(thread) => self.thread = Some(thread),
            Err(fault) => self.refused = Some(fault.into()),
        }
    }

    /// Passes on what the flush thread has to tell.
    fn pass_on(&mut self, News { events, epoch, durable }: News) {
        let mut failed = Vec::new();
        for event in events {
            match event {
                LoopEvent::NotDurable(range, cause) => {
                    self.diary.not_durable(range, &cause);
                    failed.push(range);
                }
                LoopEvent::Unknown(range, cause) => {
                    self.diary.unknown(range, &cause);
                    self.unknown.push(range);
                }
                LoopEvent::EpochStarted(epoch, next_lsn) => {
                    self.unavailable = None;
                    self.watchdog.epoch_began();
                    self.begun = true;
                    self.answer_starters(&Ok(()));
                    self.go(LogState::Running);
                    self.tell(&LogEvent::Ready { epoch, next_lsn });
                }
                LoopEvent::NoSpace(fault) => {
                    self.go(LogState::NoSpace(fault.clone()));
                    self.tell(&LogEvent::Unavailable { cause: Cause::NoSpace(fault) });
                }
                LoopEvent::Waiting(cause) => {
                    self.note_fault(cause);
                    self.tell_unavailable();
                }
                LoopEvent::SegmentComplete(segment) => {
                    let through = segment.live_end.unwrap_or(segment.cut);
                    self.answer_rotations(segment.sequence, &Ok(through));
                    self.tell(&LogEvent::SegmentComplete { segment });
                }
                LoopEvent::Checkpointed(wish) => self.answer_checkpoints(wish),
                LoopEvent::NotRotated(sequence, cause) => {
                    self.answer_rotations(sequence, &Err(RotateError::NoSegment { cause }));
                }
                #[cfg(any(test, feature = "testkit"))]
                LoopEvent::Script(event) => {
                    self.tell_durable(epoch, durable, std::mem::take(&mut failed));
                    self.obey(&*event);
                }
            }
        }
        self.tell_durable(epoch, durable, failed);
    }

    fn tell_durable(&mut self, epoch: Epoch, through: Lsn, failed: Vec<LsnRange>) {
        if through > self.told.1 || !failed.is_empty() {
            self.told = (epoch, through);
            self.tell(&LogEvent::Durable { epoch, through, failed });
            self.shared.tail.notify_waiters();
            self.shared.meter.announced(through, &*self.shared.clock);
        }
    }

    /// Notifies the Appender, whose mailbox always has room for this, and the subscribers. A subscriber without room
    /// is notified later by [`retry_subscribers`](Self::retry_subscribers). Each handler and timer that notifies ends
    /// with that call, because no other event may follow.
    fn tell(&mut self, event: &LogEvent) {
        self.appender.do_send(event.clone());
        self.subscribers.tell(event);
        self.shared.meter.subscribers(|| self.subscribers.lag());
    }

    /// A hold may keep the low-water mark below what was wished for.
    fn answer_checkpoints(&mut self, wish: Lsn) {
        let low_water = self.shared.catalog.low_water();
        let checkpoints = std::mem::take(&mut self.checkpoints);
        for (lsn, reply) in checkpoints {
            if lsn <= wish {
                let _ = reply.send(Ok(low_water));
            } else {
                self.checkpoints.push((lsn, reply));
            }
        }
    }

    fn answer_rotations(&mut self, sequence: u64, answer: &Result<Lsn, RotateError>) {
        for (wanted, reply) in std::mem::take(&mut self.rotations) {
            if wanted <= sequence {
                let _ = reply.send(answer.clone());
            } else {
                self.rotations.push((wanted, reply));
            }
        }
    }

    fn refuse_wishes(&mut self, cause: &Cause) {
        let refused = Err(RotateError::Closed { cause: cause.clone() });
        self.answer_rotations(u64::MAX, &refused);
        for (_, reply) in self.checkpoints.drain(..) {
            let _ = reply.send(Err(CheckpointError::Closed { cause: cause.clone() }));
        }
    }

    fn go(&mut self, next: LogState) {
        let before = self.life.state().clone();
        self.life.go(next.clone());
        self.shared.go(next);
        self.diary.went(&before, self.life.state(), self.shared.clock.now());
    }

    /// What went wrong and was told by no change of state.
    fn sum_up(&mut self) {
        self.diary.sum_up(self.life.state(), &*self.shared.clock);
    }

    fn has_ended(&self) -> bool {
        matches!(self.life.state(), LogState::Closed(_))
    }

    fn closing(&self) -> bool {
        !self.closers.is_empty() || self.shared.requests.wants_close()
    }

    /// The last word: nothing is written any more, and the directory is free.
    fn end(&mut self, cause: Cause) {
        self.go(LogState::Closed(cause.clone()));
        self.hands = Hands::Nobody;
        self.alive = None;
        self.storage = None;
        self.shared.io.set_stalled(false);
        self.shared.stop_accepting();
        self.shared.admission.close();
        self.refuse_wishes(&cause);
        self.answer_starters(&Err(cause.clone()));
        self.tell(&LogEvent::Closed { cause });
        self.shared.tail.notify_waiters();
        if !self.subscribers.any_behind() {
            self.subscribers.clear();
        }
    }

    fn answer_starters(&mut self, result: &Result<(), Cause>) {
        for reply in self.starters.drain(..) {
            let _ = reply.send(result.clone());
        }
    }

    fn answer_closers(&mut self, result: &Result<(), CloseError>) {
        for reply in self.closers.drain(..) {
            let _ = reply.send(result.clone());
        }
    }

    /// From the first to the last record whose outcome is open.
    fn unresolved(&self) -> Option<LsnRange> {
        if let LogState::Poisoned(_) = self.life.state() {
            let (first, last) = (self.unknown.first()?.first, self.unknown.last()?.last);
            return LsnRange::new(first, last);
        }
        LsnRange::new(self.shared.watermark.durable().next(), self.shared.watermark.accepted())
    }

    fn retry_subscribers(&mut self, context: &mut Context<Self>) {
        if !self.retrying && self.subscribers.any_behind() {
            self.retrying = true;
            context.run_later(self.subscribers.retry_after(), |this, context| {
                this.retrying = false;
                let behind = this.subscribers.retry();
                this.shared.meter.subscribers(|| this.subscribers.lag());
                if !behind && this.has_ended() {
                    this.subscribers.clear();
                }
                this.retry_subscribers(context);
            });
        }
    }

    /// Looks, while anything is in flight, whether a sync is stuck. An idle log is not watched.
    fn watch(&mut self, context: &mut Context<Self>) {
        self.watching = None;
        if self.has_ended() {
            return;
        }
        let now = self.shared.clock.now();
        let unavailable = self.unavailable.as_ref().map(|(since, _)| *since);
        for alarm in self.watchdog.look(now, self.shared.io.since(), unavailable) {
            self.raise(alarm, self.watchdog.running().as_secs());
        }
        self.retry_subscribers(context);
        let busy = self.shared.io.since().is_some()
            || self.shared.admission.entries_in_flight() > 0
            || self.unavailable.is_some();
        if busy {
            return self.watch_later(context);
        }
        if self.shared.io.stop_watching() {
            self.watch_later(context);
        }
    }

    fn watch_later(&mut self, context: &mut Context<Self>) {
        self.watching = Some(context.run_later(self.watchdog.interval(), Self::watch));
    }

    /// A timer keeps its actor alive, and this one the memory of a log that is closed.
    fn stop_watching(&mut self, context: &mut Context<Self>) {
        if self.has_ended()
            && let Some(timer) = self.watching.take()
        {
            context.cancel_future(timer);
        }
    }

    fn raise(&mut self, alarm: Alarm, seconds: u64) {
        match alarm {
            Alarm::Slow => quietly(|| tracing::warn!(seconds, "a sync is slow")),
            Alarm::Stalled => {
                quietly(|| tracing::error!(seconds, "a sync is stuck"));
                self.shared.io.set_stalled(true);
                self.tell(&LogEvent::Stalled { seconds });
            }
            Alarm::Returned => {
                quietly(|| tracing::info!("the sync has returned"));
                self.shared.io.set_stalled(false);
            }
            Alarm::GivenUp => {
                let cause = self.unavailable.as_ref().map(|(_, cause)| cause.clone());
                self.give_up(cause.unwrap_or(Cause::Stalled { seconds }));
            }
        }
    }

    /// Nobody should wait on: waiters are answered `Unknown`, and so is a close. What is in hand stays
    /// there, and may still become durable. Said again and again while it lasts, because others come to wait.
    fn give_up(&mut self, cause: Cause) {
        self.tell(&LogEvent::GivenUp { cause: cause.clone() });
        self.shared.admission.refuse_waiting();
        let unresolved = self.unresolved();
        self.answer_closers(&Err(CloseError { cause, unresolved }));
    }
}

impl Actor for Flusher {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        // A restart has cancelled the timers.
        (self.retrying, self.watching) = (false, None);
        self.alive = Some(context.address().recipient());
        if self.shared.io.is_watched() || self.unavailable.is_some() {
            self.shared.io.start_watching();
            // At once: restarts may follow each other faster than the timer, which each of them cancels.
            self.watch(context);
        }
        match std::mem::replace(&mut self.hands, Hands::Nobody) {
            Hands::Faulted(idle, wait) => {
                // A timer, not a `ctx.wait`: messages are answered meanwhile.
                self.hands = Hands::BackingOff(idle);
                context.run_later(wait, Self::start);
            }
            other => {
                self.hands = other;
                self.start(context);
            }
        }
        self.retry_subscribers(context);
    }
}

impl Supervised for Flusher {}

impl Handler<Called> for Flusher {
    type Result = ();

    fn handle(&mut self, _: Called, context: &mut Self::Context) {
        self.pass_on(self.outbound.take());
        self.sum_up();
        self.retry_subscribers(context);
        if self.shared.io.is_watched() && self.watching.is_none() {
            self.watch_later(context);
        }
    }
}

impl Handler<ThreadEnded> for Flusher {
    type Result = ();

    fn handle(&mut self, ended: ThreadEnded, context: &mut Self::Context) {
        // It was the last thing that the thread did: this returns at once.
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        self.pass_on(self.outbound.take());
        let ThreadEnded { flush_loop, queue, fault } = ended;
        match self.refused.take().or(fault) {
            Some(cause) if self.must_start && !self.begun => {
                self.fail_to_start(Idle { flush_loop, queue }, cause)
            }
            Some(cause) => self.fault(Idle { flush_loop, queue }, cause, context),
            None => {
                drop(flush_loop);
                let cause = match self.shared.state() {
                    LogState::Closed(cause) => cause,
                    _ => Cause::Closed,
                };
                self.end(cause);
                self.answer_closers(&Ok(()));
            }
        }
        self.stop_watching(context);
        self.retry_subscribers(context);
    }
}

impl Handler<Retired> for Flusher {
    type Result = ();

    fn handle(&mut self, _: Retired, context: &mut Self::Context) {
        self.thread = None;
        if let LogState::Poisoned(cause) = self.life.state()
            && !self.closers.is_empty()
        {
            let cause = cause.clone();
            let unresolved = self.unresolved();
            self.end(cause.clone());
            self.answer_closers(&Err(CloseError { cause, unresolved }));
        }
        self.stop_watching(context);
        self.retry_subscribers(context);
    }
}

/// Not replaced in place: the flush thread writes what it has, closes the log and ends; everyone is told, and what
/// was put off for someone goes out with the subscriptions.
impl Drop for Flusher {
    fn drop(&mut self) {
        if self.has_ended() {
            return;
        }
        let cause = Cause::Stopped { actor: "Flusher" };
        // An Appender in another Arbiter may be giving out an LSN right now.
        if self.appender.connected() {
            self.shared.requests.forgo_close_frame();
        }
        self.shared.stop_accepting();
        self.shared.requests.close();
        self.alive = None;
        self.pass_on(self.outbound.take());
        self.end(cause);
    }
}
