//! Holds: what keeps a log from releasing records.

use std::sync::Arc;

use crate::engine::state::shared::Shared;
use crate::lsn::Lsn;

/// Keeps everything from an LSN on in the log, whatever a checkpoint asks for, until it is dropped. It has no lease.
///
/// For state that only the log has: a transaction that is prepared must be found again after a crash, however long it
/// stays undecided. While it holds, [`Wal::checkpoint`](crate::Wal::checkpoint) raises the low-water mark no further than
/// to the LSN before it; once it is dropped, what was asked for meanwhile is released.
///
/// It is kept in memory alone. After a restart the host takes it again with [`Wal::hold`](crate::Wal::hold), before
/// anybody can ask for a checkpoint: before it hands the log on.
///
/// A hold keeps neither the log open nor its directory locked.
#[derive(Debug)]
pub struct Hold {
    shared: Arc<Shared>,
    id: u64,
}

impl Hold {
    pub(crate) fn new(shared: Arc<Shared>, id: u64) -> Self {
        Hold { shared, id }
    }

    /// Holds only from this LSN on, if that is further: a record that was to be held has its LSN now.
    pub fn raise(&self, from: Lsn) {
        self.shared.raise_hold(self.id, from);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.shared.unhold(self.id);
    }
}
