//! How a participant puts its records in, and what it keeps with each of them.

use actix_wal::messages::Permit;
use actix_wal::{AppendError, Durability};

use super::Site;
use crate::error::TxnError;
use crate::record::TxnRecord;
use crate::store::{CommitNo, Write};
use crate::two_phase::{GlobalId, Log, Outcome};

/// What the owner keeps for each record that it puts in for a participant, and gives back with the outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Note {
    pub(super) id: GlobalId,
    pub(super) of: Of,
    /// It waits for nothing but the moment at which the record is taken back.
    pub(super) watches: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    Prepare,
    Completed(Outcome),
    Alone,
    Heuristic(Outcome),
    Compared(Outcome),
    Cleared,
    /// No record: a reason that is kept back.
    Denied,
}

impl Of {
    pub(super) fn about(self, id: GlobalId) -> Note {
        Note { id, of: self, watches: false }
    }

    /// Whether something has to be undone at once if the record fails.
    fn is_watched(self) -> bool {
        !matches!(self, Of::Alone | Of::Completed(Outcome::Aborted))
    }
}

/// Room for the record that will say what became of what is prepared.
pub(super) fn keep_room<A, L: Log<CommitNo>>(
    site: &mut Site<'_, A, L>,
    id: GlobalId,
) -> Result<Option<Permit>, AppendError> {
    // That of an operator has as many bytes.
    let record = TxnRecord::Completed { id, outcome: Outcome::Committed }.encode()?;
    site.log.keep_room(record.len())
}

/// Puts a record in, in its place among all commits, and into the room that was kept for it. If it is not taken, nothing
/// has happened, but that the room is free.
pub(super) fn put<A: From<Note>, L: Log<CommitNo>>(
    site: &mut Site<'_, A, L>,
    note: Note,
    (record, room): (&TxnRecord, Option<Permit>),
    writes: &[Write],
    durability: Durability,
) -> Result<(), TxnError> {
    let bytes = record.encode()?;
    let watch = note.of.is_watched().then_some(A::from(Note { watches: true, ..note }));
    let put_in = site.commits.put_decided(writes, A::from(note), watch);
    let commit = put_in.map_err(|(_, refused)| TxnError::from(refused))?;
    if let Err(refused) = site.log.append(bytes, room, durability, commit) {
        site.commits.undo(commit);
        return Err(TxnError::Refused(refused));
    }
    Ok(())
}
