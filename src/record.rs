//! Durable records on their way out of the log: to a host that replays, or to a reader.

use bytes::{Bytes, BytesMut};

use crate::format::frame::Frame;
use crate::format::record::Records;
use crate::lsn::{Lsn, LsnRange};

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

    /// The same, where nobody needs the batch itself any more.
    pub(crate) fn into_records(self) -> IntoRecords {
        let lsn = self.first_lsn().unwrap_or_default();
        IntoRecords { batch: self, run: 0, at: 0, lsn }
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

/// The records of a batch, one after the other. They share its memory, which goes with the last of them.
#[derive(Debug, Default)]
pub(crate) struct IntoRecords {
    batch: RecordBatch,
    /// The run, the next record in it, and that one's LSN.
    run: usize,
    at: usize,
    lsn: Lsn,
}

impl Iterator for IntoRecords {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        while let Some(run) = self.batch.runs.get(self.run) {
            let mut records = Records::new(&self.batch.bytes[self.at..run.to]);
            if let Some(payload) = records.next() {
                let (lsn, payload) = (self.lsn, self.batch.bytes.slice_ref(payload));
                (self.at, self.lsn) = (run.to - records.rest().len(), lsn.next());
                return Some(Record { lsn, payload });
            }
            self.run += 1;
            if let Some(next) = self.batch.runs.get(self.run) {
                (self.at, self.lsn) = (next.from, next.first_lsn);
            }
        }
        // Nobody needs the batch any more, however long this iterator is kept.
        self.batch = RecordBatch::default();
        None
    }
}

/// The next record of a frame that is taken in parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rest {
    /// Its LSN.
    pub(crate) lsn: Lsn,
    /// Where in the payload of the frame it begins.
    at: usize,
}

impl Rest {
    /// The records of a frame from `from` on.
    pub(crate) fn of(frame: &Frame<'_>, from: Lsn) -> Rest {
        let skipped = from.get().saturating_sub(frame.header.first_lsn.get());
        if from > frame.header.last_lsn() {
            return Rest { lsn: from, at: frame.payload().len() };
        }
        let mut records = Records::new(frame.payload());
        records.by_ref().take(skipped as usize).for_each(drop);
        let at = frame.payload().len() - records.rest().len();
        Rest { lsn: from.max(frame.header.first_lsn), at }
    }
}

/// Collects records into batches of about a mebibyte: at most one record more. A larger frame is taken in parts.
#[derive(Debug, Default)]
pub(crate) struct BatchBuilder {
    bytes: BytesMut,
    runs: Vec<Run>,
    count: usize,
    /// The LSN that goes on with the last run.
    next_lsn: Lsn,
    /// The bytes of the batch before: about as much room is made at once for the next one.
    before: usize,
}

/// A batch is handed on when it has this many bytes.
pub(crate) const BATCH_BYTES: usize = 1 << 20;

/// The most room beyond a mebibyte that a new batch begins with, in bytes. A longer last record moves the batch.
const MOST_BEYOND: usize = BATCH_BYTES / 8;

/// So little memory too much stays with a batch.
const SLACK: usize = 4096;

impl BatchBuilder {
    /// Adds the records of a frame from `from` on and up to `through`, until the batch is full. Gives back
    /// where to go on with this frame, unless it is done with. It is to be called with a batch that is not full.
    pub(crate) fn push(&mut self, frame: &Frame<'_>, from: Rest, through: Lsn) -> Option<Rest> {
        let last = frame.header.last_lsn().min(through);
        let wanted = LsnRange::new(from.lsn, last)?.count();
        let payload = frame.payload().get(from.at..)?;
        let room = BATCH_BYTES.saturating_sub(self.bytes.len());
        let is_whole = last == frame.header.last_lsn() && payload.len() <= room;
        let (len, count) =
            if is_whole { (payload.len(), wanted) } else { prefix(payload, room, wanted) };
        self.add(&payload[..len], from.lsn, count);
        let lsn = from.lsn.plus(count);
        (lsn <= last && count > 0).then_some(Rest { lsn, at: from.at + len })
    }

    fn add(&mut self, records: &[u8], first_lsn: Lsn, count: u64) {
        if count == 0 {
            return;
        }
        if self.is_empty() {
            self.bytes.reserve(self.before.max(records.len()));
        }
        let from = self.bytes.len();
        self.bytes.extend_from_slice(records);
        let to = self.bytes.len();
        match self.runs.last_mut() {
            Some(run) if self.next_lsn == first_lsn => run.to = to,
            _ => self.runs.push(Run { first_lsn, from, to }),
        }
        self.next_lsn = first_lsn.plus(count);
        self.count += count as usize;
    }

    /// Whether there is nothing in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether it is time to hand the batch on.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes.len() >= BATCH_BYTES
    }

    /// The batch so far. The builder is empty then, and keeps no memory.
    pub(crate) fn take(&mut self) -> RecordBatch {
        let bytes = std::mem::take(&mut self.bytes);
        // A full batch ends up to one record beyond a mebibyte. Without room for that record, the allocator moves the
        // whole batch into twice the memory.
        let beyond = if bytes.len() < BATCH_BYTES { 0 } else { SLACK };
        self.before = (bytes.len() + beyond).min(BATCH_BYTES + MOST_BEYOND);
        // A host may keep a small batch for long: then not with the room that a full one would have had.
        let is_roomy = bytes.capacity() > 2 * bytes.len() + SLACK;
        RecordBatch {
            bytes: if is_roomy { Bytes::copy_from_slice(&bytes) } else { bytes.freeze() },
            runs: std::mem::take(&mut self.runs),
            count: std::mem::take(&mut self.count),
        }
    }
}

/// The length and number of the first records that fill `room`, and at most `most` of them.
fn prefix(payload: &[u8], room: usize, most: u64) -> (usize, u64) {
    let mut records = Records::new(payload);
    let taken = |records: &Records<'_>| payload.len() - records.rest().len();
    let mut count = 0;
    while count < most && taken(&records) < room && records.next().is_some() {
        count += 1;
    }
    (taken(&records), count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::frame::FrameBuffer;
    use crate::format::frame::tests::{PLACE, header};

    /// A frame of records of these lengths, from this LSN on.
    fn with_frame(first: u64, lens: &[usize], look: &mut dyn FnMut(&Frame<'_>)) {
        let mut buffer = FrameBuffer::default();
        buffer.begin();
        for (at, len) in lens.iter().enumerate() {
            buffer.push(&vec![(first as usize + at) as u8; *len]);
        }
        let frame = buffer.finish(header(first, first + lens.len() as u64), &PLACE, 512);
        look(&Frame::check(frame.header, 512, frame.bytes).expect("sound"));
    }

    fn push(builder: &mut BatchBuilder, first: u64, lens: &[usize], from: u64, through: u64) {
        with_frame(first, lens, &mut |frame| {
            let rest = Rest::of(frame, Lsn::new(from));
            assert_eq!(builder.push(frame, rest, Lsn::new(through)), None);
        });
    }

    fn lsns(batch: &RecordBatch) -> Vec<u64> {
        assert!(batch.iter().all(|(lsn, payload)| payload.iter().all(|x| *x == lsn.get() as u8)));
        assert!(batch.records().eq(batch.clone().into_records()), "one by one they are the same");
        assert_eq!(batch.iter().count(), batch.len());
        batch.iter().map(|(lsn, _)| lsn.get()).collect()
    }

    #[test]
    fn a_batch_takes_what_lies_in_the_range_and_joins_what_follows_on_each_other() {
        let mut builder = BatchBuilder::default();
        push(&mut builder, 10, &[5, 0, 7], 11, u64::MAX);
        push(&mut builder, 13, &[9], 11, u64::MAX);
        push(&mut builder, 20, &[1, 2, 3, 4], 11, 22);
        push(&mut builder, 24, &[1], 11, 22);
        push(&mut builder, 5, &[1], 11, 22);
        let batch = builder.take();
        assert_eq!(lsns(&batch), [11, 12, 13, 20, 21, 22]);
        assert_eq!(batch.runs.len(), 2);
        assert!(builder.take().is_empty());
    }

    #[test]
    fn p16_a_large_frame_is_taken_in_parts_of_a_mebibyte_and_at_most_one_record() {
        let lens: Vec<usize> =
            (0..400).map(|at| if at == 7 { 3 << 20 } else { 64 << 10 }).collect();
        let mut builder = BatchBuilder::default();
        let mut found = Vec::new();
        with_frame(1, &lens, &mut |frame| {
            let mut rest = Some(Rest::of(frame, Lsn::FIRST));
            while let Some(from) = rest {
                rest = builder.push(frame, from, Lsn::MAX);
                assert_eq!(rest.is_some(), builder.is_full());
                let batch = builder.take();
                let last = batch.iter().last().map_or(0, |(_, payload)| payload.len() + 5);
                assert!(batch.bytes.len() < BATCH_BYTES + last, "{}", batch.bytes.len());
                found.extend(lsns(&batch));
            }
        });
        assert!(found.into_iter().eq(1..=400));
    }

    #[test]
    fn p16_a_full_batch_is_not_moved_into_twice_the_room_for_its_last_record() {
        for len in [128, 60_000] {
            let mut builder = BatchBuilder::default();
            for batch in 0..3 {
                push(&mut builder, 1, &[len], 1, u64::MAX);
                let room = builder.bytes.capacity();
                while !builder.is_full() {
                    push(&mut builder, 1, &[len], 1, u64::MAX);
                }
                let held = builder.bytes.capacity();
                drop(builder.take());
                // The first one knows nothing of a batch before it, and grows.
                assert!(batch == 0 || room == held, "{len}: moved from {room} to {held}");
                assert!(batch == 0 || held <= BATCH_BYTES + MOST_BEYOND, "{len}: {held}");
            }
        }
    }

    #[test]
    fn p16_a_small_batch_keeps_no_more_memory_than_it_needs() {
        let mut builder = BatchBuilder::default();
        push(&mut builder, 1, &[BATCH_BYTES - 5], 1, u64::MAX);
        drop(builder.take());
        push(&mut builder, 2, &[10], 1, u64::MAX);
        let room = builder.bytes.capacity();
        let batch = builder.take();
        let held = batch.bytes.try_into_mut().map_or(usize::MAX, |bytes| bytes.capacity());
        assert!(room >= BATCH_BYTES && held <= SLACK, "{room}, then {held}");
    }
}
