//! Durable records on their way out of the log: to a host that replays, or to a reader.

use bytes::{Bytes, BytesMut};

use crate::format::frame::Frame;
use crate::format::record::Records;
use crate::lsn::Lsn;

/// One record that is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its LSN.
    pub lsn: Lsn,
    /// What the client appended.
    pub payload: Bytes,
}

/// Records in LSN order. It is cheap to make and to send: the records lie as they lay in the log, in one
/// piece of memory, and are told apart only when they are looked at.
#[derive(Clone, Debug, Default)]
pub struct RecordBatch {
    bytes: Bytes,
    runs: Vec<Run>,
    count: usize,
}

/// Records with LSNs without a gap.
#[derive(Clone, Copy, Debug)]
struct Run {
    first_lsn: Lsn,
    from: usize,
    to: usize,
}

impl RecordBatch {
    /// The records and their LSNs, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Lsn, &[u8])> {
        self.runs.iter().flat_map(|run| {
            let records = Records::new(&self.bytes[run.from..run.to]);
            (0u64..).map(|at| run.first_lsn.plus(at)).zip(records)
        })
    }

    /// The same records as values of their own; they share the memory of the batch.
    pub fn records(&self) -> impl Iterator<Item = Record> {
        self.iter().map(|(lsn, payload)| Record { lsn, payload: self.bytes.slice_ref(payload) })
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The LSN of the first record.
    pub fn first_lsn(&self) -> Option<Lsn> {
        self.runs.first().map(|run| run.first_lsn)
    }
}

/// Collects frames into batches.
#[derive(Debug, Default)]
pub(crate) struct BatchBuilder {
    bytes: BytesMut,
    runs: Vec<Run>,
    count: usize,
    /// The bytes and runs of the batch before: about as much room is made at once for the next one.
    before: (usize, usize),
}

/// A batch is handed on when it has this many bytes.
const BATCH_BYTES: usize = 1 << 20;

impl BatchBuilder {
    /// Adds the records of a frame from `from` on.
    pub(crate) fn push(&mut self, frame: &Frame<'_>, from: Lsn) {
        let skipped = from.get().saturating_sub(frame.header.first_lsn.get());
        let mut records = Records::new(frame.payload());
        let skipped = records.by_ref().take(skipped as usize).count();
        let rest = records.rest();
        if !rest.is_empty() {
            if self.is_empty() {
                let (bytes, runs) = self.before;
                self.bytes.reserve(bytes.max(rest.len()));
                self.runs.reserve(runs);
            }
            let start = self.bytes.len();
            self.bytes.extend_from_slice(rest);
            let first_lsn = frame.header.first_lsn.plus(skipped as u64);
            self.runs.push(Run { first_lsn, from: start, to: self.bytes.len() });
            self.count += frame.header.count as usize - skipped;
        }
    }

    /// Whether there is nothing in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether it is time to hand the batch on.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes.len() >= BATCH_BYTES
    }

    /// The batch so far; the builder begins anew.
    pub(crate) fn take(&mut self) -> RecordBatch {
        self.before = (self.bytes.len(), self.runs.len());
        RecordBatch {
            bytes: std::mem::take(&mut self.bytes).freeze(),
            runs: std::mem::take(&mut self.runs),
            count: std::mem::take(&mut self.count),
        }
    }
}
