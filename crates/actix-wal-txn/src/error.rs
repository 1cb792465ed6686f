//! Why a transaction has no effect, or nobody knows.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use actix_wal::error::EncodeError;
use actix_wal::{AppendError, Cause, CheckpointError, CommitError, Lsn};

use crate::commits::PutError;
use crate::messages::TxnId;
use crate::snapshot_file::SnapshotError;
use crate::store::StoreError;
use crate::two_phase::GlobalId;
use crate::workspace::WorkError;

/// Why a transaction did not do what was asked. Unless it is [`Unknown`](Self::Unknown), it has no effect, now or after any
/// restart.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TxnError {
    /// There is no such transaction: it has ended, or never began here.
    #[error("transaction {} is not open: it has ended, or belongs to an earlier life; begin another one", .txn.0)]
    NotOpen {
        /// The transaction.
        txn: TxnId,
    },
    /// It was open for longer than is allowed, and has been ended.
    #[error(
        "the transaction was open for more than {limit:?} and has been ended; begin another one"
    )]
    Expired {
        /// The bound.
        limit: Duration,
    },
    /// As many transactions are open as are allowed.
    #[error(
        "{limit} transactions are open, and no more are allowed; try again when some have ended"
    )]
    TooMany {
        /// The bound.
        limit: usize,
    },
    /// Another transaction was first, this one does too much, or its snapshot is too old.
    #[error(transparent)]
    Work(#[from] WorkError),
    /// The work of a whole transaction says that it must have no effect.
    #[error("the transaction aborts: {reason}")]
    Aborted {
        /// Why.
        reason: String,
    },
    /// The work of a whole transaction panicked.
    #[error("the work of the transaction panicked: {message}")]
    Panicked {
        /// What it said.
        message: String,
    },
    /// Another commit has this token: that one, or its outcome, is the answer.
    #[error("a commit with this token is in the log already, or on its way; ask for its outcome")]
    TokenUsed,
    /// The store takes no more, or the log contradicts it.
    #[error(transparent)]
    Put(#[from] PutError),
    /// It can not be expressed as a record.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The log has not taken it.
    #[error("the log refuses the commit: {0}")]
    Refused(AppendError),
    /// It is certainly not durable.
    #[error("the commit is not durable: {0}")]
    NotDurable(CommitError),
    /// It has read what another commit wrote that is not durable, or of which nobody knows, and has no effect.
    #[error(
        "the transaction has seen a commit that is not durable, as far as is known ({0}); begin again"
    )]
    SawFailed(CommitError),
    /// Nobody knows yet whether it is durable. Its token tells, when the log has come back or after a restart.
    #[error(
        "it is not known yet whether the commit is durable: {0}; ask with its token, later or after a restart"
    )]
    Unknown(CommitError),
}

impl TxnError {
    /// Whether it certainly has no effect.
    pub fn has_no_effect(&self) -> bool {
        !matches!(self, TxnError::Unknown(_))
    }

    /// A transaction of the host's own that must have no effect.
    pub fn aborted(reason: impl Into<String>) -> Self {
        TxnError::Aborted { reason: reason.into() }
    }

    /// Nobody is left who could answer.
    pub fn gone() -> Self {
        let cause = Cause::Stopped { actor: "TransactionCoordinator" };
        TxnError::Unknown(CommitError::Refused(AppendError::Unknown { cause }))
    }

    pub(crate) fn of_outcome(failed: CommitError) -> Self {
        if failed.is_not_durable() {
            TxnError::NotDurable(failed)
        } else {
            TxnError::Unknown(failed)
        }
    }
}

impl From<StoreError> for TxnError {
    fn from(error: StoreError) -> Self {
        TxnError::Work(error.into())
    }
}

/// Why a snapshot was not written. Unless it is [`NotReleased`](Self::NotReleased), there is no new snapshot, and the one
/// before is as good as it was. Commits go on in any case.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotFailure {
    /// The coordinator was started without a folder for snapshots.
    #[error("there is no folder for snapshots; give the recovery of the log a `SnapshotPlan`")]
    NoFolder,
    /// Another one is being written.
    #[error("a snapshot at LSN {lsn} is being written; wait for that one")]
    Running {
        /// Where that one is.
        lsn: Lsn,
    },
    /// No commit is durable yet.
    #[error("there is nothing to write: no commit is durable yet")]
    Nothing,
    /// The log contradicts the store.
    #[error(transparent)]
    Put(#[from] PutError),
    /// It took so long that what it shows is gone.
    #[error(
        "the snapshot took too long: {0}; allow it more time, or find out why the disk is slow"
    )]
    TooLong(StoreError),
    /// The operating system gives no thread.
    #[error("there is no thread to write the snapshot on: {0}; try again")]
    NoThread(Arc<io::Error>),
    /// The file could not be written. What was written of it is removed.
    #[error("the snapshot is not written: {0}; when the cause is gone, try again")]
    File(Arc<SnapshotError>),
    /// What writes the file panicked. What was written of it is removed.
    #[error("writing the snapshot panicked: {message}")]
    Panicked {
        /// What it said.
        message: String,
    },
    /// The coordinator has stopped.
    #[error("the coordinator has stopped before the snapshot was whole; restart")]
    Stopped,
    /// The snapshot is good, but the log has not released what it no longer needs. The next one releases that too.
    #[error("the snapshot at LSN {lsn} is written, but the log was not released: {source}")]
    NotReleased {
        /// Where it is.
        lsn: Lsn,
        /// Why not.
        source: CheckpointError,
    },
}

impl From<SnapshotError> for SnapshotFailure {
    fn from(error: SnapshotError) -> Self {
        SnapshotFailure::File(Arc::new(error))
    }
}

/// Why a state can not be recovered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecoverError {
    /// A record of the log can not be understood.
    #[error(transparent)]
    Record(#[from] crate::record::RecordFault),
    /// The log does not open.
    #[error(transparent)]
    Open(#[from] actix_wal::OpenError),
    /// A checkpoint has released records, and with them a part of the state.
    #[error(
        "the log has released its records up to LSN {through}, so that it does not have all of the state, and no snapshot \
         from there on is good ({snapshots}); give back the snapshots that belong to it, from a backup if need be"
    )]
    Released {
        /// The last LSN that is missing.
        through: Lsn,
        /// Which snapshots there are, and what is wrong with each.
        snapshots: String,
    },
    /// The folder of the snapshots can not be opened or read.
    #[error("the folder of the snapshots, {folder}, can not be used: {source}")]
    Folder {
        /// The folder.
        folder: String,
        /// Why not.
        source: io::Error,
    },
    /// A snapshot belongs to another log, or a newer program wrote it.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// A snapshot shows more than the log holds: an older copy of the log was restored, or its end was cut.
    #[error(
        "snapshot file {name} shows the state at LSN {lsn}, but the log ends at LSN {end}: an older copy of the log was \
         restored, or its end was cut; give back the whole log, or move the snapshot away to go on without what it shows"
    )]
    OlderLog {
        /// The snapshot.
        name: String,
        /// Where it is.
        lsn: Lsn,
        /// The last record of the log.
        end: Lsn,
    },
    /// What a snapshot holds does not fit into the store.
    #[error("the snapshot at LSN {lsn} does not fit: {source}")]
    DoesNotFit {
        /// Where it is.
        lsn: Lsn,
        /// Why not.
        source: StoreError,
    },
    /// It is the log of a coordinator of two-phase commit.
    #[error(
        "the record at LSN {lsn} is the decision about transaction {id}: this is the log of a coordinator of two-phase commit, \
         and not that of a participant"
    )]
    OfDecider {
        /// The record.
        lsn: Lsn,
        /// The transaction.
        id: GlobalId,
    },
    /// What the log holds does not fit into the store.
    #[error("the commit at LSN {lsn} does not fit: {source}")]
    Store {
        /// The record.
        lsn: Lsn,
        /// Why not.
        source: StoreError,
    },
}
