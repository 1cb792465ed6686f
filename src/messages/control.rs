//! Everything else that a host asks of a log.

use actix::Message;

use crate::engine::read::cursor::Cursor;
use crate::engine::segments::catalog::SegmentInfo;
use crate::error::{Cause, CheckpointError, CloseError, ReadError, RotateError};
use crate::lsn::{Lsn, LsnRange};
use crate::status::{Stats, Status};

/// The host needs nothing up to this LSN any more: it has it elsewhere, durably. From then on a replay begins
/// behind it, at [`Status::low_water`]` + 1`.
///
/// Sent by hosts, answered by the Flusher with the low-water mark once segments that hold nothing else
/// have been given up for reuse. A dropped answer means that it may or may not have happened; both are
/// safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint(
    /// The last LSN that is not needed, inclusive; it must be durable.
    pub Lsn,
);

impl Message for Checkpoint {
    type Result = Result<Lsn, CheckpointError>;
}

/// Read durable records from this LSN on.
///
/// Sent by readers, answered by the Flusher with a cursor. The cursor blocks on file reads: use it on a
/// thread that may, or use the stream of the handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read {
    /// The first LSN to read.
    pub from: Lsn,
}

impl Message for Read {
    type Result = Result<Cursor, ReadError>;
}

/// Read the durable records of a range.
///
/// Sent by readers, answered by the Flusher with a cursor that ends behind the range; see [`Read`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadRange(
    /// The LSNs, all of them durable and none of them released.
    pub LsnRange,
);

impl Message for ReadRange {
    type Result = Result<Cursor, ReadError>;
}

/// Which files the log consists of. Answered by the Flusher, in LSN order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GetSegments;

impl Message for GetSegments {
    type Result = Vec<SegmentInfo>;
}

/// Complete the segment that is being written, so that it can be copied away.
///
/// Sent by hosts, answered by the Flusher when the log goes on in another segment, with the last LSN that lies
/// in a complete one: at least what was durable when this was sent. If nothing was durable in the current
/// segment, it stays, and the answer comes at once. A dropped answer means that it may or may not have happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rotate;

impl Message for Rotate {
    type Result = Result<Lsn, RotateError>;
}

/// What has been counted. Answered by the Flusher.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GetStats;

impl Message for GetStats {
    type Result = Stats;
}

/// The state at a glance. Answered by the Flusher.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GetStatus;

impl Message for GetStatus {
    type Result = Status;
}

/// Answered by the Flusher once its thread runs and appends are taken, or with why that can not be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AwaitStart;

impl Message for AwaitStart {
    type Result = Result<(), Cause>;
}

/// Close the log: take no more, make durable what was accepted, write the close frame, give the
/// directory back.
///
/// Sent by hosts, answered by the Flusher when the directory can be opened again, unless a reader still
/// has a file of it open: drop the streams first. A dropped answer means
/// that the Flusher went away; acknowledged records are safe, and the next open repairs what is left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Close;

impl Message for Close {
    type Result = Result<(), CloseError>;
}
