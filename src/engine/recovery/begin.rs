//! Begin: the start frame of a new epoch, in a segment that was prepared or is made now.

use std::sync::Arc;

use super::{First, RecoveredLog, Recovery, RecoveryReport, Tail};
use crate::config::WalConfig;
use crate::engine::catalog::SegmentInfo;
use crate::engine::log_writer::{LogWriter, Opening, Position, Stamp};
use crate::engine::segments::SegmentStyle;
use crate::error::{IoFault, IoOp, OpenError};
use crate::format::frame::frame_len;
use crate::format::scan::{TornTail, Verdict};
use crate::lsn::Lsn;
use crate::storage::{Medium, PrepareJob, PreparedSegment, Storage, prepare};

/// A small first segment is enough to open with; a full one is prepared meanwhile.
const FIRST_SEGMENT_SIZE: u64 = 1 << 20;

impl Recovery<'_> {
    /// Writes the start frame of the next epoch. From here on the tail is cut and the last frame safe.
    pub(super) fn begin(
        &self,
        tail: Tail,
        counts: RecoveryReport,
    ) -> Result<RecoveredLog, OpenError> {
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
        let unbroken = self.unbroken_from();
        for segment in &self.segments {
            let First::Unused(verdict) = segment.first else {
                continue;
            };
            // Behind a torn start frame too, or it would be found again at the next open.
            let torn_at = torn.map_or(0, |(sequence, _)| sequence);
            // And behind what a salvage takes out: its number would be missing right behind this one.
            let aside = self.aside.iter().map(|(_, sequence)| *sequence).max().unwrap_or(0);
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
                None => removable.push(segment.name.clone()),
            }
        }
        (usable, removable)
    }

    /// From which number on none is left out. Whoever began before that would leave a number out right
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
}

/// The size of a segment whose start frame can carry this many bytes of records.
fn segment_size_for(carried: u64, style: &SegmentStyle) -> u64 {
    let block = u64::from(style.block_size);
    // The header, the start frame, the blocks for empty frames, and one for a record.
    frame_len(carried, &style.place(0)) + (2 + WalConfig::RESERVED_BLOCKS) * block
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

fn remove(storage: &dyn Storage, name: &str) -> Result<(), IoFault> {
    match storage.remove(name) {
        // Whoever prepared a segment under that name has taken it.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(|error| IoFault::new(IoOp::Remove, name, None, error)),
    }
}
