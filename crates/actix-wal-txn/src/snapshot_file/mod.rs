//! The state of a store in a file, so that its log need not be kept forever.
//!
//! A file holds every key that had a value at one durable LSN. It is written a piece at a time, beside the commits,
//! and has its name only when it is whole and synced. Only after that may the log be released, and only up to the
//! snapshot *before* this one: if the newest file turns out to be bad, the one before it and the log since are still there.
//!
//! # The bytes
//!
//! Numbers are little-endian; a checksum is CRC-32 (IEEE) of the bytes before it in the same part, from the first one on.
//!
//! | part | bytes |
//! |---|---|
//! | header | `AWTXSNAP`, version u32 (1), 0 u32, log id 16 bytes, LSN u64, checksum u32 |
//! | block | `ROWS`, number u32 (0, 1, 2 ...), rows u32, length u32, that many bytes of rows, checksum u32 |
//! | row | key length u32, value length u32, LSN u64, key, value |
//! | end | `END!`, blocks u32, rows u64, checksum of the checksums of all blocks u32, checksum u32 |
//!
//! Nothing follows the end. The rows are in the order of their keys, each key once.

mod format;
mod read;
#[cfg(test)]
mod tests;
mod write;

use std::io;

use actix_wal::Lsn;
use actix_wal::storage::Storage;

pub use self::read::SnapshotReader;
pub use self::write::SnapshotWriter;

/// What is wrong with a snapshot file.
#[derive(Debug, thiserror::Error)]
#[error("snapshot file {name}, offset {offset}: {fault}")]
pub struct SnapshotError {
    /// The file.
    pub name: String,
    /// Where in it, in bytes.
    pub offset: u64,
    /// What is so.
    #[source]
    pub fault: SnapshotFault,
}

/// What is wrong with a snapshot file, without the place.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotFault {
    /// Reading, writing, syncing or naming it failed.
    #[error("{what} failed")]
    Io {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// What was to be written does not belong into it.
    #[error("{reason}: it can not be in this snapshot")]
    Invalid {
        /// What is wrong.
        reason: &'static str,
    },
    /// Its bytes are not those that were written. Another snapshot and the log since that one do not need it.
    #[error("it is damaged: {reason}")]
    Damaged {
        /// What does not fit.
        reason: &'static str,
    },
    /// It belongs to another log. Nothing is recovered from it; move it away if it has come here by mistake.
    #[error("it belongs to log {found}, and this is log {expected}; move it to where that log is")]
    Foreign {
        /// The log that was asked for, in hexadecimal.
        expected: String,
        /// The log in the file, in hexadecimal.
        found: String,
    },
    /// A newer version of this crate wrote it.
    #[error(
        "its format is version {version}, and this program reads up to {newest}; use a newer program"
    )]
    Newer {
        /// The version in the file.
        version: u32,
        /// The newest version that is known.
        newest: u32,
    },
}

/// The file that a snapshot at this LSN is kept in. By their names they are in the order of their LSNs.
pub fn name_of(lsn: Lsn) -> String {
    format!("snapshot-{:016x}", lsn.get())
}

/// The LSN of the snapshot that has this name, if it is one.
pub fn lsn_of(name: &str) -> Option<Lsn> {
    let digits = name.strip_prefix("snapshot-").filter(|digits| digits.len() == 16)?;
    let lsn = Lsn::new(u64::from_str_radix(digits, 16).ok()?);
    (name_of(lsn) == name).then_some(lsn)
}

/// The LSNs of the snapshots in a directory, newest first.
///
/// # Errors
/// The directory can not be read.
pub fn list(storage: &dyn Storage) -> io::Result<Vec<Lsn>> {
    let mut found: Vec<_> =
        storage.list()?.iter().filter_map(|entry| lsn_of(&entry.name)).collect();
    found.sort_unstable();
    found.reverse();
    Ok(found)
}

/// Removes what an earlier life has left half-written, and all but the newest `keep` snapshots. What was removed
/// comes back after power loss unless the directory has been synced, and does no harm.
///
/// # Errors
/// The directory can not be read, or a file not be removed.
pub fn tidy(storage: &dyn Storage, keep: usize) -> io::Result<()> {
    for entry in storage.list()? {
        if entry.name.strip_suffix(write::UNFINISHED).and_then(lsn_of).is_some() {
            storage.remove(&entry.name)?;
        }
    }
    for lsn in list(storage)?.into_iter().skip(keep) {
        storage.remove(&name_of(lsn))?;
    }
    Ok(())
}
