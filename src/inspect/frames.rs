//! The frames of a log, one after the other.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use super::LogFiles;
use super::overview::Overview;
use super::walk::{DamagedPart, SegmentWalk, Step};
use crate::error::{Damage, DamageKind, IoFault, Loss};
use crate::format::frame::Frame;
use crate::format::record::Records;
use crate::format::scan::Until;
use crate::format::segment::SegmentHeader;
use crate::lsn::{Epoch, Lsn};

/// Beside an owner, before what looks damaged is read once more: it may have been under way.
const PAUSE: Duration = Duration::from_millis(50);

/// Gives the live frames of a log, in order. What is damaged is told, and left out.
#[derive(Debug)]
pub struct Frames {
    files: LogFiles,
    overview: Overview,
    /// The live segments that come, the next one last.
    coming: Vec<Coming>,
    open: Option<(Coming, SegmentWalk)>,
    from: Lsn,
    /// The last LSN that was given out.
    reached: Lsn,
    /// Damage that was read twice: the segment and the offset.
    certain: Option<(u64, u64)>,
}

#[derive(Clone, Debug)]
struct Coming {
    name: String,
    header: SegmentHeader,
    /// Of a segment with a start frame: its salt, and the last LSN that is live before it.
    start: Option<(u64, Lsn)>,
    live_end: Lsn,
    is_last: bool,
}

/// What comes next in a log.
#[derive(Debug)]
#[non_exhaustive]
pub enum LogItem<'a> {
    /// A sound frame.
    Frame(FrameView<'a>),
    /// Records that can not be read. Behind it the frames go on.
    Damage(Damage),
}

/// A sound frame: what one flush wrote.
#[derive(Debug)]
pub struct FrameView<'a> {
    pub(super) header: &'a SegmentHeader,
    pub(super) frame: Frame<'a>,
}

impl FrameView<'_> {
    /// The sequence number of its segment.
    pub fn segment(&self) -> u64 {
        self.header.place.sequence
    }

    /// Where in the segment it begins, in bytes.
    pub fn offset(&self) -> u64 {
        self.frame.offset
    }

    /// The epoch that wrote it.
    pub fn epoch(&self) -> Epoch {
        self.frame.header.epoch
    }

    /// The LSN of its first record, or of the next one if it has none.
    pub fn first_lsn(&self) -> Lsn {
        self.frame.header.first_lsn
    }

    /// The LSN behind it. LSNs between its last record and this one name no record.
    pub fn next_lsn(&self) -> Lsn {
        self.frame.header.next_lsn
    }

    /// How many records it has.
    pub fn count(&self) -> u32 {
        self.frame.header.count
    }

    /// When it was written, in microseconds since 1970 by the clock of the host.
    pub fn written_us(&self) -> u64 {
        self.frame.header.wall_clock_us
    }

    /// The highest LSN that was promised durable when it was written.
    pub fn promised(&self) -> Lsn {
        self.frame.header.watermark
    }

    /// The highest LSN that a checkpoint had released when it was written.
    pub fn low_water(&self) -> Lsn {
        self.frame.header.low_water
    }

    /// For the first frame of a segment: the last LSN that is live before it.
    pub fn cut(&self) -> Option<Lsn> {
        self.frame.header.start.map(|start| start.cut)
    }

    /// Whether it ends a life that was closed cleanly.
    pub fn is_close(&self) -> bool {
        self.frame.header.close
    }

    /// Its records with their LSNs, in order.
    pub fn records(&self) -> impl Iterator<Item = (Lsn, &[u8])> {
        let first = self.frame.header.first_lsn;
        Records::new(self.frame.payload()).zip(0u64..).map(move |(one, at)| (first.plus(at), one))
    }
}

impl Frames {
    pub(super) fn new(files: LogFiles, overview: Overview, from: Lsn) -> Self {
        let from = from.max(overview.low_water.next());
        let last = overview.started().next_back().map(|(segment, _)| segment.sequence);
        let (mut coming, mut live_end) = (Vec::new(), None);
        for segment in overview.segments.iter().rev() {
            let Some(header) = segment.header else { continue };
            let is_last = Some(segment.sequence) == last;
            match (segment.started(), live_end) {
                (Some(started), _) => {
                    live_end = Some(started.cut.min(live_end.unwrap_or(Lsn::MAX)));
                    let is_wanted = !overview.is_released(started) && started.live_end >= from;
                    if is_wanted || is_last {
                        let start = Some((started.start.salt, started.cut));
                        let (name, live_end) = (segment.name.clone(), started.live_end);
                        coming.push(Coming { name, header, start, live_end, is_last });
                    }
                }
                // Its start frame is damaged, or the log has gone past it: then nothing is missing when its turn comes.
                (None, Some(live_end)) if segment.is_damaged_or_skipped() && live_end >= from => {
                    let (name, start) = (segment.name.clone(), None);
                    coming.push(Coming { name, header, start, live_end, is_last });
                }
                _ => {}
            }
        }
        let reached = from.previous();
        Frames { files, coming, overview, open: None, from, reached, certain: None }
    }

    /// All frames of the live segments from segment `first` on, also those whose records are released.
    pub(super) fn whole(files: LogFiles, overview: Overview, first: u64) -> Self {
        let mut frames = Frames::new(files, overview, Lsn::NONE);
        frames.coming.retain(|coming| coming.header.place.sequence >= first);
        frames.from = Lsn::NONE;
        frames
    }

    /// What the headers said when this was begun.
    pub fn overview(&self) -> &Overview {
        &self.overview
    }

    /// The next frame or damage; `None` behind the last one. Frames whose records all come before the LSN that was asked
    /// for are left out where that takes no reading.
    ///
    /// # Errors
    /// A file can not be read.
    #[allow(
        clippy::should_implement_trait,
        reason = "it lends the frame, so it can be no Iterator"
    )]
    pub fn next(&mut self) -> Result<Option<LogItem<'_>>, IoFault> {
        let storage = Arc::clone(self.files.storage());
        let (sequence, damaged) = loop {
            let Some((coming, mut walk)) = self.open.take() else {
                let Some(coming) = self.coming.pop() else { return Ok(None) };
                if coming.start.is_none() && self.reached >= coming.live_end {
                    continue;
                }
                self.open = self.open(coming, self.from)?;
                continue;
            };
            let step = walk.next(&*storage)?;
            let sequence = coming.header.place.sequence;
            match step {
                Step::End(_) => continue,
                Step::Damage(part) if self.may_be_under_way(sequence, &part) => {
                    self.open = self.open(coming, part.lsn)?;
                    continue;
                }
                _ => self.open = Some((coming, walk)),
            }
            break match step {
                Step::Damage(part) => (sequence, Some(part)),
                _ => (sequence, None),
            };
        };
        if let Some(part) = damaged {
            return Ok(Some(LogItem::Damage(damage(sequence, &part))));
        }
        let Some((Coming { header, .. }, walk)) = &mut self.open else { return Ok(None) };
        let Some(frame) = walk.frame()? else { return Ok(None) };
        if frame.header.count > 0 {
            self.reached = self.reached.max(frame.header.last_lsn());
        }
        Ok(Some(LogItem::Frame(FrameView { header, frame })))
    }

    /// Whether what looks damaged is to be read once more: the first time, and only beside an owner.
    fn may_be_under_way(&mut self, sequence: u64, part: &DamagedPart) -> bool {
        let place = Some((sequence, part.offset));
        if self.certain == place || self.files.owner().is_none() {
            return false;
        }
        self.certain = place;
        std::thread::sleep(PAUSE);
        true
    }

    /// A walk through a segment from an LSN on; `None` if a checkpoint of the owner has removed it.
    fn open(&self, coming: Coming, from: Lsn) -> Result<Option<(Coming, SegmentWalk)>, IoFault> {
        let storage = &**self.files.storage();
        let until = if coming.is_last { Until::Tail } else { Until::LiveEnd(coming.live_end) };
        let Coming { name, header, start, live_end, .. } = &coming;
        let salt = start.map(|(salt, _)| salt);
        let mut walk = match SegmentWalk::new(storage, name, *header, until, salt) {
            Ok(walk) => walk,
            Err(fault) if fault.source.kind() == ErrorKind::NotFound => return Ok(None),
            Err(fault) => return Err(fault),
        };
        if start.is_some_and(|(_, cut)| from > cut.next()) {
            walk.seek(from, *live_end)?;
        }
        Ok(Some((coming, walk)))
    }
}

pub(super) fn damage(segment: u64, part: &DamagedPart) -> Damage {
    let (reason, proof) = (part.fault.to_string(), part.resumes.map(|(offset, _)| offset));
    let loss = if proof.is_some() { Loss::Certain } else { Loss::Possible };
    let kind = DamageKind::Frame { reason, proof };
    Damage { segment, offset: part.offset, lsn: part.lsn, loss, kind }
}
