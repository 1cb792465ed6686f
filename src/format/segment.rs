//! The segment header: the first block of every file, and the names of the files.
//!
//! It is all that is written when a segment is prepared, long before it is used, and it never changes:
//! whatever varies travels in frames.

use thiserror::Error;

use super::{FORMAT_VERSION, MAX_BLOCK_SIZE, MIN_BLOCK_SIZE, Place, read_le, write_le};
use crate::lsn::LogId;

/// The first bytes of every segment.
pub const SEGMENT_MAGIC: [u8; 8] = *b"actixwal";

/// The meaningful bytes of a segment header; the rest of its block is zero.
pub const SEGMENT_HEADER_LEN: usize = CHECKSUM_AT + 4;

const VERSION_AT: usize = SEGMENT_MAGIC.len();
const FLAGS_AT: usize = VERSION_AT + 4;
const LOG_ID_AT: usize = FLAGS_AT + 4;
const SEQUENCE_AT: usize = LOG_ID_AT + 16;
const SIZE_AT: usize = SEQUENCE_AT + 8;
const BLOCK_SIZE_AT: usize = SIZE_AT + 8;
const CHECKSUM_AT: usize = BLOCK_SIZE_AT + 4;

const _: () = assert!(SEGMENT_HEADER_LEN <= MIN_BLOCK_SIZE as usize);

/// The space behind the header may hold bytes of an earlier life of the file.
const FLAG_RECYCLED: u32 = 1;
/// The file grows as it is written (copy-on-write file systems), so a short one is not a cut one.
const FLAG_GROWING: u32 = 2;

/// What the first block of a segment says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The log, the sequence number and the block size.
    pub place: Place,
    /// The size of the whole segment in bytes, header included; a multiple of the block size.
    pub size: u64,
    /// Whether the space behind the header may hold bytes of an earlier life of the file.
    pub recycled: bool,
    /// Whether the file grows as it is written, instead of having its full size from the start.
    pub growing: bool,
}

impl SegmentHeader {
    /// How many bytes of a file of this length belong to the segment.
    pub fn len_in(&self, file_len: u64) -> u64 {
        if self.growing { file_len } else { file_len.min(self.size) }
    }

    /// The header as one whole block.
    pub fn encode(&self) -> Vec<u8> {
        let mut block = vec![0u8; self.place.block_size as usize];
        let flags = if self.recycled { FLAG_RECYCLED } else { 0 }
            | if self.growing { FLAG_GROWING } else { 0 };
        block[..VERSION_AT].copy_from_slice(&SEGMENT_MAGIC);
        write_le!(block, VERSION_AT, FORMAT_VERSION);
        write_le!(block, FLAGS_AT, flags);
        block[LOG_ID_AT..SEQUENCE_AT].copy_from_slice(&self.place.log_id.0);
        write_le!(block, SEQUENCE_AT, self.place.sequence);
        write_le!(block, SIZE_AT, self.size);
        write_le!(block, BLOCK_SIZE_AT, self.place.block_size);
        let checksum = crc32fast::hash(&block[..CHECKSUM_AT]);
        write_le!(block, CHECKSUM_AT, checksum);
        block
    }

    /// Reads a header from the first bytes of a file.
    ///
    /// # Errors
    /// Says which part is not that of a valid header.
    pub fn decode(bytes: &[u8]) -> Result<Self, HeaderFault> {
        if bytes.len() < SEGMENT_HEADER_LEN {
            return Err(HeaderFault::Short { len: bytes.len() });
        }
        if bytes[..VERSION_AT] != SEGMENT_MAGIC {
            return Err(HeaderFault::Magic);
        }
        // The version comes before the checksum, so that a later format may move the checksum.
        let version = read_le!(bytes, VERSION_AT, u32);
        let sound = read_le!(bytes, CHECKSUM_AT, u32) == crc32fast::hash(&bytes[..CHECKSUM_AT]);
        if version > FORMAT_VERSION {
            return Err(HeaderFault::Version { found: version });
        }
        if !sound || version == 0 {
            return Err(HeaderFault::Checksum);
        }
        let mut log_id = [0u8; 16];
        log_id.copy_from_slice(&bytes[LOG_ID_AT..SEQUENCE_AT]);
        let block_size = read_le!(bytes, BLOCK_SIZE_AT, u32);
        let size = read_le!(bytes, SIZE_AT, u64);
        let flags = read_le!(bytes, FLAGS_AT, u32);
        if !block_size_is_valid(block_size)
            || size < u64::from(block_size)
            || !size.is_multiple_of(u64::from(block_size))
            || size >= 1 << 32
            || flags & !(FLAG_RECYCLED | FLAG_GROWING) != 0
        {
            return Err(HeaderFault::Fields);
        }
        let sequence = read_le!(bytes, SEQUENCE_AT, u64);
        Ok(SegmentHeader {
            place: Place { log_id: LogId(log_id), sequence, block_size },
            size,
            recycled: flags & FLAG_RECYCLED != 0,
            growing: flags & FLAG_GROWING != 0,
        })
    }
}

/// Whether segments may be cut into blocks of this size: a power of two from 512 to 65,536.
pub const fn block_size_is_valid(block_size: u32) -> bool {
    block_size.is_power_of_two() && block_size >= MIN_BLOCK_SIZE && block_size <= MAX_BLOCK_SIZE
}

/// Why bytes are not a segment header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum HeaderFault {
    /// The file ends before the header does.
    #[error("the file has only {len} bytes, too few for a segment header")]
    Short {
        /// The bytes that are there.
        len: usize,
    },
    /// The first bytes are not those of a segment.
    #[error("the first bytes are not those of a segment")]
    Magic,
    /// A later version of this crate wrote it.
    #[error(
        "format version {found} is newer than this crate, which reads up to version {FORMAT_VERSION}"
    )]
    Version {
        /// The version it claims.
        found: u32,
    },
    /// The checksum does not match.
    #[error("the checksum of the segment header does not match")]
    Checksum,
    /// The checksum matches, but a field has a value that this version never writes.
    #[error("a field of the segment header has an impossible value")]
    Fields,
}

const SEGMENT_SUFFIX: &str = ".wal";

/// What a file in a log's directory is, by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A segment with this sequence number.
    Segment(u64),
    /// The segment with this sequence number, while it is prepared; nothing in it is part of the log.
    Scratch(u64),
    /// The segment with this sequence number, set aside by the salvage policy; never read again.
    SetAside(u64),
    /// No name of ours, but like that of the segment with this sequence number: compressed, a backup, in capital
    /// letters. The largest number stands for those that are larger still.
    Alike(u64),
    /// Not ours.
    Other,
}

/// The name of the segment with this sequence number.
pub fn segment_name(sequence: u64) -> String {
    format!("{sequence:020}{SEGMENT_SUFFIX}")
}

/// The name under which that segment is prepared before it is renamed into place.
pub fn scratch_name(sequence: u64) -> String {
    format!("{sequence:020}{SEGMENT_SUFFIX}.tmp")
}

/// The name under which the salvage policy keeps a segment that it took out of the log.
pub fn set_aside_name(sequence: u64) -> String {
    format!("{sequence:020}{SEGMENT_SUFFIX}.damaged")
}

/// What a file is, by its name.
pub fn file_kind(name: &str) -> FileKind {
    let Some((digits, behind, is_begin)) = twenty_digits(name) else {
        return FileKind::Other;
    };
    let Ok(sequence) = digits.parse() else {
        return FileKind::Alike(u64::MAX);
    };
    match behind {
        SEGMENT_SUFFIX if is_begin => FileKind::Segment(sequence),
        ".wal.tmp" if is_begin => FileKind::Scratch(sequence),
        _ if is_begin && is_set_aside(behind) => FileKind::SetAside(sequence),
        _ => FileKind::Alike(sequence),
    }
}

/// The first run of exactly 20 digits that `.wal` follows, in any case, or that the name begins with and no
/// letter follows; what stands behind it, and whether the name begins with it.
fn twenty_digits(name: &str) -> Option<(&str, &str, bool)> {
    let (mut at, mut rest) = (0, name);
    while let Some(skipped) = rest.find(|c: char| c.is_ascii_digit()) {
        let begin = at + skipped;
        let run = &name[begin..];
        let (digits, behind) =
            run.split_at(run.find(|c: char| !c.is_ascii_digit()).unwrap_or(run.len()));
        let has_suffix = behind
            .get(..SEGMENT_SUFFIX.len())
            .is_some_and(|suffix| suffix.eq_ignore_ascii_case(SEGMENT_SUFFIX));
        let stands_alone = begin == 0 && !behind.starts_with(char::is_alphanumeric);
        if digits.len() == 20 && (has_suffix || stands_alone) {
            return Some((digits, behind, begin == 0));
        }
        (at, rest) = (begin + digits.len(), behind);
    }
    None
}

/// `.wal.damaged`, or with a number behind where several lie there.
fn is_set_aside(behind: &str) -> bool {
    let is_number = |copy: &str| !copy.is_empty() && copy.bytes().all(|byte| byte.is_ascii_digit());
    behind
        .strip_prefix(".wal.damaged")
        .is_some_and(|copy| copy.is_empty() || copy.strip_prefix('.').is_some_and(is_number))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> SegmentHeader {
        SegmentHeader {
            place: Place { log_id: LogId([7; 16]), sequence: 42, block_size: 512 },
            size: 8192,
            recycled: true,
            growing: false,
        }
    }

    #[test]
    fn a_header_reads_back_as_it_was_written() {
        let block = header().encode();
        assert_eq!(block.len(), 512);
        assert_eq!(SegmentHeader::decode(&block), Ok(header()));
    }

    #[test]
    fn every_flipped_bit_of_a_header_is_noticed() {
        let block = header().encode();
        for bit in 0..SEGMENT_HEADER_LEN * 8 {
            let mut bent = block.clone();
            bent[bit / 8] ^= 1 << (bit % 8);
            assert!(SegmentHeader::decode(&bent).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_newer_version_is_told_from_damage() {
        let mut block = header().encode();
        write_le!(block, VERSION_AT, 2u32);
        assert_eq!(SegmentHeader::decode(&block), Err(HeaderFault::Version { found: 2 }));
    }

    #[test]
    fn a_header_cut_short_is_an_error_at_every_length() {
        let block = header().encode();
        for len in 0..SEGMENT_HEADER_LEN {
            assert_eq!(SegmentHeader::decode(&block[..len]), Err(HeaderFault::Short { len }));
        }
    }

    #[test]
    fn an_impossible_size_is_refused_although_the_checksum_matches() {
        let four_gib = 1 << 32;
        for (size, good) in [
            (0, false),
            (512, true),
            (768, false),
            (1024, true),
            (four_gib - 512, true),
            (four_gib, false),
            (four_gib + 512, false),
        ] {
            let block = SegmentHeader { size, ..header() }.encode();
            assert_eq!(SegmentHeader::decode(&block).is_ok(), good, "{size}");
        }
    }

    #[test]
    fn an_impossible_block_size_is_refused_although_the_checksum_matches() {
        for (block_size, good) in [
            (256, false),
            (512, true),
            (768, false),
            (1024, true),
            (MAX_BLOCK_SIZE, true),
            (MAX_BLOCK_SIZE + 512, false),
            (2 * MAX_BLOCK_SIZE, false),
        ] {
            let place = Place { block_size, ..header().place };
            let size = 4 * u64::from(block_size);
            let block = SegmentHeader { place, size, ..header() }.encode();
            assert_eq!(SegmentHeader::decode(&block).is_ok(), good, "{block_size}");
        }
    }

    #[test]
    fn names_are_read_back_to_what_they_name() {
        assert_eq!(segment_name(7), "00000000000000000007.wal");
        assert_eq!(file_kind(&segment_name(u64::MAX)), FileKind::Segment(u64::MAX));
        assert_eq!(file_kind(&scratch_name(7)), FileKind::Scratch(7));
        assert_eq!(file_kind(&set_aside_name(7)), FileKind::SetAside(7));
        assert_eq!(file_kind(&format!("{}.2", set_aside_name(7))), FileKind::SetAside(7));
        assert_eq!(file_kind("99999999999999999999.wal"), FileKind::Alike(u64::MAX));
    }

    #[test]
    fn names_that_are_like_those_of_a_log_are_told_from_all_others() {
        let alike = [
            "00000000000000000007",
            "00000000000000000007.gz",
            "00000000000000000007.log",
            "00000000000000000007~",
            "00000000000000000007 (copy)",
            "00000000000000000007.wal.gz",
            "00000000000000000007.wal.zst",
            "00000000000000000007.wal.bak",
            "00000000000000000007.wal.1",
            "00000000000000000007.wal~",
            "00000000000000000007.WAL",
            "00000000000000000007.Wal",
            "00000000000000000007.WAL.TMP",
            "00000000000000000007.wal.tmp.gz",
            "00000000000000000007.wal.damaged.gz",
            "00000000000000000007.wal.damaged.",
            ".00000000000000000007.wal.Ab3xYz",
            "._00000000000000000007.wal",
            ".#00000000000000000007.wal",
            "old-00000000000000000007.wal",
            "12-00000000000000000007.wal",
            "00000000000000000007.wal\u{fffd}",
        ];
        for name in alike {
            assert_eq!(file_kind(name), FileKind::Alike(7), "{name}");
        }
        let other = [
            "7.wal",
            "x",
            "",
            "x.wal",
            ".wal",
            "lost+found",
            "LOCK",
            ".nfs000000000000000100000007",
            "0000000000000000007.wal",
            "000000000000000000007.wal",
            "x00000000000000000007",
            "00000000000000000007a",
            "0000000000000000000\u{667}.wal",
        ];
        for name in other {
            assert_eq!(file_kind(name), FileKind::Other, "{name}");
        }
    }
}
