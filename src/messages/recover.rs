//! Opening a log.

use std::sync::Arc;

use actix::{Message, Recipient};

use crate::engine::records::RecordBatch;
use crate::engine::recovery::{Progress, RecoveredLog};
use crate::error::OpenError;
use crate::lsn::Lsn;
use crate::storage::Storage;

/// Recover the log: judge the directory, begin an epoch, replay.
///
/// Sent once, by whoever opens the log; answered by Recovery with what a Flusher is started with. If the
/// answer is dropped, the recovery runs to its end and the log is closed again.
#[derive(Debug, Default)]
pub struct Recover {
    /// The storage, or `None` for the directory of the configuration.
    pub storage: Option<Arc<dyn Storage>>,
    /// Who wants the records.
    pub replay_to: Option<Recipient<Replay>>,
    /// The first LSN to replay, or `None` for everything that no checkpoint has released.
    pub from: Option<Lsn>,
}

impl Message for Recover {
    type Result = Result<RecoveredLog, OpenError>;
}

/// Records to replay, in LSN order.
///
/// Sent by Recovery to the host, one at a time: the next one is read meanwhile, and comes when this one is
/// answered, so memory stays bounded. The last one may be empty. An error ends the recovery, and so does an
/// actor that goes away; a failed open is answered when the host is done with what it has been given. The
/// actor must not block its own mailbox on the open that it is the target of.
#[derive(Clone, Debug)]
pub struct Replay {
    /// The records.
    pub records: RecordBatch,
    /// How far the recovery has come.
    pub progress: Progress,
}

impl Message for Replay {
    type Result = Result<(), ReplayRefused>;
}

/// Why the host does not want to go on with a replay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplayRefused(
    /// Why not.
    pub String,
);
