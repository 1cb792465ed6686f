//! Role: stands in the Flusher's place, without a disk, and does what a script says.
//! Owns: the queue, through a thread that waits for it; the appends without an outcome; subscriptions.
//! Receives: `Subscribe`, `Unsubscribe`, `Checkpoint`, `Read`, `ReadRange`, `Rotate`, `GetSegments`,
//! `GetStats`, `GetStatus`, `Close`; what its handle asks for.
//! Sends: `LogEvent` to the Appender and the subscribers.
//! Never: touches a file; acknowledges what the script does not acknowledge.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use actix::{
    Actor, AsyncContext, Context, Handler, Message, MessageResult, Recipient, Response, Supervised,
};
use tokio::sync::oneshot;

use super::mock_script::{MockScript, MockStep};
use crate::actors::Subscribers;
use crate::engine::intake::entry::{Entry, QueueItem};
use crate::engine::read::cursor::Cursor;
use crate::engine::state::outcomes::Fate;
use crate::engine::state::parts::LogParts;
use crate::engine::state::requests::QueueReceiver;
use crate::engine::state::shared::Shared;
use crate::error::{Cause, CheckpointError, CloseError, IoFault, IoOp, ReadError, RotateError};
use crate::lsn::{Epoch, Lsn, LsnRange};
use crate::messages::{
    Checkpoint, Close, GetSegments, GetStats, GetStatus, LogEvent, Read, ReadRange, Rotate,
    Subscribe, Unsubscribe,
};
use crate::status::LogState;

/// An actor that keeps the contract of a Flusher without a disk, and answers as its script says.
/// [`MockLog`](super::MockLog) starts one.
///
/// [`MockLog::start`](super::MockLog::start) makes a whole log of it. It remembers everything that it
/// gets, so it is not for endless runs.
#[derive(Debug)]
pub struct MockFlusher {
    shared: Arc<Shared>,
    appender: Recipient<LogEvent>,
    subscribers: Subscribers,
    script: MockScript,
    /// Until it is started; the thread has it then.
    queue: Option<QueueReceiver>,
    stop_feeding: Arc<AtomicBool>,
    /// The LSN that the next append from the queue must have.
    expected: Lsn,
    received: Vec<Entry>,
    /// Appends without an outcome.
    pending: VecDeque<Entry>,
    mood: Mood,
    /// Grows with every change of mood, so that a timer knows whether it is still wanted.
    moods: u64,
    /// What has happened since the last event: one event for all of it.
    failed: Vec<LsnRange>,
    told: Lsn,
    /// What the handle asks for, until everything accepted so far has arrived.
    asked: Vec<Ask>,
    closers: Vec<oneshot::Sender<Result<(), CloseError>>>,
    retrying: bool,
}

#[derive(Debug)]
enum Mood {
    /// Does what the script says.
    Answering,
    /// The first pending append waits, for a timer or for the test.
    Holding,
    Silent,
    /// Between `Unavailable` and `Ready`.
    BackingOff,
    Poisoned(Cause),
    Closed,
}

/// Everything that was in the queue.
#[derive(Debug)]
struct Arrived(Vec<QueueItem>);

impl Message for Arrived {
    type Result = ();
}

/// What is done in the actor, with all that it holds.
type Action = Box<dyn FnOnce(&mut MockFlusher, &mut Context<MockFlusher>) + Send>;

/// What a handle wants done, once everything has arrived that was accepted when it asked.
pub(super) struct Ask {
    /// Nothing is done before this LSN has arrived.
    pub(super) after: Lsn,
    pub(super) what: Action,
}

impl std::fmt::Debug for Ask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Ask after {}", self.after)
    }
}

impl Message for Ask {
    type Result = ();
}

impl MockFlusher {
    /// A mock for an empty log, which tells `appender` everything.
    pub fn new(
        parts: LogParts,
        script: impl Into<MockScript>,
        appender: Recipient<LogEvent>,
    ) -> MockFlusher {
        let LogParts { shared, queue } = parts;
        shared.begin_epoch(Epoch::NONE.next());
        shared.go(LogState::Running);
        MockFlusher {
            shared,
            appender,
            subscribers: Subscribers::default(),
            script: script.into(),
            queue: Some(queue),
            stop_feeding: Arc::default(),
            expected: Lsn::FIRST,
            received: Vec::new(),
            pending: VecDeque::new(),
            mood: Mood::Answering,
            moods: 0,
            failed: Vec::new(),
            told: Lsn::NONE,
            asked: Vec::new(),
            closers: Vec::new(),
            retrying: false,
        }
    }

    /// All appends so far.
    pub(super) fn received(&self) -> &[Entry] {
        &self.received
    }

    /// What comes next in the script, before everything else.
    pub(super) fn script_first(&mut self, step: MockStep) {
        self.script.push_front(step);
    }

    fn set_mood(&mut self, mood: Mood) {
        self.mood = mood;
        self.moods += 1;
    }

    /// Goes on with `next` after this time, unless something else has happened by then.
    fn later(
        &mut self,
        wait: Duration,
        context: &mut Context<Self>,
        next: fn(&mut Self, &mut Context<Self>),
    ) {
        let moods = self.moods;
        context.run_later(wait, move |this, context| {
            if this.moods == moods {
                next(this, context);
            }
        });
    }

    /// Does what the script says, as far as it lets it, and tells everyone once.
    fn work(&mut self, context: &mut Context<Self>) {
        let closing = self.close_is_due();
        while !self.pending.is_empty() {
            match self.mood {
                Mood::Answering => {
                    let step = self.script.next();
                    self.apply(step, context);
                }
                // A clean close makes everything durable that was accepted.
                Mood::Holding if closing => {
                    self.acknowledge_first();
                    self.set_mood(Mood::Answering);
                }
                Mood::BackingOff if closing => self.begin_epoch(),
                _ => break,
            }
        }
        self.tell_outcomes();
        if closing {
            self.close();
        }
        self.retry_subscribers(context);
    }

    /// Applies a step to the first append that is pending; to the log alone if there is none.
    fn apply(&mut self, step: MockStep, context: &mut Context<Self>) {
        match step {
            MockStep::Acknowledge => self.acknowledge_first(),
            MockStep::Delay(wait) => {
                self.set_mood(Mood::Holding);
                self.later(wait, context, Self::release);
            }
            MockStep::Hold => self.set_mood(Mood::Holding),
            MockStep::Fail(cause) => {
                if let Some(entry) = self.pending.pop_front() {
                    let range = self.settle(&entry, Fate::NotDurable(cause));
                    self.failed.extend(range);
                }
            }
            MockStep::GoSilent => self.set_mood(Mood::Silent),
            MockStep::Restart(cause, wait) => self.restart(cause, wait, context),
            MockStep::Poison(cause) => self.poison(cause),
            MockStep::Tell(event) => self.tell(&event),
        }
    }

    fn acknowledge_first(&mut self) {
        if let Some(entry) = self.pending.pop_front() {
            let _ = self.settle(&entry, Fate::Durable);
        }
    }

    /// An append has its outcome: notes it, publishes it, gives its permit back.
    fn settle(&self, entry: &Entry, fate: Fate) -> Option<LsnRange> {
        let range = LsnRange::new(entry.first_lsn, entry.last_lsn());
        let (records, bytes) = (entry.payload.count(), entry.payload.encoded_len());
        match (&fate, range) {
            (Fate::Durable, _) => {
                self.shared.watermark.raise_written(entry.last_lsn());
                self.shared.watermark.raise_durable(entry.last_lsn());
                self.shared.counters.durable.add(records as u64);
                self.shared.counters.durable_bytes.add(bytes as u64);
            }
            (_, Some(range)) => self.shared.note_exception(range, fate),
            (_, None) => {}
        }
        self.shared.admission.release(records, bytes);
        range
    }

    /// The first append has waited long enough.
    fn release(&mut self, context: &mut Context<Self>) {
        self.acknowledge_first();
        self.set_mood(Mood::Answering);
        self.work(context);
    }

    /// Everything that has arrived up to `lsn` becomes durable, whatever the script says about it.
    pub(super) fn acknowledge_through(&mut self, lsn: Lsn, context: &mut Context<Self>) {
        if !matches!(self.mood, Mood::Answering | Mood::Holding | Mood::Silent) {
            return;
        }
        let mut first = true;
        while self.pending.front().is_some_and(|entry| entry.last_lsn() <= lsn) {
            // The first one has had its step.
            if !std::mem::take(&mut first) {
                let _ = self.script.next();
            }
            self.acknowledge_first();
        }
        if !first {
            self.set_mood(Mood::Answering);
        }
        self.work(context);
    }

    /// Does this now with the first append that is pending.
    pub(super) fn act(&mut self, step: MockStep, context: &mut Context<Self>) {
        if let MockStep::Tell(event) = step {
            self.tell(&event);
            return self.retry_subscribers(context);
        }
        if matches!(self.mood, Mood::Answering | Mood::Holding | Mood::Silent) {
            self.set_mood(Mood::Answering);
            self.apply(step, context);
            self.work(context);
        }
    }

    fn restart(&mut self, cause: Cause, wait: Duration, context: &mut Context<Self>) {
        self.tell_outcomes();
        self.shared.stop_accepting();
        self.shared.counters.restarts.add(1);
        if !self.closing() {
            self.shared.go(LogState::Unavailable(cause.clone()));
        }
        self.tell(&LogEvent::Unavailable { cause });
        self.set_mood(Mood::BackingOff);
        if wait.is_zero() {
            self.begin_epoch();
        } else {
            self.later(wait, context, |this, context| {
                this.begin_epoch();
                this.work(context);
            });
        }
    }

    fn begin_epoch(&mut self) {
        let epoch = self.shared.watermark.epoch().next();
        self.shared.begin_epoch(epoch);
        if !self.closing() {
            self.shared.go(LogState::Running);
        }
        self.tell(&LogEvent::Ready { epoch, next_lsn: self.expected });
        self.set_mood(Mood::Answering);
        self.acknowledge_first();
    }

    fn poison(&mut self, cause: Cause) {
        self.shared.stop_accepting();
        let first = self.pending.pop_front();
        let unknown = first.and_then(|entry| self.settle(&entry, Fate::Unknown(cause.clone())));
        self.refuse_pending(&cause);
        self.shared.go(LogState::Poisoned(cause.clone()));
        self.shared.admission.close();
        self.set_mood(Mood::Poisoned(cause.clone()));
        self.tell_outcomes();
        let unknown = unknown.into_iter().collect();
        self.tell(&LogEvent::Poisoned { cause, failed: Vec::new(), unknown });
        self.shared.tail.notify_waiters();
    }

    fn refuse_pending(&mut self, cause: &Cause) {
        while let Some(entry) = self.pending.pop_front() {
            let range = self.settle(&entry, Fate::NotDurable(cause.clone()));
            self.failed.extend(range);
        }
    }

    /// One event for everything that got its outcome since the last one.
    fn tell_outcomes(&mut self) {
        let (epoch, through) = (self.shared.watermark.epoch(), self.shared.watermark.durable());
        let failed = std::mem::take(&mut self.failed);
        if through > self.told || !failed.is_empty() {
            self.shared.counters.batches.add(u64::from(through > self.told));
            self.told = through;
            self.tell(&LogEvent::Durable { epoch, through, failed });
            self.shared.tail.notify_waiters();
        }
    }

    fn tell(&mut self, event: &LogEvent) {
        self.appender.do_send(event.clone());
        self.subscribers.tell(event);
    }

    fn retry_subscribers(&mut self, context: &mut Context<Self>) {
        if !self.retrying && self.subscribers.any_behind() {
            self.retrying = true;
            context.run_later(self.subscribers.retry_after(), |this, context| {
                this.retrying = false;
                let behind = this.subscribers.retry();
                if !behind && matches!(this.mood, Mood::Closed) {
                    this.subscribers.clear();
                }
                this.retry_subscribers(context);
            });
        }
    }

    fn answer_asked(&mut self, context: &mut Context<Self>) {
        let expected = self.expected;
        let (ready, waiting): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.asked).into_iter().partition(|ask| ask.after < expected);
        self.asked = waiting;
        ready.into_iter().for_each(|ask| (ask.what)(self, context));
    }

    fn closing(&self) -> bool {
        !self.closers.is_empty() || self.shared.requests.wants_close()
    }

    /// Whether the Appender wants the end, and everything that it has accepted has arrived.
    fn close_is_due(&self) -> bool {
        let wanted = self.shared.requests.wants_close();
        wanted && self.shared.watermark.accepted() < self.expected
    }

    fn close(&mut self) {
        match &self.mood {
            Mood::Silent => self.end_silent(),
            Mood::Poisoned(cause) => {
                let cause = cause.clone();
                self.end_unclean(cause);
            }
            Mood::Closed => {}
            Mood::Answering | Mood::Holding | Mood::BackingOff => self.end(Cause::Closed, Ok(())),
        }
    }

    /// The sync that never returned: nobody will ever know.
    fn end_silent(&mut self) {
        let cause = Cause::Stalled { seconds: 0 };
        for entry in std::mem::take(&mut self.pending) {
            let _ = self.settle(&entry, Fate::Unknown(cause.clone()));
        }
        self.end_unclean(cause);
    }

    fn end_unclean(&mut self, cause: Cause) {
        let unresolved =
            LsnRange::new(self.shared.watermark.durable().next(), self.shared.watermark.accepted());
        self.end(cause.clone(), Err(CloseError { cause, unresolved }));
    }

    /// The last word.
    fn end(&mut self, cause: Cause, result: Result<(), CloseError>) {
        self.set_mood(Mood::Closed);
        self.stop_feeding.store(true, Ordering::Release);
        self.shared.requests.nudge();
        self.shared.stop_accepting();
        self.shared.admission.close();
        self.shared.go(LogState::Closed(cause.clone()));
        self.tell(&LogEvent::Closed { cause });
        self.shared.tail.notify_waiters();
        if !self.subscribers.any_behind() {
            self.subscribers.clear();
        }
        for reply in self.closers.drain(..) {
            let _ = reply.send(result.clone());
        }
    }

    fn arrive(&mut self, entry: Entry) {
        if entry.first_lsn != self.expected {
            let (expected, found) = (self.expected, entry.first_lsn);
            let what = format!("the queue gave LSN {found} where {expected} comes next");
            self.poison(Cause::Broken { what });
        }
        self.expected = entry.next_lsn();
        self.received.push(entry.clone());
        self.pending.push_back(entry);
        if let Mood::Poisoned(cause) = &self.mood {
            let cause = cause.clone();
            self.refuse_pending(&cause);
        }
    }
}

/// What the thread `wal-mock` does: waits for the queue, so that the actor need not.
fn feed(queue: &QueueReceiver, actor: &Recipient<Arrived>, stop: &AtomicBool) {
    while let Ok(first) = queue.recv() {
        if stop.load(Ordering::Acquire) {
            return;
        }
        actor.do_send(Arrived(std::iter::once(first).chain(queue.try_iter()).collect()));
    }
}

impl Actor for MockFlusher {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        let Some(queue) = self.queue.take() else {
            return;
        };
        let actor = context.address().recipient();
        let stop = Arc::clone(&self.stop_feeding);
        let body = move || feed(&queue, &actor, &stop);
        if let Err(error) = thread::Builder::new().name("wal-mock".into()).spawn(body) {
            let what = format!("the thread of the mock could not be started: {error}");
            return self.end(Cause::Broken { what }, Ok(()));
        }
        let epoch = self.shared.watermark.epoch();
        self.tell(&LogEvent::Ready { epoch, next_lsn: self.expected });
    }
}

impl Supervised for MockFlusher {}

impl Handler<Arrived> for MockFlusher {
    type Result = ();

    fn handle(&mut self, Arrived(items): Arrived, context: &mut Self::Context) {
        for entry in items.into_iter().flat_map(QueueItem::into_entries) {
            self.arrive(entry);
        }
        self.work(context);
        self.answer_asked(context);
    }
}

impl Handler<Ask> for MockFlusher {
    type Result = ();

    fn handle(&mut self, ask: Ask, context: &mut Self::Context) {
        self.asked.push(ask);
        self.answer_asked(context);
        self.retry_subscribers(context);
    }
}

impl Handler<Subscribe> for MockFlusher {
    type Result = MessageResult<Subscribe>;

    fn handle(
        &mut self,
        Subscribe(recipient): Subscribe,
        context: &mut Self::Context,
    ) -> Self::Result {
        let told = (self.shared.watermark.epoch(), self.shared.watermark.durable());
        self.subscribers.add(recipient, &self.shared, told);
        if matches!(self.mood, Mood::Closed) && !self.subscribers.any_behind() {
            self.subscribers.clear();
        }
        self.retry_subscribers(context);
        MessageResult(told.1)
    }
}

impl Handler<Unsubscribe> for MockFlusher {
    type Result = bool;

    fn handle(&mut self, Unsubscribe(recipient): Unsubscribe, _: &mut Self::Context) -> bool {
        self.subscribers.remove(&recipient)
    }
}

impl Handler<Checkpoint> for MockFlusher {
    type Result = Result<Lsn, CheckpointError>;

    fn handle(&mut self, Checkpoint(lsn): Checkpoint, _: &mut Self::Context) -> Self::Result {
        let next = self.shared.watermark.next_lsn();
        if lsn >= next {
            return Err(CheckpointError::NeverAssigned { lsn, next });
        }
        let durable = self.shared.watermark.durable();
        if lsn > durable {
            return Err(CheckpointError::NotDurable { lsn, durable });
        }
        if let LogState::Poisoned(cause) | LogState::Closed(cause) = self.shared.state() {
            return Err(CheckpointError::Closed { cause });
        }
        self.shared.catalog.raise_low_water(lsn);
        self.shared.outcomes.forget_through(lsn);
        Ok(self.shared.catalog.low_water())
    }
}

/// There is no disk to read from.
impl Handler<Read> for MockFlusher {
    type Result = Result<Cursor, ReadError>;

    fn handle(&mut self, _: Read, _: &mut Self::Context) -> Self::Result {
        if matches!(self.mood, Mood::Closed) {
            return Err(ReadError::Closed { cause: Cause::Closed });
        }
        let source = io::Error::new(io::ErrorKind::Unsupported, "a mocked log has no disk");
        Err(ReadError::Io(IoFault::new(IoOp::Open, "mock", None, source)))
    }
}

impl Handler<ReadRange> for MockFlusher {
    type Result = Result<Cursor, ReadError>;

    fn handle(&mut self, ReadRange(range): ReadRange, context: &mut Self::Context) -> Self::Result {
        self.handle(Read { from: range.first }, context)
    }
}

/// Without a disk there are no files.
impl Handler<GetSegments> for MockFlusher {
    type Result = MessageResult<GetSegments>;

    fn handle(&mut self, _: GetSegments, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.shared.catalog.segments())
    }
}

/// And no segment that is being written, so it is never in the way of an archive.
impl Handler<Rotate> for MockFlusher {
    type Result = Result<Lsn, RotateError>;

    fn handle(&mut self, _: Rotate, _: &mut Self::Context) -> Self::Result {
        if let LogState::Poisoned(cause) | LogState::Closed(cause) = self.shared.state() {
            return Err(RotateError::Closed { cause });
        }
        Ok(self.shared.watermark.durable())
    }
}

impl Handler<GetStats> for MockFlusher {
    type Result = MessageResult<GetStats>;

    fn handle(&mut self, _: GetStats, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.shared.stats())
    }
}

impl Handler<GetStatus> for MockFlusher {
    type Result = MessageResult<GetStatus>;

    fn handle(&mut self, _: GetStatus, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.shared.status())
    }
}

impl Handler<Close> for MockFlusher {
    type Result = Response<Result<(), CloseError>>;

    fn handle(&mut self, _: Close, context: &mut Self::Context) -> Self::Result {
        if matches!(self.mood, Mood::Closed) {
            return Response::reply(Ok(()));
        }
        let (reply, answer) = oneshot::channel();
        self.closers.push(reply);
        self.shared.go(LogState::Closing);
        self.shared.admission.close();
        if matches!(self.mood, Mood::Poisoned(_)) || !self.appender.connected() {
            self.shared.requests.close();
        } else {
            // It closes the log after the appends that are in its mailbox already.
            self.tell(&LogEvent::Closing);
        }
        self.work(context);
        Response::fut(async move {
            let cause = Cause::Stopped { actor: "Flusher" };
            answer.await.unwrap_or(Err(CloseError { cause, unresolved: None }))
        })
    }
}

/// Not replaced in place: everyone is told.
impl Drop for MockFlusher {
    fn drop(&mut self) {
        if !matches!(self.mood, Mood::Closed) {
            let cause = Cause::Stopped { actor: "Flusher" };
            self.shared.requests.close();
            self.end(cause.clone(), Err(CloseError { cause, unresolved: None }));
        }
    }
}
