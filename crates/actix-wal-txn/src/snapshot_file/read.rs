//! Reading a snapshot file.

use std::io;

use actix_wal::Lsn;
use actix_wal::storage::{Storage, StorageFile, read_exact_at};
use bytes::Bytes;

use super::format::{self, BLOCK_HEAD, CHECKSUM, END, HEADER, LogName, Next};
use super::{Section, SnapshotError, SnapshotFault, name_of};
use crate::store::Row;
use crate::tokens::Token;

/// Reads a snapshot file, block by block. What it gives is proven to be right only when it has come to its end: code that
/// loads it into a store throws that away if a later block is bad.
#[derive(Debug)]
pub struct SnapshotReader {
    file: Box<dyn StorageFile>,
    log: LogName,
    lsn: Lsn,
    end: [u8; END],
    rows_at_end: u64,
    size: u64,
    offset: u64,
    blocks: u32,
    rows: u64,
    sums: u32,
    last_kind: u32,
    last_key: Option<Bytes>,
    has_ended: bool,
}

impl SnapshotReader {
    /// Opens the snapshot at this LSN, and looks at its header and its end. Which log it belongs to is for
    /// [`check_log`](Self::check_log) to say.
    ///
    /// # Errors
    /// There is none, or it neither begins nor ends as such a snapshot.
    pub fn open(storage: &dyn Storage, lsn: Lsn) -> Result<Self, SnapshotError> {
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
            log: LogName::default(),
            lsn,
            end: [0; END],
            rows_at_end: 0,
            size,
            offset: 0,
            blocks: 0,
            rows: 0,
            sums: 0,
            last_kind: 0,
            last_key: None,
            has_ended: false,
        };
        reader.read_header()?;
        reader.read_end()?;
        Ok(reader)
    }

    fn read_header(&mut self) -> Result<(), SnapshotError> {
        let (log, found) =
            format::parse_header(&self.take()?).map_err(|fault| self.error(fault))?;
        if found != self.lsn {
            return Err(self.damaged("its name is that of another LSN"));
        }
        self.log = log;
        self.offset = HEADER as u64;
        Ok(())
    }

    fn read_end(&mut self) -> Result<(), SnapshotError> {
        let Some(at) = self.size.checked_sub(END as u64).filter(|at| *at >= self.offset) else {
            return Err(self.damaged("it ends too early"));
        };
        let begins = std::mem::replace(&mut self.offset, at);
        self.end = self.take()?;
        self.rows_at_end = format::parse_end(&self.end).map_err(|fault| self.error(fault))?;
        self.offset = begins;
        Ok(())
    }

    /// Where the snapshot is.
    pub fn lsn(&self) -> Lsn {
        self.lsn
    }

    /// How many rows there are, by what the file says of itself: proven only at its end.
    pub fn rows(&self) -> u64 {
        // No damaged number asks for more memory than the file could fill.
        self.rows_at_end.min(self.size / format::ROW_HEAD as u64)
    }

    /// Its size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Whether it belongs to this log.
    ///
    /// # Errors
    /// It belongs to another one.
    pub fn check_log(&self, log: [u8; 16]) -> Result<(), SnapshotError> {
        if self.log == log {
            return Ok(());
        }
        let (expected, found) = (format::hex(log), format::hex(self.log));
        let fault = SnapshotFault::Foreign { expected, found };
        Err(SnapshotError { name: name_of(self.lsn), offset: 0, fault })
    }

    /// What the next block holds; `None` at the end, when all of the file has been found to be right.
    ///
    /// # Errors
    /// The file can not be read, is damaged, or has a block that this program does not know.
    pub fn next_block(&mut self) -> Result<Option<Section>, SnapshotError> {
        if self.has_ended {
            return Ok(None);
        }
        let head = self.take()?;
        let next = format::parse_block_head(head, self.blocks);
        match next.map_err(|fault| self.error(fault))? {
            Next::Block { kind, entries, length } => self.block(kind, entries, length).map(Some),
            Next::End if self.offset + END as u64 != self.size => {
                Err(self.damaged("something follows its end"))
            }
            Next::End => {
                format::check_end(&self.end, self.blocks, self.rows, self.sums)
                    .map_err(|fault| self.error(fault))?;
                self.has_ended = true;
                Ok(None)
            }
        }
    }

    /// How far it has come, in bytes, and of how many.
    pub fn progress(&self) -> (u64, u64) {
        (if self.has_ended { self.size } else { self.offset }, self.size)
    }

    fn block(&mut self, kind: u32, entries: u32, length: usize) -> Result<Section, SnapshotError> {
        let whole = BLOCK_HEAD + length + CHECKSUM;
        if self.size - self.offset < whole as u64 {
            return Err(self.damaged("it ends within a block"));
        }
        let mut block = vec![0; whole];
        let read = read_exact_at(&*self.file, &mut block, self.offset);
        self.io("reading it", read)?;
        let parsed = format::parse_block(block.into(), kind, entries);
        let (section, sum) = parsed.map_err(|fault| self.error(fault))?;
        if kind < self.last_kind {
            return Err(self.damaged("its blocks are not in the order of their kinds"));
        }
        match &section {
            Section::Rows(rows) => self.check_rows(rows)?,
            Section::Tokens { tokens, .. } => self.check_tokens(tokens)?,
            Section::Branches(_) => {}
        }
        self.last_kind = kind;
        self.sums = format::chain(self.sums, sum);
        self.blocks += 1;
        self.offset += whole as u64;
        Ok(section)
    }

    fn check_rows(&mut self, rows: &[Row]) -> Result<(), SnapshotError> {
        let mut last = self.last_key.as_ref();
        for row in rows {
            if last.is_some_and(|last| *last >= row.key) {
                return Err(self.damaged("its keys are not in order"));
            }
            if row.stamp.lsn().is_none_or(|lsn| lsn > self.lsn) {
                return Err(self.damaged("a row is newer than the snapshot"));
            }
            last = Some(&row.key);
        }
        self.last_key = last.cloned();
        self.rows += rows.len() as u64;
        Ok(())
    }

    fn check_tokens(&self, tokens: &[(Token, Lsn)]) -> Result<(), SnapshotError> {
        if tokens.iter().any(|(_, lsn)| *lsn > self.lsn) {
            return Err(self.damaged("a token is newer than the snapshot"));
        }
        Ok(())
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
