//! Writing a snapshot file.

use std::io;
use std::mem;
use std::sync::Arc;

use actix_wal::Lsn;
use actix_wal::codec::{Bincode, Codec};
use actix_wal::storage::{Storage, StorageFile, write_all_at};

use super::format::{self, Block, CHECKSUM, Kind, LogName, MAX_BLOCK, ROW_HEAD};
use super::{SnapshotError, SnapshotFault, name_of};
use crate::store::Row;
use crate::tokens::Token;
use crate::two_phase::participant::Branches;

/// What the name of a file ends with that is not whole yet.
pub(super) const UNFINISHED: &str = ".unfinished";

/// About how long a block is.
const BLOCK: usize = 64 << 10;

/// After how many bytes the file is synced, so that the last sync is short and the log's own syncs do not queue behind
/// it.
const SYNCED_AT_ONCE: u64 = 512 << 10;

/// A snapshot that is whole and has its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrittenFile {
    /// Keys.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
}

/// Writes a snapshot file, a piece at a time. Its calls wait for the disk, so they belong on a thread of their own.
///
/// Until [`finish`](Self::finish) there is no snapshot. If that fails or is never called, [`discard`](Self::discard)
/// removes what was written, or later [`remove_unfinished`](super::remove_unfinished).
#[derive(Debug)]
pub struct SnapshotWriter {
    storage: Arc<dyn Storage>,
    file: Box<dyn StorageFile>,
    lsn: Lsn,
    offset: u64,
    synced: u64,
    block: Block,
    blocks: u32,
    rows: u64,
    sums: u32,
    has_name: bool,
}

impl SnapshotWriter {
    /// Begins a snapshot of the log with this name, at this LSN.
    ///
    /// # Errors
    /// The file can not be created or written.
    pub fn begin(
        storage: Arc<dyn Storage>,
        log: [u8; 16],
        lsn: Lsn,
    ) -> Result<Self, SnapshotError> {
        let name = unfinished(lsn);
        let failed = |what| move |source| fault(lsn, 0, SnapshotFault::Io { what, source });
        // One that this very process has given up.
        match storage.remove(&name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed("removing an older attempt")(error));
            }
            Ok(()) | Err(_) => {}
        }
        let file = storage.create(&name).map_err(failed("creating it"))?;
        let mut writer = SnapshotWriter {
            storage,
            file,
            lsn,
            offset: 0,
            synced: 0,
            block: Block::new(Kind::Rows),
            blocks: 0,
            rows: 0,
            sums: 0,
            has_name: false,
        };
        match writer.write(&format::header(log as LogName, lsn)) {
            Ok(()) => Ok(writer),
            Err(error) => {
                writer.discard();
                Err(error)
            }
        }
    }

    /// Adds rows, in the order of keys over all calls, and before any token. A row without an LSN is not durable and does
    /// not belong here.
    ///
    /// # Errors
    /// The file can not be written; or a row has no LSN, or one above that of the snapshot.
    pub fn add(&mut self, rows: &[Row]) -> Result<(), SnapshotError> {
        for row in rows {
            let Some(lsn) = row.stamp.lsn().filter(|lsn| *lsn <= self.lsn) else {
                return Err(self.invalid("a row is newer than the snapshot"));
            };
            let length = ROW_HEAD + row.key.len() + row.value.len();
            if length > MAX_BLOCK {
                return Err(self.invalid("a row is longer than a block can be"));
            }
            if self.block.len() + length > BLOCK {
                self.end_block(Kind::Rows)?;
            }
            self.block.push(row, lsn);
        }
        Ok(())
    }

    /// Adds tokens of commits, oldest first over all calls: a few thousand at most in each. The last call says whether
    /// no other was ever forgotten.
    ///
    /// # Errors
    /// The file can not be written, or a token is of a commit above the snapshot.
    pub fn add_tokens(
        &mut self,
        tokens: &[(Token, Lsn)],
        complete: bool,
    ) -> Result<(), SnapshotError> {
        if tokens.iter().any(|(_, lsn)| *lsn > self.lsn) {
            return Err(self.invalid("a token is newer than the snapshot"));
        }
        self.end_block(Kind::Tokens)?;
        self.block.put_tokens(tokens, complete);
        self.end_block(Kind::Tokens)
    }

    /// Adds what two-phase commit has to keep, behind all tokens.
    ///
    /// # Errors
    /// The file can not be written, or it is longer than a block can be.
    pub fn add_branches(&mut self, branches: &Branches) -> Result<(), SnapshotError> {
        let encoded = Bincode.encode(branches).ok().filter(|bytes| bytes.len() <= MAX_BLOCK);
        let encoded =
            encoded.ok_or_else(|| self.invalid("what is prepared does not fit into a block"))?;
        self.end_block(Kind::Branches)?;
        self.block.put_branches(&encoded);
        self.end_block(Kind::Branches)
    }

    /// Writes the block, if it has anything in it, and begins another one.
    fn end_block(&mut self, next: Kind) -> Result<(), SnapshotError> {
        let block = mem::replace(&mut self.block, Block::new(next));
        if block.is_empty() {
            return Ok(());
        }
        if block.kind() == Kind::Rows {
            self.rows += u64::from(block.entries());
        }
        let bytes = block.finish(self.blocks);
        let sum = bytes.last_chunk::<CHECKSUM>().map_or(0, |sum| u32::from_le_bytes(*sum));
        self.sums = format::chain(self.sums, sum);
        self.blocks += 1;
        self.write(&bytes)?;
        if self.offset - self.synced >= SYNCED_AT_ONCE {
            self.io("syncing it", self.file.sync())?;
            self.synced = self.offset;
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), SnapshotError> {
        let written = write_all_at(&*self.file, bytes, self.offset);
        self.io("writing it", written)?;
        self.offset += bytes.len() as u64;
        Ok(())
    }

    /// Makes it a snapshot: syncs the file, gives it its name, and syncs that. It takes the place of one at the same LSN:
    /// a bad one, since for a moment there is neither.
    ///
    /// # Errors
    /// Any of it fails; then there is no new snapshot once this is [discarded](Self::discard), though one may appear after
    /// power loss.
    pub fn finish(&mut self) -> Result<WrittenFile, SnapshotError> {
        self.end_block(Kind::Branches)?;
        self.write(&format::end(self.blocks, self.rows, self.sums))?;
        self.io("syncing it", self.file.sync())?;
        let (from, to) = (unfinished(self.lsn), name_of(self.lsn));
        let mut renamed = self.storage.rename(&from, &to);
        if renamed.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::AlreadyExists) {
            self.io("removing the older one", self.storage.remove(&to))?;
            renamed = self.storage.rename(&from, &to);
        }
        self.io("giving it its name", renamed)?;
        self.has_name = true;
        self.io("syncing the directory", self.storage.sync_dir())?;
        Ok(WrittenFile { rows: self.rows, bytes: self.offset })
    }

    /// Removes what was written. If that fails, it is left for the next attempt, or for the next recovery.
    pub fn discard(self) {
        let name = if self.has_name { name_of(self.lsn) } else { unfinished(self.lsn) };
        // The error that led here is the one to report.
        let _ = self.storage.remove(&name);
    }

    fn io<T>(&self, what: &'static str, result: io::Result<T>) -> Result<T, SnapshotError> {
        result.map_err(|source| fault(self.lsn, self.offset, SnapshotFault::Io { what, source }))
    }

    fn invalid(&self, reason: &'static str) -> SnapshotError {
        fault(self.lsn, self.offset, SnapshotFault::Invalid { reason })
    }
}

fn unfinished(lsn: Lsn) -> String {
    name_of(lsn) + UNFINISHED
}

fn fault(lsn: Lsn, offset: u64, fault: SnapshotFault) -> SnapshotError {
    SnapshotError { name: unfinished(lsn), offset, fault }
}
