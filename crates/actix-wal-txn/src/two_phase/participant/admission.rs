//! Whether the work that a coordinator asks for is taken.

use super::{Participant, ParticipantLimits, State, ToCheck};
use crate::two_phase::ended::{End, Known};
use crate::two_phase::messages::{Refusal, Word, Work};
use crate::two_phase::{Branch, GlobalId, Outcome};

impl Participant {
    pub(super) fn asked_to_prepare(&mut self, branch: Branch, work: Work) -> Option<ToCheck> {
        let id = branch.id;
        if let Some(prepared) = self.prepared.get(&id) {
            // Its vote was lost, or is late. The vote is said when it is durable.
            if prepared.state != State::Appended {
                self.say(branch, Word::Prepared);
            }
            return None;
        }
        if self.alone.contains_key(&id) || self.heuristics.contains_key(&id) {
            return None;
        }
        if self.ended.known(id) == Known::Ended(End::Left) {
            self.say(branch, Word::ReadOnly);
            return None;
        }
        match self.admit(id, &work) {
            Ok(()) => Some(ToCheck { kind: work.kind, branch, is_alone: false }),
            Err(refusal) => {
                self.say(branch, Word::Refused(refusal));
                None
            }
        }
    }

    /// Whether new work of this transaction is taken.
    fn admit(&self, id: GlobalId, work: &Work) -> Result<(), Refusal> {
        let ParticipantLimits { prepared, bytes, coordinators, .. } = self.limits;
        let full = |what: &str, limit: usize| {
            Err(Refusal::Full { what: what.to_owned(), limit: limit as u64 })
        };
        if work.life != self.life {
            Err(Refusal::OtherLife)
        } else if self.ended.known(id) != Known::New {
            Err(Refusal::Ended)
        } else if !self.ended.takes(id.log) {
            Err(Refusal::Coordinators { limit: coordinators as u64 })
        } else if self.prepared.len() + self.alone.len() >= prepared {
            full("the number", prepared)
        } else if self.bytes >= bytes {
            full("the bytes", bytes)
        } else {
            Ok(())
        }
    }

    pub(super) fn asked_to_commit(&mut self, branch: Branch, work: Work) -> Option<ToCheck> {
        if self.alone.contains_key(&branch.id) || self.prepared.contains_key(&branch.id) {
            return None;
        }
        match self.admit(branch.id, &work) {
            Ok(()) => Some(ToCheck { kind: work.kind, branch, is_alone: true }),
            Err(_) => {
                // What has not come by now is not done any more.
                self.end_alone(branch);
                None
            }
        }
    }

    pub(super) fn end_alone(&mut self, branch: Branch) {
        let id = branch.id;
        if self.alone.contains_key(&id) {
            return;
        }
        let outcome = match self.ended.known(id) {
            Known::Ended(End::Committed | End::Left) => Some(Outcome::Committed),
            Known::Ended(End::Aborted) => Some(Outcome::Aborted),
            Known::Forgotten => None,
            // A life that has not seen it will not take it, and earlier ones have left no commit of it.
            Known::New if self.ended.takes(id.log) => {
                self.ended.end(id, End::Aborted);
                Some(Outcome::Aborted)
            }
            Known::New => Some(Outcome::Aborted),
        };
        self.say(branch, Word::Alone(outcome));
    }
}
