//! Recoveries without actors, and what they give back.

use std::sync::Arc;

use actix_wal::storage::Storage;
use actix_wal::testkit::internals::Parts;
use actix_wal::testkit::internals::engine::recovery::{Begun, Progress, recover};
use actix_wal::testkit::internals::engine::state::shared::Shared;
use actix_wal::{Lsn, OpenError, RecordBatch, RecoveryReport, WalConfig};

/// What a recovery gave back.
#[derive(Clone, Debug)]
pub struct Recovered {
    pub records: Vec<(u64, Vec<u8>)>,
    pub report: RecoveryReport,
}

/// Recovers a log and replays all of it, or what follows from an LSN.
pub fn replayed(
    storage: Arc<dyn Storage>,
    config: &WalConfig,
    link: &Parts,
    from: Option<Lsn>,
) -> Result<Recovered, OpenError> {
    let mut records = Vec::new();
    let mut sink = |batch: RecordBatch, _: Progress| {
        records.extend(batch.iter().map(|(lsn, payload)| (lsn.get(), payload.to_vec())));
        Ok(())
    };
    let recovered = recover(storage, config, &link.shared, from, &mut sink)?;
    let report = recovered.report().clone();
    Ok(Recovered { records, report })
}

/// Recovers a log for its next life, and replays nothing to anybody.
pub fn for_the_next_life(
    storage: Arc<dyn Storage>,
    config: &WalConfig,
    shared: &Arc<Shared>,
) -> Result<Begun, OpenError> {
    recover(storage, config, shared, None, &mut |_: RecordBatch, _: Progress| Ok(()))
}
