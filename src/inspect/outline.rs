//! A segment by the headers of its frames, without their records.

use std::io;

use crate::engine::read::segment_reader::read_up_to;
use crate::format::frame::{FRAME_HEADER_LEN, FRAME_TRAILER_LEN, Frame, FrameHeader};
use crate::format::segment::SegmentHeader;
use crate::lsn::{Lsn, LsnRange};
use crate::storage::StorageFile;

/// So much is read at once: small frames lie side by side in it.
const WINDOW: usize = 256 << 10;

/// What the headers of a segment's frames say. Of the records themselves only those of the last frame were read: the others
/// may be damaged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outline {
    /// Frames: one write and one sync each.
    pub frames: u64,
    /// Frames without a record: starts, seals and closes.
    pub empty_frames: u64,
    /// Records.
    pub records: u64,
    /// Bytes of records, with five bytes of overhead each.
    pub record_bytes: u64,
    /// Bytes that only fill blocks: behind the records of each frame to the end of its last block.
    pub padding: u64,
    /// Where the frames end, in bytes from the start of the file.
    pub end: u64,
    /// From the first LSN to the last one, with the LSNs in between that name no record; `None` without a record.
    pub lsns: Option<LsnRange>,
    /// When the last frame was written, in microseconds since 1970 by the clock of the host.
    pub last_written_us: u64,
    /// Whether the last frame is that of a clean close.
    pub is_closed: bool,
    pub(super) last: Option<FrameHeader>,
    /// The highest low-water mark of all frames.
    pub(super) low_water: Lsn,
}

impl Outline {
    /// Goes from header to header, from the start frame on, for as long as they follow on each other.
    pub(super) fn read(
        file: &dyn StorageFile,
        segment: &SegmentHeader,
        file_len: u64,
    ) -> io::Result<Self> {
        let len = segment.len_in(file_len);
        let mut window = Window { file, bytes: Vec::new(), start: 0 };
        let mut outline =
            Outline { end: u64::from(segment.place.block_size), ..Outline::default() };
        let mut before = outline;
        loop {
            let bytes = window.at(outline.end)?;
            let header = FrameHeader::decode(bytes, &segment.place, outline.end, len);
            let Some(header) = header.ok().filter(|header| outline.is_followed_by(header)) else {
                // An unfinished write may have a sound header. Only the very last frame can be one.
                let is_whole = outline.last_is_whole(file, segment, before.end)?;
                return Ok(if is_whole { outline } else { before });
            };
            before = outline;
            outline.note(&header, segment);
        }
    }

    /// Whether the records of the last frame, which begins at `offset`, match its checksum.
    fn last_is_whole(
        &self,
        file: &dyn StorageFile,
        segment: &SegmentHeader,
        offset: u64,
    ) -> io::Result<bool> {
        let Some(last) = self.last else { return Ok(true) };
        let mut bytes = vec![0; last.frame_len(&segment.place) as usize];
        let read = read_up_to(file, &mut bytes, offset)?;
        Ok(Frame::check(last, offset, &bytes[..read]).is_ok())
    }

    fn is_followed_by(&self, header: &FrameHeader) -> bool {
        match &self.last {
            None => header.start.is_some(),
            Some(last) => {
                header.start.is_none()
                    && !last.close
                    && (header.salt, header.epoch, header.first_lsn)
                        == (last.salt, last.epoch, last.next_lsn)
            }
        }
    }

    fn note(&mut self, header: &FrameHeader, segment: &SegmentHeader) {
        let len = header.frame_len(&segment.place);
        let used =
            FRAME_HEADER_LEN as u64 + u64::from(header.payload_len) + FRAME_TRAILER_LEN as u64;
        self.frames += 1;
        self.empty_frames += u64::from(header.count == 0);
        self.records += u64::from(header.count);
        self.record_bytes += u64::from(header.payload_len);
        self.padding += len - used;
        self.end += len;
        if header.count > 0 {
            let first = self.lsns.map_or(header.first_lsn, |lsns| lsns.first);
            self.lsns = LsnRange::new(first, header.last_lsn());
        }
        self.last_written_us = header.wall_clock_us;
        self.is_closed = header.close;
        self.low_water = self.low_water.max(header.low_water);
        self.last = Some(*header);
    }
}

struct Window<'a> {
    file: &'a dyn StorageFile,
    bytes: Vec<u8>,
    start: u64,
}

impl Window<'_> {
    /// The header at this offset, or less where the file ends.
    fn at(&mut self, offset: u64) -> io::Result<&[u8]> {
        let is_inside = offset >= self.start
            && offset + FRAME_HEADER_LEN as u64 <= self.start + self.bytes.len() as u64;
        if !is_inside {
            self.bytes.resize(WINDOW, 0);
            let read = read_up_to(self.file, &mut self.bytes, offset)?;
            self.bytes.truncate(read);
            self.start = offset;
        }
        let from = (offset - self.start) as usize;
        Ok(&self.bytes[from..self.bytes.len().min(from + FRAME_HEADER_LEN)])
    }
}
