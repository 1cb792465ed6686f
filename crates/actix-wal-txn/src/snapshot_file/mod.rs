//! The state of a store in a file, so that its log need not be kept forever.
//!
//! A file holds every key that had a value at one durable LSN, and the tokens of the commits up to it. It is written a piece at a time, beside the commits,
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
//! | block | `BLCK`, number u32 (0, 1, 2 ...), kind u32, entries u32, length u32, that many bytes, checksum u32 |
//! | end | `END!`, blocks u32, rows u64, checksum of the checksums of all blocks u32, checksum u32 |
//!
//! Nothing follows the end. Blocks come in the order of their kinds:
//!
//! | kind | entries | bytes of each |
//! |---|---|---|
//! | 1 | rows, in the order of their keys, each key once | key length u32, value length u32, LSN u64, key, value |
//! | 2 | tokens of commits, oldest first; before them one byte: 1 if none was ever forgotten | LSN u64, length u8, token |
//! | 3 | what two-phase commit has to keep; there is no such block if that is nothing | one serde value |
//!
//! A block of another kind refuses the file: a newer program wrote there what this one would lose.

mod format;
mod read;
#[cfg(test)]
mod tests;
mod write;

use std::io;

use actix_wal::Lsn;
use actix_wal::storage::Storage;

pub use self::read::SnapshotReader;
pub use self::write::{SnapshotWriter, WrittenFile};
use crate::store::Row;
use crate::tokens::Token;
use crate::two_phase::participant::Branches;

/// What one block of a file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Section {
    /// Keys that have a value, in their order.
    Rows(Vec<Row>),
    /// Tokens of commits, oldest first.
    Tokens {
        /// The tokens, and where their commits are.
        tokens: Vec<(Token, Lsn)>,
        /// Whether no other token was ever forgotten.
        complete: bool,
    },
    /// What two-phase commit has to keep. A snapshot with nothing of it has no such block.
    Branches(Branches),
}

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
    /// A newer version of this crate wrote something into it that this one would lose.
    #[error("it has a block of kind {kind}, which this program does not know; use a newer program")]
    UnknownKind {
        /// The kind.
        kind: u32,
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

impl SnapshotFault {
    /// Whether another program or another log needs the file, so that nothing may be recovered past it.
    pub fn is_refusal(&self) -> bool {
        use SnapshotFault::{Foreign, Newer, UnknownKind};
        matches!(self, Foreign { .. } | Newer { .. } | UnknownKind { .. })
    }
}

/// Removes what an attempt that ended early has left half-written. What was removed comes back after power loss
/// unless the directory is synced, and does no harm.
///
/// # Errors
/// The directory can not be read, or a file not be removed.
pub fn remove_unfinished(storage: &dyn Storage) -> io::Result<()> {
    for entry in storage.list()? {
        if entry.name.strip_suffix(write::UNFINISHED).and_then(lsn_of).is_some() {
            storage.remove(&entry.name)?;
        }
    }
    Ok(())
}

/// Removes all snapshots but these.
///
/// # Errors
/// The directory can not be read, or a file not be removed.
pub fn remove_all_but(storage: &dyn Storage, kept: &[Lsn]) -> io::Result<()> {
    for lsn in list(storage)?.into_iter().filter(|lsn| !kept.contains(lsn)) {
        storage.remove(&name_of(lsn))?;
    }
    Ok(())
}
