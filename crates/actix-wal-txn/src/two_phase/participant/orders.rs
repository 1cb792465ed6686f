//! What a coordinator has decided of a prepared transaction, and how it is done.

use actix_wal::Durability;

use super::{Checked, Note, Of, Participant, Prepared, Site, State, put};
use crate::record::TxnRecord;
use crate::store::CommitNo;
use crate::two_phase::back_off::Again;
use crate::two_phase::ended::{End, Known};
use crate::two_phase::messages::Word;
use crate::two_phase::{Branch, GlobalId, Log, Outcome};

impl Participant {
    pub(super) fn commit<A: From<Note>, L: Log<CommitNo>>(
        &mut self,
        site: &mut Site<'_, A, L>,
        branch: Branch,
    ) {
        let id = branch.id;
        if self.heuristics.contains_key(&id) {
            return self.compare(site, id, Outcome::Committed);
        }
        match self.prepared.get(&id).map(|prepared| prepared.state) {
            Some(State::InDoubt | State::Decided) => self.complete(site, id),
            // It is acknowledged when it is durable.
            Some(State::Appended | State::Completing | State::ByHand) => {}
            // It was completed, durably: else it would be prepared.
            None => self.say(branch, Word::Acknowledged),
        }
    }

    /// Puts the Completed record of a commit in. If the log does not take it, it is tried again.
    pub(super) fn complete<A: From<Note>, L: Log<CommitNo>>(
        &mut self,
        site: &mut Site<'_, A, L>,
        id: GlobalId,
    ) {
        let Some(prepared) = self.prepared.get_mut(&id) else { return };
        let Checked { writes, reads } = &prepared.checked;
        let outcome = Outcome::Committed;
        let (note, record) =
            (Of::Completed(outcome).about(id), TxnRecord::Completed { id, outcome });
        site.commits.store_mut().unlock(id, writes, reads);
        let room = prepared.room.take();
        prepared.state = match put(site, note, (&record, room), writes, Durability::Async) {
            Ok(()) => State::Completing,
            Err(_) => {
                site.commits.store_mut().lock_prepared(id, writes, reads);
                prepared.again = Again::after(site.now, self.limits.back_off);
                State::Decided
            }
        };
    }

    pub(super) fn abort<A: From<Note>, L: Log<CommitNo>>(
        &mut self,
        site: &mut Site<'_, A, L>,
        id: GlobalId,
    ) {
        if self.heuristics.contains_key(&id) {
            return self.compare(site, id, Outcome::Aborted);
        }
        match self.prepared.get(&id).map(|prepared| prepared.state) {
            Some(State::Appended | State::InDoubt) => {
                let room = self.prepared.get_mut(&id).and_then(|prepared| prepared.room.take());
                self.forget(site, id);
                let outcome = Outcome::Aborted;
                let record = TxnRecord::Completed { id, outcome };
                // If that is lost, the coordinator is asked again, and says the same.
                let note = Of::Completed(outcome).about(id);
                drop(put(site, note, (&record, room), &[], Durability::Async));
            }
            Some(State::Decided | State::Completing | State::ByHand) => {}
            // It has overtaken its prepare, which is refused when it comes.
            None if !self.alone.contains_key(&id) && self.ended.known(id) == Known::New => {
                self.ended.end(id, End::Aborted);
            }
            None => {}
        }
    }

    /// Takes out what is prepared, without effect.
    pub(super) fn forget<A, L>(
        &mut self,
        site: &mut Site<'_, A, L>,
        id: GlobalId,
    ) -> Option<Branch> {
        let Prepared { branch, checked: Checked { writes, reads }, state, .. } = self.remove(id)?;
        if state.is_locked() {
            site.commits.store_mut().unlock(id, &writes, &reads);
        }
        self.ended.end(id, End::Aborted);
        Some(branch)
    }
}
