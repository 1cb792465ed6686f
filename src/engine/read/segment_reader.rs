//! Reads the frames of one segment from its file, with a window that holds a frame or a mebibyte.

use std::ops::Range;
use std::{io, mem};

use crate::engine::read::seek::Seek;
use crate::error::{IoFault, IoOp};
use crate::format::frame::{Frame, FrameHeader};
use crate::format::scan::{Ending, Scanner, Seen, Until, Verdict};
use crate::format::segment::SegmentHeader;
use crate::lsn::Lsn;
use crate::storage::StorageFile;

/// How much is read at once.
const READ_AHEAD: usize = 1 << 20;
/// How much is read at first: who only looks at the first frame, or at the newest ones, needs no more.
const FIRST_READ: usize = 64 << 10;
/// Memory that is read into begins at a page. Some processors copy six times as slowly, in the kernel too,
/// where the target lies a few bytes further into its page than the source, as the memory that an allocator
/// gives out for a large vector does (decision 0020).
const PAGE: usize = 4096;

/// What comes next in a segment.
#[derive(Debug)]
pub enum Next<'a> {
    /// A sound frame.
    Frame(Frame<'a>),
    /// The end.
    End(Ending),
}

/// Reads the frames of one segment.
#[derive(Debug)]
pub struct SegmentReader {
    header: SegmentHeader,
    scanner: Scanner,
    window: Window,
    /// The frame that was given out last, as long as the window holds it.
    last: Option<Last>,
}

/// A frame without its bytes: its header, its offset, and its checksum.
type Last = (FrameHeader, u64, u32);

impl SegmentReader {
    /// A reader for the segment with this header.
    ///
    /// # Errors
    /// The size of the file could not be read.
    pub fn new(
        file: Box<dyn StorageFile>,
        name: impl Into<String>,
        header: SegmentHeader,
        until: Until,
    ) -> Result<Self, IoFault> {
        let name = name.into();
        let len = file.size().map_err(|error| IoFault::new(IoOp::Read, &name, None, error))?;
        let scanner = Scanner::new(header, len, until);
        let (room, ahead) = (Room::default(), FIRST_READ);
        let window = Window { file, name, len, ahead, room, filled: 0, start: 0 };
        Ok(SegmentReader { header, scanner, window, last: None })
    }

    /// The next frame, or how the segment ends.
    ///
    /// # Errors
    /// The file could not be read. That says nothing about the records in it.
    #[allow(
        clippy::should_implement_trait,
        reason = "it lends the frame, so it can be no Iterator"
    )]
    pub fn next(&mut self) -> Result<Next<'_>, IoFault> {
        self.last = None;
        let last = loop {
            let Some(range) = self.scanner.wants() else {
                return Ok(Next::End(self.scanner.end_again()));
            };
            self.window.load(&range)?;
            match self.scanner.see(self.window.get(&range)) {
                Seen::More => {}
                // Stored here, not after the loop: that saves one copy of the header for each frame.
                Seen::Frame(frame) => {
                    break self.last.insert((frame.header, frame.offset, frame.checksum));
                }
                Seen::End(ending) => return Ok(Next::End(ending)),
            }
        };
        Ok(Next::Frame(lend(&self.window, &self.scanner, last)))
    }

    /// The frame that was given out last, once more; the next one if it was forgotten.
    ///
    /// # Errors
    /// As for [`next`](Self::next).
    pub fn again(&mut self) -> Result<Next<'_>, IoFault> {
        match &self.last {
            Some(last) => Ok(Next::Frame(lend(&self.window, &self.scanner, last))),
            None => self.next(),
        }
    }

    /// Goes to the frame that holds `lsn`, which lies in this segment, without reading those before it. Whether
    /// it did: if not, it stands where it stood, which is before that frame. It is for a reader that has given
    /// out nothing yet. `ends` is where the frames end at the latest, as far as that is known, and the LSN there.
    ///
    /// # Errors
    /// The file could not be read.
    pub fn seek(&mut self, lsn: Lsn, ends: (u64, Lsn)) -> Result<bool, IoFault> {
        let Window { file, name, len, .. } = &self.window;
        let found = Seek::new(&**file, &self.header, *len)
            .and_then(|seek| seek.map_or(Ok(None), |seek| seek.find(lsn, ends)))
            .map_err(|error| IoFault::new(IoOp::Read, name, None, error))?;
        if let Some((offset, header)) = found {
            self.scanner.skip_to(offset, &header);
        }
        Ok(found.is_some())
    }

    /// Goes on with the frame of this header at `offset`, whatever lies before it: for a walk behind damage.
    pub(crate) fn skip_to(&mut self, offset: u64, header: &FrameHeader) {
        self.scanner.skip_to(offset, header);
        self.last = None;
    }

    /// Gives memory back: what it takes to hold a frame that is larger than what is read at once, or, if
    /// nothing is likely to be read for a while, all but the little that is read at first. The frame that was
    /// given out last is forgotten then.
    pub fn give_back(&mut self, is_idle: bool) {
        let keep = if is_idle { FIRST_READ } else { READ_AHEAD };
        if self.window.room.len() > keep + PAGE {
            self.window.room = Room::default();
            self.window.filled = 0;
            self.last = None;
        }
    }

    /// Forgets what was read ahead: the file may have been written since, and may have grown.
    ///
    /// # Errors
    /// The size of the file could not be read.
    pub fn refresh(&mut self) -> Result<(), IoFault> {
        self.window.filled = 0;
        self.window.ahead = FIRST_READ;
        self.last = None;
        let Window { file, name, .. } = &self.window;
        let len = file.size().map_err(|error| IoFault::new(IoOp::Read, name, None, error))?;
        self.window.len = len;
        self.scanner.grow_to(len);
        Ok(())
    }
}

/// The frame that the scanner saw last.
fn lend<'a>(window: &'a Window, scanner: &Scanner, last: &Last) -> Frame<'a> {
    let (header, offset, checksum) = *last;
    Frame::from_checked(header, offset, checksum, window.get(&(offset..scanner.offset())))
}

/// What is wrong where a segment ends and should not.
pub(crate) fn what_is_wrong(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Clean => "there is none".to_owned(),
        Verdict::TornTail(torn) => torn.reason.to_string(),
        Verdict::Damage { fault, .. } => fault.to_string(),
    }
}

/// A piece of a file in memory.
#[derive(Debug)]
struct Window {
    file: Box<dyn StorageFile>,
    name: String,
    /// The size of the file when it was last looked at: no more is read ahead.
    len: u64,
    /// How much is read next, if there is as much.
    ahead: usize,
    /// Only as many bytes of it as are `filled` mean anything.
    room: Room,
    filled: usize,
    start: u64,
}

impl Window {
    /// Sees to it that the window holds `range`, as far as the file reaches.
    fn load(&mut self, range: &Range<u64>) -> Result<(), IoFault> {
        let end = self.start + self.filled as u64;
        if range.start >= self.start && range.end <= end {
            return Ok(());
        }
        let keep = if range.start >= self.start && range.start < end {
            (range.start - self.start) as usize..self.filled
        } else {
            0..0
        };
        let kept = keep.len();
        self.start = range.start;
        let rest = self.len.saturating_sub(range.start).min(self.ahead as u64);
        let wanted = (range.end - range.start).max(rest) as usize;
        self.ahead = READ_AHEAD;
        if self.room.len() < wanted {
            let shorter = mem::replace(&mut self.room, Room::new(wanted));
            self.room.get_mut()[..kept].copy_from_slice(&shorter.get()[keep]);
        } else {
            self.room.get_mut().copy_within(keep, 0);
        }
        self.filled = kept;
        let room = &mut self.room.get_mut()[kept..wanted];
        let read = read_up_to(&*self.file, room, range.start + kept as u64)
            .map_err(|error| IoFault::new(IoOp::Read, &self.name, Some(range.start), error))?;
        self.filled += read;
        Ok(())
    }

    fn get(&self, range: &Range<u64>) -> &[u8] {
        let from = (range.start.saturating_sub(self.start) as usize).min(self.filled);
        let to = (range.end.saturating_sub(self.start) as usize).min(self.filled);
        &self.room.get()[from..to]
    }
}

/// Memory that begins at a page.
#[derive(Debug, Default)]
struct Room {
    bytes: Vec<u8>,
    from: usize,
}

impl Room {
    /// It comes with zeros in it from the system, where a vector that is made longer would be filled with them.
    fn new(len: usize) -> Self {
        let bytes = vec![0; len + PAGE];
        let from = bytes.as_ptr().addr().next_multiple_of(PAGE) - bytes.as_ptr().addr();
        Room { bytes, from }
    }

    fn len(&self) -> usize {
        self.get().len()
    }

    fn get(&self) -> &[u8] {
        &self.bytes[self.from..]
    }

    fn get_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.from..]
    }
}

/// Reads until the buffer is full or the file ends.
pub(crate) fn read_up_to(
    file: &dyn StorageFile,
    buffer: &mut [u8],
    offset: u64,
) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match file.read_at(&mut buffer[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Place;
    use crate::format::frame::tests::{PLACE, header};
    use crate::format::frame::{FrameBuffer, Start};
    use crate::testkit::SimDisk;

    #[test]
    fn frames_of_every_length_are_read_whole_wherever_a_window_ends() {
        let place = Place { block_size: 4096, ..PLACE };
        let mut bytes = vec![0; 4096];
        let (mut next, mut chain) = (1, 0);
        // Less than what is read at first, more than that, and more than what is read at once.
        for len in [100, 40_000, 40_000, 100, 200_000, 70_000, 3 << 20, 100, 900_000, 500_000] {
            let start = (next == 1).then_some(Start { cut: Lsn::NONE, in_flight_limit: 8 });
            let mut buffer = FrameBuffer::default();
            buffer.begin();
            buffer.push(&vec![next as u8; len]);
            let head = FrameHeader { start, chain, ..header(next, next + 1) };
            let frame = buffer.finish(head, &place, bytes.len() as u64);
            bytes.extend_from_slice(frame.bytes);
            (next, chain) = (next + 1, frame.checksum);
        }
        let size = bytes.len() as u64;
        let segment = SegmentHeader { place, size, recycled: false, growing: false };
        let disk = SimDisk::new();
        disk.write_file("segment", bytes);
        let file = disk.mount().and_then(|storage| storage.open("segment")).expect("it is there");
        let mut reader = SegmentReader::new(file, "segment", segment, Until::Tail).expect("a file");
        for lsn in 1..next {
            let Ok(Next::Frame(frame)) = reader.next() else {
                panic!("there is a frame for {lsn}");
            };
            let (found, payload) = frame.records().next().expect("a record");
            assert!(found.get() == lsn && payload.iter().all(|byte| *byte == lsn as u8));
            // Every other time from where it stands, as one who follows the tail does.
            if lsn % 2 == 0 {
                reader.refresh().expect("a file");
            }
        }
        let ending = reader.next();
        assert!(
            matches!(ending, Ok(Next::End(end)) if end.verdict == Verdict::Clean),
            "{ending:?}"
        );
    }
}
