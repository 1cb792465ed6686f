//! What travels from the Appender to the flush thread.

use bytes::Bytes;

use super::clock::Tick;
use crate::config::Durability;
/// The bytes that a record takes in a frame beside its payload. The in-flight limit counts them.
pub use crate::format::record::RECORD_OVERHEAD;
use crate::lsn::Lsn;

/// One append, with its LSNs: a record, or an atomic group of them that is never split.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The LSN of its first record.
    pub first_lsn: Lsn,
    /// Its records.
    pub payload: Payload,
    /// Who waits for it.
    pub durability: Durability,
    /// When it was appended.
    pub since: Tick,
}

/// The records of one append.
#[derive(Clone, Debug)]
pub enum Payload {
    /// A single record.
    One(Bytes),
    /// An atomic group: all of them survive, or none.
    Group(Vec<Bytes>),
}

impl Payload {
    /// The records, in order.
    pub fn records(&self) -> &[Bytes] {
        match self {
            Payload::One(record) => std::slice::from_ref(record),
            Payload::Group(records) => records,
        }
    }

    /// How many LSNs it takes.
    pub fn count(&self) -> usize {
        self.records().len()
    }

    /// How many bytes it takes in a frame. This is what the in-flight limit counts.
    pub fn encoded_len(&self) -> usize {
        self.records().iter().map(|record| record.len() + RECORD_OVERHEAD).sum()
    }
}

impl Entry {
    /// The LSN after its last record.
    pub fn next_lsn(&self) -> Lsn {
        self.first_lsn.plus(self.payload.count() as u64)
    }

    /// The LSN of its last record.
    pub fn last_lsn(&self) -> Lsn {
        self.next_lsn().previous()
    }
}

/// What the queue into the flush thread holds.
#[derive(Debug)]
pub enum QueueItem {
    /// An append.
    Entry(Entry),
    /// Look at the [`Control`](super::shared::Control)s: somebody wants a flush, a checkpoint or the end.
    Nudge,
}
