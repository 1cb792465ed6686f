//! What operators decide by hand, when the coordinator of a prepared transaction does not come back.
//!
//! That may break the transaction apart, so it is asked for explicitly, is a durable record, and is compared with what the
//! coordinator has decided as soon as that says so. A difference stays listed, over restarts, until an operator says that it
//! has been noticed.

use actix_wal::Durability;

use super::{Checked, HeuristicBranch, Note, Of, Participant, Prepared, Site, State, put};
use crate::error::TxnError;
use crate::record::TxnRecord;
use crate::store::CommitNo;
use crate::two_phase::back_off::Again;
use crate::two_phase::ended::End;
use crate::two_phase::messages::Word;
use crate::two_phase::{GlobalId, Log, Outcome};

/// Why an operator's decision is not taken.
#[derive(Clone, Debug, thiserror::Error)]
pub enum OperatorError {
    /// It is not prepared here, or has been decided.
    #[error(
        "transaction {id} is not in doubt here: it is decided, or was never prepared; list what is in doubt"
    )]
    NotInDoubt {
        /// The transaction.
        id: GlobalId,
    },
    /// There is no difference to take notice of.
    #[error(
        "transaction {id} has no difference between an operator's decision and its coordinator's; list the decisions by hand"
    )]
    NoDifference {
        /// The transaction.
        id: GlobalId,
    },
    /// As many decisions of operators are open as are allowed.
    #[error(
        "{limit} decisions by hand are not settled, and no more are allowed; clear those that differ"
    )]
    TooMany {
        /// The bound.
        limit: usize,
    },
    /// The log does not take it, or has lost it.
    #[error(transparent)]
    Log(#[from] TxnError),
}

impl Participant {
    /// An operator decides a transaction that is in doubt. The answer is given when it is durable: see
    /// [`answers`](Self::answers).
    ///
    /// # Errors
    /// It is not in doubt, the log does not take the record, or there are too many. Nothing has happened.
    pub fn decide_by_hand<A: From<Note>, L: Log<CommitNo>>(
        &mut self,
        site: &mut Site<'_, A, L>,
        id: GlobalId,
        outcome: Outcome,
    ) -> Result<(), OperatorError> {
        let limit = self.limits.heuristics;
        if self.heuristics.len() >= limit {
            return Err(OperatorError::TooMany { limit });
        }
        let is_open = |prepared: &&mut Prepared| prepared.state == State::InDoubt;
        let prepared = self.prepared.get_mut(&id).filter(is_open);
        let prepared = prepared.ok_or(OperatorError::NotInDoubt { id })?;
        let Checked { writes, reads } = &prepared.checked;
        let installed = if outcome == Outcome::Committed { &writes[..] } else { &[] };
        let (note, record) =
            (Of::Heuristic(outcome).about(id), TxnRecord::Heuristic { id, outcome });
        site.commits.store_mut().unlock(id, writes, reads);
        let entry = (&record, prepared.room.take());
        if let Err(error) = put(site, note, entry, installed, Durability::default()) {
            site.commits.store_mut().lock_prepared(id, writes, reads);
            return Err(error.into());
        }
        prepared.state = State::ByHand;
        Ok(())
    }

    /// An operator has taken notice of a difference, which is listed no longer then. Answered as
    /// [`decide_by_hand`](Self::decide_by_hand) is.
    ///
    /// # Errors
    /// There is no difference, or the log does not take the record. Nothing has happened.
    pub fn clear_by_hand<A: From<Note>, L: Log<CommitNo>>(
        &mut self,
        site: &mut Site<'_, A, L>,
        id: GlobalId,
    ) -> Result<(), OperatorError> {
        if !self.heuristics.get(&id).is_some_and(|heuristic| heuristic.is.differs()) {
            return Err(OperatorError::NoDifference { id });
        }
        let record = TxnRecord::Cleared { id };
        Ok(put(site, Of::Cleared.about(id), (&record, None), &[], Durability::default())?)
    }

    /// What operators have decided, and what is not settled of it: the coordinator has not said anything yet, or has said
    /// something else.
    pub fn heuristics(&self) -> Vec<HeuristicBranch> {
        self.heuristics.values().map(|heuristic| heuristic.is.clone()).collect()
    }

    /// What became of records that operators wait for.
    pub fn answers(&mut self) -> Vec<(GlobalId, Result<(), TxnError>)> {
        std::mem::take(&mut self.answers)
    }

    pub(super) fn done_by_hand<A, L>(
        &mut self,
        site: &mut Site<'_, A, L>,
        id: GlobalId,
        outcome: Outcome,
    ) {
        let Some(prepared) = self.remove(id) else { return };
        let Prepared { branch, checked: Checked { writes, reads }, at, state, .. } = prepared;
        if state.is_locked() {
            site.commits.store_mut().unlock(id, &writes, &reads);
        }
        let committed = outcome == Outcome::Committed;
        self.ended.end(id, if committed { End::Committed } else { End::Aborted });
        let at = u64::try_from(at.as_millis()).unwrap_or(u64::MAX);
        let is = HeuristicBranch { branch, at, outcome, decided: None };
        let again = Again::due_at(site.now);
        self.heuristics.insert(id, super::Heuristic { is, compares: None, again });
        self.answers.push((id, Ok(())));
    }

    /// The coordinator has said what it decided.
    pub(super) fn compare<A: From<Note>, L: Log<CommitNo>>(
        &mut self,
        site: &mut Site<'_, A, L>,
        id: GlobalId,
        decided: Outcome,
    ) {
        let Some(heuristic) = self.heuristics.get_mut(&id) else { return };
        if heuristic.is.decided.is_some() {
            return self.acknowledge_compared(id, decided);
        }
        if heuristic.compares.is_none() {
            let record = TxnRecord::Compared { id, decided };
            let note = Of::Compared(decided).about(id);
            if put(site, note, (&record, None), &[], Durability::Async).is_ok() {
                heuristic.compares = Some(decided);
            }
        }
    }

    pub(super) fn compared(&mut self, id: GlobalId, decided: Outcome) {
        if let Some(heuristic) = self.heuristics.get_mut(&id) {
            (heuristic.is.decided, heuristic.compares) = (Some(decided), None);
            self.acknowledge_compared(id, decided);
        }
        self.heuristics.retain(|_, it| it.is.decided.is_none() || it.is.differs());
    }

    /// The coordinator may forget its decision: what is to be known of it here is durable.
    fn acknowledge_compared(&mut self, id: GlobalId, decided: Outcome) {
        let branch = self.heuristics.get(&id).map(|heuristic| heuristic.is.branch.clone());
        if let (Some(branch), Outcome::Committed) = (branch, decided) {
            self.say(branch, Word::Acknowledged);
        }
    }

    pub(super) fn cleared(&mut self, id: GlobalId) {
        self.heuristics.remove(&id);
        self.answers.push((id, Ok(())));
    }
}
