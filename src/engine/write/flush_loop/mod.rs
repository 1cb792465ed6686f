//! What the flush thread does, one step at a time: what to take, how long to linger, what to write, what
//! to say. No thread, no clock and no actor in it: the thread drives it in production, and a simulator
//! or a test drives it step by step.
//!
//! The whole of group commit is this: whatever arrived while the last sync ran is the next batch.

mod faults;
mod next_segment;
mod steps;

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use self::faults::AwaitingCut;
pub use self::steps::FlushSteps;
use crate::config::{Durability, FaultPolicy, WalConfig};
use crate::engine::intake::entry::{Entry, Tally, fill, range_of};
use crate::engine::segments::catalog::SegmentInfo;
use crate::engine::segments::clearing::OldSegment;
use crate::engine::segments::supply::{SegmentSource, SegmentStyle};
use crate::engine::state::lifecycle::{Flushes, Lifecycle};
use crate::engine::state::meter::{BatchMeter, FlushCause, LapTimes};
use crate::engine::state::shared::Shared;
use crate::engine::write::batcher::{Batcher, Decision, Pending};
use crate::engine::write::log_writer::{LogWriter, Marker, Position, Stamp};
use crate::error::{Cause, FaultClass, IoFault};
use crate::format::frame::FrameBuffer;
use crate::lsn::{Epoch, Lsn, LsnRange};
use crate::runtime::clock::Tick;
use crate::status::LogState;

/// What the driver has to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Call [`FlushLoop::work`].
    Work,
    /// Wait for the queue, at most until this time.
    WaitUntil(Tick),
    /// Wait for the queue.
    Wait,
    /// The log is closed: nothing will be written any more.
    Ended,
}

/// What one step of work came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worked {
    /// Something was done; ask what comes next.
    Done,
    /// It can not go on without a segment: [`FlushLoop::wait_for_segment`].
    NeedsSegment,
}

/// What the Flusher has to announce, beside the watermark.
#[derive(Clone, Debug)]
pub enum LoopEvent {
    /// Records are certainly not in the log.
    NotDurable(LsnRange, Cause),
    /// It is not known whether records are in the log.
    Unknown(LsnRange, Cause),
    /// An epoch began: appends are taken from this LSN on.
    EpochStarted(Epoch, Lsn),
    /// The disk is full; appends are refused until space returns.
    NoSpace(IoFault),
    /// The next epoch has to wait for this, which passes.
    Waiting(Cause),
    /// A segment is complete: this one, with the LSNs that are live in it.
    SegmentComplete(SegmentInfo),
    /// A checkpoint up to this LSN was carried out, as far as nobody holds what it releases.
    Checkpointed(Lsn),
    /// The segment with this sequence number, which somebody wanted complete, stays as it is: there is no other
    /// one to go on in.
    NotRotated(u64, Cause),
    /// What a script, which stands in for the loop, has the Flusher do: see `testkit`.
    #[cfg(any(test, feature = "testkit"))]
    Script(Arc<dyn std::any::Any + Send + Sync>),
}

/// How long to wait for a segment that only a wish needs, before it is asked for again.
const ROTATE_AGAIN: Duration = Duration::from_millis(2);

/// The lists of a quiet loop keep room for so many entries.
const FEW: usize = 1024;

/// The flush loop. See the [module](self).
#[derive(Debug)]
pub struct FlushLoop {
    shared: Arc<Shared>,
    style: SegmentStyle,
    source: Box<dyn SegmentSource>,
    batcher: Batcher,
    fault_policy: FaultPolicy,
    seal_after: Duration,
    life: Lifecycle,
    position: Position,
    /// `None` after a fault: that file is never touched again.
    writer: Option<LogWriter>,
    /// The LSN that the next entry from the queue must have.
    expected: Lsn,
    pending: VecDeque<Entry>,
    tally: Pending,
    /// The batch that is being written. It lives here, not on the stack of the thread, so that a panic
    /// at any point loses nothing.
    in_hand: Vec<Entry>,
    /// The last batch. It is durable, and freed only after those who wait for it have their answers.
    done: Vec<Entry>,
    /// Segments in which a write or a sync has failed. They are never written again (promise P7), so they
    /// are removed and not recycled.
    failed: Vec<String>,
    /// Segments whose start frame failed: in no catalog, and needed by nobody once a later one is durable.
    never_started: Vec<String>,
    /// The last LSN that was ever passed to a write.
    touched: Lsn,
    doomed: Vec<AwaitingCut>,
    /// Why what comes out of the queue is refused before the next epoch: it was put in before anybody knew that something
    /// was given up, and may build on that.
    gives_up: Option<Cause>,
    /// What the next epoch waits for, as far as it was said.
    waits_for: Option<FaultClass>,
    /// Whether the disk was too full for the close frame.
    too_full: bool,
    /// Whether something vouches for the last batch, or there is no need to.
    sealed: bool,
    last_activity: Tick,
    checkpointed: Lsn,
    /// When to ask again for the segment to rotate into that somebody wants.
    rotate_at: Tick,
    events: Vec<LoopEvent>,
    /// What is measured of the next batch.
    watch: BatchMeter,
}

impl FlushLoop {
    /// A loop that goes on where recovery (or nobody) left the log.
    pub fn new(
        config: &WalConfig,
        shared: Arc<Shared>,
        style: SegmentStyle,
        source: Box<dyn SegmentSource>,
        position: Position,
        writer: LogWriter,
    ) -> Self {
        let now = shared.clock.now();
        shared.watermark.raise_durable(position.last_live);
        shared.watermark.raise_written(position.last_live);
        // The gap that this life declares: who reads from its end on asks for what comes next.
        shared.watermark.raise_accepted(position.next_lsn.previous());
        shared.begin_epoch(position.epoch);
        shared.meter.prepared(|| source.prepared());
        FlushLoop {
            batcher: Batcher::new(config.flush_policy, config.min_sync_interval),
            fault_policy: config.fault_policy,
            seal_after: config.seal_after,
            life: Lifecycle::at(LogState::Running),
            expected: position.next_lsn,
            touched: position.last_live,
            checkpointed: shared.catalog.low_water(),
            rotate_at: Tick::ZERO,
            watch: BatchMeter::default(),
            events: vec![LoopEvent::EpochStarted(position.epoch, position.next_lsn)],
            pending: VecDeque::new(),
            tally: Pending::default(),
            in_hand: Vec::new(),
            done: Vec::new(),
            doomed: Vec::new(),
            gives_up: None,
            failed: Vec::new(),
            never_started: Vec::new(),
            waits_for: None,
            too_full: false,
            sealed: writer.is_vouched_for(),
            last_activity: now,
            shared,
            style,
            source,
            position,
            writer: Some(writer),
        }
    }

    /// What the driver has to do at `now`.
    pub fn next(&self, now: Tick) -> Next {
        self.shared.requests.look();
        match self.life.flushes() {
            Flushes::Nothing => Next::Ended,
            Flushes::BeginEpoch => Next::Work,
            Flushes::Write => self.next_running(now),
        }
    }

    fn next_running(&self, now: Tick) -> Next {
        self.watch.saw(&self.shared.meter, &self.tally, now);
        if self.checkpoint_wish().is_some() {
            self.watch.decided(|| FlushCause::Rotation);
            return Next::Work;
        }
        match (self.rotation_wish(), self.next_flush(now)) {
            (false, next) => next,
            (true, _) if self.rotate_at <= now => {
                self.watch.decided(|| FlushCause::Rotation);
                Next::Work
            }
            (true, Next::WaitUntil(due)) => Next::WaitUntil(due.min(self.rotate_at)),
            (true, Next::Wait) => Next::WaitUntil(self.rotate_at),
            (true, next) => next,
        }
    }

    fn next_flush(&self, now: Tick) -> Next {
        let pending = self.urgent_tally();
        match self.batcher.decide(&pending, now) {
            Decision::Flush => {
                self.watch.decided(|| self.batcher.cause(&pending, now));
                Next::Work
            }
            Decision::WaitUntil(due) => Next::WaitUntil(due),
            Decision::Idle if self.wants_close() => Next::Work,
            Decision::Idle if self.sealed => Next::Wait,
            Decision::Idle => {
                let due = self.last_activity.saturating_add(self.seal_after);
                if due <= now { Next::Work } else { Next::WaitUntil(due) }
            }
        }
    }

    /// Not before everything has come out of the queue that was accepted before somebody asked.
    fn wants_close(&self) -> bool {
        self.shared.requests.wants_close() && self.shared.watermark.accepted() < self.expected
    }

    fn checkpoint_wish(&self) -> Option<Lsn> {
        let wish = self.shared.requests.checkpoint_through();
        let again = self.shared.requests.is_checkpoint_again();
        (wish > self.checkpointed || again && !wish.is_none()).then_some(wish)
    }

    /// What is pending, with the wishes of others counted in.
    fn urgent_tally(&self) -> Pending {
        let flush_through = self.shared.requests.flush_through();
        let wanted = self.pending.front().is_some_and(|first| first.first_lsn <= flush_through);
        Pending { urgent: self.tally.urgent || wanted || self.wants_close(), ..self.tally }
    }

    /// Takes an entry from the queue.
    ///
    /// # Errors
    /// Its LSN is not the one that comes next: an invariant was broken, nothing more may be written.
    pub fn offer(&mut self, entry: Entry) -> Result<(), Cause> {
        if entry.first_lsn != self.expected {
            let (expected, found) = (self.expected, entry.first_lsn);
            let what = format!("the queue gave LSN {found} where {expected} comes next");
            return Err(Cause::Broken { what });
        }
        self.expected = entry.next_lsn();
        self.count(&entry);
        self.pending.push_back(entry);
        if let Some(cause) = self.gives_up.clone() {
            self.refuse_pending(&cause);
        }
        Ok(())
    }

    fn count(&mut self, entry: &Entry) {
        let tally = &mut self.tally;
        tally.entries += entry.payload.count();
        tally.bytes += entry.payload.encoded_len();
        tally.commits += usize::from(entry.durability != Durability::Async);
        tally.urgent |= entry.durability == Durability::Synchronous;
        tally.oldest = Some(tally.oldest.map_or(entry.since, |oldest| oldest.min(entry.since)));
    }

    /// Does what [`next`](Self::next) said there is to do. At most one frame is written.
    ///
    /// # Errors
    /// A write or a sync failed, or an invariant was broken. Call [`fault`](Self::fault).
    pub fn work(&mut self) -> Result<Worked, Cause> {
        match self.life.flushes() {
            Flushes::Nothing => Ok(Worked::Done),
            Flushes::BeginEpoch if self.has_no_space() && self.wants_close() => self.close(),
            Flushes::BeginEpoch if self.has_no_space() && self.can_checkpoint() => {
                self.checkpoint()
            }
            Flushes::BeginEpoch => self.start_epoch(),
            Flushes::Write => self.work_running(),
        }
    }

    /// Whether it only lacks a segment: no fault has happened.
    fn has_no_space(&self) -> bool {
        matches!(self.life.state(), LogState::NoSpace(_))
    }

    fn work_running(&mut self) -> Result<Worked, Cause> {
        if self.checkpoint_wish().is_some() {
            return if self.can_checkpoint() { self.checkpoint() } else { self.rotate() };
        }
        if self.rotation_wish() && self.rotate_at <= self.shared.clock.now() {
            return self.rotate_as_wished();
        }
        if !self.pending.is_empty() {
            return self.flush();
        }
        if self.wants_close() {
            return self.close();
        }
        self.seal()
    }

    /// Writes everything that is pending, or as much as the segment takes.
    fn flush(&mut self) -> Result<Worked, Cause> {
        let room = self.writer.as_ref().map_or(0, LogWriter::room);
        self.take_in_hand(room);
        let Some(first) = self.in_hand.first() else {
            return self.rotate();
        };
        if first.first_lsn != self.position.next_lsn {
            let (expected, found) = (self.position.next_lsn, first.first_lsn);
            return Err(Cause::Broken { what: format!("LSN {found} does not follow {expected}") });
        }
        let count = self.in_hand.iter().map(|entry| entry.payload.count() as u64).sum();
        self.write("flush", |this, stamp| {
            let fill = |frame: &mut FrameBuffer| fill(&this.in_hand, frame);
            let writer = this.writer.as_mut().ok_or_else(no_segment)?;
            Ok(writer.append(&mut this.position, count, stamp, fill)?)
        })?;
        Ok(Worked::Done)
    }

    /// Moves the longest prefix of what is pending that takes at most `room` bytes into the hand.
    fn take_in_hand(&mut self, room: u64) {
        let mut bytes = 0;
        let fits = |entry: &&Entry| {
            bytes += entry.payload.encoded_len() as u64;
            bytes <= room
        };
        let taken = self.pending.iter().take_while(fits).count();
        self.in_hand.extend(self.pending.drain(..taken));
        self.recount();
    }

    /// Counts again what is pending. Usually that is nothing: a flush takes everything.
    fn recount(&mut self) {
        self.tally = Pending::default();
        let pending = mem::take(&mut self.pending);
        pending.iter().for_each(|entry| self.count(entry));
        self.pending = pending;
    }

    /// One write and one sync, with what is in hand; then says so.
    fn write(
        &mut self,
        what: &'static str,
        write: impl FnOnce(&mut Self, Stamp<'_>) -> Result<(), Cause>,
    ) -> Result<(), Cause> {
        let started = self.shared.clock.now();
        let times = LapTimes::of(&self.shared.clock);
        let stamp = Stamp {
            wall_us: self.shared.clock.wall_us(),
            watermark: self.shared.watermark.durable(),
            low_water: self.shared.catalog.low_water(),
            laps: times.laps(),
        };
        if let Some(last) = self.in_hand.last() {
            self.touched = self.touched.max(last.last_lsn());
        }
        let lsns = || range_of(&self.in_hand).map(tracing::field::display);
        let span =
            tracing::debug_span!("wal.flush", what, entries = self.in_hand.len(), lsns = lsns());
        let _entered = span.enter();
        self.shared.io.begins(started);
        let written = write(self, stamp);
        self.shared.io.ended();
        written.inspect_err(|cause| {
            self.shared.counters.io_errors.add(1);
            self.shared.meter.io_error(cause);
        })?;
        self.complete(started, &times);
        Ok(())
    }

    /// The sync has returned. The watermark is raised before anyone is told, and what is in hand is
    /// let go only after: a panic in between can neither lose nor repeat an entry.
    fn complete(&mut self, started: Tick, times: &LapTimes) {
        let now = self.shared.clock.now();
        self.last_activity = now;
        self.sealed = self.in_hand.is_empty();
        if let Some(writer) = &self.writer {
            self.shared.catalog.note_tail(writer.offset());
        }
        let Some(last) = self.in_hand.last() else {
            return;
        };
        let last = last.last_lsn();
        self.shared.watermark.raise_written(last);
        self.shared.watermark.raise_durable(last);
        let batch = Tally::of(&self.in_hand);
        self.watch.complete(&self.shared.meter, &self.in_hand, batch, started, times);
        self.watch.left(&self.shared.meter, self.tally.oldest);
        self.done.clear();
        mem::swap(&mut self.in_hand, &mut self.done);
        self.shared.admission.release(batch.entries, batch.bytes);
        self.batcher.flushed(started, now, batch.commits);
        let counters = &self.shared.counters;
        counters.batches.add(1);
        counters.durable.add(batch.entries as u64);
        counters.durable_bytes.add(batch.bytes as u64);
        counters.flush_nanos.add(now.saturating_sub(started).as_nanos() as u64);
    }

    /// What can wait until the driver has said what is durable: drops the records of the last batch, which takes
    /// time if they are many, and lets the supply of segments know how far the log has come.
    pub fn tidy(&mut self) {
        self.done.clear();
        if let Some(writer) = &self.writer {
            self.source.advance(writer.room(), self.batcher.flush_time());
            self.shared.meter.prepared(|| self.source.prepared());
        }
    }

    fn seal(&mut self) -> Result<Worked, Cause> {
        if self.sealed {
            return Ok(Worked::Done);
        }
        if self.writer.as_ref().is_some_and(|writer| writer.has_room_for(Marker::Seal)) {
            self.write_marker(Marker::Seal)?;
            self.shared.counters.seals.add(1);
        }
        self.sealed = true;
        self.give_back();
        Ok(Worked::Done)
    }

    /// The moment is quiet: what a burst of appends took, and large frames, is given back.
    fn give_back(&mut self) {
        self.done = Vec::new();
        self.in_hand.shrink_to(FEW);
        self.pending.shrink_to(FEW);
        self.failed.shrink_to(FEW);
        if let Some(writer) = &mut self.writer {
            writer.give_back();
        }
    }

    /// How much memory it holds between two flushes, in bytes, beside the records that are in flight.
    #[cfg(any(test, feature = "testkit"))]
    pub fn memory(&self) -> usize {
        let entries = self.done.capacity() + self.in_hand.capacity() + self.pending.capacity();
        let buffer = self.writer.as_ref().map_or(0, LogWriter::buffer_capacity);
        entries * mem::size_of::<Entry>() + buffer
    }

    fn write_marker(&mut self, kind: Marker) -> Result<(), Cause> {
        self.write("empty", |this, stamp| {
            let writer = this.writer.as_mut().ok_or_else(no_segment)?;
            Ok(writer.append_marker(&mut this.position, kind, stamp)?)
        })?;
        self.shared.meter.flushed(match kind {
            Marker::Seal => FlushCause::Seal,
            Marker::LowWater => FlushCause::Checkpoint,
            Marker::Close(_) => FlushCause::Close,
        });
        Ok(())
    }

    /// Whether the wish for a checkpoint can be met without another segment.
    fn can_checkpoint(&self) -> bool {
        let has_room =
            self.writer.as_ref().is_some_and(|writer| writer.has_room_for(Marker::LowWater));
        self.checkpoint_wish().is_some_and(|wish| has_room || !self.needs_low_water_frame(wish))
    }

    /// Whether segments will be removed, which a synced frame has to say first.
    fn needs_low_water_frame(&self, wish: Lsn) -> bool {
        self.shared.catalog.raise_low_water(wish);
        let behind = self.position.low_water < self.shared.catalog.low_water();
        behind && self.shared.catalog.has_removable(self.shared.clock.now())
    }

    /// Releases records. Segments are removed only after a synced frame says that they may be missing;
    /// if none would be removed, that can wait for the next frame.
    fn checkpoint(&mut self) -> Result<Worked, Cause> {
        let Some(wish) = self.checkpoint_wish() else {
            return Ok(Worked::Done);
        };
        self.shared.requests.take_checkpoint_again();
        if self.needs_low_water_frame(wish) {
            self.write_marker(Marker::LowWater)?;
        }
        self.checkpointed = wish;
        self.shared.outcomes.forget_through(self.shared.catalog.low_water());
        self.remove_segments();
        self.events.push(LoopEvent::Checkpointed(wish));
        Ok(Worked::Done)
    }

    /// Only when `position.low_water`, which is on disk, covers the low-water mark of the catalog.
    fn remove_segments(&mut self) {
        if self.position.low_water >= self.shared.catalog.low_water() {
            let gone = self.shared.catalog.take_removable(self.shared.clock.now());
            let mut old: Vec<_> = gone.into_iter().map(OldSegment::from).collect();
            for failed in mem::take(&mut self.failed) {
                match old.iter().position(|old| old.name == failed) {
                    Some(at) => self.source.remove(old.remove(at).name),
                    None => self.failed.push(failed),
                }
            }
            self.source.recycle(old);
        }
    }

    /// The clean end: what was accepted is durable, and the next open finds nothing to repair (P22).
    fn close(&mut self) -> Result<Worked, Cause> {
        self.shared.stop_accepting();
        self.shared.io.ended();
        let close = Marker::Close(self.expected);
        let announced = self.shared.requests.may_write_close_frame();
        let has_room = self.writer.as_ref().is_some_and(|writer| writer.has_room_for(close));
        // A full disk is never charged to the restarts, so the close would wait until there is space.
        let closes = announced && has_room && !self.too_full;
        if closes {
            self.write_marker(close).inspect_err(|cause| self.too_full = cause.is_no_space())?;
        }
        // Only behind a close frame: without one, a short file is one that has lost its end.
        if let Some(writer) = self.writer.take()
            && closes
            && let Err(fault) = writer.trim()
        {
            tracing::warn!(%fault, "the closed log keeps its unused space");
            self.shared.meter.io_fault(|| fault);
        }
        self.life.go(LogState::Closed(Cause::Closed));
        Ok(Worked::Done)
    }

    /// Waits until there may be a segment, or for this long.
    pub fn wait_for_segment(&mut self, at_most: Duration) {
        self.source.wait(at_most);
    }

    /// Shuts the supply of segments down; may wait for a file that is being prepared.
    pub fn stop_source(&mut self) {
        self.source.stop();
        self.shared.meter.detach();
    }

    /// The events since the last call, in order.
    pub fn take_events(&mut self) -> Vec<LoopEvent> {
        mem::take(&mut self.events)
    }

    /// Where the log stands.
    #[cfg(any(test, feature = "testkit"))]
    pub fn position(&self) -> &Position {
        &self.position
    }
}

/// A loop that is running has a segment. A write without one must never look like a success.
fn no_segment() -> Cause {
    Cause::Broken { what: "the log is running without a segment to write to".to_owned() }
}
