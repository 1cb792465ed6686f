//! Role: gives every record its LSN, and tells those who wait what became of it.
//! Owns: the next LSN; the waiters; appends that wait for the log to come back.
//! Receives: `Collect`, `Append`, `AppendAll`, `Commit`, `WaitForLsn`, `Await`, `Flush`; `LogEvent`.
//! Sends: answers; entries into the queue of the flush thread.
//! Never: touches a file; waits; gives out an LSN between a fault and `Ready`.

use std::collections::VecDeque;
use std::sync::Arc;

use actix::{Actor, Context, Handler, Recipient, Response, Supervised};
use tokio::sync::oneshot;

use crate::config::{Durability, OverloadPolicy};
use crate::engine::intake::assigner::Assigner;
use crate::engine::intake::entry::Payload;
use crate::engine::state::lifecycle::{Appends, Lifecycle};
use crate::engine::state::outcomes::{Fate, Waiters};
use crate::engine::state::parts::LogParts;
use crate::engine::state::shared::Shared;
use crate::error::{AppendError, Cause, CommitError};
use crate::lsn::{Epoch, Lsn, LsnRange};
use crate::messages::wire::{Await, Collect, OwedAccepted, Reply, Submit};
use crate::messages::{
    Accepted, Append, AppendAll, AppendOptions, Commit, Flush, LogEvent, WaitForLsn,
};
use crate::status::LogState;

/// Room for so many appends is kept; a burst of more is rare, and costs a little copying.
const MUCH_ROOM: usize = 4096;

/// The actor that gives out LSNs.
///
/// It forgets nothing in a restart by a Supervisor. If it panics or its Arbiter stops, the log closes.
#[derive(Debug)]
pub struct Appender {
    shared: Arc<Shared>,
    assigner: Assigner,
    overload: OverloadPolicy,
    /// Up to the last event it got.
    life: Lifecycle,
    waiters: Waiters<Waiter>,
    /// Appends that arrived during a fault. Their permits bound them.
    parked: VecDeque<Submit>,
    /// What an actor has not been told yet.
    told: Option<(Arc<Recipient<Accepted>>, Accepted)>,
    /// Kept, so that no room has to be made for each batch.
    room: Vec<Submit>,
}

/// Someone who waits for an LSN to become durable.
#[derive(Debug)]
enum Waiter {
    /// For the outcome of a commit, whose LSNs these are.
    Commit(LsnRange, oneshot::Sender<Result<LsnRange, CommitError>>),
    /// For an LSN.
    Lsn(oneshot::Sender<Result<(), CommitError>>),
}

impl Waiter {
    /// Whether nobody listens any more.
    fn has_gone(&self) -> bool {
        match self {
            Waiter::Commit(_, reply) => reply.is_closed(),
            Waiter::Lsn(reply) => reply.is_closed(),
        }
    }

    /// Tells it the outcome. One that has gone away is not told.
    fn tell(self, outcome: Result<(), CommitError>) {
        match self {
            Waiter::Commit(range, reply) => drop(reply.send(outcome.map(|()| range))),
            Waiter::Lsn(reply) => drop(reply.send(outcome)),
        }
    }
}

impl Appender {
    /// An Appender for a log. It accepts nothing before the Flusher says `Ready`.
    pub fn new(parts: &LogParts, overload: OverloadPolicy) -> Self {
        let shared = Arc::clone(&parts.shared);
        Appender {
            assigner: Assigner::new(Arc::clone(&shared)),
            shared,
            overload,
            life: Lifecycle::default(),
            waiters: Waiters::default(),
            parked: VecDeque::new(),
            told: None,
            room: Vec::new(),
        }
    }

    /// Takes an append, and has it written.
    fn submit(&mut self, submit: Submit) {
        self.take_all([submit]);
        self.hand_over();
    }

    fn take_all(&mut self, submits: impl IntoIterator<Item = Submit>) {
        let shared = Arc::clone(&self.shared);
        let accepting = shared.accepting();
        submits.into_iter().for_each(|submit| self.take(submit, *accepting));
    }

    /// The state has changed: what was parked is taken, refused, or parked again.
    fn retake_parked(&mut self) {
        let parked = std::mem::take(&mut self.parked);
        self.take_all(parked);
    }

    /// Has what was taken written, after those who take their LSNs from a message have been told.
    fn hand_over(&mut self) {
        self.tell_accepted();
        if let Err(cause) = self.assigner.hand_over() {
            // LSNs were given out that nobody will write: what comes after them can not be written either.
            self.end(LogState::Closed(cause.clone()));
            self.shared.go(LogState::Closed(cause.clone()));
            self.shared.requests.forgo_close_frame();
            self.shared.stop_accepting();
            self.shared.requests.close();
            self.tell_all(|lsn| CommitError::Unknown { lsn, cause: cause.clone() });
        }
    }

    /// Gives LSNs and answers, now or later; parks the append if the log is not there for the moment.
    fn take(&mut self, submit: Submit, accepting: bool) {
        if let Some(error) = self.misfit(&submit) {
            // Nothing of the log has failed, so the epoch goes on for all others.
            self.shared.note_refused(&error, submit.payload.count());
            return self.answer_refused(submit.reply, error);
        }
        let refusal = match self.life.appends() {
            Appends::Take if accepting && self.parked.is_empty() => {
                return self.accept(submit);
            }
            // Running but not accepting: a fault has happened, and the event is on its way. What comes
            // after a parked append is parked too, so that a client's appends keep their order.
            Appends::Take => None,
            Appends::Wait if self.may_wait() => None,
            Appends::Wait | Appends::Refuse => refusal(self.life.state()),
        };
        match refusal {
            Some(error) => self.refuse(submit, error),
            None => self.parked.push_back(submit),
        }
    }

    /// Whether appends wait for the next epoch. Space may not return before somebody acts.
    fn may_wait(&self) -> bool {
        match self.life.state() {
            LogState::Unavailable(cause) => {
                self.overload == OverloadPolicy::Wait && !cause.is_no_space()
            }
            _ => true,
        }
    }

    /// What is wrong with the append itself, whatever the state of the log.
    fn misfit(&self, submit: &Submit) -> Option<AppendError> {
        let permit = &submit.permit;
        let (entries, bytes) = (submit.payload.count(), submit.payload.encoded_len());
        if entries == 0 {
            return Some(AppendError::EmptyGroup);
        }
        let (permit_entries, permit_bytes) = (permit.entries(), permit.bytes());
        if !permit.covers(&self.shared.admission, entries, bytes) {
            return Some(AppendError::WrongPermit { permit_entries, permit_bytes, entries, bytes });
        }
        let ended = submit.builds_on.filter(|epoch| self.shared.watermark.has_ended(*epoch));
        ended.map(|epoch| AppendError::EpochEnded { epoch })
    }

    fn accept(&mut self, submit: Submit) {
        let Submit { payload, durability, mut permit, reply, .. } = submit;
        permit.shrink_to(payload.encoded_len());
        let assigned = self.assigner.assign(payload, durability, permit);
        match (reply, assigned) {
            (Reply::Accepted(reply), Ok(range)) => drop(reply.send(Ok(range))),
            (Reply::Outcome(reply), Ok(range)) if durability == Durability::Async => {
                drop(reply.send(Ok(range)));
            }
            (Reply::Outcome(reply), Ok(range)) => {
                self.waiters.add(range.last, Waiter::Commit(range, reply));
            }
            (Reply::Message(owed), Ok(range)) => self.accepted(owed, range),
            (reply, Err(cause)) => self.answer_refused(reply, AppendError::Unavailable { cause }),
        }
    }

    fn refuse(&mut self, submit: Submit, error: AppendError) {
        self.shared.note_refused(&error, submit.payload.count());
        // What its client has put in after it may build on it.
        submit.builds_on.into_iter().for_each(|epoch| self.shared.watermark.end_epoch(epoch));
        self.answer_refused(submit.reply, error);
    }

    fn answer_refused(&mut self, reply: Reply, error: AppendError) {
        match reply {
            Reply::Accepted(reply) => drop(reply.send(Err(error))),
            Reply::Outcome(reply) => drop(reply.send(Err(error.into()))),
            Reply::Message(owed) => {
                self.tell_accepted();
                owed.refuse(error);
            }
        }
    }

    /// Single records of one actor that follow on each other are told in one message.
    fn accepted(&mut self, owed: OwedAccepted, range: LsnRange) {
        let Some((to, ticket)) = owed.into_parts() else { return };
        if let Some((same, Accepted { first, count, result: Ok(told) })) = &mut self.told
            && Arc::ptr_eq(same, &to)
            && (ticket, range.first) == (first.plus(*count), told.last.next())
            && (*count, range.count()) == (told.count(), 1)
        {
            (*count, told.last) = (*count + 1, range.last);
            return;
        }
        self.tell_accepted();
        self.told = Some((to, Accepted { first: ticket, count: 1, result: Ok(range) }));
    }

    fn tell_accepted(&mut self) {
        if let Some((to, accepted)) = self.told.take() {
            to.do_send(accepted);
        }
    }

    fn wait_for(
        &mut self,
        lsn: Lsn,
    ) -> impl Future<Output = Result<(), CommitError>> + 'static + use<> {
        let (reply, answer) = oneshot::channel();
        self.add_waiter(lsn, Waiter::Lsn(reply));
        async move {
            let cause = Cause::Stopped { actor: "Appender" };
            answer.await.unwrap_or(Err(CommitError::Unknown { lsn, cause }))
        }
    }

    fn add_waiter(&mut self, lsn: Lsn, waiter: Waiter) {
        let next = self.assigner.next_lsn();
        match self.shared.fate(lsn) {
            Some(fate) => waiter.tell(fate.into_result(lsn)),
            None if lsn >= next => waiter.tell(Err(CommitError::NeverAssigned { lsn, next })),
            None => match never_written(lsn, self.life.state()) {
                Some(error) => waiter.tell(Err(error)),
                None => {
                    self.waiters.add(lsn, waiter);
                    self.waiters.prune(Waiter::has_gone);
                }
            },
        }
    }

    /// Tells those whose LSN has an outcome now.
    fn tell(&mut self, range: LsnRange) {
        let shared = &self.shared;
        let mut open = Vec::new();
        self.waiters.take(range, |lsn, waiter| match shared.fate(lsn) {
            Some(fate) => waiter.tell(fate.into_result(lsn)),
            None => open.push((lsn, waiter)),
        });
        // A range that was reported has outcomes in the table, so there are none; but never drop one.
        open.into_iter().for_each(|(lsn, waiter)| self.waiters.add(lsn, waiter));
    }

    fn tell_through(&mut self, through: Lsn, failed: &[LsnRange]) {
        failed.iter().for_each(|range| self.tell(*range));
        self.tell(LsnRange { first: Lsn::NONE, last: through });
    }

    /// Tells everyone who still waits, each by its LSN.
    fn tell_all(&mut self, mut error: impl FnMut(Lsn) -> CommitError) {
        self.tell_through(self.shared.watermark.durable(), &[]);
        let shared = &self.shared;
        self.waiters.take_through(Lsn::MAX, |lsn, waiter| match shared.fate(lsn) {
            Some(fate) => waiter.tell(fate.into_result(lsn)),
            None => waiter.tell(Err(error(lsn))),
        });
    }

    fn reopen(&mut self, epoch: Epoch, next_lsn: Lsn) {
        self.life.go(LogState::Running);
        if self.life.appends() != Appends::Take {
            // A restart while the log closes: the epoch is there to write what was accepted before.
            return self.shared.stop_accepting();
        }
        self.shared.watermark.open_in(epoch);
        self.assigner.resume(next_lsn);
        self.retake_parked();
        self.hand_over();
    }

    fn shut(&mut self, cause: Cause) {
        self.life.go(LogState::Unavailable(cause));
        self.retake_parked();
    }

    /// Nobody should wait on, neither for an outcome nor for the log to come back.
    fn give_up(&mut self, cause: &Cause) {
        self.tell_all(|lsn| CommitError::Unknown { lsn, cause: cause.clone() });
        for submit in std::mem::take(&mut self.parked) {
            self.refuse(submit, AppendError::Unavailable { cause: cause.clone() });
        }
    }

    /// Takes nothing more.
    fn end(&mut self, state: LogState) {
        self.life.go(state);
        self.retake_parked();
    }

    /// Everything that arrived before has its LSN; what comes now is refused.
    fn begin_close(&mut self) {
        self.end(LogState::Closing);
        self.shared.stop_accepting();
        self.shared.requests.close();
    }
}

/// Why a log in this state refuses an append.
fn refusal(state: &LogState) -> Option<AppendError> {
    match state {
        LogState::Opening | LogState::Running => None,
        LogState::Unavailable(cause) => Some(match cause.no_space() {
            Some(fault) => AppendError::NoSpace(fault.clone()),
            None => AppendError::Unavailable { cause: cause.clone() },
        }),
        LogState::NoSpace(fault) => Some(AppendError::NoSpace(fault.clone())),
        LogState::Closing => Some(AppendError::Closed { cause: Cause::Closed }),
        LogState::Poisoned(cause) => Some(AppendError::Poisoned { cause: cause.clone() }),
        LogState::Closed(cause) => Some(AppendError::Closed { cause: cause.clone() }),
    }
}

/// The outcome of an LSN that has none after the log has ended: nobody will ever write it if the log was poisoned;
/// if the log ended in another way, nobody knows how far the flush thread came.
fn never_written(lsn: Lsn, state: &LogState) -> Option<CommitError> {
    match state {
        LogState::Poisoned(cause) => Some(CommitError::NotDurable { lsn, cause: cause.clone() }),
        LogState::Closed(cause) => Some(CommitError::Unknown { lsn, cause: cause.clone() }),
        _ => None,
    }
}

impl Actor for Appender {
    type Context = Context<Self>;
}

impl Supervised for Appender {}

impl Handler<Collect> for Appender {
    type Result = ();

    fn handle(&mut self, collect: Collect, _: &mut Self::Context) {
        let mut arrived = collect.take(std::mem::take(&mut self.room));
        self.take_all(arrived.drain(..));
        self.room = arrived;
        // Both rooms come by here in turn: neither keeps what a burst has taken.
        if self.room.capacity() > MUCH_ROOM {
            self.room.shrink_to(MUCH_ROOM);
        }
        self.hand_over();
    }
}

/// Submits and hands on the answer, whenever it comes. The receiver fails only if the Appender is gone.
macro_rules! submit_and_answer {
    ($this:expr, $message:expr, $payload:expr, $reply:path, $gone:expr, $map:expr) => {{
        let (reply, answer) = oneshot::channel();
        let AppendOptions { durability, builds_on, .. } = $message.options;
        let (payload, permit, reply) = ($payload, $message.permit, $reply(reply));
        $this.submit(Submit { payload, durability, builds_on, permit, reply });
        Response::fut(async move { answer.await.unwrap_or_else(|_| Err($gone)).map($map) })
    }};
}

fn appender_gone() -> AppendError {
    AppendError::Unknown { cause: Cause::Stopped { actor: "Appender" } }
}

impl Handler<Append> for Appender {
    type Result = Response<Result<Lsn, AppendError>>;

    fn handle(&mut self, append: Append, _: &mut Self::Context) -> Self::Result {
        let payload = Payload::One(append.payload);
        submit_and_answer!(self, append, payload, Reply::Accepted, appender_gone(), |range| range
            .first)
    }
}

impl Handler<AppendAll> for Appender {
    type Result = Response<Result<LsnRange, AppendError>>;

    fn handle(&mut self, append: AppendAll, _: &mut Self::Context) -> Self::Result {
        let payload = Payload::Group(append.payloads);
        submit_and_answer!(self, append, payload, Reply::Accepted, appender_gone(), |range| range)
    }
}

impl Handler<Commit> for Appender {
    type Result = Response<Result<Lsn, CommitError>>;

    fn handle(&mut self, commit: Commit, _: &mut Self::Context) -> Self::Result {
        let payload = Payload::One(commit.payload);
        let gone = CommitError::from(appender_gone());
        submit_and_answer!(self, commit, payload, Reply::Outcome, gone, |range| range.first)
    }
}

impl Handler<WaitForLsn> for Appender {
    type Result = Response<Result<(), CommitError>>;

    fn handle(&mut self, WaitForLsn(lsn): WaitForLsn, _: &mut Self::Context) -> Self::Result {
        Response::fut(self.wait_for(lsn))
    }
}

impl Handler<Await> for Appender {
    type Result = ();

    fn handle(&mut self, Await { lsn, reply }: Await, _: &mut Self::Context) {
        self.add_waiter(lsn, Waiter::Lsn(reply));
    }
}

impl Handler<Flush> for Appender {
    type Result = Response<Result<Lsn, CommitError>>;

    fn handle(&mut self, _: Flush, _: &mut Self::Context) -> Self::Result {
        let last = self.shared.watermark.accepted();
        // What an earlier life took with it was not appended in this one, which has appended nothing yet then.
        let is_lost = matches!(self.shared.fate(last), Some(Fate::NotDurable(Cause::EarlierLife)));
        if last <= self.shared.watermark.durable() || is_lost {
            return Response::reply(Ok(self.shared.watermark.durable()));
        }
        self.shared.requests.flush(last);
        let durable = self.wait_for(last);
        let shared = Arc::clone(&self.shared);
        Response::fut(async move { durable.await.map(|()| shared.watermark.durable()) })
    }
}

impl Handler<LogEvent> for Appender {
    type Result = ();

    fn handle(&mut self, event: LogEvent, _: &mut Self::Context) {
        match event {
            LogEvent::Durable { through, failed, .. } => self.tell_through(through, &failed),
            LogEvent::Ready { epoch, next_lsn } => self.reopen(epoch, next_lsn),
            LogEvent::Unavailable { cause } => self.shut(cause),
            LogEvent::GivenUp { cause } => self.give_up(&cause),
            LogEvent::Poisoned { cause, .. } => {
                self.end(LogState::Poisoned(cause.clone()));
                self.tell_all(|lsn| CommitError::NotDurable { lsn, cause: cause.clone() });
            }
            LogEvent::Closing => self.begin_close(),
            LogEvent::Closed { cause } => {
                self.end(LogState::Closed(cause.clone()));
                self.tell_all(|lsn| CommitError::Unknown { lsn, cause: cause.clone() });
            }
            LogEvent::Stalled { .. } | LogEvent::SegmentComplete { .. } => {}
        }
    }
}

/// Not replaced in place: without it there is nobody to give out LSNs, so the log closes. The flush
/// thread writes what it has, and everyone who waits is told.
impl Drop for Appender {
    fn drop(&mut self) {
        let cause = Cause::Stopped { actor: "Appender" };
        let shared = Arc::clone(&self.shared);
        shared.stop_accepting();
        shared.admission.close();
        // After a panic in the middle of a batch.
        self.hand_over();
        if !shared.state().is_final() {
            shared.go(LogState::Closed(cause.clone()));
        }
        shared.requests.close();
        self.end(LogState::Closed(cause.clone()));
        self.tell_all(|lsn| CommitError::Unknown { lsn, cause: cause.clone() });
    }
}
