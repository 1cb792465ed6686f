//! The coordinator of a log as a participant of two-phase commit.
//!
//! - **Role**: prepares transactions over several logs in its own, and does what their coordinator decides.
//! - **Owns**: a [`Participant`], and the way to the coordinators.
//! - **Receives**: [`ToParticipant`] from coordinators, by the host's transport; [`GetLife`] of clients; [`GetInDoubt`],
//!   [`DecideByHand`] and [`ClearByHand`] of operators.
//! - **Sends**: [`ToCoordinator`] to the host's transport; answers.
//! - **Never**: waits for a coordinator, or decides by itself.

use std::collections::HashMap;
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use actix::{Context, Handler, Message, MessageResult, Recipient};

use super::back_off::random;
use super::messages::{Outgoing, ToCoordinator, ToParticipant, WorkKind};
use super::participant::{
    Denied, HeuristicBranch, InDoubt, Note, OperatorError, Participant, ParticipantLimits, Site,
    check_open, check_whole,
};
use super::{GlobalId, Life, Outcome, Place};
use crate::commits::Verdict;
use crate::coordinator::{TransactionCoordinator, Waiting};
use crate::error::TxnError;
use crate::later::{Later, Reply};
use crate::store::CommitNo;

/// How a coordinator of a log takes part in two-phase commit.
#[derive(Clone, Debug)]
pub struct TwoPhase {
    /// Its bounds.
    pub limits: ParticipantLimits,
    /// Where messages to coordinators go: the host's transport. What does not fit into its mailbox is lost, and sent again after
    /// the back-off. An actor's mailbox has room for 16 messages unless it sets its capacity: it should have room for one or
    /// two of each transaction that is at work.
    pub transport: Recipient<Outgoing<ToCoordinator>>,
}

/// What became of what an operator asked for.
type ByHand = Result<(), OperatorError>;

/// What a coordinator of a log has for two-phase commit.
pub(crate) struct Part {
    pub(crate) participant: Participant,
    /// None: nothing is taken; what is prepared stays locked.
    transport: Option<Recipient<Outgoing<ToCoordinator>>>,
    operators: HashMap<GlobalId, Reply<ByHand>>,
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part").field("participant", &self.participant).finish_non_exhaustive()
    }
}

impl Part {
    pub(crate) fn new(
        participant: Participant,
        transport: Option<Recipient<Outgoing<ToCoordinator>>>,
    ) -> Self {
        Part { participant, transport, operators: HashMap::new() }
    }
}

/// The time since 1970: ages of what is in doubt have to survive a restart.
pub(crate) fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Asks for the life of a participant, which work is bound to. Sent by clients before they begin work there; it stays the same
/// until the participant restarts. `None`: it takes no part in two-phase commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GetLife;

impl Message for GetLife {
    type Result = Option<Life>;
}

/// Asks what is prepared and not decided, and what operators have decided that is not settled. Sent by operators.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GetInDoubt;

impl Message for GetInDoubt {
    type Result = Doubts;
}

/// What is not settled at a participant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Doubts {
    /// Prepared, and not decided or not completed.
    pub in_doubt: Vec<InDoubt>,
    /// Decided by hand: not compared yet, or with a [difference](HeuristicBranch::differs).
    pub by_hand: Vec<HeuristicBranch>,
}

/// An operator decides a transaction that is in doubt, without its coordinator. That may break it apart. Answered when it is
/// durable; a dropped answer means that the participant is gone, and [`GetInDoubt`] tells after its restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecideByHand {
    /// The transaction.
    pub id: GlobalId,
    /// What the operator decides.
    pub outcome: Outcome,
}

impl Message for DecideByHand {
    type Result = Result<(), OperatorError>;
}

/// An operator has taken notice of a difference. Answered when it is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClearByHand(
    /// The transaction.
    pub GlobalId,
);

impl Message for ClearByHand {
    type Result = Result<(), OperatorError>;
}

impl TransactionCoordinator {
    /// Sends what the participant has to say, and answers operators.
    pub(crate) fn speak(&mut self) {
        let part = &mut self.part;
        for message in part.participant.outgoing() {
            if let Some(transport) = &part.transport {
                // What is lost is sent again.
                drop(transport.try_send(message));
            }
        }
        for (id, result) in part.participant.answers() {
            if let Some(operator) = part.operators.remove(&id) {
                operator.give(result.map_err(OperatorError::from));
            }
        }
    }

    /// Lets the participant work in the log of this coordinator.
    fn work<T>(
        &mut self,
        work: impl FnOnce(&mut Part, &mut Site<'_, Waiting, Place<'_, CommitNo>>) -> T,
    ) -> T {
        let builds_on = Some(self.builds_on());
        let mut log = Place::new(&mut self.log, builds_on);
        let mut site = Site { commits: &mut self.commits, log: &mut log, now: now() };
        let result = work(&mut self.part, &mut site);
        let bytes = log.bytes;
        self.logged(bytes);
        result
    }

    pub(crate) fn settled_note(&mut self, note: Note, verdict: &Verdict) {
        self.work(|part, site| part.participant.settled(site, note, verdict));
    }

    pub(crate) fn tick_two_phase(&mut self) {
        if self.part.transport.is_none() {
            return;
        }
        self.work(|part, site| part.participant.tick(site, &mut random));
        self.speak();
    }

    fn operator(
        &mut self,
        id: GlobalId,
        put: impl FnOnce(&mut Self) -> Result<(), OperatorError>,
    ) -> Later<ByHand> {
        if self.part.operators.contains_key(&id) {
            return Later::now(Err(OperatorError::NotInDoubt { id }));
        }
        if let Err(refused) = put(self) {
            return Later::now(Err(refused));
        }
        let (operator, answer) = Later::new((|| Err(TxnError::gone().into())) as fn() -> ByHand);
        self.part.operators.insert(id, operator);
        answer
    }
}

impl Handler<ToParticipant> for TransactionCoordinator {
    type Result = ();

    fn handle(&mut self, message: ToParticipant, _: &mut Context<Self>) {
        if self.part.transport.is_none() {
            return;
        }
        let limits = self.work_limits();
        if let Some(begun) = self.work(|part, site| part.participant.receive(site, message)) {
            let checked = match &begun.kind {
                WorkKind::Open(txn) => match self.end(*txn) {
                    Ok(work) => check_open(work, self.commits.store()),
                    Err(error) => Err(Denied::from(error)),
                },
                WorkKind::Whole(operations) => {
                    check_whole(&mut self.commits, limits, operations.clone())
                }
            };
            self.work(|part, site| part.participant.begin(site, begun, checked));
        }
        self.speak();
    }
}

impl Handler<GetLife> for TransactionCoordinator {
    type Result = MessageResult<GetLife>;

    fn handle(&mut self, _: GetLife, _: &mut Context<Self>) -> Self::Result {
        MessageResult(self.part.transport.as_ref().map(|_| self.part.participant.life()))
    }
}

impl Handler<GetInDoubt> for TransactionCoordinator {
    type Result = MessageResult<GetInDoubt>;

    fn handle(&mut self, _: GetInDoubt, _: &mut Context<Self>) -> Self::Result {
        let participant = &self.part.participant;
        let (in_doubt, by_hand) = (participant.in_doubt(), participant.heuristics());
        MessageResult(Doubts { in_doubt, by_hand })
    }
}

impl Handler<DecideByHand> for TransactionCoordinator {
    type Result = Later<ByHand>;

    fn handle(&mut self, decide: DecideByHand, _: &mut Context<Self>) -> Self::Result {
        let DecideByHand { id, outcome } = decide;
        self.operator(id, |this| {
            this.work(|part, site| part.participant.decide_by_hand(site, id, outcome))
        })
    }
}

impl Handler<ClearByHand> for TransactionCoordinator {
    type Result = Later<ByHand>;

    fn handle(&mut self, ClearByHand(id): ClearByHand, _: &mut Context<Self>) -> Self::Result {
        self.operator(id, |this| this.work(|part, site| part.participant.clear_by_hand(site, id)))
    }
}
