//! Segments written and read back through nothing but the public API of the format.

use std::ops::Range;

use actix_wal::LogId;
use actix_wal::testkit::internals::format::Place;
use actix_wal::testkit::internals::format::frame::{FrameBuffer, FrameHeader, Start};
use actix_wal::testkit::internals::format::scan::{Ending, Scanner, Seen, Until};
use actix_wal::testkit::internals::format::segment::SegmentHeader;
use actix_wal::{Epoch, Lsn};

/// The block size of every segment here: the smallest.
pub const BLOCK: usize = 512;

/// How many LSNs may be in flight, as the start frames say.
pub const IN_FLIGHT: u64 = 16;

/// The header of a segment of a few KiB.
pub fn segment_header(log_id: LogId, sequence: u64, blocks: usize) -> SegmentHeader {
    SegmentHeader {
        place: Place { log_id, sequence, block_size: BLOCK as u32 },
        size: (blocks * BLOCK) as u64,
        recycled: false,
        growing: false,
    }
}

/// Writes one segment as the log would: a start frame first, and each frame synced before the next.
#[derive(Clone)]
pub struct Writer {
    pub header: SegmentHeader,
    pub bytes: Vec<u8>,
    /// Where the frames lie, from the magic to the end of the checksum.
    pub frames: Vec<Range<usize>>,
    /// The records of this segment.
    pub records: Vec<(u64, Vec<u8>)>,
    pub epoch: u64,
    pub salt: u64,
    pub next: u64,
    pub watermark: u64,
    pub low_water: u64,
    pub chain: u32,
    start: Option<Start>,
}

impl Writer {
    /// A segment whose start frame is the next to be written, with this cut and this first LSN.
    pub fn new(header: SegmentHeader, epoch: u64, cut: u64, first: u64, chain: u32) -> Self {
        let salt = (header.place.sequence << 32 | epoch).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let start = Start { cut: Lsn::new(cut), in_flight_limit: IN_FLIGHT };
        Writer {
            header,
            bytes: header.encode(),
            frames: Vec::new(),
            records: Vec::new(),
            epoch,
            salt,
            next: first,
            watermark: cut,
            low_water: 0,
            chain,
            start: Some(start),
        }
    }

    /// The next segment of the same epoch: nothing of this one is cut off.
    pub fn rotate(&self, blocks: usize) -> Self {
        let place = self.header.place;
        let header = segment_header(place.log_id, place.sequence + 1, blocks);
        Self::new(header, self.epoch, self.next - 1, self.next, self.chain)
    }

    /// Writes and syncs one frame; an empty one is a seal.
    pub fn frame(&mut self, records: &[&[u8]]) -> &mut Self {
        self.write(records, 0, false)
    }

    /// The same, with a declared gap of so many LSNs behind it.
    pub fn frame_and_gap(&mut self, records: &[&[u8]], gap: u64) -> &mut Self {
        self.write(records, gap, false)
    }

    /// Makes the next frame a start frame, though there is one already.
    pub fn start_again(&mut self) {
        self.start = Some(Start { cut: Lsn::new(self.next - 1), in_flight_limit: IN_FLIGHT });
    }

    /// Writes the close frame.
    pub fn close(&mut self) -> &mut Self {
        self.write(&[], 0, true)
    }

    fn write(&mut self, records: &[&[u8]], gap: u64, close: bool) -> &mut Self {
        let after = self.next + records.len() as u64;
        let at = self.bytes.len();
        let header = FrameHeader {
            start: self.start.take(),
            close,
            sequence: self.header.place.sequence,
            salt: self.salt,
            epoch: Epoch::new(self.epoch),
            first_lsn: Lsn::new(self.next),
            next_lsn: Lsn::new(after + gap),
            count: 0,
            payload_len: 0,
            wall_clock_us: 1_767_225_600_000_000 + after,
            watermark: Lsn::new(self.watermark),
            low_water: Lsn::new(self.low_water),
            chain: self.chain,
        };
        let mut buffer = FrameBuffer::default();
        buffer.begin();
        records.iter().for_each(|record| buffer.push(record));
        let frame = buffer.finish(header, &self.header.place, at as u64);
        self.bytes.extend_from_slice(frame.bytes);
        self.frames.push(at..at + 104 + frame.header.payload_len as usize + 4);
        self.records.extend((self.next..).zip(records.iter().map(|record| record.to_vec())));
        if !records.is_empty() {
            self.chain = frame.checksum;
            self.watermark = after - 1;
        }
        self.next = after + gap;
        self
    }

    /// The file in its full size: behind what was written come the bytes of an earlier life, or zeros.
    pub fn file(&self, earlier: &[u8]) -> Vec<u8> {
        let size = self.header.size as usize;
        assert!(self.bytes.len() <= size, "the segment is too small for its frames");
        let mut file = self.bytes.clone();
        if let Some(rest) = earlier.get(file.len()..size.min(earlier.len())) {
            file.extend_from_slice(rest);
        }
        file.resize(size, 0);
        file
    }
}

/// A frame that a scanner gave out.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    pub offset: u64,
    pub header: FrameHeader,
    pub checksum: u32,
    pub records: Vec<(u64, Vec<u8>)>,
}

/// All that a scanner gave out.
#[derive(Clone, Debug, PartialEq)]
pub struct Scan {
    pub frames: Vec<Found>,
    pub ending: Ending,
}

impl Scan {
    /// The records of all frames.
    pub fn records(&self) -> Vec<(u64, Vec<u8>)> {
        self.frames.iter().flat_map(|frame| frame.records.iter().cloned()).collect()
    }
}

/// Walks a segment that lies in memory. Panics if the scanner does not come to an end.
pub fn scan(bytes: &[u8], header: SegmentHeader, until: Until) -> Scan {
    let mut scanner = Scanner::new(header, bytes.len() as u64, until);
    let mut frames = Vec::new();
    // Two looks at every block (header, frame), and one at every window of the hunt.
    for _ in 0..2 * (bytes.len() / BLOCK) + bytes.len() / (256 * 1024) + 16 {
        let wanted = scanner.wants().unwrap_or(0..0);
        let end = usize::try_from(wanted.end).map_or(bytes.len(), |end| end.min(bytes.len()));
        let begin = usize::try_from(wanted.start).map_or(end, |begin| begin.min(end));
        match scanner.see(&bytes[begin..end]) {
            Seen::More => {}
            Seen::Frame(frame) => frames.push(Found {
                offset: frame.offset,
                header: frame.header,
                checksum: frame.checksum,
                records: frame
                    .records()
                    .map(|(lsn, payload)| (lsn.get(), payload.to_vec()))
                    .collect(),
            }),
            Seen::End(ending) => return Scan { frames, ending },
        }
    }
    panic!("the scanner does not come to an end");
}
