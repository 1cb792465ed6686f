//! Format v1: pure bytes. No I/O, no clock, no actor; `docs/format.md` is the same on one page.
//!
//! ```text
//! segment  = segment header, padded to one block; frame*; unused space
//! frame    = frame header (104 bytes); record*; checksum (4 bytes); zeros to the end of the block
//! record   = length (4 bytes), flags (1 byte), payload
//! ```
//!
//! * [`segment`]: the first block of a file, and how files are named.
//! * [`frame`]: one flush, that is one write and one sync; what makes a frame valid is a numbered list.
//! * [`record`]: what clients appended, inside a frame.
//! * [`scan`]: walks the frames of one segment and says how it ends: clean, torn, or damaged.
//!
//! All numbers are little endian, and nothing depends on `usize` or on the layout of a struct.

pub mod frame;
pub mod record;
pub mod scan;
pub mod segment;

pub use crate::lsn::LogId;

/// The version of the format that this crate writes.
pub const FORMAT_VERSION: u32 = 1;

/// The size of a block where nothing else is configured, in bytes.
pub const DEFAULT_BLOCK_SIZE: u32 = 4096;

/// The smallest block: one sector of a disk.
pub const MIN_BLOCK_SIZE: u32 = 512;

/// The largest block.
pub const MAX_BLOCK_SIZE: u32 = 65_536;

/// Where a segment lies: what its header says, and what every frame in it must agree with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The log it belongs to.
    pub log_id: LogId,
    /// Its sequence number.
    pub sequence: u64,
    /// The block size of the segment, in bytes.
    pub block_size: u32,
}

impl Place {
    /// `bytes` rounded up to whole blocks.
    pub const fn align(&self, bytes: u64) -> u64 {
        bytes.div_ceil(self.block_size as u64) * self.block_size as u64
    }
}

/// A little-endian number at a fixed offset. The offsets are constants below the length of the slice.
macro_rules! read_le {
    ($bytes:expr, $at:expr, $type:ty) => {{
        let mut raw = [0u8; size_of::<$type>()];
        raw.copy_from_slice(&$bytes[$at..$at + size_of::<$type>()]);
        <$type>::from_le_bytes(raw)
    }};
}

/// Puts a little-endian number at a fixed offset.
macro_rules! write_le {
    ($bytes:expr, $at:expr, $value:expr) => {{
        let raw = $value.to_le_bytes();
        $bytes[$at..$at + raw.len()].copy_from_slice(&raw);
    }};
}

pub(crate) use {read_le, write_le};

/// Whether there is nothing but zeros. Recovery asks it of each block behind the end.
#[inline]
pub(crate) fn is_blank(bytes: &[u8]) -> bool {
    bytes.chunks(ZEROS.len()).all(|chunk| *chunk == ZEROS[..chunk.len()])
}

/// Compared in one go when looking for blank blocks: the longer, the faster.
static ZEROS: [u8; 4096] = [0; 4096];
