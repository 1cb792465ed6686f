//! Where the writer gets fresh segments from.

use std::fmt;
use std::time::Duration;

use crate::error::IoFault;
use crate::format::segment::{SegmentHeader, scratch_name, segment_name};
use crate::format::{LogId, Place};
use crate::storage::Medium;
use crate::storage::prepare::{PreparedSegment, SegmentPlan};

/// What a segment is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// The current one is full. One prepared segment is left for a restart or the next open.
    Rotation,
    /// A new epoch after a fault: the last one may be taken.
    Restart,
}

/// The answer to the wish for a segment.
#[derive(Debug)]
pub enum Supply {
    /// Here it is.
    Ready(PreparedSegment),
    /// It is being prepared.
    NotYet,
    /// The disk is full.
    NoSpace(IoFault),
    /// It could not be prepared for another reason; it is tried again.
    Failed(IoFault),
}

/// Hands out prepared segments in the order of their sequence numbers, and takes old ones back.
pub trait SegmentSource: Send + fmt::Debug {
    /// A segment, if there is one.
    fn take(&mut self, need: Need) -> Supply;

    /// Waits until there may be one, or for this long.
    fn wait(&mut self, at_most: Duration);

    /// Takes back a segment that nobody needs any more, to be used again or removed.
    fn recycle(&mut self, name: String);
}

/// How the segments of one log are named and headed.
#[derive(Clone, Copy, Debug)]
pub struct SegmentStyle {
    /// The id of the log.
    pub log_id: LogId,
    /// The block size, in bytes.
    pub block_size: u32,
    /// The size of a full segment, in bytes.
    pub segment_size: u64,
    /// What kind of file system it is for.
    pub medium: Medium,
}

impl SegmentStyle {
    /// The place of the segment with this sequence number.
    pub fn place(&self, sequence: u64) -> Place {
        Place { log_id: self.log_id, sequence, block_size: self.block_size }
    }

    /// What the preparer has to know to make the segment with this sequence number.
    pub fn plan(&self, sequence: u64, size: u64, recycled: bool) -> SegmentPlan {
        let growing = self.medium == Medium::CopyOnWrite;
        let header = SegmentHeader { place: self.place(sequence), size, recycled, growing };
        SegmentPlan {
            name: segment_name(sequence),
            temp_name: scratch_name(sequence),
            header: header.encode(),
        }
    }
}
