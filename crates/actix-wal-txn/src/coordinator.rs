//! The actor that transactions are sent to.
//!
//! - **Role**: runs the transactions of one log, and answers their clients by its durability.
//! - **Owns**: the versions of all keys, the open transactions, the commits on their way, the tokens.
//! - **Receives**: [`messages`](crate::messages) of clients; [`Accepted`] of the Appender; [`LogEvent`] of the Flusher; those of
//!   [two-phase commit](crate::two_phase::participant_actor); `FileNews` of the thread that writes a snapshot.
//! - **Sends**: appends through its outbox, one record for a commit; pieces of a snapshot to that thread, and `Checkpoint`
//!   to the Flusher when it is durable; answers.
//! - **Never**: waits, touches a disk, or tells what a crash could still lose.

mod interactive;
mod snapshots;
mod whole;

use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;
use std::time::{Duration, Instant};

use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, MessageResult};
use actix_wal::messages::{Accepted, LogEvent};
use actix_wal::{AppendOptions, Cause, Durability, Epoch, InFlight, Lsn, Outcome, Wal};

use self::interactive::Open;
use self::snapshots::Snapshots;
use crate::commits::{Answers, Commits, Verdict};
use crate::error::TxnError;
use crate::fates::Fate;
use crate::latencies::Latencies;
use crate::later::Later;
use crate::messages::{
    Commit, Committed, CoordinatorCounts, CoordinatorUsage, GetCounts, GetLatencies, GetOutcome,
    GetUsage, Outcomes, TxnId,
};
use crate::record::TxnRecord;
use crate::recovery::Recovered;
use crate::store::{CommitNo, Write};
use crate::tokens::{Token, Tokens};
use crate::two_phase::Life;
use crate::two_phase::participant::{Note, Participant, ParticipantLimits};
use crate::two_phase::participant_actor::{Part, TwoPhase, now};
use crate::watches::Watches;
use crate::workspace::WorkLimits;

/// The bounds of a coordinator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CoordinatorLimits {
    /// How many interactive transactions may be open.
    pub open: usize,
    /// How long one may be open.
    pub age: Duration,
    /// What one transaction may read and write.
    pub work: WorkLimits,
    /// How many ranges all open serializable transactions may have read. Each commit compares its keys with all of them.
    pub watched: usize,
}

impl Default for CoordinatorLimits {
    /// 10,000 transactions, each for at most 30 seconds, and 10,000 ranges.
    fn default() -> Self {
        let age = Duration::from_secs(30);
        let work = WorkLimits::default();
        CoordinatorLimits { open: 10_000, age, work, watched: Watches::LIMIT }
    }
}

/// Runs the transactions of one log.
#[derive(Debug)]
pub struct TransactionCoordinator {
    limits: CoordinatorLimits,
    pub(crate) log: InFlight<CommitNo>,
    /// The epoch that the commits on their way build on.
    epoch: Epoch,
    pub(crate) commits: Commits<Waiting>,
    pub(crate) part: Part,
    tokens: Tokens,
    latencies: Latencies,
    outcomes: Outcomes,
    /// [`CoordinatorCounts::kept_back`].
    kept_back: u64,
    /// [`CoordinatorUsage::lost`].
    lost: u64,
    open: HashMap<TxnId, Open>,
    next: TxnId,
    started: Instant,
    collecting: bool,
    snapshots: Option<Snapshots>,
}

/// What waits for a commit.
pub(crate) enum Waiting {
    /// An answer, and the token to settle with it.
    Client {
        /// When its commit was put in; none if it has only read.
        since: Option<Duration>,
        /// What it counts as, if it has not been counted yet.
        fate: Option<Fate>,
        token: Option<Token>,
        answer: Answer,
    },
    /// The part of two-phase commit.
    Note(Note),
}

impl From<Note> for Waiting {
    fn from(note: Note) -> Self {
        Waiting::Note(note)
    }
}

/// Tells a client what became of its transaction.
pub(crate) enum Answer {
    /// The client has its answer.
    Given,
    Of(Box<dyn FnOnce(Result<Option<Lsn>, TxnError>)>),
    /// One of several that are answered together, by its place among them.
    OneOf(Rc<dyn Several>, usize),
}

/// Clients of several transactions that came in one message.
pub(crate) trait Several {
    fn settle(&self, at: usize, settled: Result<Option<Lsn>, TxnError>);
}

impl Answer {
    fn give(self, settled: Result<Option<Lsn>, TxnError>) {
        match self {
            Answer::Given => {}
            Answer::Of(client) => client(settled),
            Answer::OneOf(clients, at) => clients.settle(at, settled),
        }
    }
}

impl fmt::Debug for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Waiting::Client { token, .. } => {
                f.debug_struct("Client").field("token", token).finish_non_exhaustive()
            }
            Waiting::Note(note) => note.fmt(f),
        }
    }
}

/// How many keys are collected before somebody else is served.
const COLLECTED_AT_ONCE: usize = 256;

/// How often transactions are looked at that may have grown too old.
const LOOK: Duration = Duration::from_millis(100);

impl TransactionCoordinator {
    /// A coordinator of a log whose state has been recovered, in this context. It is to be
    /// [subscribed](Wal::subscribe) to the log: [`start`](Self::start) does both.
    pub fn new(
        wal: &Wal,
        recovered: Recovered,
        limits: CoordinatorLimits,
        context: &mut Context<Self>,
    ) -> Self {
        Self::with(wal, recovered, limits, None, context)
    }

    /// One that takes part in two-phase commit, if it is told how.
    pub fn with(
        wal: &Wal,
        recovered: Recovered,
        limits: CoordinatorLimits,
        two_phase: Option<TwoPhase>,
        context: &mut Context<Self>,
    ) -> Self {
        let Recovered { store, tokens, snapshots, branches, .. } = recovered;
        let mut commits = Commits::new(store).watching(limits.watched);
        let log = InFlight::new(wal.outbox(context.address().recipient()));
        let life = Life { log: wal.log_id(), epoch: wal.status().epoch.get() };
        let bounds = two_phase.as_ref().map_or_else(ParticipantLimits::default, |it| it.limits);
        let participant = Participant::new(life, bounds, branches, &mut commits, now());
        let checkpoint = &wal.recipients().checkpoint;
        let snapshots = snapshots.map(|folder| Snapshots::new(folder, checkpoint.clone()));
        TransactionCoordinator {
            limits,
            epoch: log.outbox().epoch(),
            log,
            commits,
            part: Part::new(participant, two_phase.map(|it| it.transport)),
            tokens,
            latencies: Latencies::new(),
            outcomes: Outcomes::default(),
            kept_back: 0,
            lost: 0,
            open: HashMap::new(),
            next: TxnId(1),
            started: Instant::now(),
            collecting: false,
            snapshots,
        }
    }

    /// Starts a coordinator in the current Arbiter, and subscribes it to the log. It ends with the log, and does not keep
    /// it open.
    ///
    /// # Errors
    /// The log is closed.
    pub async fn start(
        wal: &Wal,
        recovered: Recovered,
        limits: CoordinatorLimits,
    ) -> Result<actix::Addr<Self>, Cause> {
        Self::start_with(wal, recovered, limits, None).await
    }

    /// Starts one that takes part in two-phase commit.
    ///
    /// # Errors
    /// The log is closed.
    pub async fn start_participant(
        wal: &Wal,
        recovered: Recovered,
        limits: CoordinatorLimits,
        two_phase: TwoPhase,
    ) -> Result<actix::Addr<Self>, Cause> {
        Self::start_with(wal, recovered, limits, Some(two_phase)).await
    }

    async fn start_with(
        wal: &Wal,
        recovered: Recovered,
        limits: CoordinatorLimits,
        two_phase: Option<TwoPhase>,
    ) -> Result<actix::Addr<Self>, Cause> {
        let coordinator = TransactionCoordinator::create(|context| {
            TransactionCoordinator::with(wal, recovered, limits, two_phase, context)
        });
        wal.subscribe(coordinator.clone().recipient()).await?;
        Ok(coordinator)
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    pub(crate) fn work_limits(&self) -> WorkLimits {
        self.limits.work
    }

    /// Puts a commit into the store and the log. The answer is given when it is settled, or now if it is refused or
    /// `Async`.
    fn put(
        &mut self,
        writes: Vec<Write>,
        durability: Durability,
        token: Option<Token>,
        answer: Answer,
    ) {
        if let Err((answer, refused)) = self.try_to_put(writes, durability, token, answer) {
            self.refuse(answer, refused);
        }
    }

    /// Answers a client whose commit was not taken.
    fn refuse(&mut self, answer: Answer, refused: TxnError) {
        self.outcomes.refused += 1;
        answer.give(Err(refused));
    }

    /// The same; one that is refused is given back.
    fn try_to_put(
        &mut self,
        writes: Vec<Write>,
        durability: Durability,
        token: Option<Token>,
        answer: Answer,
    ) -> Result<(), (Answer, TxnError)> {
        if token.as_ref().is_some_and(|token| !self.tokens.put_in(token)) {
            return Err((answer, TxnError::TokenUsed));
        }
        let (now, later) = match durability {
            Durability::Async => (Some(answer), Answer::Given),
            _ => (None, answer),
        };
        match (self.put_in(writes, durability, token, later), now) {
            (Ok(()), now) => {
                now.into_iter().for_each(|now| now.give(Ok(None)));
                Ok(())
            }
            (Err((later, refused)), now) => Err((now.unwrap_or(later), refused)),
        }
    }

    fn put_in(
        &mut self,
        writes: Vec<Write>,
        durability: Durability,
        token: Option<Token>,
        answer: Answer,
    ) -> Result<(), (Answer, TxnError)> {
        let record = TxnRecord::Commit { token, writes };
        let encoded = record.encode();
        let TxnRecord::Commit { token, writes } = record else { unreachable!("it was made above") };
        let (since, fate) = (Some(self.now()), Some(Fate::Committed));
        let waiting = Waiting::Client { since, fate, token, answer };
        let options = AppendOptions { durability, builds_on: Some(self.builds_on()) };
        let (waiting, refused) = match (encoded, self.commits.put(writes, waiting)) {
            (Ok(bytes), Ok(commit)) => {
                let length = bytes.len();
                match self.log.append_with(bytes, options, commit) {
                    Ok(_) => {
                        self.logged(length);
                        return Ok(());
                    }
                    Err((commit, refused)) => {
                        (self.commits.undo(commit), TxnError::Refused(refused))
                    }
                }
            }
            (Err(error), Ok(commit)) => (self.commits.undo(commit), error.into()),
            (_, Err((waiting, refused))) => (Some(waiting), refused.into()),
        };
        match waiting {
            Some(Waiting::Client { token, answer, .. }) => {
                token.iter().for_each(|token| self.tokens.aborted(token));
                Err((answer, refused))
            }
            // It has been put in just now, and nobody has taken it out.
            Some(Waiting::Note(_)) | None => Ok(()),
        }
    }

    /// The epoch that the next commit builds on: another one than before only if nothing is on its way. What the log has
    /// given up it does not report in the order of LSNs.
    pub(crate) fn builds_on(&mut self) -> Epoch {
        if self.log.is_empty() && self.commits.is_empty() {
            self.epoch = self.log.outbox().epoch();
        }
        self.epoch
    }

    /// The log has settled these.
    fn settle(&mut self, mut settled: Vec<(CommitNo, Outcome)>) {
        let outbox = self.log.outbox();
        let answers = self.commits.resolve(|lsn| outbox.outcome(lsn));
        let now = self.now();
        self.answer(answers, now);
        // Of what one event tells, the log gives what failed first. Mostly nothing has.
        if !settled.is_sorted_by_key(|(commit, _)| *commit) {
            settled.sort_by_key(|(commit, _)| *commit);
        }
        let durable = settled.iter().filter(|(_, outcome)| outcome.is_ok()).count();
        self.latencies.durable(durable as u64);
        for (commit, outcome) in settled {
            let answers = self.commits.settled(commit, outcome.map(|range| range.first));
            let unsettled = self.answer(answers, now);
            unsettled.into_iter().for_each(|token| self.commits.put_back(commit, token));
        }
        self.speak();
    }

    /// Gives these answers. What is given back settles one of which nobody knows yet: its token, or its participant.
    fn answer(&mut self, answers: Answers<Waiting>, now: Duration) -> Option<Waiting> {
        let mut unsettled = None;
        for (waiting, verdict) in answers {
            let (since, fate, token, answer) = match waiting {
                Waiting::Client { since, fate, token, answer } => (since, fate, token, answer),
                Waiting::Note(note) => {
                    if matches!(&verdict, Verdict::Failed(failed) if !failed.is_not_durable()) {
                        unsettled = Some(Waiting::Note(note));
                    }
                    self.settled_note(note, &verdict);
                    continue;
                }
            };
            if let Some(since) = since {
                self.latencies.settled(now.saturating_sub(since));
            }
            if let Some(fate) = fate {
                match &verdict {
                    Verdict::Durable(_) => self.outcomes.count(fate),
                    Verdict::Failed(failed) if failed.is_not_durable() => {
                        self.outcomes.not_durable += 1;
                    }
                    Verdict::Failed(_) => self.outcomes.unknown += 1,
                    Verdict::SawFailed(_) => self.outcomes.saw_failed += 1,
                }
            }
            let is_given = matches!(answer, Answer::Given);
            answer.give(match verdict {
                Verdict::Durable(lsn) => {
                    if let (Some(token), Some(lsn)) = (token, lsn) {
                        self.tokens.committed(token, lsn);
                    }
                    Ok(lsn)
                }
                Verdict::Failed(failed) => {
                    if failed.is_not_durable() {
                        token.iter().for_each(|token| self.tokens.aborted(token));
                        self.lost += u64::from(is_given);
                    } else {
                        let answer = Answer::Given;
                        let (since, fate) = (None, None);
                        unsettled = Some(Waiting::Client { since, fate, token, answer });
                    }
                    Err(TxnError::of_outcome(failed))
                }
                Verdict::SawFailed(failed) => Err(TxnError::SawFailed(failed)),
            });
        }
        unsettled
    }

    /// Takes old versions out, a few at a time.
    fn collect(&mut self, context: &mut Context<Self>) {
        let now = self.now();
        if !self.collecting && self.commits.store_mut().collect(now, COLLECTED_AT_ONCE) {
            self.collecting = true;
            Self::in_next_turn(context, |this, context| {
                this.collecting = false;
                this.collect(context);
            });
        }
    }

    /// Goes on with long work behind what waits in the mailbox, and behind the other tasks of this thread: what an actor sends
    /// itself is handled before any of them has its turn.
    fn in_next_turn(
        context: &mut Context<Self>,
        work: impl FnOnce(&mut Self, &mut Context<Self>) + 'static,
    ) {
        let turn = actix::fut::wrap_future::<_, Self>(tokio::task::yield_now());
        context.spawn(turn.map(|(), this, context| work(this, context)));
    }
}

impl Actor for TransactionCoordinator {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.run_interval(LOOK, |this, context| {
            let earliest = this.now().saturating_sub(this.limits.age);
            this.open.retain(|_, open| open.since >= earliest);
            this.collect(context);
            this.look_at_snapshots(context);
            this.tick_two_phase();
        });
    }
}

impl Handler<Commit> for TransactionCoordinator {
    type Result = Later<Result<Committed, TxnError>>;

    fn handle(&mut self, commit: Commit, _: &mut Self::Context) -> Self::Result {
        let Commit { txn, durability, token } = commit;
        let work = match self.end(txn) {
            Ok(work) => work,
            Err(refused) => return Later::now(Err(refused)),
        };
        if let Err(conflict) = work.check(self.commits.store()) {
            let failed = TxnError::from(conflict);
            self.outcomes.count(Fate::of_failure(&failed));
            return Later::now(Err(failed));
        }
        if work.is_read_only() {
            // All that it has read is durable.
            self.outcomes.count(Fate::ReadOnly);
            return Later::now(Ok(Committed { lsn: None }));
        }
        let (client, answer) = client(|lsn| Ok(Committed { lsn }));
        self.put(work.into_writes(), durability, token, client);
        answer
    }
}

/// What answers a client, and what it waits for. What the transaction gave is put together only when it may be told.
fn client<T: 'static>(
    give: impl FnOnce(Option<Lsn>) -> Result<T, TxnError> + 'static,
) -> (Answer, Later<Result<T, TxnError>>) {
    let (reply, answer) = Later::new(|| Err(TxnError::gone()));
    let client = move |settled: Result<Option<Lsn>, TxnError>| reply.give(settled.and_then(give));
    (Answer::Of(Box::new(client)), answer)
}

impl Handler<GetOutcome> for TransactionCoordinator {
    type Result = MessageResult<GetOutcome>;

    fn handle(&mut self, GetOutcome(token): GetOutcome, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.tokens.outcome(&token))
    }
}

impl Handler<GetUsage> for TransactionCoordinator {
    type Result = MessageResult<GetUsage>;

    fn handle(&mut self, _: GetUsage, _: &mut Self::Context) -> Self::Result {
        let watched = self.commits.to_scan().1.len();
        MessageResult(CoordinatorUsage {
            store: self.commits.store_mut().usage(),
            open: self.open.len(),
            on_the_way: self.commits.len(),
            watched,
            lost: self.lost,
        })
    }
}

impl Handler<GetCounts> for TransactionCoordinator {
    type Result = MessageResult<GetCounts>;

    fn handle(&mut self, _: GetCounts, _: &mut Self::Context) -> Self::Result {
        let participant = &self.part.participant;
        let in_doubt = participant.in_doubt();
        let oldest = in_doubt.iter().map(|prepared| prepared.since).min();
        let differs = |it: &&crate::two_phase::participant::HeuristicBranch| it.differs();
        let mismatches = participant.heuristics().iter().filter(differs).count();
        let opened = self.commits.store_mut().usage().oldest_since;
        MessageResult(CoordinatorCounts {
            outcomes: self.outcomes,
            kept_back: self.kept_back,
            oldest_snapshot: opened
                .map_or(Duration::ZERO, |opened| self.now().saturating_sub(opened)),
            prepared: in_doubt.len(),
            oldest_prepared: oldest.map_or(Duration::ZERO, |oldest| now().saturating_sub(oldest)),
            mismatches,
        })
    }
}

impl Handler<GetLatencies> for TransactionCoordinator {
    type Result = MessageResult<GetLatencies>;

    fn handle(&mut self, _: GetLatencies, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.latencies.read())
    }
}

/// The Appender has answered appends: those that it refused are settled.
impl Handler<Accepted> for TransactionCoordinator {
    type Result = ();

    fn handle(&mut self, accepted: Accepted, _: &mut Self::Context) {
        let settled = self.log.accepted(accepted).collect();
        self.settle(settled);
    }
}

/// The log gets on, or something happens to it.
impl Handler<LogEvent> for TransactionCoordinator {
    type Result = ();

    fn handle(&mut self, event: LogEvent, context: &mut Self::Context) {
        let settled = self.log.event(&event).collect();
        self.settle(settled);
        match event {
            LogEvent::Durable { .. } => self.collect(context),
            LogEvent::GivenUp { cause } => {
                let answers = self.commits.give_up(&cause);
                let now = self.now();
                self.answer(answers, now);
                self.speak();
            }
            LogEvent::Closed { .. } => context.stop(),
            _ => {}
        }
    }
}
