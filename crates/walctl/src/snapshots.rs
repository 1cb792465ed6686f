//! Snapshot files of transactions: read to their end, and held against the log beside them.

use std::path::Path;

use actix_wal::inspect::Overview;
use actix_wal::storage::ReadOnly;
use actix_wal_txn::snapshot_file::{SnapshotError, SnapshotReader, list, name_of};
use serde::Serialize;

use crate::output::Failure;

/// One snapshot file.
#[derive(Serialize)]
pub(crate) struct Snapshot {
    pub(crate) file: String,
    pub(crate) lsn: u64,
    pub(crate) rows: Option<u64>,
    pub(crate) bytes: Option<u64>,
    pub(crate) problem: Option<String>,
}

/// What the snapshots of a log are worth.
pub(crate) struct Snapshots {
    /// Newest first.
    pub(crate) files: Vec<Snapshot>,
    /// Why the log can not be recovered with them, if so.
    pub(crate) refusal: Option<String>,
}

impl Snapshots {
    /// Reads all of them.
    pub(crate) fn check(folder: &Path, overview: &Overview) -> Result<Self, Failure> {
        let at = |error| Failure::refused(format_args!("{}: {error}", folder.display()));
        let storage = ReadOnly::open(folder).map_err(at)?;
        let mut files = Vec::new();
        for lsn in list(&storage).map_err(at)? {
            let read =
                SnapshotReader::open(&storage, lsn).and_then(|reader| whole(reader, overview));
            let (rows, bytes) =
                read.as_ref().map_or((None, None), |(rows, bytes)| (Some(*rows), Some(*bytes)));
            files.push(Snapshot {
                file: name_of(lsn),
                lsn: lsn.get(),
                rows,
                bytes,
                problem: read.err().map(|error| error.to_string()),
            });
        }
        let best = files.iter().find(|file| file.problem.is_none()).map_or(0, |file| file.lsn);
        let released = overview.low_water.get();
        let refusal = (best < released).then(|| match best {
            0 => format!("the log is released up to LSN {released}, and no good snapshot is there"),
            best => format!(
                "the log is released up to LSN {released}, and the newest good snapshot is of LSN {best}: \
                 what lies between is in neither"
            ),
        });
        Ok(Snapshots { files, refusal })
    }
}

/// Rows and bytes, if all of it is sound and of this log.
fn whole(mut reader: SnapshotReader, overview: &Overview) -> Result<(u64, u64), SnapshotError> {
    if let Some(log) = overview.log_id {
        reader.check_log(log.0)?;
    }
    while reader.next_block()?.is_some() {}
    Ok((reader.rows(), reader.size()))
}
