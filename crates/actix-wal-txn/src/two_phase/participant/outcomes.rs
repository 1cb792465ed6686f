//! What became of the records of a participant, and what follows from that.

use actix_wal::CommitError;

use super::{Checked, Note, Of, Participant, Site, State, ToSay};
use crate::commits::Verdict;
use crate::error::TxnError;
use crate::store::CommitNo;
use crate::two_phase::back_off::Again;
use crate::two_phase::ended::End;
use crate::two_phase::messages::{Refusal, Word};
use crate::two_phase::{GlobalId, Log, Outcome};

impl Participant {
    /// The log, or what it builds on, has decided what became of a record. A note that comes with
    /// [`Failed`](Verdict::Failed) though the record [may be durable](CommitError::is_not_durable) is to be
    /// [put back](crate::commits::Commits::put_back): it comes again when the log knows.
    pub fn settled<A: From<Note>, L: Log<CommitNo>>(
        &mut self,
        site: &mut Site<'_, A, L>,
        note: Note,
        verdict: &Verdict,
    ) {
        if note.of == Of::Denied {
            if let Some(ToSay { branch, word }) = self.denied.remove(&note.id) {
                // If what it has seen failed, the reason was none, and it ends all the same.
                let saw = |failed: &CommitError| TxnError::SawFailed(failed.clone()).to_string();
                let word = match (word, verdict) {
                    (Word::Refused(_), Verdict::SawFailed(failed)) => {
                        Word::Refused(Refusal::Work(saw(failed)))
                    }
                    (word, _) => word,
                };
                self.say(branch, word);
            }
            return;
        }
        match (note.watches, verdict) {
            (false, Verdict::Durable(_)) => self.durable(site, note),
            (false, Verdict::Failed(failed)) if note.of == Of::Alone => {
                self.failed(note.id, failed)
            }
            (true, Verdict::Failed(failed) | Verdict::SawFailed(failed)) => {
                self.taken_back(site, note, failed);
            }
            // It stays, until the log knows. Only an operator does not wait for that.
            (false, Verdict::Failed(unknown)) if !unknown.is_not_durable() => {
                if matches!(note.of, Of::Heuristic(_) | Of::Cleared) {
                    self.answers.push((note.id, Err(TxnError::of_outcome(unknown.clone()))));
                }
            }
            // Its watch says the same, and earlier.
            (false, Verdict::Failed(_) | Verdict::SawFailed(_)) | (true, Verdict::Durable(_)) => {}
        }
    }

    fn durable<A: From<Note>, L: Log<CommitNo>>(
        &mut self,
        site: &mut Site<'_, A, L>,
        Note { id, of, .. }: Note,
    ) {
        match of {
            Of::Prepare => {
                let again = Again::after(site.now, self.limits.back_off);
                let Some(prepared) = self.prepared.get_mut(&id) else { return };
                if prepared.state == State::Appended {
                    (prepared.state, prepared.again) = (State::InDoubt, again);
                    let branch = prepared.branch.clone();
                    self.say(branch, Word::Prepared);
                }
            }
            Of::Completed(Outcome::Committed) => {
                if let Some(branch) = self.forget(site, id) {
                    self.ended.end(id, End::Committed);
                    self.say(branch, Word::Acknowledged);
                }
            }
            Of::Completed(Outcome::Aborted) => {}
            Of::Alone => {
                if let Some(branch) = self.alone.remove(&id) {
                    self.ended.end(id, End::Committed);
                    self.alone_durable.committed_alone(id);
                    self.say(branch, Word::Alone(Some(Outcome::Committed)));
                }
            }
            Of::Heuristic(outcome) => self.done_by_hand(site, id, outcome),
            Of::Compared(decided) => self.compared(id, decided),
            Of::Cleared => self.cleared(id),
            Of::Denied => {}
        }
    }

    /// A commit without other participants.
    fn failed(&mut self, id: GlobalId, failed: &CommitError) {
        // If nobody knows, it stays open: the next life has it in its log, or not.
        if failed.is_not_durable()
            && let Some(branch) = self.alone.remove(&id)
        {
            self.ended.end(id, End::Aborted);
            self.say(branch, Word::Alone(Some(Outcome::Aborted)));
        }
    }

    /// A record, or one before it, is not durable: what it did is undone before anything else happens.
    fn taken_back<A, L>(&mut self, site: &mut Site<'_, A, L>, note: Note, failed: &CommitError) {
        let id = note.id;
        let state = self.prepared.get(&id).map(|prepared| prepared.state);
        match (note.of, state) {
            (Of::Prepare, Some(State::Appended)) => {
                if let Some(branch) = self.forget(site, id) {
                    let why = TxnError::SawFailed(failed.clone()).to_string();
                    self.say(branch, Word::Refused(Refusal::Work(why)));
                }
            }
            (Of::Completed(Outcome::Committed), Some(State::Completing)) => {
                self.lock_again(site, id, State::Decided);
            }
            (Of::Heuristic(_), Some(State::ByHand)) => {
                self.lock_again(site, id, State::InDoubt);
                self.answers.push((id, Err(TxnError::of_outcome(failed.clone()))));
            }
            (Of::Compared(_), _) => {
                if let Some(heuristic) = self.heuristics.get_mut(&id) {
                    heuristic.compares = None;
                }
            }
            (Of::Cleared, _) => {
                self.answers.push((id, Err(TxnError::of_outcome(failed.clone()))));
            }
            _ => {}
        }
    }

    fn lock_again<A, L>(&mut self, site: &mut Site<'_, A, L>, id: GlobalId, state: State) {
        let again = Again::after(site.now, self.limits.back_off);
        if let Some(prepared) = self.prepared.get_mut(&id) {
            let Checked { writes, reads } = &prepared.checked;
            site.commits.store_mut().lock_prepared(id, writes, reads);
            (prepared.state, prepared.again) = (state, again);
        }
    }
}
