//! What a log does, at a glance and in numbers.

use serde::Serialize;

use crate::error::{Cause, IoFault};
use crate::lsn::{Epoch, Lsn};

/// What state a log is in.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum LogState {
    /// It is being recovered: nothing is accepted yet.
    #[default]
    Opening,
    /// It takes appends.
    Running,
    /// It recovers from a fault; appends wait or are refused.
    Unavailable(Cause),
    /// The disk is full; appends are refused until space returns.
    NoSpace(IoFault),
    /// Restarts did not help. What is durable can still be read.
    Poisoned(Cause),
    /// It is being closed: what was accepted is flushed.
    Closing,
    /// It is closed.
    Closed(Cause),
}

impl LogState {
    /// A single word for it.
    pub fn name(&self) -> &'static str {
        match self {
            LogState::Opening => "opening",
            LogState::Running => "running",
            LogState::Unavailable(_) => "unavailable",
            LogState::NoSpace(_) => "no space",
            LogState::Poisoned(_) => "poisoned",
            LogState::Closing => "closing",
            LogState::Closed(_) => "closed",
        }
    }

    /// Whether it never takes an append again.
    pub fn is_final(&self) -> bool {
        matches!(self, LogState::Poisoned(_) | LogState::Closed(_))
    }
}

/// The state of a log at a glance.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Status {
    /// What it does.
    pub state: LogState,
    /// Whether a sync has not returned for longer than the configured limit.
    pub stalled: bool,
    /// Whether the next segment could not be prepared because space is short.
    pub low_space: bool,
    /// The epoch that takes records. During a fault it is still the one before.
    pub epoch: Epoch,
    /// The highest LSN that was handed out.
    pub accepted: Lsn,
    /// The highest LSN that was given to the file system.
    pub written: Lsn,
    /// The highest durable LSN.
    pub durable: Lsn,
    /// The highest LSN that a checkpoint has released.
    pub low_water: Lsn,
    /// Records in flight.
    pub entries_in_flight: usize,
    /// Bytes in flight.
    pub bytes_in_flight: usize,
    /// Appends that wait for a permit.
    pub waiting_for_admission: usize,
    /// Segments that are part of the log.
    pub segments: usize,
}

/// What has been counted since the log was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Stats {
    /// Records that were given an LSN.
    pub accepted: u64,
    /// Records that became durable.
    pub durable: u64,
    /// Their bytes, with five bytes of overhead each.
    pub durable_bytes: u64,
    /// Records that were answered `NotDurable`.
    pub not_durable: u64,
    /// Records that were answered `Unknown`.
    pub unknown: u64,
    /// Appends that were refused before they had an LSN.
    pub refused: u64,
    /// Flushes of records: one frame, one write, one sync each.
    pub batches: u64,
    /// Empty frames that vouch for the last batch.
    pub seals: u64,
    /// Times the log went on in a new segment because the old one was full.
    pub rotations: u64,
    /// Restarts of the Flusher after a fault.
    pub restarts: u64,
    /// Writes and syncs that failed.
    pub io_errors: u64,
    /// Time spent in flushes, in nanoseconds.
    pub flush_nanos: u64,
    /// All syncs of files and directories, also those of segments prepared ahead.
    pub fsyncs: u64,
    /// All bytes written, also the zeros of segments prepared ahead.
    pub bytes_written: u64,
}
