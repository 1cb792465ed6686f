//! One segment, frame by frame, and on behind what is damaged in it.

use crate::engine::read::segment_reader::{Next, SegmentReader, read_up_to};
use crate::error::{IoFault, IoOp};
use crate::format::frame::{Frame, FrameFault, FrameHeader};
use crate::format::scan::{TornTail, Until, Verdict};
use crate::format::segment::SegmentHeader;
use crate::lsn::Lsn;
use crate::storage::Storage;

/// So much is looked at in one go for the next frame behind damage.
const WINDOW: u64 = 256 << 10;

/// Walks the frames of one segment.
#[derive(Debug)]
pub(super) struct SegmentWalk {
    name: String,
    header: SegmentHeader,
    file_len: u64,
    reader: SegmentReader,
    /// Of this life of the file; `None` if its start frame does not tell.
    salt: Option<u64>,
    /// Behind the last damage: no frame before it is looked for again.
    searched_to: u64,
    /// Behind the damage that the segment ends with.
    is_over: Option<WalkEnd>,
}

/// What comes next in a segment.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// A sound frame: see [`SegmentWalk::frame`].
    Frame,
    /// Something that is damaged, and sound frames behind it.
    Damage(DamagedPart),
    /// The frames end here.
    End(WalkEnd),
}

/// A part of a segment that can not be read.
#[derive(Clone, Copy, Debug)]
pub(super) struct DamagedPart {
    pub(super) offset: u64,
    /// What is wrong there.
    pub(super) fault: FrameFault,
    /// The LSN that should come there.
    pub(super) lsn: Lsn,
    /// The offset and the header of the next sound frame header of this life.
    pub(super) resumes: Option<(u64, FrameHeader)>,
}

/// How a segment ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct WalkEnd {
    pub(super) offset: u64,
    pub(super) next_lsn: Lsn,
    pub(super) torn: Option<TornTail>,
}

impl SegmentWalk {
    /// A walk through the segment with this header and this salt, from its start frame on.
    pub(super) fn new(
        storage: &dyn Storage,
        name: &str,
        header: SegmentHeader,
        until: Until,
        salt: Option<u64>,
    ) -> Result<Self, IoFault> {
        let fault = |op| move |error| IoFault::new(op, name, None, error);
        let file = storage.open(name).map_err(fault(IoOp::Open))?;
        let file_len = file.size().map_err(fault(IoOp::Read))?;
        let reader = SegmentReader::new(file, name, header, until)?;
        Ok(SegmentWalk {
            name: name.to_owned(),
            header,
            file_len,
            reader,
            salt,
            searched_to: 0,
            is_over: None,
        })
    }

    /// Goes to the frame that holds `lsn` without reading those before it, if it can.
    pub(super) fn seek(&mut self, lsn: Lsn, live_end: Lsn) -> Result<(), IoFault> {
        self.reader.seek(lsn, (self.file_len, live_end.next())).map(drop)
    }

    /// What comes next. After damage it goes on behind it.
    pub(super) fn next(&mut self, storage: &dyn Storage) -> Result<Step, IoFault> {
        if let Some(end) = self.is_over {
            return Ok(Step::End(end));
        }
        let ending = match self.reader.next()? {
            Next::Frame(_) => return Ok(Step::Frame),
            Next::End(ending) => ending,
        };
        let (offset, next_lsn) = (ending.offset, ending.next_lsn);
        let fault = match ending.verdict {
            Verdict::Clean => return Ok(Step::End(WalkEnd { offset, next_lsn, torn: None })),
            Verdict::TornTail(torn) => {
                return Ok(Step::End(WalkEnd { offset, next_lsn, torn: Some(torn) }));
            }
            Verdict::Damage { fault, .. } => fault,
        };
        let resumes = self.find_behind(storage, offset, next_lsn)?;
        if let Some((at, header)) = &resumes {
            self.reader.skip_to(*at, header);
            return Ok(Step::Damage(DamagedPart { offset, fault, lsn: next_lsn, resumes }));
        }
        self.is_over = Some(WalkEnd { offset, next_lsn, torn: None });
        Ok(Step::Damage(DamagedPart { offset, fault, lsn: next_lsn, resumes }))
    }

    /// The frame that was found last.
    pub(super) fn frame(&mut self) -> Result<Option<Frame<'_>>, IoFault> {
        Ok(match self.reader.again()? {
            Next::Frame(frame) => Some(frame),
            Next::End(_) => None,
        })
    }

    /// The next block behind `offset` that has a sound frame header of this life, of records behind `lsn`.
    fn find_behind(
        &mut self,
        storage: &dyn Storage,
        offset: u64,
        lsn: Lsn,
    ) -> Result<Option<(u64, FrameHeader)>, IoFault> {
        let fault = |op| {
            let name = &self.name;
            move |error| IoFault::new(op, name, Some(offset), error)
        };
        let (place, header) = (&self.header.place, &self.header);
        let len = header.len_in(self.file_len);
        let block = u64::from(place.block_size);
        let file = storage.open(&self.name).map_err(fault(IoOp::Open))?;
        let mut at = (offset + block).max(self.searched_to);
        let mut window = vec![0; WINDOW as usize];
        while at < len {
            let read = read_up_to(&*file, &mut window, at).map_err(fault(IoOp::Read))?;
            for bytes in window[..read].chunks(block as usize) {
                let found = FrameHeader::decode(bytes, place, at, len).ok();
                let is_ours = |found: &FrameHeader| {
                    self.salt.is_none_or(|salt| found.salt == salt) && found.first_lsn >= lsn
                };
                at += block;
                if let Some(found) = found.filter(is_ours) {
                    self.searched_to = at;
                    return Ok(Some((at - block, found)));
                }
            }
            if read < window.len() {
                break;
            }
        }
        self.searched_to = len;
        Ok(None)
    }
}
