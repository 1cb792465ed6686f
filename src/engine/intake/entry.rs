//! What travels from the Appender to the flush thread.

use bytes::Bytes;

use crate::config::Durability;
use crate::format::frame::FrameBuffer;
/// The bytes that a record takes in a frame beside its payload. The in-flight limit counts them.
pub use crate::format::record::RECORD_OVERHEAD;
use crate::lsn::{Lsn, LsnRange};
use crate::runtime::clock::Tick;

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
    /// Appends, in the order of their LSNs; at least one.
    Entries(Vec<Entry>),
    /// Look at the [`Requests`](crate::engine::state::requests::Requests): a flush, a checkpoint, another segment, or the end.
    Nudge,
}

impl QueueItem {
    /// The appends in it, if there are any.
    pub fn into_entries(self) -> Vec<Entry> {
        match self {
            QueueItem::Entries(entries) => entries,
            QueueItem::Nudge => Vec::new(),
        }
    }
}

/// Puts the records of `entries` into a frame.
pub(crate) fn fill(entries: &[Entry], frame: &mut FrameBuffer) {
    for record in entries.iter().flat_map(|entry| entry.payload.records()) {
        frame.push(record);
    }
}

/// The LSNs of `entries`, which follow on each other.
pub(crate) fn range_of(entries: &[Entry]) -> Option<LsnRange> {
    LsnRange::new(entries.first()?.first_lsn, entries.last()?.last_lsn())
}

/// What a batch adds up to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    /// Records.
    pub(crate) entries: usize,
    /// Bytes of records, as a frame holds them.
    pub(crate) bytes: usize,
    /// Appends that somebody waits for.
    pub(crate) commits: usize,
}

impl Tally {
    pub(crate) fn of(entries: &[Entry]) -> Self {
        entries.iter().fold(Tally::default(), |sum, entry| Tally {
            entries: sum.entries + entry.payload.count(),
            bytes: sum.bytes + entry.payload.encoded_len(),
            commits: sum.commits + usize::from(entry.durability != Durability::Async),
        })
    }
}
