//! The coordinator of transactions over several logs.
//!
//! - **Role**: brings the participants of a transaction to one outcome, and tells clients.
//! - **Owns**: a [`Decider`], the way into its log, and the clients that wait.
//! - **Receives**: [`CommitAcross`] and [`GetDecisions`] of clients and operators; [`ToCoordinator`] from participants, by the
//!   host's transport; [`Accepted`] of the Appender; [`LogEvent`] of the Flusher.
//! - **Sends**: [`ToParticipant`] to the host's transport; appends through its outbox; answers.
//! - **Never**: waits, or tells a commit that is not durable.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use actix::{
    Actor, ActorContext, AsyncContext, Context, Handler, Message, MessageResult, Recipient,
};
use actix_wal::messages::{Accepted, LogEvent, Permit, ReplayRefused};
use actix_wal::{AppendError, Cause, Durability, Hold, InFlight, Lsn, Open, Outcome, Wal};
use bytes::Bytes;

use super::back_off::random;
use super::decider::{
    BeginError, Decider, DeciderLimits, DeciderNote, Member, Told, Unacknowledged,
};
use super::messages::{Outgoing, ToCoordinator, ToParticipant};
use super::{Address, GlobalId, Log, Place};
use crate::error::RecoverError;
use crate::later::{Later, Reply};
use crate::record::TxnRecord;

/// How often it looks for messages that have to be sent again.
const LOOK: Duration = Duration::from_millis(50);

/// Commits a transaction in all of its participants, or in none. Sent by clients; answered when the outcome is durable. A
/// dropped answer, which `send` reports as a closed mailbox, means that the coordinator is gone, and the outcome unknown:
/// a key that the transaction itself writes tells later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitAcross {
    /// The participants, and what each of them commits.
    pub members: Vec<Member>,
}

impl Message for CommitAcross {
    type Result = Result<(), AcrossError>;
}

/// Why a transaction over several logs did not commit, or nobody knows.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AcrossError {
    /// It was not begun, and has no effect.
    #[error(transparent)]
    Begin(#[from] BeginError),
    /// It has no effect anywhere.
    #[error("transaction {id} aborts: {reason}")]
    Aborted {
        /// The transaction.
        id: GlobalId,
        /// Why.
        reason: String,
    },
    /// Nobody knows whether it commits.
    #[error(
        "it is not known whether transaction {id} commits: {reason}; look for a key that it writes"
    )]
    Unknown {
        /// The transaction.
        id: GlobalId,
        /// Why.
        reason: String,
    },
}

/// Asks which decisions are not acknowledged by all participants, and from where on the log is needed. Sent by operators, and by
/// the host before a checkpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GetDecisions;

impl Message for GetDecisions {
    type Result = Decisions;
}

/// What a coordinator is at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decisions {
    /// Transactions at work: open, or decided and not acknowledged by all.
    pub rounds: usize,
    /// Decisions that some participants have not acknowledged.
    pub unacknowledged: Vec<Unacknowledged>,
    /// The oldest LSN of the log that is needed: a checkpoint must stay below it. `None`: all that is durable may go.
    pub needs_from: Option<Lsn>,
}

/// What keeps the decisions in the log that are needed, whatever a checkpoint asks for.
type Holds = HashMap<GlobalId, Hold>;

fn owner(id: GlobalId) -> String {
    format!("the decision about transaction {id}")
}

/// A decider with its decisions, which are held in their log.
#[derive(Debug)]
pub struct RecoveredDecider {
    decider: Decider,
    holds: Holds,
}

impl RecoveredDecider {
    /// One without decisions, for a log that holds nothing: such as a mocked one.
    pub fn empty(wal: &Wal, address: Address, limits: DeciderLimits) -> Self {
        let mut decider = Decider::new(wal.log_id(), wal.status().epoch.get(), address, limits);
        decider.recovered();
        RecoveredDecider { decider, holds: Holds::new() }
    }
}

/// The way into the log: a decision is held before it is put in, so that no checkpoint comes between.
struct Held<'a> {
    log: &'a mut InFlight<DeciderNote>,
    holds: &'a mut Holds,
}

impl Held<'_> {
    fn place(&mut self) -> Place<'_, DeciderNote> {
        Place::new(self.log, None)
    }
}

impl Log<DeciderNote> for Held<'_> {
    fn keep_room(&mut self, bytes: usize) -> Result<Option<Permit>, AppendError> {
        self.place().keep_room(bytes)
    }

    fn append(
        &mut self,
        record: Bytes,
        room: Option<Permit>,
        durability: Durability,
        note: DeciderNote,
    ) -> Result<(), AppendError> {
        if note.is_decision {
            let outbox = self.log.outbox();
            self.holds.entry(note.id).or_insert_with(|| outbox.hold(owner(note.id)));
        }
        self.place().append(record, room, durability, note)
    }
}

type Across = Result<(), AcrossError>;
/// Knows what to say if the coordinator is gone: that takes the name of the transaction.
type Client = Reply<Across, Box<dyn FnOnce() -> Across>>;

/// The coordinator of transactions over several logs. See the [module](self).
pub struct TwoPhaseCoordinator {
    decider: Decider,
    log: InFlight<DeciderNote>,
    holds: Holds,
    transport: Recipient<Outgoing<ToParticipant>>,
    clients: HashMap<GlobalId, Client>,
    started: Instant,
}

impl fmt::Debug for TwoPhaseCoordinator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TwoPhaseCoordinator")
            .field("decider", &self.decider)
            .finish_non_exhaustive()
    }
}

/// Opens the log of a coordinator, and recovers its decisions. `address` is where participants reach the coordinator, now
/// and after any restart.
///
/// # Errors
/// The log does not open, holds a record that is none of ours, or has released a decision that is needed.
pub async fn open(
    opening: Open,
    address: Address,
    limits: DeciderLimits,
) -> Result<(Wal, RecoveredDecider), RecoverError> {
    type Found = (BTreeMap<GlobalId, (Lsn, TxnRecord)>, Option<RecoverError>);
    let found: Arc<Mutex<Found>> = Arc::default();
    let taken = Arc::clone(&found);
    let opened = opening
        .replay_with(None, move |replay| {
            let (decisions, failed) = &mut *taken.lock().unwrap_or_else(PoisonError::into_inner);
            for (lsn, record) in replay.records.iter() {
                match TxnRecord::decode(lsn, record) {
                    Ok(record @ TxnRecord::Decision { id, .. }) => {
                        decisions.entry(id).or_insert((lsn, record));
                    }
                    Ok(TxnRecord::Forgotten { id }) => drop(decisions.remove(&id)),
                    Ok(_) => {}
                    Err(error) => {
                        let refused = ReplayRefused(error.to_string());
                        *failed = Some(error.into());
                        return Err(refused);
                    }
                }
            }
            Ok(())
        })
        .await;
    let (decisions, failed) =
        std::mem::take(&mut *found.lock().unwrap_or_else(PoisonError::into_inner));
    if let Some(failed) = failed {
        return Err(failed);
    }
    let wal = opened?;
    let mut decider = Decider::new(wal.log_id(), wal.status().epoch.get(), address, limits);
    decisions.into_values().for_each(|(lsn, record)| decider.replay(lsn, record));
    decider.recovered();
    let hold = |(id, lsn)| wal.hold(lsn, owner(id)).map(|hold| (id, hold));
    let released = |_| {
        let (through, snapshots) = (wal.status().low_water, "a coordinator has none".to_owned());
        RecoverError::Released { through, snapshots }
    };
    let holds = decider.decisions().map(hold).collect::<Result<_, _>>().map_err(released)?;
    Ok((wal, RecoveredDecider { decider, holds }))
}

impl TwoPhaseCoordinator {
    /// Starts a coordinator in the current Arbiter, and subscribes it to its log. It ends with the log, and does not keep it
    /// open. `transport` carries messages to participants: what does not fit into its mailbox is lost, and sent again after the
    /// back-off. An actor's mailbox has room for 16 unless it sets its capacity: it should have room for one or two for each
    /// participant of each transaction that is at work.
    ///
    /// # Errors
    /// The log is closed.
    pub async fn start(
        wal: &Wal,
        recovered: RecoveredDecider,
        transport: Recipient<Outgoing<ToParticipant>>,
    ) -> Result<actix::Addr<Self>, Cause> {
        let RecoveredDecider { decider, holds } = recovered;
        let coordinator = TwoPhaseCoordinator::create(|context| TwoPhaseCoordinator {
            decider,
            log: InFlight::new(wal.outbox(context.address().recipient())),
            holds,
            transport,
            clients: HashMap::new(),
            started: Instant::now(),
        });
        wal.subscribe(coordinator.clone().recipient()).await?;
        Ok(coordinator)
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Sends what the decider has to say, answers clients, and gives back what need not be held any more.
    fn speak(&mut self) {
        for id in self.decider.unneeded() {
            self.holds.remove(&id);
        }
        for message in self.decider.outgoing() {
            // What is lost is sent again.
            drop(self.transport.try_send(message));
        }
        for (id, told) in self.decider.told() {
            let answer = match told {
                Told::Committed => Ok(()),
                Told::Aborted { reason } => Err(AcrossError::Aborted { id, reason }),
                Told::Unknown { reason } => Err(AcrossError::Unknown { id, reason }),
            };
            if let Some(client) = self.clients.remove(&id) {
                client.give(answer);
            }
        }
    }

    fn settle(&mut self, settled: Vec<(DeciderNote, Outcome)>) {
        let now = self.now();
        for (note, outcome) in settled {
            let outcome = outcome.map(|range| range.first);
            if let (true, Ok(lsn), Some(hold)) =
                (note.is_decision, &outcome, self.holds.get(&note.id))
            {
                hold.raise(*lsn);
            }
            self.decider.settled(now, note, outcome);
        }
        self.speak();
    }

    fn tick(&mut self) {
        let now = self.now();
        let mut held = Held { log: &mut self.log, holds: &mut self.holds };
        self.decider.tick(now, &mut held, &mut random);
        self.speak();
    }
}

impl Actor for TwoPhaseCoordinator {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.run_interval(LOOK, |this, _| this.tick());
        // Decisions of the life before are sent at once.
        self.tick();
    }
}

impl Handler<CommitAcross> for TwoPhaseCoordinator {
    type Result = Later<Across>;

    fn handle(&mut self, commit: CommitAcross, _: &mut Self::Context) -> Self::Result {
        let now = self.now();
        let mut held = Held { log: &mut self.log, holds: &mut self.holds };
        let id = match self.decider.begin(now, &mut held, commit.members) {
            Ok(id) => id,
            Err(refused) => return Later::now(Err(refused.into())),
        };
        let gone = move || {
            let reason = "the coordinator is gone".to_owned();
            Err(AcrossError::Unknown { id, reason })
        };
        let (client, answer) = Later::new(Box::new(gone) as Box<dyn FnOnce() -> Across>);
        self.clients.insert(id, client);
        self.speak();
        answer
    }
}

impl Handler<ToCoordinator> for TwoPhaseCoordinator {
    type Result = ();

    fn handle(&mut self, message: ToCoordinator, _: &mut Self::Context) {
        let now = self.now();
        let mut held = Held { log: &mut self.log, holds: &mut self.holds };
        self.decider.receive(now, &mut held, message);
        self.speak();
    }
}

impl Handler<GetDecisions> for TwoPhaseCoordinator {
    type Result = MessageResult<GetDecisions>;

    fn handle(&mut self, _: GetDecisions, _: &mut Self::Context) -> Self::Result {
        MessageResult(Decisions {
            rounds: self.decider.rounds(),
            unacknowledged: self.decider.unacknowledged(),
            needs_from: self.decider.needs_from(),
        })
    }
}

/// The Appender has answered appends: those that it refused are settled.
impl Handler<Accepted> for TwoPhaseCoordinator {
    type Result = ();

    fn handle(&mut self, accepted: Accepted, _: &mut Self::Context) {
        let settled = self.log.accepted(accepted).collect();
        self.settle(settled);
    }
}

/// The log gets on, or something happens to it.
impl Handler<LogEvent> for TwoPhaseCoordinator {
    type Result = ();

    fn handle(&mut self, event: LogEvent, context: &mut Self::Context) {
        let settled = self.log.event(&event).collect();
        self.settle(settled);
        if let LogEvent::Closed { .. } = event {
            context.stop();
        }
    }
}
