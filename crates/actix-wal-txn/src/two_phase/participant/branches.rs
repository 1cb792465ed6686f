//! What the durable records of a log say about two-phase commit.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::record::TxnRecord;
use crate::store::{Reads, Write};
use crate::two_phase::{Branch, GlobalId, Outcome};

/// A transaction that is prepared, durably.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreparedBranch {
    /// The part of it that is done here.
    pub branch: Branch,
    /// When it was prepared, in milliseconds since 1970.
    pub at: u64,
    /// What it will write.
    pub writes: Vec<Write>,
    /// What may not change until it is decided.
    pub reads: Reads,
}

/// A transaction that an operator has decided, until its coordinator says the same; or, if it says something else, until
/// an operator has taken notice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeuristicBranch {
    /// The part of it that was done here.
    pub branch: Branch,
    /// When it was prepared, in milliseconds since 1970.
    pub at: u64,
    /// What the operator decided.
    pub outcome: Outcome,
    /// What the coordinator decided, once it has said so.
    pub decided: Option<Outcome>,
}

impl HeuristicBranch {
    /// Whether the transaction is not atomic: it has another outcome elsewhere.
    pub fn differs(&self) -> bool {
        self.decided.is_some_and(|decided| decided != self.outcome)
    }
}

/// How many commits without other participants are remembered.
const ALONE: usize = 10_000;

/// The durable state of a participant: what its records up to one LSN say. A snapshot of the store at that LSN has to hold it
/// too, for what it holds is not in the records after that.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Branches {
    pub(super) prepared: BTreeMap<GlobalId, PreparedBranch>,
    pub(super) heuristics: BTreeMap<GlobalId, HeuristicBranch>,
    /// The newest commits without other participants, oldest first.
    pub(super) alone: VecDeque<GlobalId>,
}

impl Branches {
    /// Takes a record of the log, in the order of the log. Returns what it writes: none if it is no commit. Records that say
    /// nothing about two-phase commit are none of its concern.
    pub fn take(&mut self, record: TxnRecord) -> Vec<Write> {
        match record {
            TxnRecord::Prepare { branch, at, writes, reads } => {
                self.prepared.insert(branch.id, PreparedBranch { branch, at, writes, reads });
            }
            TxnRecord::Completed { id, outcome } => {
                let prepared = self.prepared.remove(&id).filter(|_| outcome == Outcome::Committed);
                return prepared.map_or_else(Vec::new, |prepared| prepared.writes);
            }
            TxnRecord::CommitAlone { id, writes } => {
                self.committed_alone(id);
                return writes;
            }
            TxnRecord::Heuristic { id, outcome } => {
                if let Some(prepared) = self.prepared.remove(&id) {
                    let PreparedBranch { branch, at, writes, .. } = prepared;
                    let heuristic = HeuristicBranch { branch, at, outcome, decided: None };
                    self.heuristics.insert(id, heuristic);
                    return if outcome == Outcome::Committed { writes } else { Vec::new() };
                }
            }
            TxnRecord::Compared { id, decided } => {
                if let Some(heuristic) = self.heuristics.get_mut(&id) {
                    heuristic.decided = Some(decided);
                }
                self.heuristics.retain(|_, it| it.decided.is_none() || it.differs());
            }
            TxnRecord::Cleared { id } => drop(self.heuristics.remove(&id)),
            TxnRecord::Commit { .. } | TxnRecord::Decision { .. } | TxnRecord::Forgotten { .. } => {
            }
        }
        Vec::new()
    }

    pub(super) fn committed_alone(&mut self, id: GlobalId) {
        self.alone.push_back(id);
        if self.alone.len() > ALONE {
            self.alone.pop_front();
        }
    }

    /// The transactions that are prepared and not decided.
    pub fn in_doubt(&self) -> impl Iterator<Item = &PreparedBranch> {
        self.prepared.values()
    }

    /// The transactions that an operator has decided, and that are not settled yet.
    pub fn heuristics(&self) -> impl Iterator<Item = &HeuristicBranch> {
        self.heuristics.values()
    }

    /// Whether there is nothing to keep.
    pub fn is_empty(&self) -> bool {
        self.prepared.is_empty() && self.heuristics.is_empty() && self.alone.is_empty()
    }
}
