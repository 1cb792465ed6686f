//! Judges what a directory holds, begins the next epoch, and replays.
//!
//! 1. **Survey**: read the header and the start frame of every segment. The *live end* of a segment is
//!    the smallest cut of the segments after it.
//! 2. **Tail**: walk the last segment to its end. An unfinished write there is cut; a damaged frame
//!    before a sound one is refused.
//! 3. **Begin**: write the start frame of a new segment. No later byte vouches for the very last frame:
//!    it may lie in the page cache alone (promise P12). So its records are carried into that start
//!    frame, and cut and copy become durable under one checksum.
//! 4. **Replay** every live record in order, checking that each segment reaches exactly its live end.
//!
//! Old segments are never written. A crash at any point leaves a directory on which all of this can be
//! done again (promise P11).

use std::sync::Arc;

use super::catalog::SegmentInfo;
use super::log_writer::{LogWriter, Opening, Position, Stamp};
use super::records::{BatchBuilder, RecordBatch};
use super::segment_reader::{Next, SegmentReader};
use super::segments::SegmentStyle;
use super::shared::Shared;
use crate::config::{DamagePolicy, WalConfig};
use crate::error::{Damage, DamageKind, IoFault, IoOp, OpenError};
use crate::format::LogId;
use crate::format::frame::{Frame, FrameHeader, frame_len};
use crate::format::scan::{TornTail, Until, Verdict};
use crate::format::segment::{FileKind, HeaderFault, SegmentHeader, file_kind, set_aside_name};
use crate::lsn::{Epoch, Lsn, LsnRange};
use crate::storage::{FileEntry, Medium, PrepareJob, PreparedSegment, Storage, prepare};

/// A small first segment is enough to open with; a full one is prepared meanwhile.
const FIRST_SEGMENT_SIZE: u64 = 1 << 20;

/// How far a recovery has come, in bytes of live segments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes done.
    pub done: u64,
    /// Bytes in all.
    pub total: u64,
}

/// Takes the records that are replayed, in LSN order. An error ends the recovery.
pub type ReplaySink<'a> = dyn FnMut(RecordBatch, Progress) -> Result<(), String> + 'a;

/// What recovery found and did.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct RecoveryReport {
    /// The epoch that begins now.
    pub epoch: Epoch,
    /// Segments that hold live records.
    pub segments: u64,
    /// Frames that were read.
    pub frames: u64,
    /// Live records, replayed or below the LSN that the host asked for.
    pub records: u64,
    /// Records that were handed to the host.
    pub replayed: u64,
    /// Bytes of segments that were read.
    pub bytes: u64,
    /// The LSN of the last live record.
    pub last_lsn: Lsn,
    /// The LSN of the next append.
    pub next_lsn: Lsn,
    /// The highest LSN that a checkpoint has released.
    pub low_water: Lsn,
    /// LSNs that name no record: given out, perhaps, by a life that ended before they were durable.
    pub gaps: Vec<LsnRange>,
    /// Whether the last life was closed cleanly, so that there was nothing to repair.
    pub clean: bool,
    /// How many records of the very last frame were carried over, since nothing vouched for them.
    pub carried: u64,
    /// The unfinished write that was cut, and the segment it is kept in.
    pub torn_tail: Option<(u64, TornTail)>,
    /// The damage at which the log was cut, under the salvage policy.
    pub salvaged: Option<Damage>,
}

/// A log that was recovered: the only thing a Flusher can be started with.
#[derive(Debug)]
pub struct RecoveredLog {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) style: SegmentStyle,
    pub(crate) writer: LogWriter,
    pub(crate) position: Position,
    /// Segments that were prepared by an earlier life and not used, in order.
    pub(crate) prepared: Vec<PreparedSegment>,
    /// The sequence number of the next segment to prepare.
    pub(crate) next_sequence: u64,
    /// Files that nobody needs any more.
    pub(crate) removable: Vec<String>,
    pub(crate) report: RecoveryReport,
}

impl RecoveredLog {
    /// What recovery found and did.
    pub fn report(&self) -> &RecoveryReport {
        &self.report
    }
}

/// A segment file, as far as its header and first frame tell.
#[derive(Debug)]
struct Surveyed {
    sequence: u64,
    name: String,
    len: u64,
    header: SegmentHeader,
    first: First,
}

#[derive(Debug)]
enum First {
    /// A start frame: the segment is, or was, part of the log.
    Started(FrameHeader),
    /// No sound start frame, and this is how the segment ends.
    Unused(Verdict),
}

/// The last frame of the log.
#[derive(Debug)]
struct LastFrame {
    header: FrameHeader,
    /// Its records, if it holds any: nothing vouches for them.
    payload: Vec<u8>,
}

/// How the log ends: what the next epoch begins with.
#[derive(Debug, Default)]
struct Tail {
    position: Position,
    /// The first LSN that the next life may give out.
    next_life: Lsn,
    carry: Option<LastFrame>,
    clean: bool,
    torn: Option<(u64, TornTail)>,
    /// The file of the last segment, and where its live part ends.
    trim: Option<(String, u64)>,
}

/// Recovers the log in `storage` and replays it to `sink` from `from` on, or from the low-water mark.
///
/// # Errors
/// See [`OpenError`]. What was replayed before an error is to be thrown away.
pub fn recover(
    storage: Arc<dyn Storage>,
    config: &WalConfig,
    shared: &Shared,
    from: Option<Lsn>,
    sink: &mut ReplaySink<'_>,
) -> Result<RecoveredLog, OpenError> {
    let _span = tracing::info_span!("wal.recover", directory = %storage.location()).entered();
    let mut recovery = Recovery::survey(storage, config, shared)?;
    let salvaged = match config.damage_policy {
        DamagePolicy::Refuse => None,
        DamagePolicy::Salvage => recovery.salvage()?,
    };
    let tail = recovery.tail()?;
    let low_water = tail.position.low_water;
    if let Some(from) = from.filter(|from| *from <= low_water) {
        return Err(OpenError::Released { from, released: low_water });
    }
    let from = from.unwrap_or(low_water.next());
    let mut recovered = recovery.begin(tail)?;
    recovered.report.salvaged = salvaged;
    recovery.replay(&mut recovered, from, sink)?;
    Ok(recovered)
}

struct Recovery<'a> {
    storage: Arc<dyn Storage>,
    config: &'a WalConfig,
    shared: &'a Shared,
    log_id: LogId,
    segments: Vec<Surveyed>,
    /// Set by the salvage policy: the log is taken to end here.
    cut: Option<Cut>,
}

/// Where the salvage policy ends the log.
#[derive(Clone, Copy, Debug)]
struct Cut {
    position: Position,
    next_life: Lsn,
}

impl<'a> Recovery<'a> {
    fn survey(
        storage: Arc<dyn Storage>,
        config: &'a WalConfig,
        shared: &'a Shared,
    ) -> Result<Self, OpenError> {
        // Names that a crash left unsynced become durable before anything relies on them.
        let location = storage.location();
        storage
            .sync_dir()
            .map_err(|error| IoFault::new(IoOp::SyncDirectory, &location, None, error))?;
        let mut files = Vec::new();
        let listed = storage.list();
        for entry in listed.map_err(|error| IoFault::new(IoOp::List, &location, None, error))? {
            match file_kind(&entry.name) {
                FileKind::Segment(sequence) => files.push((sequence, entry)),
                FileKind::Scratch => remove(&*storage, &entry.name)?,
                FileKind::SetAside | FileKind::Other => {}
            }
        }
        files.sort_by_key(|(sequence, _)| *sequence);
        let random = || shared.clock.random().to_le_bytes();
        let mut log_id = [0; 16];
        log_id[..8].copy_from_slice(&random());
        log_id[8..].copy_from_slice(&random());
        let log_id = LogId(log_id);
        let mut recovery =
            Recovery { storage, config, shared, log_id, segments: Vec::new(), cut: None };
        for (sequence, entry) in files {
            recovery.survey_segment(sequence, entry)?;
        }
        Ok(recovery)
    }

    fn survey_segment(&mut self, sequence: u64, entry: FileEntry) -> Result<(), OpenError> {
        match self.read_segment(sequence, &entry) {
            Ok(surveyed) => {
                self.log_id = surveyed.header.place.log_id;
                self.segments.push(surveyed);
                Ok(())
            }
            Err(OpenError::Damaged(damage))
                if self.config.damage_policy == DamagePolicy::Salvage =>
            {
                tracing::warn!(%damage, "set aside");
                self.set_aside(&entry.name, sequence)
            }
            Err(error) => Err(error),
        }
    }

    fn read_segment(&self, sequence: u64, entry: &FileEntry) -> Result<Surveyed, OpenError> {
        let damage = |kind| Damage { segment: sequence, offset: 0, lsn: Lsn::NONE, kind };
        let file = open(&*self.storage, &entry.name)?;
        let mut block = [0; crate::format::segment::SEGMENT_HEADER_LEN];
        let len = block.len().min(entry.size as usize);
        crate::storage::read_exact_at(&*file, &mut block[..len], 0)
            .map_err(|error| IoFault::new(IoOp::Read, &entry.name, Some(0), error))?;
        let header = match SegmentHeader::decode(&block[..len]) {
            Ok(header) => header,
            Err(fault @ HeaderFault::Version { .. }) => {
                let reason = fault.to_string();
                return Err(OpenError::NewerVersion { file: entry.name.clone(), reason });
            }
            Err(fault) => {
                return Err(damage(DamageKind::SegmentHeader { reason: fault.to_string() }).into());
            }
        };
        let place = header.place;
        if place.sequence != sequence {
            return Err(damage(DamageKind::SwappedSegment { found: place.sequence }).into());
        }
        if !self.segments.is_empty() && place.log_id != self.log_id {
            let (expected, found) = (self.log_id.to_string(), place.log_id.to_string());
            return Err(damage(DamageKind::ForeignSegment { expected, found }).into());
        }
        let mut reader = SegmentReader::new(file, &entry.name, header, Until::Tail)?;
        let first = match reader.next()? {
            Next::Frame(frame) => First::Started(frame.header),
            Next::End(ending) => First::Unused(ending.verdict),
        };
        Ok(Surveyed { sequence, name: entry.name.clone(), len: entry.size, header, first })
    }

    fn started(&self) -> impl DoubleEndedIterator<Item = (&Surveyed, &FrameHeader)> {
        self.segments.iter().filter_map(|segment| match &segment.first {
            First::Started(start) => Some((segment, start)),
            First::Unused(_) => None,
        })
    }

    fn reader(&self, segment: &Surveyed, until: Until) -> Result<SegmentReader, IoFault> {
        let file = open(&*self.storage, &segment.name)?;
        SegmentReader::new(file, &segment.name, segment.header, until)
    }

    /// Walks the last segment and says how the log ends.
    fn tail(&self) -> Result<Tail, OpenError> {
        if let Some(cut) = self.cut {
            let Cut { position, next_life } = cut;
            return Ok(Tail { position, next_life, ..Tail::default() });
        }
        let Some((segment, start)) = self.started().next_back() else {
            let torn = self.judge_unused(0)?;
            let position = Position { next_lsn: Lsn::FIRST, ..Position::default() };
            return Ok(Tail {
                position,
                next_life: Lsn::FIRST,
                clean: torn.is_none(),
                torn,
                ..Tail::default()
            });
        };
        let mut walk = TailWalk::new(start);
        let mut reader = self.reader(segment, Until::Tail)?;
        let ending = loop {
            match reader.next()? {
                Next::Frame(frame) => walk.frame(&frame),
                Next::End(ending) => break ending,
            }
        };
        let damage = |kind| Damage {
            segment: segment.sequence,
            offset: ending.offset,
            lsn: ending.next_lsn,
            kind,
        };
        let torn = match ending.verdict {
            Verdict::Clean => None,
            Verdict::TornTail(torn) => Some((segment.sequence, torn)),
            Verdict::Damage { fault, proof } => {
                return Err(damage(DamageKind::Frame { reason: fault.to_string(), proof }).into());
            }
        };
        let (expected, found) = (segment.header.size, segment.len);
        if found < expected && !segment.header.growing && !walk.closed {
            return Err(damage(DamageKind::ShortenedSegment { expected, found }).into());
        }
        let later_torn = self.judge_unused(segment.sequence)?;
        let clean = walk.closed && torn.is_none() && later_torn.is_none();
        let evidence = torn.map_or(0, |(_, torn)| torn.bytes);
        Ok(Tail {
            trim: Some((segment.name.clone(), ending.offset + evidence)),
            torn: later_torn.or(torn),
            clean,
            ..walk.finish()
        })
    }

    /// What stands in segments after the last one that has a start frame: nothing if they were only
    /// prepared, a torn start frame, or a damaged one that had successors.
    fn judge_unused(&self, after: u64) -> Result<Option<(u64, TornTail)>, OpenError> {
        let mut torn = None;
        for segment in self.segments.iter().filter(|segment| segment.sequence > after) {
            match segment.first {
                First::Unused(Verdict::TornTail(tail)) => torn = Some((segment.sequence, tail)),
                First::Unused(Verdict::Damage { fault, proof }) => {
                    let kind = DamageKind::Frame { reason: fault.to_string(), proof };
                    let offset = u64::from(segment.header.place.block_size);
                    let damage = Damage { segment: segment.sequence, offset, lsn: Lsn::NONE, kind };
                    return Err(damage.into());
                }
                _ => {}
            }
        }
        Ok(torn)
    }

    /// Writes the start frame of the next epoch. From here on the tail is cut and the last frame safe.
    fn begin(&self, tail: Tail) -> Result<RecoveredLog, OpenError> {
        let style = SegmentStyle {
            log_id: self.log_id,
            block_size: self.config.block_size,
            segment_size: self.config.segment_size,
            medium: self.storage.medium(),
        };
        let last_used = self.started().next_back().map_or(0, |(segment, _)| segment.sequence);
        let (mut prepared, mut removable) = self.sort_unused(&style, last_used, tail.torn);
        let highest = self.segments.last().map_or(0, |segment| segment.sequence);
        let mut next_sequence = highest + 1;
        let carried = tail.carry.as_ref().map_or(0, |last| last.payload.len() as u64);
        let segment = match prepared.first() {
            Some(first) if first.size >= segment_size_for(carried, &style) => prepared.remove(0),
            _ => {
                removable.extend(prepared.drain(..).map(|segment| segment.name));
                next_sequence += 1;
                self.make_first_segment(&style, highest + 1, carried)?
            }
        };
        self.fill_catalog(tail.position.low_water);
        let (writer, position) = self.write_start(&style, segment, &tail)?;
        if let Some((name, end)) = &tail.trim
            && style.medium == Medium::InPlace
        {
            trim(&*self.storage, name, *end);
        }
        let gone = self.shared.catalog.take_removable(self.shared.clock.now());
        let kept = tail.torn.map(|(sequence, _)| sequence);
        removable.extend(
            gone.into_iter().filter(|gone| Some(gone.sequence) != kept).map(|gone| gone.name),
        );
        let report = RecoveryReport {
            epoch: position.epoch,
            last_lsn: position.last_live,
            next_lsn: position.next_lsn,
            low_water: position.low_water,
            clean: tail.clean,
            carried: tail.carry.map_or(0, |last| u64::from(last.header.count)),
            torn_tail: tail.torn,
            ..RecoveryReport::default()
        };
        let storage = Arc::clone(&self.storage);
        Ok(RecoveredLog {
            storage,
            style,
            writer,
            position,
            prepared,
            next_sequence,
            removable,
            report,
        })
    }

    /// Segments without a start frame: those that can be used as they are, and those that nobody needs.
    fn sort_unused(
        &self,
        style: &SegmentStyle,
        last_used: u64,
        torn: Option<(u64, TornTail)>,
    ) -> (Vec<PreparedSegment>, Vec<String>) {
        let (mut usable, mut removable) = (Vec::new(), Vec::new());
        for segment in &self.segments {
            let First::Unused(verdict) = segment.first else {
                continue;
            };
            let fits = segment.sequence > last_used
                && verdict == Verdict::Clean
                && segment.header.place.block_size == style.block_size
                && segment.header.size == style.segment_size
                && (segment.len == style.segment_size || segment.header.growing);
            let file = if fits { self.storage.open(&segment.name).ok() } else { None };
            match file {
                Some(file) => usable.push(PreparedSegment {
                    sequence: segment.sequence,
                    name: segment.name.clone(),
                    size: segment.header.size,
                    file,
                }),
                // What was torn is kept as evidence until the next open.
                None if torn.is_some_and(|(sequence, _)| sequence == segment.sequence) => {}
                None => removable.push(segment.name.clone()),
            }
        }
        (usable, removable)
    }

    fn make_first_segment(
        &self,
        style: &SegmentStyle,
        sequence: u64,
        carried: u64,
    ) -> Result<PreparedSegment, OpenError> {
        let size = FIRST_SEGMENT_SIZE.min(style.segment_size).max(segment_size_for(carried, style));
        let plan = style.plan(sequence, size, false);
        let job = PrepareJob {
            name: plan.name.clone(),
            temp_name: plan.temp_name,
            size,
            header: plan.header,
            zero_fill: style.medium != Medium::CopyOnWrite,
            recycle: None,
            block_size: style.block_size as usize,
        };
        let file = prepare(&*self.storage, &job).map_err(|fault| {
            let source = std::io::Error::new(fault.source.kind(), fault.to_string());
            IoFault::new(IoOp::Prepare, &plan.name, None, source)
        })?;
        Ok(PreparedSegment { sequence, name: plan.name, size, file })
    }

    fn fill_catalog(&self, low_water: Lsn) {
        for (segment, start) in self.started() {
            self.shared.catalog.begin(SegmentInfo {
                sequence: segment.sequence,
                name: segment.name.clone(),
                cut: start.start.map_or(Lsn::NONE, |start| start.cut),
                live_end: None,
            });
        }
        self.shared.catalog.raise_low_water(low_water);
    }

    fn write_start(
        &self,
        style: &SegmentStyle,
        segment: PreparedSegment,
        tail: &Tail,
    ) -> Result<(LogWriter, Position), OpenError> {
        let place = style.place(segment.sequence);
        let mut position = tail.position;
        let carry = tail.carry.as_ref();
        let opening = Opening {
            epoch: position.epoch.next(),
            first_lsn: carry.map_or(tail.next_life, |last| last.header.first_lsn),
            next_lsn: tail.next_life,
            in_flight_limit: self.config.max_in_flight_entries as u64,
            salt: self.shared.clock.random(),
        };
        let stamp = Stamp {
            wall_us: self.shared.clock.wall_us(),
            watermark: position.last_live,
            low_water: position.low_water,
        };
        let info = SegmentInfo {
            sequence: segment.sequence,
            name: segment.name.clone(),
            cut: position.last_live,
            live_end: None,
        };
        let writer = LogWriter::start(segment, place, &mut position, opening, stamp, |frame| {
            if let Some(last) = carry {
                frame.push_encoded(&last.payload, last.header.count);
            }
        })?;
        self.shared.catalog.begin(info);
        Ok((writer, position))
    }

    /// Hands every live record from `from` on to `sink`, and checks all of them.
    fn replay(
        &self,
        recovered: &mut RecoveredLog,
        from: Lsn,
        sink: &mut ReplaySink<'_>,
    ) -> Result<(), OpenError> {
        let live = self.shared.catalog.segments();
        let mut walk = LiveWalk::new(self, &live, recovered.position.low_water);
        let mut batch = BatchBuilder::default();
        let mut replayed = 0;
        let mut send = |batch: &mut BatchBuilder, progress| {
            let batch = batch.take();
            replayed += batch.len() as u64;
            sink(batch, progress).map_err(|reason| OpenError::Replay { reason })
        };
        let report = &mut recovered.report;
        walk.run(recovered.position.last_live, report, &mut |frame, progress| {
            batch.push(frame, from);
            if batch.is_full() { send(&mut batch, progress) } else { Ok(()) }
        })?;
        let total = report.bytes;
        send(&mut batch, Progress { done: total, total })?;
        report.replayed = replayed;
        Ok(())
    }

    /// Looks for damage before anything is written, and if there is some, ends the log before it.
    fn salvage(&mut self) -> Result<Option<Damage>, OpenError> {
        let tail_damage = match self.tail() {
            Ok(_) => None,
            Err(OpenError::Damaged(damage)) => Some(damage),
            Err(error) => return Err(error),
        };
        let low_water = self.started().map(|(_, start)| start.low_water).max().unwrap_or_default();
        let live = self.survey_live();
        let mut walk = LiveWalk::new(self, &live, low_water);
        let end = live.last().and_then(|last| last.live_end).unwrap_or_default();
        let walked = walk.run(end, &mut RecoveryReport::default(), &mut |_, _| Ok(()));
        let (good, sequence) = (walk.position, walk.sequence);
        let damage = match (walked, tail_damage) {
            (Err(OpenError::Damaged(damage)), _) => damage,
            (Err(error), _) => return Err(error),
            (Ok(()), Some(damage)) => damage,
            (Ok(()), None) => return Ok(None),
        };
        self.cut_after(good, sequence, low_water)?;
        tracing::warn!(%damage, last_lsn = %good.last_live, "the log was cut");
        Ok(Some(damage))
    }

    /// The live segments as the survey knows them, the last one to the end of its sound frames.
    fn survey_live(&self) -> Vec<SegmentInfo> {
        let catalog = super::catalog::Catalog::default();
        for (segment, start) in self.started() {
            let cut = start.start.map_or(Lsn::NONE, |start| start.cut);
            let name = segment.name.clone();
            catalog.begin(SegmentInfo { sequence: segment.sequence, name, cut, live_end: None });
        }
        let mut live = catalog.segments();
        if let (Some(last), Some((segment, _))) = (live.last_mut(), self.started().next_back()) {
            last.live_end = Some(self.sound_end(segment).unwrap_or(last.cut));
        }
        live
    }

    /// The LSN of the last record in the sound frames of a segment.
    fn sound_end(&self, segment: &Surveyed) -> Option<Lsn> {
        let mut reader = self.reader(segment, Until::Tail).ok()?;
        let mut end = None;
        while let Ok(Next::Frame(frame)) = reader.next() {
            end = (frame.header.count > 0).then(|| frame.header.last_lsn()).or(end);
        }
        end
    }

    /// Ends the log at `good`; segments from `sequence` on that hold more are kept aside.
    fn cut_after(
        &mut self,
        good: Position,
        sequence: u64,
        low_water: Lsn,
    ) -> Result<(), OpenError> {
        let highest = self.started().map(|(_, start)| start.next_lsn).max().unwrap_or(Lsn::FIRST);
        let limit = self
            .started()
            .filter_map(|(_, header)| header.start.map(|start| start.in_flight_limit))
            .max()
            .unwrap_or_default();
        let ends = self.started().filter_map(|(segment, _)| self.sound_end(segment)).max();
        let highest = highest.max(ends.unwrap_or_default().next()).max(good.last_live.next());
        let epoch = self.started().map(|(_, start)| start.epoch).max().unwrap_or_default();
        let position = Position { epoch, low_water, ..good };
        // Room for a whole segment of records behind the damage, whose LSNs nobody can read.
        let unread = self.segments.iter().map(|segment| segment.header.size).sum::<u64>();
        self.cut = Some(Cut { position, next_life: highest.plus(limit).plus(unread) });
        let (kept, aside): (Vec<_>, Vec<_>) = std::mem::take(&mut self.segments)
            .into_iter()
            .partition(|segment| segment.sequence <= sequence || is_prepared(segment));
        self.segments = kept;
        aside.iter().try_for_each(|segment| self.set_aside(&segment.name, segment.sequence))
    }

    fn set_aside(&self, name: &str, sequence: u64) -> Result<(), OpenError> {
        let fault = |op| move |error| IoFault::new(op, name, None, error);
        self.storage.rename(name, &set_aside_name(sequence)).map_err(fault(IoOp::Rename))?;
        Ok(self.storage.sync_dir().map_err(fault(IoOp::SyncDirectory))?)
    }
}

fn is_prepared(segment: &Surveyed) -> bool {
    matches!(segment.first, First::Unused(Verdict::Clean))
}

/// The size of a segment whose start frame can carry this many bytes of records.
fn segment_size_for(carried: u64, style: &SegmentStyle) -> u64 {
    let block = u64::from(style.block_size);
    // The header, the start frame, the blocks for empty frames, and one for a record.
    frame_len(carried, &style.place(0)) + (2 + WalConfig::RESERVED_BLOCKS) * block
}

fn open(
    storage: &dyn Storage,
    name: &str,
) -> Result<Box<dyn crate::storage::StorageFile>, IoFault> {
    storage.open(name).map_err(|error| IoFault::new(IoOp::Open, name, None, error))
}

fn remove(storage: &dyn Storage, name: &str) -> Result<(), IoFault> {
    storage.remove(name).map_err(|error| IoFault::new(IoOp::Remove, name, None, error))
}

/// Gives the unused space of the last segment back. Only space is at stake, so an error is no failure.
fn trim(storage: &dyn Storage, name: &str, end: u64) {
    let trimmed = storage
        .open(name)
        .and_then(|file| if file.size()? > end { file.set_size(end) } else { Ok(()) });
    if let Err(error) = trimmed {
        tracing::warn!(%error, name, "the last segment keeps its unused space");
    }
}

/// Follows the frames of the last segment.
#[derive(Debug)]
struct TailWalk {
    /// Where the log stood before the last frame.
    before: Position,
    after: Position,
    in_flight_limit: u64,
    last: Option<LastFrame>,
    closed: bool,
}

impl TailWalk {
    fn new(start: &FrameHeader) -> Self {
        let (cut, in_flight_limit) =
            start.start.map_or((Lsn::NONE, 0), |start| (start.cut, start.in_flight_limit));
        let position = Position {
            epoch: start.epoch,
            last_live: cut,
            next_lsn: start.first_lsn,
            chain: start.chain,
            low_water: start.low_water,
        };
        TailWalk { before: position, after: position, in_flight_limit, last: None, closed: false }
    }

    fn frame(&mut self, frame: &Frame<'_>) {
        let header = frame.header;
        self.before = self.after;
        follow(&mut self.after, frame);
        self.closed = header.close;
        self.last = Some(LastFrame {
            header,
            payload: if header.count > 0 { frame.payload().to_vec() } else { Vec::new() },
        });
    }

    fn finish(self) -> Tail {
        let unclean = if self.closed { 0 } else { self.in_flight_limit };
        let next_life = self.after.next_lsn.plus(unclean);
        let carry = self.last.filter(|last| last.header.count > 0);
        let position = if carry.is_some() {
            Position { low_water: self.after.low_water, ..self.before }
        } else {
            self.after
        };
        Tail { position, next_life, carry, ..Tail::default() }
    }
}

/// Moves `position` over a frame.
fn follow(position: &mut Position, frame: &Frame<'_>) {
    let header = &frame.header;
    position.epoch = header.epoch;
    position.next_lsn = header.next_lsn;
    position.low_water = position.low_water.max(header.low_water);
    if header.count > 0 {
        position.last_live = header.last_lsn();
        position.chain = frame.checksum;
    }
}

/// Takes each live frame, in order.
type FrameSink<'a> = dyn FnMut(&Frame<'_>, Progress) -> Result<(), OpenError> + 'a;

/// Walks the live frames of all segments and checks that nothing is missing.
struct LiveWalk<'a> {
    recovery: &'a Recovery<'a>,
    live: &'a [SegmentInfo],
    low_water: Lsn,
    /// Where the walk stands: behind the last good frame.
    position: Position,
    /// The segment it stands in.
    sequence: u64,
    progress: Progress,
}

impl<'a> LiveWalk<'a> {
    fn new(recovery: &'a Recovery<'a>, live: &'a [SegmentInfo], low_water: Lsn) -> Self {
        LiveWalk {
            recovery,
            live,
            low_water,
            position: Position::default(),
            sequence: 0,
            progress: Progress::default(),
        }
    }

    /// Walks everything above the low-water mark up to `last`.
    fn run(
        &mut self,
        last: Lsn,
        report: &mut RecoveryReport,
        sink: &mut FrameSink<'_>,
    ) -> Result<(), OpenError> {
        let live: Vec<_> = self
            .live
            .iter()
            .map(|info| (info, info.live_end.unwrap_or(last)))
            .filter(|(info, end)| *end > info.cut && *end > self.low_water)
            .collect();
        self.progress.total = live.iter().map(|(info, _)| self.len_of(info)).sum();
        let mut done = 0;
        for (at, (info, end)) in live.iter().enumerate() {
            if at == 0 && info.cut > self.low_water {
                return Err(self.damage(
                    info.sequence - 1,
                    0,
                    self.low_water.next(),
                    DamageKind::MissingSegment,
                ));
            }
            self.segment(info, *end, at == 0, done, report, sink)?;
            done += self.len_of(info);
        }
        report.segments = live.len() as u64;
        report.bytes = self.progress.total;
        Ok(())
    }

    fn len_of(&self, info: &SegmentInfo) -> u64 {
        self.recovery
            .segments
            .iter()
            .find(|one| one.sequence == info.sequence)
            .map_or(0, |one| one.len)
    }

    /// The segment's file: surveyed, or the one that was begun just now.
    fn open(&self, info: &SegmentInfo, end: Lsn) -> Result<SegmentReader, OpenError> {
        let known = self.recovery.segments.iter().find(|one| one.sequence == info.sequence);
        if let Some(segment) = known {
            return Ok(self.recovery.reader(segment, Until::LiveEnd(end))?);
        }
        let file = open(&*self.recovery.storage, &info.name)?;
        let mut block = [0; crate::format::segment::SEGMENT_HEADER_LEN];
        crate::storage::read_exact_at(&*file, &mut block, 0)
            .map_err(|error| IoFault::new(IoOp::Read, &info.name, Some(0), error))?;
        let header = SegmentHeader::decode(&block).map_err(|fault| {
            self.damage(
                info.sequence,
                0,
                Lsn::NONE,
                DamageKind::SegmentHeader { reason: fault.to_string() },
            )
        })?;
        Ok(SegmentReader::new(file, &info.name, header, Until::LiveEnd(end))?)
    }

    fn segment(
        &mut self,
        info: &SegmentInfo,
        end: Lsn,
        is_first: bool,
        done: u64,
        report: &mut RecoveryReport,
        sink: &mut FrameSink<'_>,
    ) -> Result<(), OpenError> {
        self.sequence = info.sequence;
        let mut reader = self.open(info, end)?;
        loop {
            match reader.next()? {
                Next::Frame(frame) => {
                    if frame.header.start.is_some()
                        && !is_first
                        && frame.header.chain != self.position.chain
                    {
                        let what = "the chain of checksums is broken".to_owned();
                        let kind = DamageKind::Contradiction { what };
                        return Err(self.damage(
                            info.sequence,
                            frame.offset,
                            frame.header.first_lsn,
                            kind,
                        ));
                    }
                    if frame.header.start.is_some() && is_first {
                        self.position.chain = frame.header.chain;
                        self.position.last_live = info.cut;
                        self.position.next_lsn = info.cut.next();
                    }
                    note_gap(&self.position, &frame, report);
                    follow(&mut self.position, &frame);
                    report.frames += 1;
                    report.records += u64::from(frame.header.count);
                    self.progress.done = (done + frame.offset).min(self.progress.total);
                    sink(&frame, self.progress)?;
                }
                Next::End(ending) => match ending.verdict {
                    Verdict::Damage { fault, proof } => {
                        return Err(self.shortfall(info, ending.offset, fault.to_string(), proof));
                    }
                    Verdict::Clean | Verdict::TornTail(_) => return Ok(()),
                },
            }
        }
    }

    /// A segment ends before its live end: is it damaged, shortened, or is the next one missing?
    fn shortfall(
        &self,
        info: &SegmentInfo,
        offset: u64,
        reason: String,
        proof: Option<u64>,
    ) -> OpenError {
        let lsn = self.position.last_live.next();
        let surveyed =
            |sequence| self.recovery.segments.iter().find(|one| one.sequence == sequence);
        let segment = surveyed(info.sequence);
        if let Some(segment) = segment.filter(|segment| offset >= segment.len) {
            let (expected, found) = (segment.header.size, segment.len);
            // A file that was trimmed to its end is complete: then the records are in the next one.
            let next_is_there = surveyed(info.sequence + 1).is_some();
            if found < expected && next_is_there {
                return self.damage(
                    info.sequence,
                    offset,
                    lsn,
                    DamageKind::ShortenedSegment { expected, found },
                );
            }
        }
        match surveyed(info.sequence + 1).map(|next| &next.first) {
            None => self.damage(info.sequence + 1, 0, lsn, DamageKind::MissingSegment),
            Some(First::Unused(Verdict::TornTail(_) | Verdict::Damage { .. })) => {
                let block = u64::from(segment.map_or(0, |segment| segment.header.place.block_size));
                let reason = "its start frame is damaged".to_owned();
                self.damage(
                    info.sequence + 1,
                    block,
                    lsn,
                    DamageKind::Frame { reason, proof: None },
                )
            }
            Some(_) => self.damage(info.sequence, offset, lsn, DamageKind::Frame { reason, proof }),
        }
    }

    fn damage(&self, segment: u64, offset: u64, lsn: Lsn, kind: DamageKind) -> OpenError {
        Damage { segment, offset, lsn, kind }.into()
    }
}

/// LSNs between the last record and this frame name no record.
fn note_gap(position: &Position, frame: &Frame<'_>, report: &mut RecoveryReport) {
    if frame.header.count > 0
        && let Some(gap) =
            LsnRange::new(position.last_live.next(), frame.header.first_lsn.previous())
    {
        report.gaps.push(gap);
    }
}
