//! Judges what a directory holds, begins the next epoch, and replays.
//!
//! 1. **Survey**: read the header and the start frame of every segment. The *live end* of a segment is
//!    the smallest cut of the segments after it.
//! 2. **Tail**: walk the last segment to its end. An unfinished write there is cut; a damaged frame
//!    before a sound one is refused, and so is a sequence number that is left out right behind it.
//! 3. **Replay** every live record but those of the very last frame, in order, checking that each segment
//!    reaches exactly its live end. Nothing was written so far: a recovery that is refused or interrupted
//!    up to here leaves the directory as it was.
//! 4. **Begin**: write the start frame of a new segment. No later byte vouches for the very last frame:
//!    it may lie in the page cache alone (promise P12). So its records are carried into that start
//!    frame, and cut and copy become durable under one checksum; only then are they replayed.
//!
//! Memory: one frame that is read, a copy of the very last one (a frame holds at most what was in flight), a
//! batch of about a mebibyte that is being filled, and one that is with the host.
//!
//! Old segments are never written. A crash at any point leaves a directory on which all of this can be
//! done again (promise P11).

mod begin;
mod live_walk;
mod plan;
mod replay;
mod report;
mod salvage;
mod signs;
mod survey;
mod tail;

use std::sync::Arc;

pub use begin::Begun;
use plan::Plan;
pub(crate) use plan::Rehearsed;
use replay::Replaying;
pub use replay::{Progress, ReplaySink};
pub use report::RecoveryReport;
use survey::Survey;
pub(crate) use survey::{Unfit, check_header, most_frequent};

use crate::config::WalConfig;
use crate::engine::state::shared::Shared;
use crate::error::OpenError;
use crate::lsn::Lsn;
use crate::storage::Storage;

/// All that an open does before it writes anything: the report that it would give, but for the epoch that it would begin.
/// Under the salvage policy the files that it would set aside, too.
///
/// # Errors
/// Those of [`recover`].
pub(crate) fn rehearse(
    storage: Arc<dyn Storage>,
    config: &WalConfig,
    shared: &Shared,
    sink: &mut dyn ReplaySink,
) -> Result<Rehearsed, OpenError> {
    let (survey, salvaged) = Survey::take(storage, config, shared)?.salvaged()?;
    let plan = Plan::new(&survey, survey.tail()?, None)?;
    let replay = Replaying::new(plan.from, sink);
    Ok(plan.replay(&survey, replay, salvaged)?.rehearsed(&survey))
}

/// Recovers the log in `storage` and replays it to `sink` from `from` on, or from the low-water mark.
///
/// # Errors
/// See [`OpenError`]. What was replayed before an error is to be thrown away.
pub fn recover(
    storage: Arc<dyn Storage>,
    config: &WalConfig,
    shared: &Shared,
    from: Option<Lsn>,
    sink: &mut dyn ReplaySink,
) -> Result<Begun, OpenError> {
    let _span = tracing::info_span!("wal.recover", directory = %storage.location()).entered();
    let began = shared.clock.now();
    let (survey, salvaged) = Survey::take(storage, config, shared)?.salvaged()?;
    let plan = Plan::new(&survey, survey.tail()?, from)?;
    let replay = Replaying::new(plan.from, sink);
    let replayed = plan.replay(&survey, replay, salvaged)?;
    let mut begun = replayed.begin(&survey)?;
    begun.publish(shared);
    begun.report.elapsed = shared.clock.now().saturating_sub(began);
    Ok(begun)
}
