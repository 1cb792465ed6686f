//! Flushing.

use actix::Message;

use crate::error::CommitError;
use crate::lsn::Lsn;

/// Make everything durable that the Appender has accepted so far, without waiting for a batch.
///
/// Sent by clients, answered by the Appender with the LSN up to which everything is durable then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flush;

impl Message for Flush {
    type Result = Result<Lsn, CommitError>;
}
