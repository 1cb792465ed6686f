//! Begin: the start frame of a new epoch, in a segment that was prepared or is made now.

use std::sync::Arc;

use super::report::RecoveryReport;
use super::survey::{First, Survey};
use super::tail::Tail;
use crate::config::WalConfig;
use crate::engine::segments::catalog::SegmentInfo;
use crate::engine::segments::clearing::OldSegment;
use crate::engine::segments::prepare::{PrepareJob, prepare};
use crate::engine::segments::preparer::PreparedSegment;
use crate::engine::segments::supply::SegmentStyle;
use crate::engine::state::meter::Laps;
use crate::engine::state::outcomes::Fate;
use crate::engine::state::shared::Shared;
use crate::engine::write::log_writer::{LogWriter, Position, Stamp, StartFrame};
use crate::error::{Cause, IoFault, IoOp, OpenError};
use crate::format::frame::frame_len;
use crate::format::scan::{TornTail, Verdict};
use crate::lsn::{Lsn, LsnRange};
use crate::storage::{Medium, Storage};

/// A small first segment is enough to open with; a full one is prepared meanwhile.
const FIRST_SEGMENT_SIZE: u64 = 1 << 20;

/// How many files an open removes itself: more than a life adds that ends at once.
const FEW: usize = 16;

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

    /// A reader may ask for what comes next before the Appender is ready. And no client may be told that an LSN in a
    /// gap is durable because the watermark passes it.
    pub(super) fn publish(&self, shared: &Shared) {
        let report = &self.report;
        shared.watermark.raise_accepted(report.next_lsn.previous());
        let open_end = LsnRange::new(report.last_lsn.next(), report.next_lsn.previous());
        report.gaps.iter().copied().chain(open_end).for_each(|gap| {
            shared.outcomes.note(gap, Fate::NotDurable(Cause::EarlierLife));
        });
    }
}

impl Survey<'_> {
    /// Writes the start frame of the next epoch. From here on the tail is cut and the last frame safe.
    pub(super) fn begin(&self, tail: Tail, counts: RecoveryReport) -> Result<Begun, OpenError> {
        let style = SegmentStyle {
            log_id: self.log_id,
            block_size: self.config.block_size,
            segment_size: self.config.segment_size,
            medium: self.storage.medium(),
        };
        let last_used = self.started().next_back().map_or(0, |(segment, _)| segment.sequence);
        let (mut prepared, mut removable) = self.sort_unused(&style, last_used, tail.torn);
        // `survey` takes no number for ours that has none behind it, so this one is free.
        let mut next_sequence = self.highest.saturating_add(1);
        let carried = tail.carry.as_ref().map_or(0, |last| last.payload.len() as u64);
        let segment = match prepared.first() {
            Some(first) if first.size >= segment_size_for(carried, &style) => prepared.remove(0),
            _ => {
                removable.extend(prepared.drain(..).map(|unused| {
                    (unused.sequence, OldSegment { name: unused.name, size: unused.size })
                }));
                let sequence = next_sequence;
                next_sequence = next_sequence.saturating_add(1);
                self.make_first_segment(&style, sequence, carried)?
            }
        };
        // A number that is left out right behind the last segment is taken for a loss, so what is unusable
        // there stays until the log has gone past it.
        removable.retain(|(sequence, _)| *sequence < segment.sequence);
        let removable = removable.into_iter().map(|(_, old)| old);
        self.fill_catalog(tail.position.low_water);
        let (writer, position) = self.write_start(&style, segment, &tail)?;
        if let Some((sequence, name, end)) = &tail.trim
            && style.medium == Medium::InPlace
            && trim(&*self.storage, name, *end)
        {
            self.shared.catalog.note_size(*sequence, *end);
        }
        self.scratch.iter().try_for_each(|name| remove(&*self.storage, name))?;
        self.salvage
            .aside
            .iter()
            .try_for_each(|(name, sequence)| self.set_aside(name, *sequence))?;
        let gone = self.shared.catalog.take_removable(self.shared.clock.now());
        let kept = tail.torn.map(|(sequence, _)| sequence);
        let gone = gone.into_iter().filter(|gone| Some(gone.sequence) != kept);
        let removable = self.remove_few(removable.chain(gone.map(OldSegment::from)), &style);
        let report = RecoveryReport {
            log_id: self.log_id,
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
        Ok(Begun { storage, style, writer, position, prepared, next_sequence, removable, report })
    }

    /// What was carried into the segment that was begun just now.
    pub(super) fn live_in_new(&self, recovered: &Begun) -> Vec<SegmentInfo> {
        let live_end = Some(recovered.position.last_live);
        let last = self.shared.catalog.last();
        last.map(|segment| SegmentInfo { live_end, ..segment }).into_iter().collect()
    }

    /// Removes a few of the files that nobody needs, and gives back the others, for the preparer to clear up
    /// while the log runs: an open does not wait for ten thousand removals. A few, because a life that ends
    /// before its first append clears up nothing more, and such lives must not pile up files. Full segments are
    /// left to the preparer, which may use them again.
    fn remove_few(
        &self,
        removable: impl Iterator<Item = OldSegment>,
        style: &SegmentStyle,
    ) -> Vec<OldSegment> {
        let mut removed = 0;
        let stays = |old: &OldSegment| {
            if old.size == style.segment_size || removed == FEW {
                return true;
            }
            removed += 1;
            // A name that comes back after power loss is found and removed again.
            if let Err(error) = self.storage.remove(&old.name) {
                tracing::warn!(%error, name = old.name, "can not remove an old segment");
            }
            false
        };
        removable.filter(stays).collect()
    }

    /// Segments without a start frame: those that can be used as they are, and those that nobody needs.
    fn sort_unused(
        &self,
        style: &SegmentStyle,
        last_used: u64,
        torn: Option<(u64, TornTail)>,
    ) -> (Vec<PreparedSegment>, Vec<(u64, OldSegment)>) {
        let (mut usable, mut removable) = (Vec::new(), Vec::new());
        let unbroken = self.unbroken_from();
        for segment in &self.segments {
            let First::Unused(verdict) = segment.first else {
                continue;
            };
            // Behind a torn start frame too, or it would be found again at the next open.
            let torn_at = torn.map_or(0, |(sequence, _)| sequence);
            // And behind what a salvage takes out: its number would be missing right behind this one.
            let aside = self.salvage.aside.iter().map(|(_, sequence)| *sequence).max().unwrap_or(0);
            let fits = segment.sequence > last_used.max(torn_at).max(aside)
                && segment.sequence >= unbroken
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
                None => {
                    let old = OldSegment { name: segment.name.clone(), size: segment.len };
                    removable.push((segment.sequence, old));
                }
            }
        }
        (usable, removable)
    }

    /// From which number on none is left out. A log that began before that would leave a number out right
    /// behind the end of the log, and be taken for a loss.
    fn unbroken_from(&self) -> u64 {
        let numbers = self.segments.iter().rev().map(|segment| segment.sequence);
        let unbroken = numbers.zip(0..).scan(None, |last, (number, at): (u64, u64)| {
            (number + at == *last.get_or_insert(number)).then_some(number)
        });
        unbroken.last().unwrap_or(0)
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
        let file = prepare(&*self.storage, &job).map_err(|fault| fault.to_io_fault())?;
        Ok(PreparedSegment { sequence, name: plan.name, size, file })
    }

    fn fill_catalog(&self, low_water: Lsn) {
        for (segment, start) in self.started() {
            self.shared.catalog.begin(segment.info(start));
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
        let opening = StartFrame {
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
            laps: Laps::default(),
        };
        let PreparedSegment { sequence, name, size, .. } = &segment;
        let info = SegmentInfo::new(*sequence, name, *size, position.last_live);
        let writer = LogWriter::start(segment, place, &mut position, opening, stamp, |frame| {
            if let Some(last) = carry {
                frame.push_encoded(&last.payload, last.header.count);
            }
        })?;
        self.shared.catalog.begin(info);
        self.shared.catalog.note_tail(writer.offset());
        Ok((writer, position))
    }
}

/// The size of a segment whose start frame can carry this many bytes of records.
fn segment_size_for(carried: u64, style: &SegmentStyle) -> u64 {
    let block = u64::from(style.block_size);
    // The header, the start frame, the blocks for empty frames, and one for a record.
    frame_len(carried, &style.place(0)) + (2 + WalConfig::RESERVED_BLOCKS) * block
}

/// Gives the unused space of the last segment back. Only space is at stake, so an error is no failure.
/// Whether the file has no more than that now.
fn trim(storage: &dyn Storage, name: &str, end: u64) -> bool {
    let trimmed = storage.open(name).and_then(|file| {
        let longer = file.size()? > end;
        if longer { file.set_size(end).map(|()| true) } else { Ok(false) }
    });
    trimmed.unwrap_or_else(|error| {
        tracing::warn!(%error, name, "the last segment keeps its unused space");
        false
    })
}

fn remove(storage: &dyn Storage, name: &str) -> Result<(), IoFault> {
    match storage.remove(name) {
        // It is gone: the segment prepared under that name has replaced it.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(|error| IoFault::new(IoOp::Remove, name, None, error)),
    }
}
