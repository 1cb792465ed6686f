//! How the log goes on in another segment: because the current one is full, because somebody wants it complete, or
//! because a new epoch begins.

use std::mem;

use super::{FlushLoop, LoopEvent, ROTATE_AGAIN, Worked};
use crate::config::WalConfig;
use crate::engine::intake::entry::fill;
use crate::engine::segments::catalog::SegmentInfo;
use crate::engine::segments::preparer::PreparedSegment;
use crate::engine::segments::supply::{Need, Supply};
use crate::engine::state::meter::FlushCause;
use crate::engine::write::log_writer::{LogWriter, StartFrame};
use crate::error::{Cause, FaultClass};
use crate::format::frame::FrameBuffer;
use crate::lsn::Epoch;
use crate::status::LogState;

impl FlushLoop {
    /// Whether somebody wants the current segment complete.
    pub(super) fn rotation_wish(&self) -> bool {
        let wish = self.shared.requests.rotation();
        wish > 0 && self.writer.as_ref().is_some_and(|writer| writer.sequence() <= wish)
    }

    /// Goes on in the next segment, in the same epoch, with what is pending in its start frame.
    pub(super) fn rotate(&mut self) -> Result<Worked, Cause> {
        match self.source.take(Need::Rotation) {
            Supply::Ready(segment) => {
                self.open_segment(segment, self.position.epoch)?;
                self.shared.counters.rotations.add(1);
                self.watch.rotated(&self.shared.meter);
                Ok(Worked::Done)
            }
            Supply::NotYet => {
                self.watch.awaits_segment();
                Ok(self.awaits_segment())
            }
            Supply::NoSpace(fault) => {
                self.enter_no_space(fault);
                Ok(Worked::NeedsSegment)
            }
            Supply::Failed(cause) => Err(cause),
        }
    }

    /// The same because somebody wants it, though the current segment has room left: so no append waits for it,
    /// and none is refused for it.
    pub(super) fn rotate_as_wished(&mut self) -> Result<Worked, Cause> {
        match self.source.take(Need::Rotation) {
            Supply::Ready(segment) => {
                self.open_segment(segment, self.position.epoch)?;
                self.shared.counters.rotations.add(1);
            }
            Supply::NotYet => {
                self.rotate_at = self.shared.clock.now().saturating_add(ROTATE_AGAIN);
            }
            Supply::NoSpace(fault) => self.refuse_rotation(fault.into()),
            Supply::Failed(cause) => self.refuse_rotation(cause),
        }
        Ok(Worked::Done)
    }

    /// Somebody who asks again has it tried again.
    pub(super) fn refuse_rotation(&mut self, cause: Cause) {
        let wish = self.shared.requests.take_rotation();
        if wish > 0 {
            self.events.push(LoopEvent::NotRotated(wish, cause));
        }
    }

    /// The watchdog must see this wait too, because the preparer may be stuck in a sync.
    pub(super) fn awaits_segment(&self) -> Worked {
        self.shared.io.awaits(self.shared.clock.now());
        Worked::NeedsSegment
    }

    /// Begins a new epoch in a new segment.
    pub(super) fn start_epoch(&mut self) -> Result<Worked, Cause> {
        // What is on its way here is given up, and no LSN between two records of an epoch may be without one.
        if self.gives_up.is_some() && self.shared.watermark.accepted() >= self.expected {
            return Ok(self.waits_without_io());
        }
        // On a full disk one segment is held back, for a restart and for a checkpoint that frees others:
        // the start frame says its low-water mark where no other frame has room for that.
        let no_space = self.has_no_space();
        let need = if no_space && self.checkpoint_wish().is_none() {
            Need::Rotation
        } else {
            Need::Restart
        };
        match self.source.take(need) {
            Supply::Ready(segment) => {
                self.open_segment(segment, self.position.epoch.next())?;
                Ok(Worked::Done)
            }
            Supply::Failed(cause) if cause.class() == FaultClass::Permanent => Err(cause),
            Supply::Failed(cause) if cause.class().passes() => Ok(self.waits_for(cause)),
            Supply::Failed(cause) if !no_space => Err(cause),
            // Said already, unless a shortage was said since.
            Supply::NoSpace(fault) if !no_space || self.waits_for.is_some() => {
                Ok(self.waits_for(fault.into()))
            }
            // Between two attempts of the preparer nothing has passed yet.
            Supply::NotYet if !no_space && self.waits_for.is_none() => Ok(self.awaits_segment()),
            Supply::NoSpace(_) | Supply::NotYet | Supply::Failed(_) => Ok(self.waits_without_io()),
        }
    }

    /// Says once for what.
    fn waits_for(&mut self, cause: Cause) -> Worked {
        let class = Some(cause.class());
        if mem::replace(&mut self.waits_for, class) != class {
            self.events.push(LoopEvent::Waiting(cause));
        }
        self.waits_without_io()
    }

    /// A wait for space, or for a shortage to pass, is no sync that hangs, so the watchdog must not count it.
    fn waits_without_io(&self) -> Worked {
        self.shared.io.ended();
        Worked::NeedsSegment
    }

    /// Writes the start frame of `segment`. It is the durable cut: what older segments hold beyond the
    /// watermark is dead from then on (promise P8).
    pub(super) fn open_segment(
        &mut self,
        segment: PreparedSegment,
        epoch: Epoch,
    ) -> Result<(), Cause> {
        let place = self.style.place(segment.sequence);
        let PreparedSegment { sequence, name, size, .. } = &segment;
        let info = SegmentInfo::new(*sequence, name, *size, self.position.last_live);
        let _span =
            tracing::debug_span!("wal.rotate", segment = %info.name, %epoch, cut = %info.cut)
                .entered();
        let overhead = (1 + WalConfig::RESERVED_BLOCKS) * u64::from(place.block_size);
        self.take_in_hand(segment.size.saturating_sub(overhead + WalConfig::FRAME_OVERHEAD));
        let coming = self.pending.front().map_or(self.expected, |entry| entry.first_lsn);
        let opening = StartFrame {
            epoch,
            first_lsn: self.in_hand.first().map_or(coming, |entry| entry.first_lsn),
            next_lsn: coming,
            in_flight_limit: self.shared.admission.max_entries() as u64,
            salt: self.shared.clock.random(),
        };
        let new_epoch = epoch != self.position.epoch;
        if new_epoch {
            self.watch.decided(|| FlushCause::Epoch);
        }
        let is_empty = self.in_hand.is_empty();
        let complete = self.shared.catalog.last();
        self.write("start", |this, stamp| {
            this.writer = None;
            let fill = |frame: &mut FrameBuffer| fill(&this.in_hand, frame);
            let position = &mut this.position;
            this.never_started.push(info.name.clone());
            let writer = LogWriter::start(segment, place, position, opening, stamp, fill)?;
            this.never_started.pop();
            // The cut is on disk: readers must follow it before the watermark passes it.
            this.shared.catalog.begin(info.clone());
            this.writer = Some(writer);
            // And so are its exceptions: before the watermark passes them.
            if new_epoch {
                this.settle_doomed();
            }
            Ok(())
        })?;
        if is_empty {
            self.shared.meter.flushed(FlushCause::Start);
        }
        if let Some(complete) = complete {
            let live_end = Some(complete.live_end.map_or(info.cut, |end| end.min(info.cut)));
            self.events.push(LoopEvent::SegmentComplete(SegmentInfo { live_end, ..complete }));
        }
        if new_epoch {
            self.epoch_begun();
        }
        let never_started = mem::take(&mut self.never_started);
        never_started.into_iter().for_each(|name| self.source.remove(name));
        self.remove_segments();
        Ok(())
    }

    pub(super) fn epoch_begun(&mut self) {
        self.life.go(LogState::Running);
        self.waits_for = None;
        self.gives_up = None;
        self.shared.begin_epoch(self.position.epoch);
        self.events.push(LoopEvent::EpochStarted(self.position.epoch, self.expected));
    }
}
