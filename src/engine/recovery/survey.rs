//! Survey: what the directory holds, by the header and the first frame of every segment.

use std::sync::Arc;

use super::salvage::Salvage;
use super::signs::{Found, Listed};
use crate::config::{DamagePolicy, WalConfig};
use crate::engine::read::segment_reader::{Next, SegmentReader};
use crate::engine::segments::catalog::{Catalog, SegmentInfo};
use crate::engine::state::shared::Shared;
use crate::error::{Damage, DamageKind, IoFault, IoOp, Loss, OpenError};
use crate::format::frame::FrameHeader;
use crate::format::scan::{Until, Verdict};
use crate::format::segment::{FileKind, HeaderFault, SegmentHeader, file_kind};
use crate::lsn::{LogId, Lsn};
use crate::storage::{EntryKind, FileEntry, Storage, StorageFile};

/// More segments than any log will ever begin: a name with a higher number is not ours.
const MAX_SEQUENCE: u64 = 1 << 62;

/// A number that a segment can have, or 0.
pub(super) fn possible(sequence: u64) -> u64 {
    if sequence <= MAX_SEQUENCE { sequence } else { 0 }
}

/// What the directory holds. Under the salvage policy a smaller one is made of it.
#[derive(Debug)]
pub(super) struct Survey<'a> {
    pub(super) storage: Arc<dyn Storage>,
    pub(super) config: &'a WalConfig,
    pub(super) shared: &'a Shared,
    pub(super) log_id: LogId,
    pub(super) segments: Vec<Surveyed>,
    /// The highest sequence number that any file here bears or bore: none is given out twice.
    pub(super) highest: u64,
    /// How many files earlier salvages have set aside.
    pub(super) aside_before: u64,
    /// Names that are like those of a log, and are none.
    pub(super) signs: Vec<Found>,
    /// Files that were being prepared. They go when the log has begun behind them: until then they tell
    /// that a number was never used.
    pub(super) scratch: Vec<String>,
    pub(super) salvage: Salvage,
}

/// A segment file, as far as its header and first frame tell.
#[derive(Debug)]
pub(super) struct Surveyed {
    pub(super) sequence: u64,
    pub(super) name: String,
    pub(super) len: u64,
    pub(super) header: SegmentHeader,
    pub(super) first: First,
}

impl Surveyed {
    pub(super) fn info(&self, start: &FrameHeader) -> SegmentInfo {
        let cut = start.start.map_or(Lsn::NONE, |start| start.cut);
        SegmentInfo::new(self.sequence, &self.name, self.len, cut)
    }

    /// Whether nobody has tried to begin in it who may then have gone on in the next one: it is as it was
    /// prepared, and not the leftover of a failed directory sync.
    pub(super) fn could_begin(&self) -> bool {
        let is_whole = self.header.growing || self.len >= self.header.size;
        is_whole && matches!(self.first, First::Unused(Verdict::Clean))
    }
}

#[derive(Debug)]
pub(super) enum First {
    /// A start frame: the segment is, or was, part of the log.
    Started(FrameHeader),
    /// No sound start frame, and this is how the segment ends.
    Unused(Verdict),
}

impl<'a> Survey<'a> {
    pub(super) fn take(
        storage: Arc<dyn Storage>,
        config: &'a WalConfig,
        shared: &'a Shared,
    ) -> Result<Self, OpenError> {
        // Names that a crash left unsynced become durable before anything relies on them.
        let location = storage.location();
        storage
            .sync_dir()
            .map_err(|error| IoFault::new(IoOp::SyncDirectory, &location, None, error))?;
        let mut survey = Survey {
            config,
            shared,
            log_id: LogId::new(shared.clock.random(), shared.clock.random()),
            segments: Vec::new(),
            highest: 0,
            aside_before: 0,
            signs: Vec::new(),
            scratch: Vec::new(),
            salvage: Salvage::default(),
            storage,
        };
        let files = survey.list(&location)?;
        survey.survey_files(files)?;
        Ok(survey)
    }

    /// The files that bear the name of a segment, in order.
    fn list(&mut self, location: &str) -> Result<Vec<(u64, FileEntry)>, OpenError> {
        let listed = self.storage.list();
        let entries = listed.map_err(|error| IoFault::new(IoOp::List, location, None, error))?;
        let mut files = Vec::new();
        for entry in &entries {
            match file_kind(&entry.name) {
                FileKind::Segment(sequence) if entry.kind == EntryKind::File => {
                    self.note_number(sequence);
                    files.push((sequence, entry.clone()));
                }
                FileKind::Scratch(_) => self.scratch.push(entry.name.clone()),
                _ => {
                    if let Some(sequence) = aside_sequence(&entry.name) {
                        self.note_number(sequence);
                        self.aside_before += 1;
                    }
                }
            }
        }
        files.sort_by_key(|(sequence, _)| *sequence);
        let newest = files.iter().map(|(sequence, _)| possible(*sequence)).max();
        self.check_signs(&Listed { newest, entries: &entries })?;
        Ok(files)
    }

    /// A number that was never given out stands in the way of none.
    fn note_number(&mut self, sequence: u64) {
        self.highest = self.highest.max(possible(sequence));
    }

    fn survey_files(&mut self, files: Vec<(u64, FileEntry)>) -> Result<(), OpenError> {
        let mut headers = Vec::new();
        for (sequence, entry) in files {
            let header = self.read_header(sequence, &entry)?;
            headers.push((sequence, entry, header));
        }
        let ids =
            headers.iter().filter_map(|(.., header)| Some(header.as_ref().ok()?.place.log_id));
        if let Some(log_id) = most_frequent(ids) {
            self.log_id = log_id;
        }
        for (sequence, entry, header) in headers {
            match header.and_then(|header| self.check_id(sequence, header)) {
                Ok(header) => self.survey_segment(sequence, entry, header)?,
                Err(damage) if self.config.damage_policy == DamagePolicy::Salvage => {
                    self.salvage.lost.push((damage, entry.name));
                }
                Err(damage) => return Err(damage.into()),
            }
        }
        Ok(())
    }

    fn read_header(
        &self,
        sequence: u64,
        entry: &FileEntry,
    ) -> Result<Result<SegmentHeader, Damage>, OpenError> {
        let file = open(&*self.storage, &entry.name)?;
        let mut block = [0; crate::format::segment::SEGMENT_HEADER_LEN];
        let len = usize::try_from(entry.size).map_or(block.len(), |size| size.min(block.len()));
        crate::storage::read_exact_at(&*file, &mut block[..len], 0)
            .map_err(|error| IoFault::new(IoOp::Read, &entry.name, Some(0), error))?;
        match check_header(sequence, &block[..len]) {
            Ok(header) => Ok(Ok(header)),
            Err(Unfit::Newer { reason }) => {
                Err(OpenError::NewerVersion { file: entry.name.clone(), reason })
            }
            Err(Unfit::Damaged(damage)) => Ok(Err(damage)),
        }
    }

    fn check_id(&self, sequence: u64, header: SegmentHeader) -> Result<SegmentHeader, Damage> {
        if header.place.log_id == self.log_id {
            return Ok(header);
        }
        let (expected, found) = (self.log_id.to_string(), header.place.log_id.to_string());
        let kind = DamageKind::ForeignSegment { expected, found };
        Err(Damage { segment: sequence, offset: 0, lsn: Lsn::NONE, loss: Loss::None, kind })
    }

    fn survey_segment(
        &mut self,
        sequence: u64,
        entry: FileEntry,
        header: SegmentHeader,
    ) -> Result<(), OpenError> {
        if entry.size > header.size && !header.growing {
            let (size, found) = (header.size, entry.size);
            tracing::warn!(
                name = entry.name,
                size,
                found,
                "what lies behind the segment is ignored"
            );
        }
        let file = open(&*self.storage, &entry.name)?;
        let mut reader = SegmentReader::new(file, &entry.name, header, Until::Tail)?;
        let first = match reader.next()? {
            Next::Frame(frame) => First::Started(frame.header),
            Next::End(ending) => First::Unused(ending.verdict),
        };
        self.segments.push(Surveyed { sequence, name: entry.name, len: entry.size, header, first });
        Ok(())
    }
}

/// Why a file with the name of a segment is none of this format.
pub(crate) enum Unfit {
    /// A later version of this crate wrote it.
    Newer {
        reason: String,
    },
    Damaged(Damage),
}

/// The header of the segment with this number, from the first bytes of its file.
pub(crate) fn check_header(sequence: u64, bytes: &[u8]) -> Result<SegmentHeader, Unfit> {
    let damage = |loss, kind| {
        Err(Unfit::Damaged(Damage { segment: sequence, offset: 0, lsn: Lsn::NONE, loss, kind }))
    };
    match SegmentHeader::decode(bytes) {
        Err(fault @ HeaderFault::Version { .. }) => Err(Unfit::Newer { reason: fault.to_string() }),
        Err(HeaderFault::Short { len: 0 }) => damage(Loss::Possible, DamageKind::EmptySegment),
        Err(fault) => {
            damage(Loss::Possible, DamageKind::SegmentHeader { reason: fault.to_string() })
        }
        Ok(header) if header.place.sequence != sequence => {
            damage(Loss::None, DamageKind::SwappedSegment { found: header.place.sequence })
        }
        Ok(_) if possible(sequence) == 0 => damage(Loss::None, DamageKind::NoSuchNumber),
        Ok(header) => Ok(header),
    }
}

/// The sequence number of a file that a salvage has set aside.
fn aside_sequence(name: &str) -> Option<u64> {
    let (stem, rest) = name.split_once('.')?;
    rest.starts_with("wal.damaged").then(|| stem.parse().ok())?
}

/// The id that most segments bear; of two, that of the later segment.
pub(crate) fn most_frequent(ids: impl Iterator<Item = LogId>) -> Option<LogId> {
    let mut counts: Vec<(LogId, usize)> = Vec::new();
    for id in ids {
        match counts.iter_mut().find(|(known, _)| *known == id) {
            Some((_, count)) => *count += 1,
            None => counts.push((id, 1)),
        }
    }
    counts.into_iter().max_by_key(|(_, count)| *count).map(|(id, _)| id)
}

impl<'a> Survey<'a> {
    pub(super) fn started(&self) -> impl DoubleEndedIterator<Item = (&Surveyed, &FrameHeader)> {
        self.segments.iter().filter_map(|segment| match &segment.first {
            First::Started(start) => Some((segment, start)),
            First::Unused(_) => None,
        })
    }

    /// The segment with this sequence number.
    pub(super) fn surveyed(&self, sequence: u64) -> Option<&Surveyed> {
        let at = self.segments.binary_search_by_key(&sequence, |segment| segment.sequence).ok()?;
        self.segments.get(at)
    }

    pub(super) fn reader(
        &self,
        segment: &Surveyed,
        until: Until,
    ) -> Result<SegmentReader, IoFault> {
        let file = open(&*self.storage, &segment.name)?;
        SegmentReader::new(file, &segment.name, segment.header, until)
    }

    /// The segments as the survey knows them, with nothing live beyond `end`.
    pub(super) fn live_until(&self, end: Lsn) -> Vec<SegmentInfo> {
        let catalog = Catalog::default();
        for (segment, start) in self.started() {
            catalog.begin(segment.info(start));
        }
        let mut live = catalog.segments();
        for segment in &mut live {
            segment.live_end = Some(segment.live_end.map_or(end, |live_end| live_end.min(end)));
        }
        live
    }
}

pub(super) fn open(storage: &dyn Storage, name: &str) -> Result<Box<dyn StorageFile>, IoFault> {
    storage.open(name).map_err(|error| IoFault::new(IoOp::Open, name, None, error))
}
