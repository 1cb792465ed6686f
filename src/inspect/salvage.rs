//! What a salvage would cost, before anybody does it.

use std::sync::Arc;

use super::{LogFiles, LogItem};
use crate::config::{DamagePolicy, Existence, WalConfig};
use crate::engine::recovery::{Progress, rehearse};
use crate::engine::state::shared::Shared;
use crate::error::{Damage, OpenError};
use crate::lsn::{Lsn, LsnRange};
use crate::record::RecordBatch;
use crate::runtime::clock::SystemClock;

/// What an open under [`DamagePolicy::Salvage`] would do.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SalvagePreview {
    /// The damage before which it would end the log.
    pub damage: Damage,
    /// The last LSN that it would keep.
    pub keeps_to: Lsn,
    /// The live records that it would keep.
    pub kept_records: u64,
    /// LSNs behind it that frames name: what would be lost at least. `None` if no frame names any; then segments that
    /// can not be read may have held some all the same.
    pub lost: Option<LsnRange>,
    /// Records behind it that can be read now, and not after it: [`LogFiles::frames`] gives them.
    pub readable: u64,
    /// The bytes of those.
    pub readable_bytes: u64,
    /// The highest of the lost LSNs that was promised durable; [`Lsn::NONE`] if no frame says that of any.
    pub acknowledged_to: Lsn,
    /// The files that it would rename to `*.wal.damaged`, as evidence.
    pub aside: Vec<String>,
}

pub(super) fn preview(files: &LogFiles) -> Result<Option<SalvagePreview>, OpenError> {
    let storage = Arc::clone(files.storage());
    let mut config = WalConfig::new(storage.location());
    config.existence = Existence::MustExist;
    config.damage_policy = DamagePolicy::Salvage;
    let (shared, _queue) = Shared::new(&config, Arc::new(SystemClock::default()));
    let mut kept_records = 0;
    let mut sink = |batch: RecordBatch, _: Progress| {
        kept_records += batch.len() as u64;
        Ok(())
    };
    let rehearsed = rehearse(storage, &config, &shared, &mut sink)?;
    let report = rehearsed.report;
    let Some(damage) = report.salvaged else { return Ok(None) };
    let keeps_to = report.last_lsn;
    let (claimed_next, promised) = rehearsed.claimed.unwrap_or_default();
    let lost = LsnRange::new(keeps_to.next(), claimed_next.previous());
    let mut preview = SalvagePreview {
        damage,
        keeps_to,
        kept_records: kept_records + rehearsed.carried_live,
        lost,
        readable: 0,
        readable_bytes: 0,
        acknowledged_to: if promised > keeps_to { promised } else { Lsn::NONE },
        aside: rehearsed.aside,
    };
    let mut frames = files.frames(keeps_to.next())?;
    while let Some(view) = frames.next()? {
        let LogItem::Frame(frame) = view else { continue };
        for (_, payload) in frame.records().filter(|(lsn, _)| *lsn > keeps_to) {
            preview.readable += 1;
            preview.readable_bytes += payload.len() as u64;
        }
    }
    Ok(Some(preview))
}
