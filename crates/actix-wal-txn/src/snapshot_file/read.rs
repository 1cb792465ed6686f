//! Reading a snapshot file.

use std::io;

use actix_wal::Lsn;
use actix_wal::storage::{Storage, StorageFile, read_exact_at};
use bytes::Bytes;

use super::format::{self, BLOCK_HEAD, CHECKSUM, END, HEADER, Next};
use super::{SnapshotError, SnapshotFault, name_of};
use crate::store::Row;

/// Reads a snapshot file, block by block. What it gives is proven to be right only when it has come to its end: code that
/// loads it into a store throws that away if a later block is bad.
#[derive(Debug)]
pub struct SnapshotReader {
    file: Box<dyn StorageFile>,
    lsn: Lsn,
    size: u64,
    offset: u64,
    blocks: u32,
    rows: u64,
    sums: u32,
    last_key: Option<Bytes>,
    has_ended: bool,
}

impl SnapshotReader {
    /// Opens the snapshot of the log with this name, at this LSN.
    ///
    /// # Errors
    /// There is none, or its header is not that of such a snapshot.
    pub fn open(storage: &dyn Storage, log: [u8; 16], lsn: Lsn) -> Result<Self, SnapshotError> {
        let failed = |what| {
            move |source| {
                let fault = SnapshotFault::Io { what, source };
                SnapshotError { name: name_of(lsn), offset: 0, fault }
            }
        };
        let file = storage.open(&name_of(lsn)).map_err(failed("opening it"))?;
        let size = file.size().map_err(failed("asking for its size"))?;
        let mut reader = SnapshotReader {
            file,
            lsn,
            size,
            offset: 0,
            blocks: 0,
            rows: 0,
            sums: 0,
            last_key: None,
            has_ended: false,
        };
        let header = reader.take()?;
        let found = format::parse_header(&header, log).map_err(|fault| reader.error(fault))?;
        if found != lsn {
            return Err(reader.damaged("its name is that of another LSN"));
        }
        reader.offset = HEADER as u64;
        Ok(reader)
    }

    /// The rows of the next block; `None` at the end, when all of the file has been found to be right.
    ///
    /// # Errors
    /// The file can not be read, or is damaged.
    pub fn next_block(&mut self) -> Result<Option<Vec<Row>>, SnapshotError> {
        if self.has_ended {
            return Ok(None);
        }
        let head = self.take()?;
        let next = format::parse_block_head(head, self.blocks);
        match next.map_err(|fault| self.error(fault))? {
            Next::Block { rows, length } => self.block(rows, length).map(Some),
            Next::End => {
                let end = self.take()?;
                format::check_end(&end, self.blocks, self.rows, self.sums)
                    .map_err(|fault| self.error(fault))?;
                if self.offset + END as u64 != self.size {
                    return Err(self.damaged("something follows its end"));
                }
                self.has_ended = true;
                Ok(None)
            }
        }
    }

    /// How far it has come, in bytes, and of how many.
    pub fn progress(&self) -> (u64, u64) {
        (if self.has_ended { self.size } else { self.offset }, self.size)
    }

    fn block(&mut self, rows: u32, length: usize) -> Result<Vec<Row>, SnapshotError> {
        let whole = BLOCK_HEAD + length + CHECKSUM;
        if self.size - self.offset < whole as u64 {
            return Err(self.damaged("it ends within a block"));
        }
        let mut block = vec![0; whole];
        let read = read_exact_at(&*self.file, &mut block, self.offset);
        self.io("reading it", read)?;
        let (parsed, sum) =
            format::parse_block(block.into(), rows).map_err(|fault| self.error(fault))?;
        for row in &parsed {
            if self.last_key.as_ref().is_some_and(|last| *last >= row.key) {
                return Err(self.damaged("its keys are not in order"));
            }
            if row.stamp.lsn().is_none_or(|lsn| lsn > self.lsn) {
                return Err(self.damaged("a row is newer than the snapshot"));
            }
            self.last_key = Some(row.key.clone());
        }
        self.sums = format::chain(self.sums, sum);
        self.blocks += 1;
        self.rows += u64::from(rows);
        self.offset += whole as u64;
        Ok(parsed)
    }

    /// So many bytes from where it is, without going on.
    fn take<const COUNT: usize>(&self) -> Result<[u8; COUNT], SnapshotError> {
        let mut bytes = [0; COUNT];
        match read_exact_at(&*self.file, &mut bytes, self.offset) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(self.damaged("it ends too early"))
            }
            read => self.io("reading it", read).map(|()| bytes),
        }
    }

    fn io<T>(&self, what: &'static str, result: io::Result<T>) -> Result<T, SnapshotError> {
        result.map_err(|source| self.error(SnapshotFault::Io { what, source }))
    }

    fn damaged(&self, reason: &'static str) -> SnapshotError {
        self.error(format::damaged(reason))
    }

    fn error(&self, fault: SnapshotFault) -> SnapshotError {
        SnapshotError { name: name_of(self.lsn), offset: self.offset, fault }
    }
}
