//! What the newest good snapshot of a participant and the log since say of transactions over several logs.

use std::path::Path;

use actix_wal::Lsn;
use actix_wal::inspect::LogItem;
use actix_wal::storage::ReadOnly;
use actix_wal_txn::record::TxnRecord;
use actix_wal_txn::snapshot_file::{Section, SnapshotError, SnapshotReader, list};
use actix_wal_txn::two_phase::participant::Branches;

use crate::output::Failure;
use crate::place::Place;

/// Reads them, and the whole log since.
///
/// # Errors
/// A record can not be read, or is none of a transaction.
pub(crate) fn branches(place: &Place) -> Result<Branches, Failure> {
    let (mut branches, from) = match &place.snapshots {
        Some(folder) => of_snapshots(folder)?,
        None => (Branches::default(), Lsn::NONE),
    };
    let mut frames = place.files.frames(from.next()).map_err(Failure::refused)?;
    while let Some(view) = frames.next().map_err(Failure::refused)? {
        let frame = match view {
            LogItem::Frame(frame) => frame,
            LogItem::Damage(damage) => {
                return Err(Failure::refused(format_args!("{damage}; see walctl verify")));
            }
            _ => continue,
        };
        for (lsn, payload) in frame.records().filter(|(lsn, _)| *lsn > from) {
            branches.take(TxnRecord::decode(lsn, payload).map_err(Failure::refused)?);
        }
    }
    Ok(branches)
}

fn of_snapshots(folder: &Path) -> Result<(Branches, Lsn), Failure> {
    let at = |error| Failure::refused(format_args!("{}: {error}", folder.display()));
    let storage = ReadOnly::open(folder).map_err(at)?;
    for lsn in list(&storage).map_err(at)? {
        // One that is bad is passed over, as recovery does.
        if let Ok(branches) = of_snapshot(&storage, lsn) {
            return Ok((branches, lsn));
        }
    }
    Ok((Branches::default(), Lsn::NONE))
}

fn of_snapshot(storage: &ReadOnly, lsn: Lsn) -> Result<Branches, SnapshotError> {
    let mut reader = SnapshotReader::open(storage, lsn)?;
    let mut branches = Branches::default();
    while let Some(section) = reader.next_block()? {
        if let Section::Branches(found) = section {
            branches = found;
        }
    }
    Ok(branches)
}
