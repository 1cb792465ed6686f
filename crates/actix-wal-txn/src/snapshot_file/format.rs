//! The bytes of a snapshot file, without I/O. See the [module above](super).

use actix_wal::Lsn;
use actix_wal::codec::{Bincode, Codec};
use bytes::{Buf, BufMut, Bytes};

use super::{Section, SnapshotFault};
use crate::store::{Row, Stamp};
use crate::tokens::Token;

pub(super) const VERSION: u32 = 1;
pub(super) const HEADER: usize = 8 + 4 + 4 + 16 + 8 + 4;
/// A block without its entries, and its checksum behind them.
pub(super) const BLOCK_HEAD: usize = 4 + 4 + 4 + 4 + 4;
pub(super) const CHECKSUM: usize = 4;
pub(super) const END: usize = 4 + 4 + 8 + 4 + 4;
pub(super) const ROW_HEAD: usize = 4 + 4 + 8;
pub(super) const TOKEN_HEAD: usize = 8 + 1;
/// No block is longer, so that no damaged length asks for memory. A row may have a block of its own.
pub(super) const MAX_BLOCK: usize = 1 << 30;

const MAGIC: &[u8; 8] = b"AWTXSNAP";
const BLOCK: &[u8; 4] = b"BLCK";
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

/// The log and the LSN of a file with this header.
pub(super) fn parse_header(bytes: &[u8; HEADER]) -> Result<(LogName, Lsn), SnapshotFault> {
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
    let mut log = LogName::default();
    rest.copy_to_slice(&mut log);
    Ok((log, Lsn::new(rest.get_u64_le())))
}

pub(super) fn hex(log: LogName) -> String {
    log.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What the entries of a block are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Rows = 1,
    Tokens = 2,
    Branches = 3,
}

/// Entries of one kind on their way into a block.
#[derive(Debug)]
pub(super) struct Block {
    kind: Kind,
    bytes: Vec<u8>,
    entries: u32,
}

impl Block {
    pub(super) fn new(kind: Kind) -> Self {
        Block { kind, bytes: vec![0; BLOCK_HEAD], entries: 0 }
    }

    pub(super) fn push(&mut self, row: &Row, lsn: Lsn) {
        // No value is longer than a record of the log, whose length is a u32.
        self.bytes.put_u32_le(row.key.len() as u32);
        self.bytes.put_u32_le(row.value.len() as u32);
        self.bytes.put_u64_le(lsn.get());
        self.bytes.put_slice(&row.key);
        self.bytes.put_slice(&row.value);
        self.entries += 1;
    }

    /// All tokens of a block, behind the word on whether others were forgotten.
    pub(super) fn put_tokens(&mut self, tokens: &[(Token, Lsn)], complete: bool) {
        self.bytes.put_u8(u8::from(complete));
        for (token, lsn) in tokens {
            self.bytes.put_u64_le(lsn.get());
            // A token has at most 64 bytes.
            self.bytes.put_u8(token.as_bytes().len() as u8);
            self.bytes.put_slice(token.as_bytes());
        }
        self.entries += tokens.len() as u32;
    }

    /// What two-phase commit has to keep, as a serde value.
    pub(super) fn put_branches(&mut self, encoded: &[u8]) {
        self.bytes.put_slice(encoded);
        self.entries += 1;
    }

    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.len() == BLOCK_HEAD
    }

    pub(super) fn entries(&self) -> u32 {
        self.entries
    }

    /// The block as it stands in the file.
    pub(super) fn finish(self, number: u32) -> Vec<u8> {
        let mut bytes = self.bytes;
        let length = (bytes.len() - BLOCK_HEAD) as u32;
        let mut head = &mut bytes[..BLOCK_HEAD];
        head.put_slice(BLOCK);
        head.put_u32_le(number);
        head.put_u32_le(self.kind as u32);
        head.put_u32_le(self.entries);
        head.put_u32_le(length);
        seal(bytes)
    }
}

/// What comes next in a file.
#[derive(Debug)]
pub(super) enum Next {
    Block { kind: u32, entries: u32, length: usize },
    End,
}

pub(super) fn parse_block_head(head: [u8; BLOCK_HEAD], number: u32) -> Result<Next, SnapshotFault> {
    let mut rest = &head[..];
    let tag = rest.copy_to_bytes(BLOCK.len());
    if tag == LAST[..] {
        return Ok(Next::End);
    }
    if tag != BLOCK[..] {
        return Err(damaged("neither a block nor the end begins here"));
    }
    if rest.get_u32_le() != number {
        return Err(damaged("this is not the block that comes next"));
    }
    let (kind, entries) = (rest.get_u32_le(), rest.get_u32_le());
    let length = rest.get_u32_le() as usize;
    if length > MAX_BLOCK {
        return Err(damaged("no block is as long as this one says"));
    }
    Ok(Next::Block { kind, entries, length })
}

/// What a whole block holds, which shares its memory, and its checksum.
pub(super) fn parse_block(
    block: Bytes,
    kind: u32,
    entries: u32,
) -> Result<(Section, u32), SnapshotFault> {
    let sum = check(&block, "the checksum of the block does not fit")?;
    let content = block.slice(BLOCK_HEAD..block.len() - CHECKSUM);
    // Only now is it certain that somebody wrote this kind.
    let (section, found) = match kind {
        1 => {
            let rows = parse_rows(&content, entries as usize)?;
            let found = rows.len();
            (Section::Rows(rows), found)
        }
        2 => {
            let (tokens, complete) = parse_tokens(&content)?;
            let found = tokens.len();
            (Section::Tokens { tokens, complete }, found)
        }
        3 => {
            let branches = Bincode.decode(&content);
            (
                Section::Branches(
                    branches.map_err(|_| damaged("what is prepared can not be read"))?,
                ),
                1,
            )
        }
        kind => return Err(SnapshotFault::UnknownKind { kind }),
    };
    if found != entries as usize {
        return Err(damaged("the block has another number of entries than it says"));
    }
    Ok((section, sum))
}

fn parse_rows(content: &Bytes, entries: usize) -> Result<Vec<Row>, SnapshotFault> {
    let mut rows = Vec::with_capacity(entries.min(content.len() / ROW_HEAD));
    let mut rest = &content[..];
    while !rest.is_empty() {
        if rest.len() < ROW_HEAD {
            return Err(damaged("a row ends too early"));
        }
        let (key, value) = (rest.get_u32_le() as usize, rest.get_u32_le() as usize);
        let lsn = Lsn::new(rest.get_u64_le());
        let length = key.saturating_add(value);
        if rest.len() < length {
            return Err(damaged("a row is longer than its block"));
        }
        let at = content.len() - rest.len();
        rest.advance(length);
        let (key, value) = (content.slice(at..at + key), content.slice(at + key..at + length));
        rows.push(Row { key, value, stamp: Stamp::of(lsn) });
    }
    Ok(rows)
}

fn parse_tokens(content: &[u8]) -> Result<(Vec<(Token, Lsn)>, bool), SnapshotFault> {
    let Some((complete, mut rest)) = content.split_first() else {
        return Err(damaged("a block of tokens is empty"));
    };
    let mut tokens = Vec::new();
    while !rest.is_empty() {
        if rest.len() < TOKEN_HEAD {
            return Err(damaged("a token ends too early"));
        }
        let (lsn, length) = (Lsn::new(rest.get_u64_le()), usize::from(rest.get_u8()));
        if rest.len() < length {
            return Err(damaged("a token is longer than its block"));
        }
        let token = Token::new(rest.copy_to_bytes(length));
        tokens.push((token.map_err(|_| damaged("a token is too long"))?, lsn));
    }
    Ok((tokens, *complete == 1))
}

pub(super) fn end(blocks: u32, rows: u64, sums: u32) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(END);
    bytes.put_slice(LAST);
    bytes.put_u32_le(blocks);
    bytes.put_u64_le(rows);
    bytes.put_u32_le(sums);
    seal(bytes)
}

/// How many rows a file says that it has, by its end.
pub(super) fn parse_end(bytes: &[u8; END]) -> Result<u64, SnapshotFault> {
    check(bytes, "the checksum of the end does not fit")?;
    let mut rest = &bytes[..];
    if rest.copy_to_bytes(LAST.len()) != LAST[..] {
        return Err(damaged("it does not end as a snapshot"));
    }
    rest.advance(4);
    Ok(rest.get_u64_le())
}

/// Compares the end of a file with what was read before it.
pub(super) fn check_end(
    bytes: &[u8; END],
    blocks: u32,
    rows: u64,
    sums: u32,
) -> Result<(), SnapshotFault> {
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
