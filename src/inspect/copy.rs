//! Copies a log, also beside its owner: what is copied is checked on the way, and the copy is a log that opens.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::frames::Frames;
use super::{LogFiles, LogItem, Progress};
use crate::error::{Damage, IoFault, IoOp};
use crate::format::frame::{Frame, FrameBuffer, FrameHeader};
use crate::format::record::Records;
use crate::format::segment::{FileKind, SegmentHeader, file_kind};
use crate::lsn::Lsn;
use crate::storage::{Directory, FileEntry, Storage, StorageFile, write_all_at};

/// So often a copy begins again because a checkpoint of the owner has removed what was to be copied next.
const ATTEMPTS: usize = 3;

/// So many times the copy follows the owner into segments that were begun meanwhile.
const FOLLOWS: usize = 8;

/// What is added to the name of a copy that is not complete.
const PARTIAL: &str = ".partial";

/// The file that says that such a directory was made by a copy: nothing else is ever removed.
const MARKER: &str = "incomplete-copy";

/// A copy of a log.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Copied {
    /// The last LSN in it.
    pub last_lsn: Lsn,
    /// Its live records.
    pub records: u64,
    /// Bytes of frames that were written.
    pub bytes: u64,
    /// Segments.
    pub segments: u64,
}

/// Why a log was not copied. Nothing has the name of the copy then.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CopyError {
    /// There is no log.
    #[error("there is no log to copy")]
    NoLog,
    /// Something has the name of the copy.
    #[error("{0} is there already; give a name that is free")]
    Exists(String),
    /// The log has not come so far, or a checkpoint has released everything up to that LSN.
    #[error("LSN {until} is not in the log: it holds {first} to {last}")]
    Beyond {
        /// Where the copy was to end.
        until: Lsn,
        /// The first LSN that no checkpoint has released.
        first: Lsn,
        /// The last LSN.
        last: Lsn,
    },
    /// The log is damaged: a copy would look sound and lack records.
    #[error("the log is damaged: {0}")]
    Damaged(Damage),
    /// The copy does not check out as clean.
    #[error("the copy is not sound ({0}): checkpoints of the owner were faster than it; try again")]
    Unsound(String),
    /// A file can not be read or written.
    #[error(transparent)]
    Io(#[from] IoFault),
}

/// The same, and whether it is worth to begin again.
enum Ended {
    Moved(String),
    Failed(CopyError),
}

impl<T: Into<CopyError>> From<T> for Ended {
    fn from(error: T) -> Self {
        Ended::Failed(error.into())
    }
}

pub(super) fn copy(
    files: &LogFiles,
    to: &Path,
    until: Option<Lsn>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Copied, CopyError> {
    if fs::symlink_metadata(to).is_ok() {
        return Err(CopyError::Exists(to.display().to_string()));
    }
    let partial = partial_of(to);
    let mut attempt = 0;
    let copied = loop {
        attempt += 1;
        remove_partial(&partial)?;
        match once(files, &partial, until, progress) {
            Ok(copied) => break copied,
            Err(Ended::Moved(_)) if attempt < ATTEMPTS => {}
            Err(Ended::Moved(why)) => return Err(CopyError::Unsound(why)),
            Err(Ended::Failed(error)) => return Err(error),
        }
    };
    let named = fs::rename(&partial, to).and_then(|()| sync_above(to));
    named.map_err(|error| IoFault::new(IoOp::Rename, to.display().to_string(), None, error))?;
    Ok(copied)
}

fn partial_of(to: &Path) -> PathBuf {
    let mut name = to.file_name().unwrap_or_default().to_owned();
    name.push(PARTIAL);
    to.with_file_name(name)
}

/// Removes what an earlier copy has left behind: a directory with its marker, that no other copy writes in, and with nothing
/// else than segments.
fn remove_partial(partial: &Path) -> Result<(), CopyError> {
    let fault = |error| IoFault::new(IoOp::Remove, partial.display().to_string(), None, error);
    let storage = match Directory::open_existing(partial) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        storage => storage.map_err(fault)?,
    };
    let entries = storage.list().map_err(fault)?;
    let is_marked = entries.iter().any(|entry| entry.name == MARKER);
    let is_ours = |entry: &&FileEntry| {
        entry.name == MARKER || matches!(file_kind(&entry.name), FileKind::Segment(_))
    };
    match entries.iter().find(|entry| !is_ours(entry)) {
        Some(entry) => {
            return Err(CopyError::Exists(partial.join(&entry.name).display().to_string()));
        }
        None if !is_marked && !entries.is_empty() => {
            return Err(CopyError::Exists(partial.display().to_string()));
        }
        None => {}
    }
    // The marker last: what is interrupted here is still marked.
    let (markers, segments): (Vec<_>, Vec<_>) =
        entries.iter().partition(|entry| entry.name == MARKER);
    for entry in segments.into_iter().chain(markers) {
        storage.remove(&entry.name).map_err(fault)?;
    }
    Ok(fs::remove_dir(partial).map_err(fault)?)
}

fn sync_above(path: &Path) -> io::Result<()> {
    let above = path.parent().filter(|above| !above.as_os_str().is_empty());
    fs::File::open(above.unwrap_or(Path::new(".")))?.sync_all()
}

fn once(
    files: &LogFiles,
    partial: &Path,
    until: Option<Lsn>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Copied, Ended> {
    let storage = Directory::open(partial).map_err(|error| {
        IoFault::new(IoOp::OpenDirectory, partial.display().to_string(), None, error)
    })?;
    storage.create(MARKER).map_err(|error| IoFault::new(IoOp::Create, MARKER, None, error))?;
    let mut copy = Copy {
        storage: &storage,
        until: until.unwrap_or(Lsn::MAX),
        open: None,
        segments: 0,
        bytes: 0,
        through: 0,
        last_lsn: Lsn::NONE,
        is_done: false,
    };
    for _ in 0..FOLLOWS {
        let overview = files.overview()?;
        if overview.has_no_log() {
            return Err(CopyError::NoLog.into());
        }
        let (first, last) = (overview.low_water.next(), overview.last_lsn);
        if let Some(until) = until.filter(|until| *until < first || *until > last) {
            return Err(CopyError::Beyond { until, first, last }.into());
        }
        let total = overview.live_bytes();
        let before = copy.segments;
        // The newest segment once more: the owner may have gone on in it before it began another one.
        let mut frames = Frames::whole(files.clone(), overview, copy.through);
        copy.take(&mut frames, total, progress)?;
        if copy.segments == before || copy.is_done {
            break;
        }
    }
    copy.end()?;
    let Copy { segments, bytes, last_lsn, .. } = copy;
    let findings = LogFiles::open(partial)?.check(&mut |_| {})?;
    match findings.report {
        Some(report) if report.torn_tail.is_none() && report.last_lsn == last_lsn => {}
        Some(report) => return Err(Ended::Moved(format!("it ends at LSN {}", report.last_lsn))),
        None => return Err(Ended::Moved(findings.refusal.unwrap_or_default())),
    }
    storage.remove(MARKER).map_err(|error| IoFault::new(IoOp::Remove, MARKER, None, error))?;
    storage.sync_dir().map_err(|error| {
        IoFault::new(IoOp::SyncDirectory, partial.display().to_string(), None, error)
    })?;
    Ok(Copied { last_lsn, records: findings.records, bytes, segments })
}

/// A copy that is being made: oldest segment first, so that it is a part of the log from its start at any time.
struct Copy<'a> {
    storage: &'a Directory,
    until: Lsn,
    open: Option<OpenCopy>,
    segments: u64,
    bytes: u64,
    /// The newest segment that has been begun.
    through: u64,
    last_lsn: Lsn,
    /// Whether what comes next is behind `until`.
    is_done: bool,
}

struct OpenCopy {
    header: SegmentHeader,
    name: String,
    file: Box<dyn StorageFile>,
    buffer: FrameBuffer,
}

impl Copy<'_> {
    fn take(
        &mut self,
        frames: &mut Frames,
        total: u64,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), Ended> {
        loop {
            let frame = match frames.next()? {
                None => break,
                Some(LogItem::Damage(damage)) => return Err(CopyError::Damaged(damage).into()),
                Some(LogItem::Frame(frame)) => frame,
            };
            if frame.first_lsn() > self.until {
                self.is_done = true;
            }
            if self.is_done {
                break;
            }
            self.frame(&frame.frame, frame.header)?;
            progress(Progress { done: self.bytes.min(total), total });
        }
        Ok(())
    }

    /// Writes one frame where it lies in the log.
    fn frame(&mut self, frame: &Frame<'_>, segment: &SegmentHeader) -> Result<(), Ended> {
        if self.open.as_ref().is_none_or(|open| open.header.place != segment.place) {
            self.end()?;
            self.open = Some(OpenCopy::new(self.storage, segment)?);
            self.segments += 1;
            self.through = segment.place.sequence;
        }
        let Some(open) = &mut self.open else { return Ok(()) };
        let (header, records) = cut(frame, self.until);
        open.buffer.begin();
        open.buffer.push_encoded(records, header.count);
        let encoded = open.buffer.finish(header, &segment.place, frame.offset);
        write_all_at(&*open.file, encoded.bytes, frame.offset)
            .map_err(|error| IoFault::new(IoOp::Write, &open.name, Some(frame.offset), error))?;
        self.bytes += encoded.bytes.len() as u64;
        if header.count > 0 {
            self.last_lsn = header.last_lsn();
            self.is_done = self.last_lsn >= self.until;
        }
        Ok(())
    }

    /// Gives the open segment its size, and makes it durable.
    fn end(&mut self) -> Result<(), Ended> {
        let Some(open) = self.open.take() else { return Ok(()) };
        let fault = |op| {
            let name = open.name.clone();
            move |error| IoFault::new(op, name, None, error)
        };
        if !open.header.growing {
            open.file.set_size(open.header.size).map_err(fault(IoOp::Truncate))?;
        }
        Ok(open.file.sync().map_err(fault(IoOp::Sync))?)
    }
}

impl OpenCopy {
    fn new(storage: &Directory, segment: &SegmentHeader) -> Result<Self, IoFault> {
        // Nothing of an earlier life of the file lies in the copy.
        let header = SegmentHeader { recycled: false, ..*segment };
        let name = crate::format::segment::segment_name(header.place.sequence);
        let file = storage
            .create(&name)
            .map_err(|error| IoFault::new(IoOp::Create, &name, None, error))?;
        write_all_at(&*file, &header.encode(), 0)
            .map_err(|error| IoFault::new(IoOp::Write, &name, Some(0), error))?;
        Ok(OpenCopy { header, name, file, buffer: FrameBuffer::default() })
    }
}

/// The frame without the records behind `until`, and the bytes of the others.
fn cut<'a>(frame: &Frame<'a>, until: Lsn) -> (FrameHeader, &'a [u8]) {
    let header = frame.header;
    if header.count == 0 || header.last_lsn() <= until {
        return (header, frame.payload());
    }
    let count = (until.next().get() - header.first_lsn.get().min(until.next().get())) as u32;
    let mut records = Records::new(frame.payload());
    records.by_ref().take(count as usize).for_each(drop);
    let len = frame.payload().len() - records.rest().len();
    let next_lsn = header.first_lsn.plus(u64::from(count));
    (FrameHeader { count, next_lsn, ..header }, &frame.payload()[..len])
}
