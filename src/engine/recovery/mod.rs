//! Judges what a directory holds, begins the next epoch, and replays.
//!
//! 1. **Survey**: read the header and the start frame of every segment. The *live end* of a segment is
//!    the smallest cut of the segments after it.
//! 2. **Tail**: walk the last segment to its end. An unfinished write there is cut; a damaged frame
//!    before a sound one is refused, and so is a sequence number that is left out right behind it.
//! 3. **Replay** every live record but those of the very last frame, in order, checking that each segment
//!    reaches exactly its live end. Nothing was written so far: a recovery that is refused or interrupted
//!    up to here leaves the directory as it was.
//! 4. **Begin**: write the start frame of a new segment. No later byte vouches for the very last frame:
//!    it may lie in the page cache alone (promise P12). So its records are carried into that start
//!    frame, and cut and copy become durable under one checksum; only then are they replayed.
//!
//! Memory: one frame that is read, a copy of the very last one (a frame holds at most what was in flight), a
//! batch of about a mebibyte that is being filled, and one that is with the host.
//!
//! Old segments are never written. A crash at any point leaves a directory on which all of this can be
//! done again (promise P11).

mod begin;
mod live_walk;
mod salvage;
mod signs;
mod survey;
mod tail;

use std::sync::Arc;
use std::time::Duration;

use live_walk::LiveWalk;

use crate::config::{DamagePolicy, WalConfig};
use crate::engine::read::segment_reader::SegmentReader;
use crate::engine::segments::catalog::SegmentInfo;
use crate::engine::segments::clearing::OldSegment;
use crate::engine::segments::preparer::PreparedSegment;
use crate::engine::segments::supply::SegmentStyle;
use crate::engine::state::outcomes::Fate;
use crate::engine::state::shared::Shared;
use crate::engine::write::log_writer::{LogWriter, Position};
use crate::error::{Cause, Damage, IoFault, IoOp, OpenError};
use crate::format::LogId;
use crate::format::frame::{Frame, FrameHeader};
use crate::format::scan::{TornTail, Until, Verdict};
use crate::format::segment::SegmentHeader;
use crate::lsn::{Epoch, Lsn, LsnRange};
use crate::record::{BatchBuilder, RecordBatch, Rest};
use crate::storage::Storage;

/// How far a recovery has come, in bytes of live segments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes done.
    pub done: u64,
    /// Bytes in all.
    pub total: u64,
}

/// Takes the records that are replayed. An error ends the recovery.
pub trait ReplaySink {
    /// The next records, in LSN order. It may return before the host is done with them, so that more is read
    /// meanwhile; an error may be of any batch so far.
    ///
    /// # Errors
    /// Why the host refuses.
    fn replay(&mut self, records: RecordBatch, progress: Progress) -> Result<(), String>;

    /// Waits until the host is done with all of them. It is called before anything is written.
    ///
    /// # Errors
    /// Why the host refuses.
    fn settle(&mut self) -> Result<(), String> {
        Ok(())
    }

    /// Whether anything still waits for the log. Once it is not wanted, the recovery ends with an error.
    fn is_wanted(&self) -> bool {
        true
    }
}

impl<F: FnMut(RecordBatch, Progress) -> Result<(), String>> ReplaySink for F {
    fn replay(&mut self, records: RecordBatch, progress: Progress) -> Result<(), String> {
        self(records, progress)
    }
}

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
    /// LSNs before the last record that name none: given out, perhaps, by a life that ended before they
    /// were durable. So do those above `last_lsn` and below `next_lsn`, the gap that this open declares.
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

/// A log that was recovered: the only thing a Flusher can be started with. Only recovery makes one; who
/// drives a [`FlushLoop`](crate::engine::write::flush_loop::FlushLoop) by hand takes it apart.
#[derive(Debug)]
#[non_exhaustive]
pub struct Begun {
    /// The directory.
    pub storage: Arc<dyn Storage>,
    /// How its segments are named and headed.
    pub style: SegmentStyle,
    /// Writes the segment that was begun.
    pub writer: LogWriter,
    /// Where the log stands.
    pub position: Position,
    /// Segments that were prepared by an earlier life and not used, in order.
    pub prepared: Vec<PreparedSegment>,
    /// The sequence number of the next segment to prepare.
    pub next_sequence: u64,
    /// Files that nobody needs any more. They are removed while the log runs, or by a later life: they hold
    /// nothing that is live, so they may be there or not.
    pub removable: Vec<OldSegment>,
    pub(crate) report: RecoveryReport,
}

impl Begun {
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

impl Surveyed {
    fn info(&self, start: &FrameHeader) -> SegmentInfo {
        let cut = start.start.map_or(Lsn::NONE, |start| start.cut);
        SegmentInfo::new(self.sequence, &self.name, self.len, cut)
    }

    /// Whether nobody has tried to begin in it who may then have gone on in the next one: it is as it was
    /// prepared, and not the leftover of a failed directory sync.
    fn could_begin(&self) -> bool {
        let is_whole = self.header.growing || self.len >= self.header.size;
        is_whole && matches!(self.first, First::Unused(Verdict::Clean))
    }
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
    trim: Option<(u64, String, u64)>,
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
    sink: &mut dyn ReplaySink,
) -> Result<Begun, OpenError> {
    let _span = tracing::info_span!("wal.recover", directory = %storage.location()).entered();
    let began = shared.clock.now();
    let mut recovery = Recovery::survey(storage, config, shared)?;
    let salvaged = match config.damage_policy {
        DamagePolicy::Refuse => None,
        DamagePolicy::Salvage => recovery.salvage()?,
    };
    let tail = recovery.tail()?;
    let low_water = tail.position.low_water;
    let from = first_to_replay(from, low_water, tail.next_life)?;
    let mut replay = Replaying { from, batch: BatchBuilder::default(), replayed: 0, sink };
    let mut counts = RecoveryReport { salvaged, ..RecoveryReport::default() };
    let live = recovery.live_until(tail.position.last_live);
    let mut walk = LiveWalk::new(&recovery, &live, low_water);
    walk.run(&live, &mut counts, &mut |frame, progress| replay.frame(frame, progress))?;
    if recovery.cut.is_none() {
        walk.check_last_start()?;
    }
    // Whatever the host refuses it refuses before anything is written, but for the last frame.
    replay.settle(walk.progress)?;
    let mut recovered = recovery.begin(tail, counts)?;
    let carried = recovery.live_in_new(&recovered);
    let report = &mut recovered.report;
    walk.run(&carried, report, &mut |frame, progress| replay.frame(frame, progress))?;
    report.replayed = replay.end(walk.progress.total)?;
    // A reader may ask for what comes next before the Appender is ready.
    shared.watermark.raise_accepted(report.next_lsn.previous());
    report.elapsed = shared.clock.now().saturating_sub(began);
    // No client may hear that what stands in a gap is durable, because the watermark passes it.
    let open_end = LsnRange::new(report.last_lsn.next(), report.next_lsn.previous());
    report.gaps.iter().copied().chain(open_end).for_each(|gap| {
        shared.outcomes.note(gap, Fate::NotDurable(Cause::EarlierLife));
    });
    Ok(recovered)
}

/// Where the replay begins, if the log has had that LSN and has it still.
fn first_to_replay(from: Option<Lsn>, low_water: Lsn, next: Lsn) -> Result<Lsn, OpenError> {
    match from.map(|from| from.max(Lsn::FIRST)) {
        None => Ok(low_water.next()),
        Some(from) if from <= low_water => Err(OpenError::Released { from, released: low_water }),
        Some(from) if from > next => Err(OpenError::BeyondEnd { from, next }),
        Some(from) => Ok(from),
    }
}

/// Hands records on to the host, in batches.
struct Replaying<'a> {
    from: Lsn,
    batch: BatchBuilder,
    replayed: u64,
    sink: &'a mut dyn ReplaySink,
}

impl Replaying<'_> {
    fn frame(&mut self, frame: &Frame<'_>, progress: Progress) -> Result<(), OpenError> {
        // Looked at for each frame: those below `from` fill no batch.
        if !self.sink.is_wanted() {
            let reason = "nobody waits for the open any more".to_owned();
            return Err(OpenError::Replay { reason });
        }
        let mut rest = Some(Rest::of(frame, self.from));
        while let Some(from) = rest {
            rest = self.batch.push(frame, from, Lsn::MAX);
            if self.batch.is_full() {
                self.send(progress)?;
            }
        }
        Ok(())
    }

    fn send(&mut self, progress: Progress) -> Result<(), OpenError> {
        let batch = self.batch.take();
        self.replayed += batch.len() as u64;
        self.sink.replay(batch, progress).map_err(|reason| OpenError::Replay { reason })
    }

    /// Sends the rest, and returns when the host is done with everything.
    fn settle(&mut self, progress: Progress) -> Result<(), OpenError> {
        if !self.batch.is_empty() {
            self.send(progress)?;
        }
        self.sink.settle().map_err(|reason| OpenError::Replay { reason })
    }

    fn end(mut self, total: u64) -> Result<u64, OpenError> {
        let progress = Progress { done: total, total };
        self.send(progress)?;
        self.settle(progress)?;
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
    /// Names that are like those of a log, and are none.
    signs: Vec<signs::Found>,
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
    fn started(&self) -> impl DoubleEndedIterator<Item = (&Surveyed, &FrameHeader)> {
        self.segments.iter().filter_map(|segment| match &segment.first {
            First::Started(start) => Some((segment, start)),
            First::Unused(_) => None,
        })
    }

    /// The segment with this sequence number.
    fn surveyed(&self, sequence: u64) -> Option<&Surveyed> {
        let at = self.segments.binary_search_by_key(&sequence, |segment| segment.sequence).ok()?;
        self.segments.get(at)
    }

    fn reader(&self, segment: &Surveyed, until: Until) -> Result<SegmentReader, IoFault> {
        let file = open(&*self.storage, &segment.name)?;
        SegmentReader::new(file, &segment.name, segment.header, until)
    }

    /// The segments as the survey knows them, with nothing live beyond `end`.
    fn live_until(&self, end: Lsn) -> Vec<SegmentInfo> {
        let catalog = crate::engine::segments::catalog::Catalog::default();
        for (segment, start) in self.started() {
            catalog.begin(segment.info(start));
        }
        let mut live = catalog.segments();
        for segment in &mut live {
            segment.live_end = Some(segment.live_end.map_or(end, |live_end| live_end.min(end)));
        }
        live
    }

    /// What was carried into the segment that was begun just now.
    fn live_in_new(&self, recovered: &Begun) -> Vec<SegmentInfo> {
        let live_end = Some(recovered.position.last_live);
        let last = self.shared.catalog.last();
        last.map(|segment| SegmentInfo { live_end, ..segment }).into_iter().collect()
    }
}

fn open(
    storage: &dyn Storage,
    name: &str,
) -> Result<Box<dyn crate::storage::StorageFile>, IoFault> {
    storage.open(name).map_err(|error| IoFault::new(IoOp::Open, name, None, error))
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
