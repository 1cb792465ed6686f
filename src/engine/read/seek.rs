//! Finds the frame of a segment that holds an LSN, without reading the frames before it.
//!
//! A frame begins at a block, and its header says which LSNs it holds and how long it is; the header's own
//! checksum covers the log, the segment, the salt and the offset, so that no record can pass for one (V1 to V4).
//! So any block tells whether a frame begins there, and any frame tells where the next one begins: the search
//! jumps to where the LSN should lie, looks for the next header there, and goes the last frames one by one
//! (decision 0021). It needs no index, reads nothing but headers, and knows nothing of other segments.
//!
//! What it finds is only where to begin: whoever reads from there checks every frame as ever, and goes from the
//! start of the segment if the first one is not sound.

use std::io;

use crate::format::frame::{FRAME_HEADER_LEN, FrameHeader};
use crate::format::segment::SegmentHeader;
use crate::lsn::Lsn;
use crate::storage::{StorageFile, read_exact_at};

/// So many frames are gone one by one before each jump. A header is read in a microsecond, and after a good
/// jump the frame is near.
const STEPS: usize = 8;

/// A jump looks at so many bytes for a header at most. Where frames are longer there are few, and they are gone
/// one by one.
const LOOKED_AT: u64 = 1 << 20;

/// One segment, as far as the search needs it.
#[derive(Debug)]
pub(super) struct Seek<'a> {
    file: &'a dyn StorageFile,
    segment: &'a SegmentHeader,
    len: u64,
    start: Found,
}

/// A frame, by its header.
#[derive(Clone, Copy, Debug)]
struct Found {
    offset: u64,
    header: FrameHeader,
}

impl Found {
    fn holds(&self, lsn: Lsn) -> bool {
        self.header.first_lsn <= lsn && lsn < self.header.next_lsn
    }
}

impl<'a> Seek<'a> {
    /// A search in a file of `len` bytes; `None` if it does not begin with a start frame.
    pub(super) fn new(
        file: &'a dyn StorageFile,
        segment: &'a SegmentHeader,
        len: u64,
    ) -> io::Result<Option<Self>> {
        let offset = u64::from(segment.place.block_size);
        let len = segment.len_in(len);
        let header = header_at(file, segment, len, offset)?;
        Ok(header.filter(|header| header.start.is_some()).map(|header| {
            let start = Found { offset, header };
            Seek { file, segment, len, start }
        }))
    }

    /// The offset and the header of the last frame that does not begin beyond `lsn`; `None` if that is the start
    /// frame. `ends` is a hint: up to which offset to look for frames, and the LSN there.
    pub(super) fn find(self, lsn: Lsn, ends: (u64, Lsn)) -> io::Result<Option<(u64, FrameHeader)>> {
        let mut at = self.start;
        let (mut high, mut high_lsn) = (ends.0.min(self.len), ends.1);
        for turn in 0.. {
            for _ in 0..STEPS {
                match self.after(&at)?.filter(|next| next.header.first_lsn <= lsn) {
                    Some(next) if !at.holds(lsn) => at = next,
                    _ => {
                        let found = at.offset > self.start.offset;
                        return Ok(found.then_some((at.offset, at.header)));
                    }
                }
            }
            let from = self.end_of(&at);
            let near = from.saturating_add(2 * STEPS as u64 * self.block());
            if high <= near || self.end_of(&at) - at.offset >= LOOKED_AT {
                continue;
            }
            let target = self.guess((from, at.header.next_lsn), (high, high_lsn), lsn, turn);
            match self.first_from(target, high, &at)? {
                Some(found) if found.header.first_lsn <= lsn => at = found,
                Some(found) => (high, high_lsn) = (target, found.header.first_lsn),
                None => high = target,
            }
        }
        Ok(None)
    }

    /// Where the LSN should lie if records were all of a size, a little before that; every third time the middle,
    /// which is never far off for long.
    fn guess(&self, low: (u64, Lsn), high: (u64, Lsn), lsn: Lsn, turn: usize) -> u64 {
        let room = u128::from(high.0 - low.0);
        let lsns = u128::from(high.1.get().saturating_sub(low.1.get()).max(1));
        let ahead = u128::from(lsn.get().saturating_sub(low.1.get())).min(lsns);
        let ahead = if turn % 3 == 2 { room / 2 } else { room * ahead / lsns };
        let before = STEPS as u64 / 2 * self.block();
        let guess = low.0 + (ahead as u64).saturating_sub(before);
        let last = high.0 - self.block();
        guess.min(last).max(low.0) / self.block() * self.block()
    }

    /// The first frame that begins in this range, if it is not far. It lies behind the frame `after`.
    fn first_from(&self, from: u64, to: u64, after: &Found) -> io::Result<Option<Found>> {
        let to = to.min(from.saturating_add(LOOKED_AT));
        for offset in (from..to).step_by(self.segment.place.block_size as usize) {
            let found = self.frame_at(offset)?;
            if found.is_some_and(|found| found.header.first_lsn >= after.header.next_lsn) {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// The frame that follows on this one.
    fn after(&self, frame: &Found) -> io::Result<Option<Found>> {
        let next = self.frame_at(self.end_of(frame))?;
        Ok(next.filter(|next| next.header.first_lsn == frame.header.next_lsn))
    }

    /// The frame of this life of the segment that begins here.
    fn frame_at(&self, offset: u64) -> io::Result<Option<Found>> {
        let header = header_at(self.file, self.segment, self.len, offset)?;
        let start = &self.start.header;
        let is_ours = |header: &FrameHeader| {
            header.salt == start.salt && header.epoch == start.epoch && header.start.is_none()
        };
        Ok(header.filter(is_ours).map(|header| Found { offset, header }))
    }

    fn end_of(&self, frame: &Found) -> u64 {
        frame.offset + frame.header.frame_len(&self.segment.place)
    }

    fn block(&self) -> u64 {
        u64::from(self.segment.place.block_size)
    }
}

/// The header of the frame that begins here, if one does.
fn header_at(
    file: &dyn StorageFile,
    segment: &SegmentHeader,
    len: u64,
    offset: u64,
) -> io::Result<Option<FrameHeader>> {
    let mut bytes = [0; FRAME_HEADER_LEN];
    match read_exact_at(file, &mut bytes, offset) {
        Ok(()) => Ok(FrameHeader::decode(&bytes, &segment.place, offset, len).ok()),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::format::Place;
    use crate::format::frame::tests::{PLACE, header};
    use crate::format::frame::{FrameBuffer, Start};
    use crate::testkit::SimDisk;

    /// Offset, first LSN and next LSN of a frame.
    type Spot = (u64, u64, u64);

    /// A segment that is made frame by frame, and what is where in it.
    struct Made {
        segment: SegmentHeader,
        bytes: Vec<u8>,
        frames: Vec<Spot>,
        /// What the next frame begins with: its payload looks like frames in all places but its own.
        imitation: Vec<u8>,
    }

    impl Made {
        fn new(size: u64) -> Made {
            let place = Place { block_size: 4096, ..PLACE };
            let segment = SegmentHeader { place, size, recycled: true, growing: false };
            let mut made = Made {
                segment,
                bytes: segment.encode(),
                frames: Vec::new(),
                imitation: Vec::new(),
            };
            made.frame(100, 1, 10);
            made
        }

        /// A frame of so many records of this length. The first one is the start frame.
        fn frame(&mut self, first: u64, count: u64, len: usize) {
            let offset = self.bytes.len() as u64;
            let start = Start { cut: Lsn::new(first - 10), in_flight_limit: 8 };
            let start = self.frames.is_empty().then_some(start);
            let mut buffer = FrameBuffer::default();
            buffer.begin();
            // Up to the next block, so that what follows begins where a frame could.
            let gap = 4096 - FRAME_HEADER_LEN - 2 * crate::format::record::RECORD_OVERHEAD;
            for at in 0..count {
                match at {
                    0 if len > 2 * 4096 => buffer.push(&vec![7; gap]),
                    1 if len > 2 * 4096 => buffer.push(&self.imitation),
                    _ => buffer.push(&vec![at as u8; len]),
                }
            }
            let head = FrameHeader { start, ..header(first, first + count) };
            let frame = buffer.finish(head, &self.segment.place, offset).bytes.to_vec();
            self.imitation = frame[..frame.len().min(8192)].to_vec();
            self.bytes.extend_from_slice(&frame);
            self.frames.push((offset, first, first + count));
        }

        fn next(&self) -> u64 {
            self.frames.last().map_or(1, |frame| frame.2)
        }

        fn fill(&mut self, end: u64, count: u64, len: usize) {
            while (self.bytes.len() as u64) < end {
                self.frame(self.next(), count, len);
            }
        }

        /// The rest of the file holds frames of an earlier life of it.
        fn old_frames_behind(&mut self) {
            let place = Place { sequence: 4, ..self.segment.place };
            while (self.bytes.len() as u64) < self.segment.size {
                let mut buffer = FrameBuffer::default();
                buffer.begin();
                buffer.push(b"old");
                let head = FrameHeader { sequence: 4, ..header(50, 51) };
                let frame = buffer.finish(head, &place, self.bytes.len() as u64);
                self.bytes.extend_from_slice(frame.bytes);
            }
        }

        fn open(self) -> (Box<dyn StorageFile>, SegmentHeader, Vec<Spot>) {
            let disk = SimDisk::new();
            disk.write_file("segment", self.bytes);
            let file = disk.mount().and_then(|storage| storage.open("segment")).expect("there");
            (file, self.segment, self.frames)
        }
    }

    /// Looks for an LSN. How often the file was read, and what was found.
    fn find(
        file: &dyn StorageFile,
        segment: &SegmentHeader,
        lsn: u64,
        ends: (u64, u64),
    ) -> (usize, Option<(u64, FrameHeader)>) {
        let counting = Counting(file, AtomicUsize::new(0));
        let len = file.size().expect("a file");
        let seek = Seek::new(&counting, segment, len).expect("readable").expect("a start frame");
        let found = seek.find(Lsn::new(lsn), (ends.0, Lsn::new(ends.1))).expect("readable");
        (counting.1.into_inner(), found)
    }

    #[derive(Debug)]
    struct Counting<'a>(&'a dyn StorageFile, AtomicUsize);

    impl StorageFile for Counting<'_> {
        fn size(&self) -> io::Result<u64> {
            self.0.size()
        }

        fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
            self.1.fetch_add(1, Ordering::Relaxed);
            self.0.read_at(buffer, offset)
        }

        fn write_at(&self, _: &[u8], _: u64) -> io::Result<usize> {
            Err(io::ErrorKind::Unsupported.into())
        }

        fn set_size(&self, _: u64) -> io::Result<()> {
            Err(io::ErrorKind::Unsupported.into())
        }

        fn sync(&self) -> io::Result<()> {
            Err(io::ErrorKind::Unsupported.into())
        }
    }

    /// Every LSN of a segment, with good hints, bad ones and none: it is found, in so many reads at most.
    fn check(name: &str, mut made: Made, at_most: usize) {
        let (end, next) = (made.bytes.len() as u64, made.next());
        made.old_frames_behind();
        let size = made.segment.size;
        let (file, segment, frames) = made.open();
        let step = (next - 100).div_ceil(500).max(1) as usize;
        for lsn in (95..next).step_by(step).chain([next - 1]) {
            for (hint, few) in [((end, next), true), ((size, next), false), ((4096, 101), false)] {
                let (reads, found) = find(&*file, &segment, lsn, hint);
                let at = frames.iter().rposition(|frame| frame.1 <= lsn).unwrap_or(0);
                let wanted = (at > 0).then(|| (frames[at].0, frames[at].1));
                let found = found.map(|(offset, header)| (offset, header.first_lsn.get()));
                assert_eq!(found, wanted, "{name}: LSN {lsn}");
                assert!(!few || reads <= at_most, "{name}: LSN {lsn} took {reads} reads");
            }
        }
    }

    #[test]
    fn a_record_is_found_anywhere_in_few_reads_whatever_the_frames_are_like() {
        const SIZE: u64 = 24 << 20;
        let mut lone = Made::new(SIZE);
        lone.fill(SIZE, 1, 128);
        check("lone commits", lone, 40);

        let mut batches = Made::new(SIZE);
        batches.fill(SIZE - (1 << 20), 4096, 128);
        check("batches of 4,096", batches, 400);

        let mut huge = Made::new(SIZE);
        huge.fill(SIZE - (9 << 20), 120, 64 << 10);
        check("frames of 8 MiB", huge, 40);

        let mut mixed = Made::new(SIZE);
        for round in 0..8 {
            let end = mixed.bytes.len() as u64 + (1 << 20);
            mixed.fill(end, 1, if round % 2 == 0 { 100 } else { 3000 });
            mixed.frame(mixed.next(), 20, 60 << 10);
            mixed.frame(mixed.next(), 0, 0);
        }
        check("all of it", mixed, 1200);

        let mut short = Made::new(SIZE);
        short.fill(3 << 20, 3, 50);
        check("the rest is old", short, 40);
        check("nothing but a start frame", Made::new(SIZE), 3);
    }

    #[test]
    fn what_is_damaged_before_it_does_not_hide_a_record() {
        let mut made = Made::new(8 << 20);
        made.fill(8 << 20, 1, 128);
        let (end, next) = (made.bytes.len() as u64, made.next());
        let third = made.frames.len() / 3;
        let (offset, first, _) = made.frames[third];
        made.bytes[offset as usize] ^= 1;
        let (file, segment, frames) = made.open();
        let (_, found) = find(&*file, &segment, next - 2, (end, next));
        assert_eq!(found.map(|(_, header)| header.first_lsn.get()), Some(next - 2));
        // And where it is hidden itself, the frame before it is given: the walk from there says why.
        let (_, found) = find(&*file, &segment, first, (end, next));
        assert_eq!(found.map(|(offset, _)| offset), Some(frames[third - 1].0));
    }
}
