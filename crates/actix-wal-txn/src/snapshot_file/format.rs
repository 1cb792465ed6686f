//! The bytes of a snapshot file, without I/O. See the [module above](super).

use actix_wal::Lsn;
use bytes::{Buf, BufMut, Bytes};

use super::SnapshotFault;
use crate::store::{Row, Stamp};

pub(super) const VERSION: u32 = 1;
pub(super) const HEADER: usize = 8 + 4 + 4 + 16 + 8 + 4;
/// A block without its rows, and its checksum behind them.
pub(super) const BLOCK_HEAD: usize = 4 + 4 + 4 + 4;
pub(super) const CHECKSUM: usize = 4;
pub(super) const END: usize = 4 + 4 + 8 + 4 + 4;
pub(super) const ROW_HEAD: usize = 4 + 4 + 8;
/// No block is longer, so that no damaged length asks for memory. A row may have a block of its own.
pub(super) const MAX_BLOCK: usize = 1 << 30;

const MAGIC: &[u8; 8] = b"AWTXSNAP";
const ROWS: &[u8; 4] = b"ROWS";
const LAST: &[u8; 4] = b"END!";

/// The name of a log: 16 bytes that no other log has.
pub(super) type LogName = [u8; 16];

pub(super) fn header(log: LogName, lsn: Lsn) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER);
    bytes.put_slice(MAGIC);
    bytes.put_u32_le(VERSION);
    bytes.put_u32_le(0);
    bytes.put_slice(&log);
    bytes.put_u64_le(lsn.get());
    seal(bytes)
}

/// The LSN of a file with this header.
pub(super) fn parse_header(bytes: &[u8; HEADER], log: LogName) -> Result<Lsn, SnapshotFault> {
    let mut rest = &bytes[..];
    if rest.copy_to_bytes(MAGIC.len()) != MAGIC[..] {
        return Err(damaged("it does not begin as a snapshot"));
    }
    // The version comes before the checksum: a newer one may have another header.
    let version = rest.get_u32_le();
    if version > VERSION {
        return Err(SnapshotFault::Newer { version, newest: VERSION });
    }
    check(bytes, "the checksum of the header does not fit")?;
    rest.advance(4);
    let mut found = LogName::default();
    rest.copy_to_slice(&mut found);
    if found != log {
        let (expected, found) = (hex(log), hex(found));
        return Err(SnapshotFault::Foreign { expected, found });
    }
    Ok(Lsn::new(rest.get_u64_le()))
}

fn hex(log: LogName) -> String {
    log.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Rows on their way into a block.
#[derive(Debug, Default)]
pub(super) struct Block {
    bytes: Vec<u8>,
    rows: u32,
}

impl Block {
    pub(super) fn push(&mut self, row: &Row, lsn: Lsn) {
        if self.bytes.is_empty() {
            self.bytes.resize(BLOCK_HEAD, 0);
        }
        // No value is longer than a record of the log, whose length is a u32.
        self.bytes.put_u32_le(row.key.len() as u32);
        self.bytes.put_u32_le(row.value.len() as u32);
        self.bytes.put_u64_le(lsn.get());
        self.bytes.put_slice(&row.key);
        self.bytes.put_slice(&row.value);
        self.rows += 1;
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn rows(&self) -> u32 {
        self.rows
    }

    /// The block as it stands in the file.
    pub(super) fn finish(self, number: u32) -> Vec<u8> {
        let mut bytes = self.bytes;
        let length = (bytes.len() - BLOCK_HEAD) as u32;
        let mut head = &mut bytes[..BLOCK_HEAD];
        head.put_slice(ROWS);
        head.put_u32_le(number);
        head.put_u32_le(self.rows);
        head.put_u32_le(length);
        seal(bytes)
    }
}

/// What comes next in a file.
#[derive(Debug)]
pub(super) enum Next {
    Block { rows: u32, length: usize },
    End,
}

pub(super) fn parse_block_head(head: [u8; BLOCK_HEAD], number: u32) -> Result<Next, SnapshotFault> {
    let mut rest = &head[..];
    let tag = rest.copy_to_bytes(ROWS.len());
    if tag == LAST[..] {
        return Ok(Next::End);
    }
    if tag != ROWS[..] {
        return Err(damaged("neither a block nor the end begins here"));
    }
    if rest.get_u32_le() != number {
        return Err(damaged("this is not the block that comes next"));
    }
    let (rows, length) = (rest.get_u32_le(), rest.get_u32_le() as usize);
    if length > MAX_BLOCK {
        return Err(damaged("no block is as long as this one says"));
    }
    Ok(Next::Block { rows, length })
}

/// The rows of a whole block, which share its memory, and its checksum.
pub(super) fn parse_block(block: Bytes, rows: u32) -> Result<(Vec<Row>, u32), SnapshotFault> {
    let sum = check(&block, "the checksum of the block does not fit")?;
    let mut rest = block.slice(BLOCK_HEAD..block.len() - CHECKSUM);
    let mut parsed = Vec::with_capacity((rows as usize).min(rest.len() / ROW_HEAD));
    while !rest.is_empty() {
        if rest.len() < ROW_HEAD {
            return Err(damaged("a row ends too early"));
        }
        let (key, value) = (rest.get_u32_le() as usize, rest.get_u32_le() as usize);
        let lsn = Lsn::new(rest.get_u64_le());
        if rest.len() < key.saturating_add(value) {
            return Err(damaged("a row is longer than its block"));
        }
        let (key, value) = (rest.split_to(key), rest.split_to(value));
        parsed.push(Row { key, value, stamp: Stamp::of(lsn) });
    }
    if parsed.len() != rows as usize {
        return Err(damaged("the block has another number of rows than it says"));
    }
    Ok((parsed, sum))
}

pub(super) fn end(blocks: u32, rows: u64, sums: u32) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(END);
    bytes.put_slice(LAST);
    bytes.put_u32_le(blocks);
    bytes.put_u64_le(rows);
    bytes.put_u32_le(sums);
    seal(bytes)
}

/// Compares the end of a file with what was read before it.
pub(super) fn check_end(
    bytes: &[u8; END],
    blocks: u32,
    rows: u64,
    sums: u32,
) -> Result<(), SnapshotFault> {
    check(bytes, "the checksum of the end does not fit")?;
    if bytes[..] != end(blocks, rows, sums) {
        return Err(damaged("the end does not fit what comes before it"));
    }
    Ok(())
}

pub(super) fn damaged(reason: &'static str) -> SnapshotFault {
    SnapshotFault::Damaged { reason }
}

/// Adds the checksum.
fn seal(mut bytes: Vec<u8>) -> Vec<u8> {
    let sum = crc32fast::hash(&bytes);
    bytes.put_u32_le(sum);
    bytes
}

/// The checksum, if it fits.
fn check(bytes: &[u8], reason: &'static str) -> Result<u32, SnapshotFault> {
    let (content, mut sum) = bytes.split_at(bytes.len() - CHECKSUM);
    let sum = sum.get_u32_le();
    if crc32fast::hash(content) == sum { Ok(sum) } else { Err(damaged(reason)) }
}

/// The checksum of all checksums so far, and one more.
pub(super) fn chain(sums: u32, next: u32) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(sums);
    hasher.update(&next.to_le_bytes());
    hasher.finalize()
}
