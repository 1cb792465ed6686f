//! The decisions of one coordinator of two-phase commit.
//!
//! A plain type, without actor, clock or I/O. Its owner gives it messages, the outcomes of records and the time, and takes
//! out the messages that it has to send and what its clients may be told.
//!
//! What keeps it right:
//!
//! * A commit is told, to clients and participants, when its Decision record is durable.
//! * What it knows nothing of is aborted: as long as it lives, and only once it has recovered all of its decisions. So it
//!   says nothing while it recovers, nor of the transactions of another coordinator.
//! * A decision is forgotten when all participants that were prepared have acknowledged it.
//! * Its log has room for a decision before anything is asked of its participants: what they have prepared does not fail
//!   because others have filled the log meanwhile.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use actix_wal::error::EncodeError;
use actix_wal::messages::Permit;
use actix_wal::{AppendError, CommitError, Durability, LogId, Lsn};
use bytes::Bytes;

use super::Log;
use super::back_off::Again;
pub use super::begin::{BeginError, DeciderLimits, Member};
use super::ids::{Address, Branch, GlobalId, Outcome};
use super::messages::{Order, Outgoing, ToCoordinator, ToParticipant, Word, Work};
use crate::record::TxnRecord;

/// What a client may be told.
#[derive(Clone, Debug)]
pub enum Told {
    /// It has committed: in all participants, now or as soon as they are back.
    Committed,
    /// It has no effect anywhere.
    Aborted {
        /// Why.
        reason: String,
    },
    /// Nobody knows.
    Unknown {
        /// Why.
        reason: String,
    },
}

/// What the owner keeps for each record, and gives back with its outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeciderNote {
    pub(super) id: GlobalId,
    pub(super) is_decision: bool,
}

/// A decision that some participants have not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unacknowledged {
    /// The transaction.
    pub id: GlobalId,
    /// The participants that have not.
    pub participants: Vec<Address>,
}

#[derive(Debug)]
struct Round {
    members: Vec<Asked>,
    phase: Phase,
    /// For the decision.
    room: Option<Permit>,
    again: Again,
}

#[derive(Debug)]
struct Asked {
    address: Address,
    log: LogId,
    /// None after a restart: it has prepared.
    work: Option<Work>,
    has: Has,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Has {
    NotVoted,
    Prepared,
    /// It need not know more: it was read only, or has acknowledged.
    Left,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Preparing {
        until: Duration,
    },
    /// One participant commits by itself.
    Alone {
        until: Duration,
    },
    /// The Decision record is on its way.
    Deciding,
    /// Nobody knows whether that is durable. It is put in again.
    Unsure {
        on_the_way: bool,
    },
    /// It is durable.
    Committed,
}

/// The decisions of one coordinator. See the [module](self).
#[derive(Debug)]
pub struct Decider {
    log: LogId,
    address: Address,
    epoch: u64,
    next: u64,
    limits: DeciderLimits,
    recovering: bool,
    rounds: BTreeMap<GlobalId, Round>,
    /// Where the decisions are that are needed, or that may be there.
    decisions: HashMap<GlobalId, Lsn>,
    outgoing: Vec<Outgoing<ToParticipant>>,
    told: Vec<(GlobalId, Told)>,
    unneeded: Vec<GlobalId>,
}

impl Decider {
    /// A new life of the coordinator with this log. `epoch` is the one in which the life began; no earlier life has had it.
    /// It has to [replay](Self::replay) the log, and is of no use until it [has](Self::recovered).
    pub fn new(log: LogId, epoch: u64, address: Address, limits: DeciderLimits) -> Self {
        Decider {
            log,
            address,
            epoch,
            next: 1,
            limits,
            recovering: true,
            rounds: BTreeMap::new(),
            decisions: HashMap::new(),
            outgoing: Vec::new(),
            told: Vec::new(),
            unneeded: Vec::new(),
        }
    }

    /// Takes a record of the log, in the order of the log. Others than those of a coordinator say nothing.
    pub fn replay(&mut self, lsn: Lsn, record: TxnRecord) {
        match record {
            TxnRecord::Decision { id, participants } => {
                let members = participants.into_iter().map(|(address, log)| Asked {
                    address,
                    log,
                    work: None,
                    has: Has::Prepared,
                });
                let (members, phase) = (members.collect(), Phase::Committed);
                let round = Round { members, phase, room: None, again: Again::default() };
                self.rounds.insert(id, round);
                self.decisions.entry(id).or_insert(lsn);
            }
            TxnRecord::Forgotten { id } => {
                self.rounds.remove(&id);
                self.decisions.remove(&id);
            }
            _ => {}
        }
    }

    /// The log is replayed to its end: now what is not known is aborted.
    pub fn recovered(&mut self) {
        self.recovering = false;
    }

    /// Begins a transaction: asks its participants to prepare, or its only one to commit.
    ///
    /// # Errors
    /// It has not begun.
    pub fn begin<L: Log<DeciderNote>>(
        &mut self,
        now: Duration,
        log: &mut L,
        members: Vec<Member>,
    ) -> Result<GlobalId, BeginError> {
        if self.recovering {
            return Err(BeginError::Recovering);
        }
        self.limits.check(self.rounds.len(), &members)?;
        let id = GlobalId { log: self.log, epoch: self.epoch, number: self.next };
        let room = keep_room(log, id, &members).map_err(BeginError::NoRoom)?;
        self.next += 1;
        let until = now + self.limits.prepare_within;
        let phase =
            if members.len() == 1 { Phase::Alone { until } } else { Phase::Preparing { until } };
        let asked = |Member { address, work }| Asked {
            address,
            log: work.life.log,
            work: Some(work),
            has: Has::NotVoted,
        };
        let members = members.into_iter().map(asked).collect();
        let again = Again::after(now, self.limits.back_off);
        self.rounds.insert(id, Round { members, phase, room, again });
        self.send(now, id);
        Ok(id)
    }

    fn say(&mut self, id: GlobalId, participant: Address, order: Order) {
        let to = participant.clone();
        let branch = Branch { id, coordinator: self.address.clone(), participant };
        let message = ToParticipant { from: self.log, branch, order };
        self.outgoing.push(Outgoing { to, message });
    }

    /// Sends what the participants of a transaction have not answered.
    fn send(&mut self, now: Duration, id: GlobalId) {
        let Some(round) = self.rounds.get(&id) else { return };
        let order = |member: &Asked| match (round.phase, member.has) {
            (Phase::Preparing { .. }, Has::NotVoted) => member.work.clone().map(Order::Prepare),
            (Phase::Alone { until }, _) if now >= until => Some(Order::EndAlone),
            (Phase::Alone { .. }, _) => member.work.clone().map(Order::CommitAlone),
            (Phase::Committed, Has::Prepared) => Some(Order::Commit),
            _ => None,
        };
        let orders = round.members.iter().filter_map(|it| Some((it.address.clone(), order(it)?)));
        let orders: Vec<_> = orders.collect();
        orders.into_iter().for_each(|(to, order)| self.say(id, to, order));
    }

    /// Messages to send. They may get lost.
    pub fn outgoing(&mut self) -> Vec<Outgoing<ToParticipant>> {
        std::mem::take(&mut self.outgoing)
    }

    /// What clients may be told, once for each transaction.
    pub fn told(&mut self) -> Vec<(GlobalId, Told)> {
        std::mem::take(&mut self.told)
    }

    /// The transactions whose decision the log need not hold any more, or never had.
    pub(super) fn unneeded(&mut self) -> Vec<GlobalId> {
        std::mem::take(&mut self.unneeded)
    }

    /// Where the decisions are that the log has to hold.
    pub(super) fn decisions(&self) -> impl Iterator<Item = (GlobalId, Lsn)> {
        self.decisions.iter().map(|(id, lsn)| (*id, *lsn))
    }

    /// A message has come.
    pub fn receive<L: Log<DeciderNote>>(
        &mut self,
        now: Duration,
        log: &mut L,
        message: ToCoordinator,
    ) {
        let ToCoordinator { from, branch: Branch { id, participant, .. }, word } = message;
        // Of others it knows nothing, and until it has recovered it does not know its own.
        if self.recovering || id.log != self.log {
            return;
        }
        let Some(round) = self.rounds.get_mut(&id) else {
            // No decision of it is needed any more, or there never was one: what is prepared now is to abort.
            if matches!(word, Word::Prepared | Word::InDoubt) {
                self.say(id, participant, Order::Abort);
            }
            return;
        };
        let by_name = |it: &&mut Asked| it.log == from && it.address == participant;
        let Some(member) = round.members.iter_mut().find(by_name) else { return };
        match (round.phase, word) {
            // One that asks has prepared, and its vote was lost.
            (Phase::Preparing { .. }, Word::Prepared | Word::InDoubt)
                if member.has == Has::NotVoted =>
            {
                member.has = Has::Prepared;
                self.decide_if_all(now, log, id);
            }
            (Phase::Preparing { .. }, Word::ReadOnly) if member.has == Has::NotVoted => {
                member.has = Has::Left;
                self.decide_if_all(now, log, id);
            }
            (Phase::Preparing { .. }, Word::Refused(refusal)) if member.has == Has::NotVoted => {
                member.has = Has::Left;
                self.abort(id, format!("the participant at {participant} refuses: {refusal}"));
            }
            (Phase::Alone { .. }, Word::Alone(outcome)) => self.ended_alone(id, outcome),
            (Phase::Committed, Word::Prepared | Word::InDoubt) if member.has == Has::Prepared => {
                self.say(id, participant, Order::Commit);
            }
            (Phase::Committed, Word::Acknowledged) => {
                member.has = Has::Left;
                self.forget_if_all(log, id);
            }
            _ => {}
        }
    }

    fn ended_alone(&mut self, id: GlobalId, outcome: Option<Outcome>) {
        self.rounds.remove(&id);
        let told = match outcome {
            Some(Outcome::Committed) => Told::Committed,
            Some(Outcome::Aborted) => {
                Told::Aborted { reason: "its only participant refuses, or was too late".to_owned() }
            }
            None => {
                let reason = "its only participant has forgotten it".to_owned();
                Told::Unknown { reason }
            }
        };
        self.told.push((id, told));
    }

    fn decide_if_all<L: Log<DeciderNote>>(&mut self, now: Duration, log: &mut L, id: GlobalId) {
        let Some(round) = self.rounds.get_mut(&id) else { return };
        if round.members.iter().any(|member| member.has == Has::NotVoted) {
            return;
        }
        round.members.retain(|member| member.has == Has::Prepared);
        if round.members.is_empty() {
            // All have only read, and have left.
            self.rounds.remove(&id);
            self.told.push((id, Told::Committed));
            return;
        }
        round.phase = Phase::Deciding;
        round.again = Again::after(now, self.limits.back_off);
        match put_decision(log, id, round) {
            Ok(()) => {}
            Err(error @ AppendError::Unknown { .. }) => self.unsure(id, &error.into()),
            Err(refused) => self.abort(id, format!("the log refuses the decision: {refused}")),
        }
    }

    /// Ends a transaction of which there is no decision in the log. Nothing is written, and nothing is remembered.
    fn abort(&mut self, id: GlobalId, reason: String) {
        let Some(round) = self.rounds.remove(&id) else { return };
        self.unneeded.push(id);
        for member in round.members {
            if member.has != Has::Left {
                self.say(id, member.address, Order::Abort);
            }
        }
        self.told.push((id, Told::Aborted { reason }));
    }

    /// Whether the decision is in the log, nobody knows: neither commit nor abort may be said.
    fn unsure(&mut self, id: GlobalId, why: &CommitError) {
        let Some(round) = self.rounds.get_mut(&id) else { return };
        if let CommitError::Unknown { lsn, .. } = why {
            // It may be the one that a restart finds.
            self.decisions.entry(id).or_insert(*lsn);
        }
        if round.phase == Phase::Deciding {
            let reason = format!("it is not known whether the decision is durable: {why}");
            self.told.push((id, Told::Unknown { reason }));
        }
        round.phase = Phase::Unsure { on_the_way: false };
    }

    /// The log has decided what became of a record.
    pub fn settled(&mut self, now: Duration, note: DeciderNote, outcome: Result<Lsn, CommitError>) {
        let DeciderNote { id, is_decision: true } = note else { return };
        let Some(round) = self.rounds.get_mut(&id) else { return };
        match (round.phase, outcome) {
            (phase @ (Phase::Deciding | Phase::Unsure { .. }), Ok(lsn)) => {
                round.phase = Phase::Committed;
                round.again = Again::after(now, self.limits.back_off);
                self.decisions.entry(id).or_insert(lsn);
                if phase == Phase::Deciding {
                    self.told.push((id, Told::Committed));
                }
                self.send(now, id);
            }
            (Phase::Deciding, Err(failed)) if failed.is_not_durable() => {
                self.abort(id, format!("the decision is not durable: {failed}"));
            }
            (Phase::Deciding | Phase::Unsure { .. }, Err(failed)) => self.unsure(id, &failed),
            _ => {}
        }
    }

    fn forget_if_all<L: Log<DeciderNote>>(&mut self, log: &mut L, id: GlobalId) {
        let Some(round) = self.rounds.get(&id) else { return };
        if round.members.iter().any(|member| member.has == Has::Prepared) {
            return;
        }
        self.rounds.remove(&id);
        self.decisions.remove(&id);
        self.unneeded.push(id);
        // If that is lost, the decision is sent again after a restart, and acknowledged again.
        if let Ok(record) = (TxnRecord::Forgotten { id }).encode() {
            let note = DeciderNote { id, is_decision: false };
            drop(log.append(record, None, Durability::Async, note));
        }
    }

    /// Time has passed: sends again what was not answered, and aborts what takes too long to prepare.
    pub fn tick<L: Log<DeciderNote>>(
        &mut self,
        now: Duration,
        log: &mut L,
        random: &mut dyn FnMut() -> u64,
    ) {
        if self.recovering {
            return;
        }
        let back_off = self.limits.back_off;
        let (mut late, mut due) = (Vec::new(), Vec::new());
        for (id, round) in &mut self.rounds {
            match round.phase {
                Phase::Preparing { until } if now >= until => late.push(*id),
                Phase::Deciding => {}
                Phase::Unsure { on_the_way: false }
                    if round.again.is_due(now, back_off, random) =>
                {
                    let is_in = put_decision(log, *id, round).is_ok();
                    round.phase = Phase::Unsure { on_the_way: is_in };
                }
                Phase::Unsure { .. } => {}
                _ if round.again.is_due(now, back_off, random) => due.push(*id),
                _ => {}
            }
        }
        let within = self.limits.prepare_within;
        for id in late {
            self.abort(id, format!("not all participants have prepared within {within:?}"));
        }
        due.into_iter().for_each(|id| self.send(now, id));
    }

    /// The oldest LSN of its log that is needed: what is before it may be released. `None`: nothing is needed. This is the one
    /// place that says what the log has to hold.
    pub fn needs_from(&self) -> Option<Lsn> {
        self.decisions.values().min().copied()
    }

    /// How many transactions are at work: open, or decided and not acknowledged by all.
    pub fn rounds(&self) -> usize {
        self.rounds.len()
    }

    /// The decisions that some participants have not acknowledged, oldest first.
    pub fn unacknowledged(&self) -> Vec<Unacknowledged> {
        let decided = self.rounds.iter().filter(|(_, round)| round.phase == Phase::Committed);
        let open = |member: &&Asked| member.has == Has::Prepared;
        let named = |round: &Round| {
            let open = round.members.iter().filter(open);
            open.map(|member| member.address.clone()).collect()
        };
        decided.map(|(id, round)| Unacknowledged { id: *id, participants: named(round) }).collect()
    }
}

/// Room for a decision that names all of these; none for one participant, which decides by itself.
fn keep_room<L: Log<DeciderNote>>(
    log: &mut L,
    id: GlobalId,
    members: &[Member],
) -> Result<Option<Permit>, AppendError> {
    if members.len() == 1 {
        return Ok(None);
    }
    let named = members.iter().map(|member| (member.address.clone(), member.work.life.log));
    log.keep_room(decision(id, named)?.len())
}

fn put_decision<L: Log<DeciderNote>>(
    log: &mut L,
    id: GlobalId,
    round: &mut Round,
) -> Result<(), AppendError> {
    let named = round.members.iter().map(|member| (member.address.clone(), member.log));
    let (record, room) = (decision(id, named)?, round.room.take());
    log.append(record, room, Durability::default(), DeciderNote { id, is_decision: true })
}

fn decision(
    id: GlobalId,
    participants: impl Iterator<Item = (Address, LogId)>,
) -> Result<Bytes, EncodeError> {
    TxnRecord::Decision { id, participants: participants.collect() }.encode()
}
