//! Opening a log.

use std::fmt;
use std::sync::Arc;

use actix::{Message, Recipient};

use crate::engine::recovery::{Begun, Progress, RecoveryReport};
use crate::error::OpenError;
use crate::lsn::Lsn;
use crate::record::RecordBatch;
use crate::storage::Storage;

/// Recover the log: judge the directory, begin an epoch, replay.
///
/// Sent once, by the host that opens the log; answered by Recovery with what a Flusher is started with. If the
/// answer is dropped, the recovery ends at the next batch, without waiting for the host, and the directory is free.
#[derive(Debug, Default)]
pub struct Recover {
    /// The storage, or `None` for the directory of the configuration.
    pub storage: Option<Arc<dyn Storage>>,
    /// What takes the records, if anything does.
    pub replay_to: Option<ReplayTarget>,
    /// The first LSN to replay, or `None` for everything that no checkpoint has released.
    pub from: Option<Lsn>,
}

impl Message for Recover {
    type Result = Result<RecoveredLog, OpenError>;
}

/// A log that was recovered, and has begun an epoch: what a Flusher is started with. Dropped, it gives the directory
/// back, and nothing is lost.
#[derive(Debug)]
pub struct RecoveredLog(pub(crate) Begun);

impl RecoveredLog {
    /// What the recovery found and did.
    pub fn report(&self) -> &RecoveryReport {
        self.0.report()
    }
}

/// For tests that drive a recovery by hand.
#[cfg(any(test, feature = "testkit"))]
impl From<Begun> for RecoveredLog {
    fn from(begun: Begun) -> Self {
        RecoveredLog(begun)
    }
}

/// What takes the records of a replay.
pub enum ReplayTarget {
    /// An actor of the host.
    Actor(Recipient<Replay>),
    /// A function. It is called on the recovery thread, and may block.
    Function(ReplayFunction),
}

/// A function that takes the records of a replay.
pub type ReplayFunction = Box<dyn FnMut(Replay) -> Result<(), ReplayRefused> + Send>;

impl fmt::Debug for ReplayTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ReplayTarget::Actor(_) => "Actor",
            ReplayTarget::Function(_) => "Function",
        })
    }
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
