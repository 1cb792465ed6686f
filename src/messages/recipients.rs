//! Where to send what.

use actix::Recipient;

use super::wire::{Await, Collect};
use super::{
    Append, AppendAll, Checkpoint, Close, Commit, Flush, GetSegments, GetStats, GetStatus, Read,
    ReadRange, Rotate, Subscribe, Unsubscribe, WaitForLsn,
};

/// Where each message of a log goes: for actors that would rather send than call. Get it from
/// [`Wal::recipients`](crate::Wal::recipients).
///
/// It keeps the actors of the log alive, but not the log open: that closes with its last handle.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
#[non_exhaustive]
pub struct Recipients {
    pub append: Recipient<Append>,
    pub append_all: Recipient<AppendAll>,
    pub commit: Recipient<Commit>,
    pub(crate) collect: Recipient<Collect>,
    pub wait_for_lsn: Recipient<WaitForLsn>,
    pub(crate) wait: Recipient<Await>,
    pub flush: Recipient<Flush>,
    pub subscribe: Recipient<Subscribe>,
    pub unsubscribe: Recipient<Unsubscribe>,
    pub checkpoint: Recipient<Checkpoint>,
    pub read: Recipient<Read>,
    pub read_range: Recipient<ReadRange>,
    pub get_segments: Recipient<GetSegments>,
    pub rotate: Recipient<Rotate>,
    pub get_stats: Recipient<GetStats>,
    pub get_status: Recipient<GetStatus>,
    pub close: Recipient<Close>,
}
