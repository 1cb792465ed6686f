//! Judges what a directory holds, begins the next epoch, and replays.
//!
//! 1. **Survey**: read the header and the start frame of every segment. The *live end* of a segment is
//!    the smallest cut of the segments after it.
//! 2. **Tail**: walk the last segment to its end. An unfinished write there is cut; a damaged frame
//!    before a sound one is refused.
//! 3. **Replay** every live record but those of the very last frame, in order, checking that each segment
//!    reaches exactly its live end. Nothing was written so far: a refused or interrupted recovery leaves
//!    the directory as it was.
//! 4. **Begin**: write the start frame of a new segment. No later byte vouches for the very last frame:
//!    it may lie in the page cache alone (promise P12). So its records are carried into that start
//!    frame, and cut and copy become durable under one checksum; only then are they replayed.
//!
//! Old segments are never written. A crash at any point leaves a directory on which all of this can be
//! done again (promise P11).

mod live_walk;
mod salvage;

use std::sync::Arc;
use std::time::Duration;

use live_walk::LiveWalk;

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
use crate::format::segment::{FileKind, HeaderFault, SegmentHeader, file_kind, scratch_name};
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
    /// How long it took, the host's share included.
    pub elapsed: Duration,
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
    let began = shared.clock.now();
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
    let mut replay = Replaying { from, batch: BatchBuilder::default(), replayed: 0, sink };
    let mut counts = RecoveryReport { salvaged, ..RecoveryReport::default() };
    let live = recovery.live_until(tail.position.last_live);
    let mut walk = LiveWalk::new(&recovery, &live, low_water);
    walk.run(&live, &mut counts, &mut |frame, progress| replay.frame(frame, progress))?;
    let mut recovered = recovery.begin(tail, counts)?;
    let carried = recovery.live_in_new(&recovered);
    let report = &mut recovered.report;
    walk.run(&carried, report, &mut |frame, progress| replay.frame(frame, progress))?;
    report.replayed = replay.end(walk.progress.total)?;
    report.elapsed = shared.clock.now().saturating_sub(began);
    Ok(recovered)
}

/// Hands records on to the host, in batches.
struct Replaying<'a, 'b> {
    from: Lsn,
    batch: BatchBuilder,
    replayed: u64,
    sink: &'a mut ReplaySink<'b>,
}

impl Replaying<'_, '_> {
    fn frame(&mut self, frame: &Frame<'_>, progress: Progress) -> Result<(), OpenError> {
        self.batch.push(frame, self.from);
        if self.batch.is_full() { self.send(progress) } else { Ok(()) }
    }

    fn send(&mut self, progress: Progress) -> Result<(), OpenError> {
        let batch = self.batch.take();
        self.replayed += batch.len() as u64;
        (self.sink)(batch, progress).map_err(|reason| OpenError::Replay { reason })
    }

    fn end(mut self, total: u64) -> Result<u64, OpenError> {
        self.send(Progress { done: total, total })?;
        Ok(self.replayed)
    }
}

struct Recovery<'a> {
    storage: Arc<dyn Storage>,
    config: &'a WalConfig,
    shared: &'a Shared,
    log_id: LogId,
    segments: Vec<Surveyed>,
    /// The highest sequence number that any file here bears or bore: none is given out twice.
    highest: u64,
    /// How many files earlier salvages have set aside.
    aside_before: u64,
    /// Files that were being prepared. They go when the log has begun behind them: until then they tell
    /// that a number was never used.
    scratch: Vec<String>,
    /// Segments that the salvage policy could make nothing of.
    lost: Vec<(Damage, String)>,
    /// Files that the salvage policy sets aside as soon as the log no longer needs them.
    aside: Vec<(String, u64)>,
    /// Set by the salvage policy: the log is taken to end here.
    cut: Option<Cut>,
    /// Set by the salvage policy: LSNs to leave out, since nobody knows which were given out.
    skip: u64,
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
        let mut recovery = Recovery {
            config,
            shared,
            log_id: random_log_id(shared),
            segments: Vec::new(),
            highest: 0,
            aside_before: 0,
            lost: Vec::new(),
            scratch: Vec::new(),
            aside: Vec::new(),
            cut: None,
            skip: 0,
            storage,
        };
        let files = recovery.list(&location)?;
        recovery.survey_files(files)?;
        Ok(recovery)
    }

    /// The files that bear the name of a segment, in order.
    fn list(&mut self, location: &str) -> Result<Vec<(u64, FileEntry)>, OpenError> {
        let mut files = Vec::new();
        let listed = self.storage.list();
        for entry in listed.map_err(|error| IoFault::new(IoOp::List, location, None, error))? {
            match file_kind(&entry.name) {
                FileKind::Segment(sequence) => {
                    self.highest = self.highest.max(sequence);
                    files.push((sequence, entry));
                }
                FileKind::Scratch => self.scratch.push(entry.name),
                FileKind::SetAside | FileKind::Other => {
                    if let Some(sequence) = aside_sequence(&entry.name) {
                        self.highest = self.highest.max(sequence);
                        self.aside_before += 1;
                    }
                }
            }
        }
        files.sort_by_key(|(sequence, _)| *sequence);
        Ok(files)
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
                    self.lost.push((damage, entry.name));
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
        let damage = |kind| Ok(Err(Damage { segment: sequence, offset: 0, lsn: Lsn::NONE, kind }));
        let file = open(&*self.storage, &entry.name)?;
        let mut block = [0; crate::format::segment::SEGMENT_HEADER_LEN];
        let len = usize::try_from(entry.size).map_or(block.len(), |size| size.min(block.len()));
        crate::storage::read_exact_at(&*file, &mut block[..len], 0)
            .map_err(|error| IoFault::new(IoOp::Read, &entry.name, Some(0), error))?;
        match SegmentHeader::decode(&block[..len]) {
            Err(fault @ HeaderFault::Version { .. }) => {
                let reason = fault.to_string();
                Err(OpenError::NewerVersion { file: entry.name.clone(), reason })
            }
            Err(fault) => damage(DamageKind::SegmentHeader { reason: fault.to_string() }),
            Ok(header) if header.place.sequence != sequence => {
                damage(DamageKind::SwappedSegment { found: header.place.sequence })
            }
            Ok(_) if matches!(sequence, 0 | u64::MAX) => {
                let what = "no segment ever has this sequence number".to_owned();
                damage(DamageKind::Contradiction { what })
            }
            Ok(header) => Ok(Ok(header)),
        }
    }

    fn check_id(&self, sequence: u64, header: SegmentHeader) -> Result<SegmentHeader, Damage> {
        if header.place.log_id == self.log_id {
            return Ok(header);
        }
        let (expected, found) = (self.log_id.to_string(), header.place.log_id.to_string());
        let kind = DamageKind::ForeignSegment { expected, found };
        Err(Damage { segment: sequence, offset: 0, lsn: Lsn::NONE, kind })
    }

    fn survey_segment(
        &mut self,
        sequence: u64,
        entry: FileEntry,
        header: SegmentHeader,
    ) -> Result<(), OpenError> {
        let file = open(&*self.storage, &entry.name)?;
        let mut reader = SegmentReader::new(file, &entry.name, header, Until::Tail)?;
        let first = match reader.next()? {
            Next::Frame(frame) => First::Started(frame.header),
            Next::End(ending) => First::Unused(ending.verdict),
        };
        self.segments.push(Surveyed { sequence, name: entry.name, len: entry.size, header, first });
        Ok(())
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
            let torn = self.judge_unused(0, Lsn::FIRST)?;
            self.check_successor(0, Lsn::FIRST)?;
            let position = Position { next_lsn: Lsn::FIRST, ..Position::default() };
            return Ok(Tail {
                position,
                next_life: Lsn::FIRST.plus(self.skip),
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
        let later_torn = self.judge_unused(segment.sequence, ending.next_lsn)?;
        self.check_successor(segment.sequence, ending.next_lsn)?;
        let (expected, found) = (segment.header.size, segment.len);
        if found < expected && !segment.header.growing && !walk.closed {
            // A file is trimmed only after the next start frame is durable: where that is torn, it is
            // damaged now.
            return Err(match later_torn {
                Some((sequence, torn)) => {
                    self.start_damage(sequence, &torn.reason, ending.next_lsn)
                }
                None => damage(DamageKind::ShortenedSegment { expected, found }),
            }
            .into());
        }
        let clean = walk.closed && torn.is_none() && later_torn.is_none();
        let evidence = torn.map_or(0, |(_, torn)| torn.bytes);
        Ok(Tail {
            trim: Some((segment.name.clone(), ending.offset + evidence)),
            torn: later_torn.or(torn),
            clean,
            ..walk.finish(self.skip)
        })
    }

    /// What stands in segments after the last one that has a start frame: nothing if they were only
    /// prepared, a torn start frame, or a damaged one that had successors.
    fn judge_unused(&self, after: u64, lsn: Lsn) -> Result<Option<(u64, TornTail)>, OpenError> {
        let mut torn = None;
        for segment in self.segments.iter().filter(|segment| segment.sequence > after) {
            match segment.first {
                First::Unused(Verdict::TornTail(tail)) => torn = Some((segment.sequence, tail)),
                First::Unused(Verdict::Damage { fault, proof }) => {
                    let kind = DamageKind::Frame { reason: fault.to_string(), proof };
                    let offset = u64::from(segment.header.place.block_size);
                    return Err(Damage { segment: segment.sequence, offset, lsn, kind }.into());
                }
                _ => {}
            }
        }
        Ok(torn)
    }

    /// Segments are prepared, named and started in order, so a number that is left out right behind
    /// the end of the log was once its end.
    fn check_successor(&self, last: u64, lsn: Lsn) -> Result<(), Damage> {
        let next = self.segments.iter().find(|segment| segment.sequence > last);
        let is_known = |sequence| {
            self.lost.iter().any(|(damage, _)| damage.segment == sequence)
                || self.scratch.contains(&scratch_name(sequence))
        };
        match next {
            Some(next) if next.sequence != last + 1 && !is_known(last + 1) => {
                Err(Damage { segment: last + 1, offset: 0, lsn, kind: DamageKind::MissingSegment })
            }
            _ => Ok(()),
        }
    }

    fn start_damage(&self, segment: u64, reason: &dyn std::fmt::Display, lsn: Lsn) -> Damage {
        let surveyed = self.segments.iter().find(|one| one.sequence == segment);
        let offset = surveyed.map_or(0, |one| u64::from(one.header.place.block_size));
        let reason = format!("its start frame is damaged: {reason}");
        Damage { segment, offset, lsn, kind: DamageKind::Frame { reason, proof: None } }
    }

    /// Writes the start frame of the next epoch. From here on the tail is cut and the last frame safe.
    fn begin(&self, tail: Tail, counts: RecoveryReport) -> Result<RecoveredLog, OpenError> {
        let style = SegmentStyle {
            log_id: self.log_id,
            block_size: self.config.block_size,
            segment_size: self.config.segment_size,
            medium: self.storage.medium(),
        };
        let last_used = self.started().next_back().map_or(0, |(segment, _)| segment.sequence);
        let (mut prepared, mut removable) = self.sort_unused(&style, last_used, tail.torn);
        // `survey` refuses a file with the last number there is, so this one is free.
        let mut next_sequence = self.highest.saturating_add(1);
        let carried = tail.carry.as_ref().map_or(0, |last| last.payload.len() as u64);
        let segment = match prepared.first() {
            Some(first) if first.size >= segment_size_for(carried, &style) => prepared.remove(0),
            _ => {
                removable.extend(prepared.drain(..).map(|segment| segment.name));
                let sequence = next_sequence;
                next_sequence = next_sequence.saturating_add(1);
                self.make_first_segment(&style, sequence, carried)?
            }
        };
        // A number that is left out right behind the last segment is taken for a loss, so what is unusable
        // there stays until the log has gone past it.
        removable.retain(|name| {
            let unused = self.segments.iter().find(|one| one.name == *name);
            unused.is_none_or(|unused| unused.sequence < segment.sequence)
        });
        self.fill_catalog(tail.position.low_water);
        let (writer, position) = self.write_start(&style, segment, &tail)?;
        if let Some((name, end)) = &tail.trim
            && style.medium == Medium::InPlace
        {
            trim(&*self.storage, name, *end);
        }
        self.scratch.iter().try_for_each(|name| remove(&*self.storage, name))?;
        self.aside.iter().try_for_each(|(name, sequence)| self.set_aside(name, *sequence))?;
        let gone = self.shared.catalog.take_removable(self.shared.clock.now());
        let kept = tail.torn.map(|(sequence, _)| sequence);
        removable.extend(
            gone.into_iter().filter(|gone| Some(gone.sequence) != kept).map(|gone| gone.name),
        );
        let removable = self.remove_small(removable, &style);
        let report = RecoveryReport {
            epoch: position.epoch,
            last_lsn: position.last_live,
            next_lsn: position.next_lsn,
            low_water: position.low_water,
            clean: tail.clean,
            carried: tail.carry.map_or(0, |last| u64::from(last.header.count)),
            torn_tail: tail.torn,
            ..counts
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

    /// Removes what is of no use to anybody, so that lives that end before their first append do not pile
    /// up files. Full segments stay for the preparer, which may use them again.
    fn remove_small(&self, removable: Vec<String>, style: &SegmentStyle) -> Vec<String> {
        let is_full = |name: &String| {
            let segment = self.segments.iter().find(|segment| segment.name == *name);
            segment.is_some_and(|segment| segment.len == style.segment_size)
        };
        let (full, small): (Vec<_>, Vec<_>) = removable.into_iter().partition(is_full);
        for name in small {
            // A name that comes back after power loss is found and removed again.
            if let Err(error) = self.storage.remove(&name) {
                tracing::warn!(%error, name, "can not remove an old segment");
            }
        }
        full
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
            // Behind a torn start frame too, or it would be found again at the next open.
            let torn_at = torn.map_or(0, |(sequence, _)| sequence);
            let fits = segment.sequence > last_used.max(torn_at)
                && verdict == Verdict::Clean
                && segment.header.place.block_size == style.block_size
                && segment.header.size <= style.segment_size
                && segment.header.size >= segment_size_for(0, style)
                && (segment.len == segment.header.size || segment.header.growing);
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

    /// The segments as the survey knows them, with nothing live beyond `end`.
    fn live_until(&self, end: Lsn) -> Vec<SegmentInfo> {
        let catalog = super::catalog::Catalog::default();
        for (segment, start) in self.started() {
            let cut = start.start.map_or(Lsn::NONE, |start| start.cut);
            let name = segment.name.clone();
            catalog.begin(SegmentInfo { sequence: segment.sequence, name, cut, live_end: None });
        }
        let mut live = catalog.segments();
        for segment in &mut live {
            segment.live_end = Some(segment.live_end.map_or(end, |live_end| live_end.min(end)));
        }
        live
    }

    /// What was carried into the segment that was begun just now.
    fn live_in_new(&self, recovered: &RecoveredLog) -> Vec<SegmentInfo> {
        let mut segments = self.shared.catalog.segments().into_iter();
        let live_end = Some(recovered.position.last_live);
        segments
            .next_back()
            .map(|segment| SegmentInfo { live_end, ..segment })
            .into_iter()
            .collect()
    }
}

/// The sequence number of a file that a salvage has set aside.
fn aside_sequence(name: &str) -> Option<u64> {
    let (stem, rest) = name.split_once('.')?;
    rest.starts_with("wal.damaged").then(|| stem.parse().ok())?
}

/// The id that most segments bear; of two, that of the later segment.
fn most_frequent(ids: impl Iterator<Item = LogId>) -> Option<LogId> {
    let mut counts: Vec<(LogId, usize)> = Vec::new();
    for id in ids {
        match counts.iter_mut().find(|(known, _)| *known == id) {
            Some((_, count)) => *count += 1,
            None => counts.push((id, 1)),
        }
    }
    counts.into_iter().max_by_key(|(_, count)| *count).map(|(id, _)| id)
}

fn random_log_id(shared: &Shared) -> LogId {
    let mut log_id = [0; 16];
    log_id[..8].copy_from_slice(&shared.clock.random().to_le_bytes());
    log_id[8..].copy_from_slice(&shared.clock.random().to_le_bytes());
    LogId(log_id)
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
    match storage.remove(name) {
        // Whoever prepared a segment under that name has taken it.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(|error| IoFault::new(IoOp::Remove, name, None, error)),
    }
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

    fn finish(self, skip: u64) -> Tail {
        let unclean = if self.closed { 0 } else { self.in_flight_limit };
        let next_life = self.after.next_lsn.plus(unclean).plus(skip);
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
