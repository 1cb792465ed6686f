//! What recovery tells its host.

use std::time::Duration;

use crate::error::Damage;
use crate::format::scan::TornTail;
use crate::lsn::{Epoch, LogId, Lsn, LsnRange};

/// What recovery found and did.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct RecoveryReport {
    /// The random name of the log.
    pub log_id: LogId,
    /// The epoch that begins now.
    pub epoch: Epoch,
    /// Segments that hold live records.
    pub segments: u64,
    /// Frames that were read.
    pub frames: u64,
    /// Live records, replayed or below the LSN that the host asked for.
    pub records: u64,
    /// Records that were handed to the host.
    pub replayed: u64,
    /// Bytes of segments that were read.
    pub bytes: u64,
    /// The LSN of the last live record.
    pub last_lsn: Lsn,
    /// The LSN of the next append.
    pub next_lsn: Lsn,
    /// The highest LSN that a checkpoint has released.
    pub low_water: Lsn,
    /// LSNs before the last record that name none: given out, perhaps, by a life that ended before they
    /// were durable. So do those above `last_lsn` and below `next_lsn`, the gap that this open declares.
    pub gaps: Vec<LsnRange>,
    /// Whether the last life was closed cleanly, so that there was nothing to repair.
    pub clean: bool,
    /// How many records of the very last frame were carried over, since nothing vouched for them.
    pub carried: u64,
    /// The unfinished write that was cut, and the segment it is kept in.
    pub torn_tail: Option<(u64, TornTail)>,
    /// The damage at which the log was cut, under the salvage policy.
    pub salvaged: Option<Damage>,
    /// How long it took, the host's share included.
    pub elapsed: Duration,
}
