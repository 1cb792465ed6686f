//! Frames: one flush is one frame, one write and one sync, and every frame is synced before the next
//! one is written.
//!
//! ```text
//!   0  4  magic "awf1"
//!   4  4  flags: 1 start frame, 2 close frame; the others are reserved
//!         (8..16 for compression, 16..24 for the kind of checksum): zero
//!   8  8  sequence number of the segment
//!  16  8  salt of the segment
//!  24  8  epoch
//!  32  8  first LSN: of the first record, or of the next one if there is none
//!  40  8  next LSN: of the first record after this frame
//!  48  4  count of records
//!  52  4  length of the records in bytes
//!  56  8  wall clock, microseconds since 1970; for people only
//!  64  8  watermark: the highest LSN that was promised durable when the frame was written
//!  72  8  low-water mark: the highest LSN that a checkpoint has released
//!  80  8  cut: the last LSN that is live in the segments before (start frames; else zero)
//!  88  8  in-flight limit: how many LSNs may be handed out beyond the watermark (start frames; else zero)
//!  96  4  chain: checksum of the last live frame before this one that holds records; zero if none
//! 100  4  header checksum: CRC-32 of log id, offset in the segment, and the 100 bytes above
//! 104  .  records
//!   .  4  checksum: CRC-32 of everything from the magic to here but the header checksum, for a CRC over a
//!         CRC cancels out: it would tie the records to the offset only, and not to the rest of the header
//! ```
//!
//! A frame is valid if and only if
//!
//! * **V1** it begins at a block boundary and has the magic;
//! * **V2** the header checksum matches, for this log and this offset;
//! * **V3** its sequence number is the segment's;
//! * **V4** its flags, lengths and LSNs are possible values, and it fits the segment;
//! * **V5** its checksum matches;
//! * **V6** it holds exactly `count` records and nothing else;
//! * **V7** it follows on the frame before: same salt and epoch, the expected first LSN, the chain.
//!
//! V1 to V4 need the header alone, so that its length can be trusted before the rest is read; V7 is
//! checked by [`scan`](super::scan). The salt, the sequence number and the offset together keep
//! bytes of another place, or of an earlier life of the file, from passing (promise P13).

use thiserror::Error;

use super::record::{self, Records};
use super::{Place, read_le, write_le};
use crate::lsn::{Epoch, Lsn};

/// The first bytes of every frame.
pub const FRAME_MAGIC: u32 = u32::from_le_bytes(*b"awf1");

/// The length of a frame header in bytes.
pub const FRAME_HEADER_LEN: usize = HEADER_CHECKSUM_AT + 4;

/// The length of the checksum behind the records.
pub const FRAME_TRAILER_LEN: usize = 4;

const FLAGS_AT: usize = 4;
const SEQUENCE_AT: usize = FLAGS_AT + 4;
const SALT_AT: usize = SEQUENCE_AT + 8;
const EPOCH_AT: usize = SALT_AT + 8;
const FIRST_LSN_AT: usize = EPOCH_AT + 8;
const NEXT_LSN_AT: usize = FIRST_LSN_AT + 8;
const COUNT_AT: usize = NEXT_LSN_AT + 8;
const PAYLOAD_LEN_AT: usize = COUNT_AT + 4;
const WALL_CLOCK_AT: usize = PAYLOAD_LEN_AT + 4;
const WATERMARK_AT: usize = WALL_CLOCK_AT + 8;
const LOW_WATER_AT: usize = WATERMARK_AT + 8;
const CUT_AT: usize = LOW_WATER_AT + 8;
const IN_FLIGHT_AT: usize = CUT_AT + 8;
const CHAIN_AT: usize = IN_FLIGHT_AT + 8;
const HEADER_CHECKSUM_AT: usize = CHAIN_AT + 4;

const _: () = assert!(FRAME_HEADER_LEN == 104);
const _: () = assert!(FRAME_HEADER_LEN + FRAME_TRAILER_LEN <= super::MIN_BLOCK_SIZE as usize);

const FLAG_START: u32 = 1;
const FLAG_CLOSE: u32 = 2;

/// What only the first frame of a segment says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// The last LSN that is live in the segments before; what they hold beyond it is dead.
    pub cut: Lsn,
    /// How many LSNs may be handed out beyond the watermark.
    pub in_flight_limit: u64,
}

/// What a frame says about itself, beside the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// Present in the first frame of a segment, and only there.
    pub start: Option<Start>,
    /// Whether this is the last frame of a life that was closed cleanly.
    pub close: bool,
    /// Sequence number of the segment it was written for.
    pub sequence: u64,
    /// The random number of this life of the file.
    pub salt: u64,
    /// The epoch that wrote it.
    pub epoch: Epoch,
    /// LSN of the first record, or of the next one if there is none.
    pub first_lsn: Lsn,
    /// LSN of the first record after this frame. More than `first_lsn + count` declares a gap, which
    /// only start and close frames may do.
    pub next_lsn: Lsn,
    /// How many records it holds.
    pub count: u32,
    /// How many bytes the records take.
    pub payload_len: u32,
    /// When it was written, in microseconds since 1970; for people only.
    pub wall_clock_us: u64,
    /// The highest LSN that was promised durable when it was written.
    pub watermark: Lsn,
    /// The highest LSN that a checkpoint has released.
    pub low_water: Lsn,
    /// The checksum of the last live frame before this one that holds records; zero if there is none.
    pub chain: u32,
}

impl FrameHeader {
    /// The LSN of the last record, or the one before `first_lsn` if there is none.
    pub fn last_lsn(&self) -> Lsn {
        self.first_lsn.plus(u64::from(self.count)).previous()
    }

    /// The bytes this frame takes in a segment with these blocks.
    pub fn frame_len(&self, place: &Place) -> u64 {
        frame_len(u64::from(self.payload_len), place)
    }

    fn encode(&self, place: &Place, offset: u64, out: &mut [u8]) {
        let flags = if self.start.is_some() { FLAG_START } else { 0 }
            | if self.close { FLAG_CLOSE } else { 0 };
        let start = self.start.unwrap_or(Start { cut: Lsn::NONE, in_flight_limit: 0 });
        write_le!(out, 0, FRAME_MAGIC);
        write_le!(out, FLAGS_AT, flags);
        write_le!(out, SEQUENCE_AT, self.sequence);
        write_le!(out, SALT_AT, self.salt);
        write_le!(out, EPOCH_AT, self.epoch.get());
        write_le!(out, FIRST_LSN_AT, self.first_lsn.get());
        write_le!(out, NEXT_LSN_AT, self.next_lsn.get());
        write_le!(out, COUNT_AT, self.count);
        write_le!(out, PAYLOAD_LEN_AT, self.payload_len);
        write_le!(out, WALL_CLOCK_AT, self.wall_clock_us);
        write_le!(out, WATERMARK_AT, self.watermark.get());
        write_le!(out, LOW_WATER_AT, self.low_water.get());
        write_le!(out, CUT_AT, start.cut.get());
        write_le!(out, IN_FLIGHT_AT, start.in_flight_limit);
        write_le!(out, CHAIN_AT, self.chain);
        let checksum = header_checksum(place, offset, out);
        write_le!(out, HEADER_CHECKSUM_AT, checksum);
    }

    /// Reads the header of the frame that begins at `offset` of a segment of `segment_len` bytes.
    ///
    /// # Errors
    /// Says which of V1 to V4 does not hold.
    pub fn decode(
        bytes: &[u8],
        place: &Place,
        offset: u64,
        segment_len: u64,
    ) -> Result<Self, FrameFault> {
        if bytes.len() < FRAME_HEADER_LEN || !offset.is_multiple_of(u64::from(place.block_size)) {
            return Err(FrameFault::PastEnd);
        }
        if read_le!(bytes, 0, u32) != FRAME_MAGIC {
            return Err(FrameFault::Magic);
        }
        if read_le!(bytes, HEADER_CHECKSUM_AT, u32) != header_checksum(place, offset, bytes) {
            return Err(FrameFault::HeaderChecksum);
        }
        let header = Self::read_fields(bytes).ok_or(FrameFault::Fields)?;
        if header.sequence != place.sequence {
            return Err(FrameFault::EarlierLife { sequence: header.sequence });
        }
        if offset.saturating_add(header.frame_len(place)) > segment_len {
            return Err(FrameFault::PastEnd);
        }
        Ok(header)
    }

    /// The fields, or `None` if one has a value that is never written.
    fn read_fields(bytes: &[u8]) -> Option<Self> {
        let flags = read_le!(bytes, FLAGS_AT, u32);
        let start = Start {
            cut: Lsn::new(read_le!(bytes, CUT_AT, u64)),
            in_flight_limit: read_le!(bytes, IN_FLIGHT_AT, u64),
        };
        let header = FrameHeader {
            start: (flags & FLAG_START != 0).then_some(start),
            close: flags & FLAG_CLOSE != 0,
            sequence: read_le!(bytes, SEQUENCE_AT, u64),
            salt: read_le!(bytes, SALT_AT, u64),
            epoch: Epoch::new(read_le!(bytes, EPOCH_AT, u64)),
            first_lsn: Lsn::new(read_le!(bytes, FIRST_LSN_AT, u64)),
            next_lsn: Lsn::new(read_le!(bytes, NEXT_LSN_AT, u64)),
            count: read_le!(bytes, COUNT_AT, u32),
            payload_len: read_le!(bytes, PAYLOAD_LEN_AT, u32),
            wall_clock_us: read_le!(bytes, WALL_CLOCK_AT, u64),
            watermark: Lsn::new(read_le!(bytes, WATERMARK_AT, u64)),
            low_water: Lsn::new(read_le!(bytes, LOW_WATER_AT, u64)),
            chain: read_le!(bytes, CHAIN_AT, u32),
        };
        header.is_possible(flags).then_some(header)
    }

    fn is_possible(&self, flags: u32) -> bool {
        let after_records = self.first_lsn.get().checked_add(u64::from(self.count));
        let may_declare_gap = self.start.is_some() || self.close;
        flags & !(FLAG_START | FLAG_CLOSE) == 0
            && !self.first_lsn.is_none()
            && self.start.is_none_or(|start| start.cut < self.first_lsn)
            && after_records.is_some_and(|next| {
                if may_declare_gap {
                    self.next_lsn.get() >= next
                } else {
                    self.next_lsn.get() == next
                }
            })
    }
}

/// The bytes that a frame with `payload_len` bytes of records takes: whole blocks.
pub const fn frame_len(payload_len: u64, place: &Place) -> u64 {
    place.align(FRAME_HEADER_LEN as u64 + payload_len + FRAME_TRAILER_LEN as u64)
}

fn header_checksum(place: &Place, offset: u64, header: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&place.log_id.0);
    hasher.update(&offset.to_le_bytes());
    hasher.update(&header[..HEADER_CHECKSUM_AT]);
    hasher.finalize()
}

/// Over the header without its own checksum, and the records. See the [module](self) for the reason.
fn frame_checksum(frame: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&frame[..HEADER_CHECKSUM_AT]);
    hasher.update(&frame[FRAME_HEADER_LEN..]);
    hasher.finalize()
}

/// Whether these bytes carry the salt of a segment in the place where a frame of it would.
///
/// It tells a frame of this life whose magic was destroyed from bytes of an earlier life.
pub fn carries_salt(bytes: &[u8], salt: u64) -> bool {
    bytes.len() >= FRAME_HEADER_LEN && read_le!(bytes, SALT_AT, u64) == salt
}

/// Why bytes are not a valid frame; the number is that of the rule above.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FrameFault {
    /// V1: no frame begins here.
    #[error("no frame begins here")]
    Magic,
    /// V2: the header does not match its checksum.
    #[error("the frame header does not match its checksum")]
    HeaderChecksum,
    /// V3: the frame was written in an earlier life of the file.
    #[error("the frame was written for segment {sequence}, in an earlier life of the file")]
    EarlierLife {
        /// The segment it was written for.
        sequence: u64,
    },
    /// V4: a field has a value that is never written.
    #[error("a field of the frame header has an impossible value")]
    Fields,
    /// V1, V4: the file ends before the frame does.
    #[error("the file ends before the frame does")]
    PastEnd,
    /// V5: the records do not match their checksum.
    #[error("the records do not match their checksum")]
    Checksum,
    /// V6: the records are not as many as the header says.
    #[error("the records are not as many as the frame header says")]
    Records,
    /// V7: the frame is sound but does not follow on the one before.
    #[error("the frame is sound but does not follow on the one before: wrong {what}")]
    Order {
        /// What does not fit.
        what: &'static str,
    },
}

/// A valid frame (V1 to V6), borrowed from the bytes it was read from.
#[derive(Clone, Debug)]
pub struct Frame<'a> {
    /// What it says about itself.
    pub header: FrameHeader,
    /// Where in the segment it begins.
    pub offset: u64,
    /// Its checksum, which the next frame with records carries as its chain.
    pub checksum: u32,
    payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Checks the rest of a frame whose header was decoded from the start of `bytes`.
    ///
    /// # Errors
    /// Says which of V5 and V6 does not hold, or that `bytes` end too early.
    pub fn check(header: FrameHeader, offset: u64, bytes: &'a [u8]) -> Result<Self, FrameFault> {
        let end = FRAME_HEADER_LEN + header.payload_len as usize;
        let trailer = bytes.get(end..end + FRAME_TRAILER_LEN).ok_or(FrameFault::PastEnd)?;
        let checksum = read_le!(trailer, 0, u32);
        if checksum != frame_checksum(&bytes[..end]) {
            return Err(FrameFault::Checksum);
        }
        let payload = &bytes[FRAME_HEADER_LEN..end];
        if !Records::new(payload).are_exactly(header.count) {
            return Err(FrameFault::Records);
        }
        Ok(Frame { header, offset, checksum, payload })
    }

    /// A frame that was checked before, put together again from its parts.
    pub(crate) fn from_checked(
        header: FrameHeader,
        offset: u64,
        checksum: u32,
        bytes: &'a [u8],
    ) -> Self {
        let payload = &bytes[FRAME_HEADER_LEN..FRAME_HEADER_LEN + header.payload_len as usize];
        Frame { header, offset, checksum, payload }
    }

    /// The records with their LSNs, in order.
    #[cfg(any(test, feature = "testkit"))]
    pub fn records(&self) -> impl Iterator<Item = (Lsn, &'a [u8])> + use<'a> {
        let first = self.header.first_lsn;
        Records::new(self.payload).zip(0u64..).map(move |(payload, at)| (first.plus(at), payload))
    }

    /// The records as they lie in the frame.
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }
}

/// A buffer keeps so much memory while small frames follow on each other, and so much while none follows.
const LARGE_BUFFER: usize = 1 << 20;
const SMALL_BUFFER: usize = 64 << 10;

/// A frame being built, in memory that is used again for the next one.
#[derive(Debug, Default)]
pub struct FrameBuffer {
    bytes: Vec<u8>,
    count: u32,
}

/// A finished frame: whole blocks, ready to be written.
#[derive(Debug)]
pub struct EncodedFrame<'a> {
    /// The bytes to write at the frame's offset.
    pub bytes: &'a [u8],
    /// Its checksum, for the chain.
    pub checksum: u32,
    /// Its header as written, with `count` and `payload_len` filled in.
    pub header: FrameHeader,
}

impl FrameBuffer {
    /// Begins a new frame. What a much larger frame has taken is given back after the first smaller one.
    pub fn begin(&mut self) {
        let last = self.bytes.len();
        self.bytes.clear();
        if self.bytes.capacity() > LARGE_BUFFER && last < self.bytes.capacity() / 8 {
            self.bytes.shrink_to(LARGE_BUFFER);
        }
        self.bytes.resize(FRAME_HEADER_LEN, 0);
        self.count = 0;
    }

    /// Gives back the memory of large frames, when none is likely to follow soon.
    pub fn give_back(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(SMALL_BUFFER);
    }

    /// How much memory it holds, in bytes.
    #[cfg(any(test, feature = "testkit"))]
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Adds one record.
    pub fn push(&mut self, payload: &[u8]) {
        record::encode(payload, &mut self.bytes);
        self.count += 1;
    }

    /// Adds records that are encoded already, as [`Frame::payload`] gives them.
    pub fn push_encoded(&mut self, payload: &[u8], count: u32) {
        self.bytes.extend_from_slice(payload);
        self.count += count;
    }

    /// Finishes the frame for this offset; `count` and `payload_len` of `header` are filled in here.
    pub fn finish(
        &mut self,
        mut header: FrameHeader,
        place: &Place,
        offset: u64,
    ) -> EncodedFrame<'_> {
        header.count = self.count;
        header.payload_len = (self.bytes.len() - FRAME_HEADER_LEN) as u32;
        header.encode(place, offset, &mut self.bytes);
        let checksum = frame_checksum(&self.bytes);
        self.bytes.extend_from_slice(&checksum.to_le_bytes());
        self.bytes.resize(place.align(self.bytes.len() as u64) as usize, 0);
        EncodedFrame { bytes: &self.bytes, checksum, header }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::lsn::LogId;

    pub(crate) const PLACE: Place = Place { log_id: LogId([9; 16]), sequence: 5, block_size: 512 };

    pub(crate) fn header(first: u64, next: u64) -> FrameHeader {
        FrameHeader {
            start: None,
            close: false,
            sequence: 5,
            salt: 77,
            epoch: Epoch::new(3),
            first_lsn: Lsn::new(first),
            next_lsn: Lsn::new(next),
            count: 0,
            payload_len: 0,
            wall_clock_us: 1,
            watermark: Lsn::new(first - 1),
            low_water: Lsn::NONE,
            chain: 11,
        }
    }

    fn encode(header: FrameHeader, records: &[&[u8]], offset: u64) -> Vec<u8> {
        let mut buffer = FrameBuffer::default();
        buffer.begin();
        records.iter().for_each(|record| buffer.push(record));
        buffer.finish(header, &PLACE, offset).bytes.to_vec()
    }

    fn decode(bytes: &[u8], offset: u64) -> Result<Frame<'_>, FrameFault> {
        let header = FrameHeader::decode(bytes, &PLACE, offset, 1 << 20)?;
        Frame::check(header, offset, bytes)
    }

    #[test]
    fn a_frame_reads_back_as_it_was_written() {
        let bytes = encode(header(10, 13), &[b"one", b"", &[3; 700]], 1024);
        assert_eq!(bytes.len(), 1024);
        let frame = decode(&bytes, 1024).expect("valid");
        assert_eq!(frame.header.last_lsn(), Lsn::new(12));
        let records: Vec<_> = frame.records().collect();
        assert_eq!(records[0], (Lsn::new(10), &b"one"[..]));
        assert_eq!(records[2], (Lsn::new(12), &[3u8; 700][..]));
    }

    #[test]
    fn v1_to_v5_every_flipped_bit_before_the_padding_is_noticed() {
        let bytes = encode(header(10, 12), &[b"one", b"two"], 512);
        let end = FRAME_HEADER_LEN + 2 * (3 + record::RECORD_OVERHEAD) + FRAME_TRAILER_LEN;
        for bit in 0..end * 8 {
            let mut bent = bytes.clone();
            bent[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&bent, 512).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn v2_a_frame_is_not_valid_at_another_offset_or_in_another_log() {
        let bytes = encode(header(10, 11), &[b"one"], 512);
        assert_eq!(decode(&bytes, 1024).err(), Some(FrameFault::HeaderChecksum));
        let other = Place { log_id: LogId([8; 16]), ..PLACE };
        let found = FrameHeader::decode(&bytes, &other, 512, 1 << 20);
        assert_eq!(found, Err(FrameFault::HeaderChecksum));
    }

    #[test]
    fn v3_a_frame_of_an_earlier_life_is_told_as_such() {
        let bytes = encode(header(10, 11), &[b"one"], 512);
        let later = Place { sequence: 6, ..PLACE };
        let found = FrameHeader::decode(&bytes, &later, 512, 1 << 20);
        assert_eq!(found, Err(FrameFault::EarlierLife { sequence: 5 }));
    }

    #[test]
    fn v4_impossible_fields_are_refused_although_the_checksum_matches() {
        let start = |cut| Some(Start { cut: Lsn::new(cut), in_flight_limit: 1 });
        let none: &[&[u8]] = &[];
        for (name, header, good) in [
            ("a gap in a plain frame", header(10, 12), false),
            ("no gap in a plain frame", header(10, 10), true),
            ("a gap in a start frame", FrameHeader { start: start(9), ..header(10, 99) }, true),
            ("a gap in a close frame", FrameHeader { close: true, ..header(10, 99) }, true),
            (
                "a cut beyond the first LSN",
                FrameHeader { start: start(10), ..header(10, 10) },
                false,
            ),
            ("going back", FrameHeader { close: true, ..header(10, 9) }, false),
        ] {
            assert_eq!(decode(&encode(header, none, 512), 512).is_ok(), good, "{name}");
        }
    }

    #[test]
    fn v4_a_frame_longer_than_the_segment_is_refused_before_it_is_read() {
        let bytes = encode(header(10, 11), &[&[1; 2000]], 512);
        let found = FrameHeader::decode(&bytes, &PLACE, 512, 1024);
        assert_eq!(found, Err(FrameFault::PastEnd));
    }

    #[test]
    fn v5_the_checksum_ties_the_records_to_every_field_of_their_header() {
        let checksum = |header| {
            let mut buffer = FrameBuffer::default();
            buffer.begin();
            buffer.push(b"one");
            buffer.finish(header, &PLACE, 512).checksum
        };
        let plain = header(10, 11);
        for other in [
            header(11, 12),
            FrameHeader { salt: 78, ..plain },
            FrameHeader { chain: 12, ..plain },
            FrameHeader { sequence: 6, ..plain },
            FrameHeader { wall_clock_us: 2, ..plain },
        ] {
            assert_ne!(checksum(plain), checksum(other), "{other:?}");
        }
    }

    #[test]
    fn v6_a_wrong_count_is_refused_although_the_checksum_matches() {
        let mut buffer = FrameBuffer::default();
        buffer.begin();
        buffer.push(b"one");
        buffer.push_encoded(&[], 1);
        let bytes = buffer.finish(header(10, 12), &PLACE, 512).bytes.to_vec();
        assert_eq!(decode(&bytes, 512).err(), Some(FrameFault::Records));
    }
}
