//! What is in a directory, by the headers of segments and frames alone.

use std::io::ErrorKind;

use super::outline::Outline;
use crate::engine::read::segment_reader::read_up_to;
use crate::engine::recovery::{Unfit, check_header, most_frequent};
use crate::error::{Damage, DamageKind, IoFault, IoOp, Loss};
use crate::format::frame::FrameHeader;
use crate::format::segment::{FileKind, SegmentHeader, file_kind};
use crate::format::{Place, is_blank};
use crate::lsn::{Epoch, LogId, Lsn, LsnRange};
use crate::storage::{EntryKind, FileEntry, Medium, Storage, StorageFile};

/// What the headers of a log say.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Overview {
    /// The log's own name; `None` if no segment tells it.
    pub log_id: Option<LogId>,
    /// The segments, in order.
    pub segments: Vec<SegmentOverview>,
    /// What else lies there.
    pub others: Vec<OtherFile>,
    /// The newest epoch.
    pub epoch: Epoch,
    /// The last LSN that is live.
    pub last_lsn: Lsn,
    /// The LSN behind the last frame. The next life may begin further on.
    pub next_lsn: Lsn,
    /// The highest LSN that a checkpoint has released.
    pub low_water: Lsn,
    /// The highest LSN that a frame says was promised durable.
    pub promised: Lsn,
    /// Whether the last life was closed cleanly.
    pub is_closed: bool,
    /// Bytes that can still be allocated, if the file system tells.
    pub free_bytes: Option<u64>,
    /// What kind of file system it is.
    pub medium: Medium,
}

/// A file with the name of a segment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SegmentOverview {
    /// The sequence number in its name.
    pub sequence: u64,
    /// Its name.
    pub name: String,
    /// The size of the file in bytes.
    pub file_bytes: u64,
    /// What it is.
    pub state: SegmentState,
    pub(super) header: Option<SegmentHeader>,
}

/// What a file with the name of a segment is.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum SegmentState {
    /// It is no segment of this log.
    Unreadable(Damage),
    /// A later version of this crate wrote it.
    Newer {
        /// What its header claims.
        reason: String,
    },
    /// It was prepared for later, and holds no frame.
    Prepared,
    /// It begins with neither a start frame nor zeros: a torn or damaged start.
    NotStarted,
    /// It is, or was, a part of the log.
    Started(Box<Started>),
}

/// A segment with a start frame.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Started {
    /// The epoch that wrote it.
    pub epoch: Epoch,
    /// The last LSN that is live before it.
    pub cut: Lsn,
    /// The last LSN that is live in it: of the newest segment by its headers, of the others because a later one says so.
    pub live_end: Lsn,
    /// When it was begun, in microseconds since 1970 by the clock of the host.
    pub begun_us: u64,
    /// How full it is: of the newest segment. Of the others, [`Overview::outline`] tells.
    pub outline: Option<Outline>,
    pub(super) start: FrameHeader,
}

impl Started {
    /// From the first LSN to the last one that is live in it; `None` if no record is.
    pub fn lsns(&self) -> Option<LsnRange> {
        LsnRange::new(self.cut.next(), self.live_end)
    }
}

impl SegmentOverview {
    /// The start frame, if it has one.
    pub fn started(&self) -> Option<&Started> {
        match &self.state {
            SegmentState::Started(started) => Some(started),
            _ => None,
        }
    }

    /// Whether it has neither a start frame nor zeros in its place: that is damaged, or was never finished.
    pub(super) fn is_damaged_or_skipped(&self) -> bool {
        matches!(self.state, SegmentState::NotStarted)
    }

    pub(super) fn place(&self) -> Option<Place> {
        self.header.map(|header| header.place)
    }
}

/// Something else in the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OtherFile {
    /// A segment that is being prepared, or was when a life ended.
    Unfinished {
        /// Its name.
        name: String,
        /// Its size in bytes.
        bytes: u64,
    },
    /// What a salvage has set aside: evidence, which the log never reads again.
    SetAside {
        /// Its name.
        name: String,
        /// Its size in bytes.
        bytes: u64,
    },
    /// It is named like a segment and is none: a backup, a compressed one, a folder.
    Alike {
        /// Its name.
        name: String,
    },
    /// Nothing of the log's.
    Foreign {
        /// Its name.
        name: String,
    },
}

impl Overview {
    /// Whether nothing in the directory is a segment, or is named like one.
    pub fn has_no_log(&self) -> bool {
        self.segments.is_empty()
    }

    /// Whether a checkpoint has released all of a segment, so that its file may go.
    pub fn is_released(&self, started: &Started) -> bool {
        started.live_end <= self.low_water || started.live_end <= started.cut
    }

    /// The block size, and the size of the largest segment, in bytes: as the settings of the owner were. `None` without a
    /// segment.
    pub fn sizes(&self) -> Option<(u32, u64)> {
        let headers = || self.segments.iter().filter_map(|segment| segment.header);
        let block_size = headers().next_back()?.place.block_size;
        Some((block_size, headers().map(|header| header.size).max()?))
    }

    /// The bytes of the files that hold live records.
    pub fn live_bytes(&self) -> u64 {
        let live = self.started().filter(|(_, started)| !self.is_released(started));
        live.map(|(segment, _)| segment.file_bytes).sum()
    }

    pub(super) fn started(&self) -> impl DoubleEndedIterator<Item = (&SegmentOverview, &Started)> {
        self.segments.iter().filter_map(|segment| Some((segment, segment.started()?)))
    }

    /// Reads the headers of all frames of a segment. `None` if it has none, or its file is gone.
    ///
    /// # Errors
    /// The file can not be read.
    pub fn outline(
        &self,
        files: &super::LogFiles,
        segment: &SegmentOverview,
    ) -> Result<Option<Outline>, IoFault> {
        let (Some(header), Some(_)) = (&segment.header, segment.started()) else {
            return Ok(None);
        };
        outline_of(&**files.storage(), &segment.name, header)
    }
}

pub(super) fn take(storage: &dyn Storage) -> Result<Overview, IoFault> {
    let listed = storage.list();
    let mut entries =
        listed.map_err(|error| IoFault::new(IoOp::List, storage.location(), None, error))?;
    entries.sort_by(|one, other| one.name.cmp(&other.name));
    let (mut segments, mut others) = (Vec::new(), Vec::new());
    for entry in entries {
        match (file_kind(&entry.name), entry.kind) {
            (FileKind::Segment(sequence), EntryKind::File) => {
                segments.extend(look_at(storage, sequence, entry)?);
            }
            (kind, _) => others.push(other(kind, entry)),
        }
    }
    let mut overview = Overview {
        log_id: None,
        segments,
        others,
        epoch: Epoch::default(),
        last_lsn: Lsn::NONE,
        next_lsn: Lsn::FIRST,
        low_water: Lsn::NONE,
        promised: Lsn::NONE,
        is_closed: false,
        free_bytes: storage.free_bytes(),
        medium: storage.medium(),
    };
    overview.find_foreign();
    overview.find_end(storage)?;
    Ok(overview)
}

fn other(kind: FileKind, entry: FileEntry) -> OtherFile {
    let FileEntry { name, size: bytes, kind: what } = entry;
    match kind {
        FileKind::Scratch(_) if what == EntryKind::File => OtherFile::Unfinished { name, bytes },
        FileKind::SetAside(_) if what == EntryKind::File => OtherFile::SetAside { name, bytes },
        FileKind::Other => OtherFile::Foreign { name },
        _ => OtherFile::Alike { name },
    }
}

/// The header and the start frame of one file; `None` if it has gone since it was listed.
fn look_at(
    storage: &dyn Storage,
    sequence: u64,
    entry: FileEntry,
) -> Result<Option<SegmentOverview>, IoFault> {
    let FileEntry { name, size: file_bytes, .. } = entry;
    let file = match storage.open(&name) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(IoFault::new(IoOp::Open, name, None, error)),
    };
    let looked = look_into(&*file, sequence, file_bytes);
    let (header, state) =
        looked.map_err(|error| IoFault::new(IoOp::Read, &name, Some(0), error))?;
    Ok(Some(SegmentOverview { sequence, name, file_bytes, state, header }))
}

fn look_into(
    file: &dyn StorageFile,
    sequence: u64,
    file_bytes: u64,
) -> std::io::Result<(Option<SegmentHeader>, SegmentState)> {
    // Two blocks of the usual size.
    let mut bytes = vec![0; 8192];
    let read = read_up_to(file, &mut bytes, 0)?;
    bytes.truncate(read);
    let header = match check_header(sequence, &bytes) {
        Ok(header) => header,
        Err(Unfit::Newer { reason }) => return Ok((None, SegmentState::Newer { reason })),
        Err(Unfit::Damaged(damage)) => return Ok((None, SegmentState::Unreadable(damage))),
    };
    let block = header.place.block_size as usize;
    if bytes.len() < 2 * block {
        bytes.resize(2 * block, 0);
        let read = read_up_to(file, &mut bytes, 0)?;
        bytes.truncate(read);
    }
    let len = header.len_in(file_bytes);
    let first = bytes.get(block..).unwrap_or_default();
    let first = &first[..first.len().min(block)];
    let state = match FrameHeader::decode(first, &header.place, block as u64, len) {
        Ok(start) if start.start.is_some() => SegmentState::Started(Box::new(Started {
            epoch: start.epoch,
            cut: start.start.map_or(Lsn::NONE, |start| start.cut),
            live_end: Lsn::MAX,
            begun_us: start.wall_clock_us,
            outline: None,
            start,
        })),
        _ if is_blank(first) => SegmentState::Prepared,
        _ => SegmentState::NotStarted,
    };
    Ok((Some(header), state))
}

pub(super) fn outline_of(
    storage: &dyn Storage,
    name: &str,
    header: &SegmentHeader,
) -> Result<Option<Outline>, IoFault> {
    let file = match storage.open(name) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(IoFault::new(IoOp::Open, name, None, error)),
    };
    let outline = file.size().and_then(|len| Outline::read(&*file, header, len));
    outline.map(Some).map_err(|error| IoFault::new(IoOp::Read, name, None, error))
}

impl Overview {
    /// Segments of another log than most.
    fn find_foreign(&mut self) {
        let ids = self.segments.iter().filter_map(|one| Some(one.place()?.log_id));
        let Some(log_id) = most_frequent(ids) else { return };
        self.log_id = Some(log_id);
        for segment in &mut self.segments {
            let Some(found) = segment.place().map(|place| place.log_id) else { continue };
            if found != log_id {
                let kind = DamageKind::ForeignSegment {
                    expected: log_id.to_string(),
                    found: found.to_string(),
                };
                let sequence = segment.sequence;
                segment.state = SegmentState::Unreadable(Damage {
                    segment: sequence,
                    offset: 0,
                    lsn: Lsn::NONE,
                    loss: Loss::None,
                    kind,
                });
            }
        }
    }

    /// Where the log ends, and with it each segment: at the smallest cut of the segments after it.
    fn find_end(&mut self, storage: &dyn Storage) -> Result<(), IoFault> {
        let Some((last, outline)) = self.last_started(storage)? else { return Ok(()) };
        let mut live_end = Lsn::MAX;
        for (at, segment) in self.segments.iter_mut().enumerate().rev() {
            let SegmentState::Started(started) = &mut segment.state else { continue };
            if at == last {
                live_end = outline.lsns.map_or(started.cut, |lsns| lsns.last);
                started.outline = Some(outline);
                self.last_lsn = live_end;
                self.epoch = started.epoch;
            }
            started.live_end = live_end;
            live_end = live_end.min(started.cut);
        }
        if let Some(last) = outline.last {
            self.next_lsn = last.next_lsn;
            self.is_closed = last.close;
            self.low_water = outline.low_water;
            self.promised = last.watermark;
        }
        Ok(())
    }

    /// The newest segment with a whole start frame, and its frames. Those behind it whose start is torn have not started.
    fn last_started(&mut self, storage: &dyn Storage) -> Result<Option<(usize, Outline)>, IoFault> {
        for (at, segment) in self.segments.iter_mut().enumerate().rev() {
            let (Some(header), Some(_)) = (segment.header, segment.started()) else { continue };
            match outline_of(storage, &segment.name, &header)? {
                Some(outline) if outline.frames > 0 => return Ok(Some((at, outline))),
                Some(_) => segment.state = SegmentState::NotStarted,
                // Gone since it was listed.
                None => {}
            }
        }
        Ok(None)
    }
}
