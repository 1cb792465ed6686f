//! What became of transactions, counted once for each of them.

use crate::error::TxnError;
use crate::messages::Outcomes;
use crate::workspace::WorkError;

/// What a transaction counts as when its answer is given, unless what it waits for fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Committed,
    ReadOnly,
    Conflict,
    Aborted,
}

impl Fate {
    /// That of work that has failed.
    pub(crate) fn of_failure(error: &TxnError) -> Fate {
        match error {
            TxnError::Work(
                WorkError::WriteConflict { .. }
                | WorkError::ReadConflict { .. }
                | WorkError::RangeConflict { .. },
            ) => Fate::Conflict,
            _ => Fate::Aborted,
        }
    }
}

impl Outcomes {
    pub(crate) fn count(&mut self, fate: Fate) {
        *match fate {
            Fate::Committed => &mut self.committed,
            Fate::ReadOnly => &mut self.read_only,
            Fate::Conflict => &mut self.conflict,
            Fate::Aborted => &mut self.aborted,
        } += 1;
    }
}
