//! With the feature `metrics`: fixed arrays of atomics.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::announcements::{Announcements, Done, nanos};
use super::distribution::{Distribution, Scale};
use super::io_errors::IoErrors;
use super::{Fated, FlushCause, Refused};
use crate::config::Durability;
use crate::engine::intake::entry::{Entry, Tally};
use crate::engine::state::counters::Counter;
use crate::engine::write::batcher::Pending;
use crate::error::{Cause, IoFault};
use crate::lsn::Lsn;
use crate::runtime::clock::{Clock, Tick};
use crate::storage::Storage;

impl FlushCause {
    /// All of them, in the order of their numbers.
    pub const ALL: [FlushCause; 12] = [
        FlushCause::Timer,
        FlushCause::Count,
        FlushCause::Bytes,
        FlushCause::Urgent,
        FlushCause::Idle,
        FlushCause::Linger,
        FlushCause::Rotation,
        FlushCause::Epoch,
        FlushCause::Start,
        FlushCause::Seal,
        FlushCause::Checkpoint,
        FlushCause::Close,
    ];
}

impl Refused {
    /// All of them, in the order of their numbers.
    pub const ALL: [Refused; 10] = [
        Refused::Overloaded,
        Refused::TooLarge,
        Refused::WrongPermit,
        Refused::EmptyGroup,
        Refused::NoSpace,
        Refused::Unavailable,
        Refused::Poisoned,
        Refused::EpochEnded,
        Refused::Closed,
        Refused::Other,
    ];
}

/// A part of the way of a record, which takes time. But for [`AdmissionWait`](Stage::AdmissionWait) each batch with
/// records that became durable gives one sample, of its oldest record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// From the refusal of a permit until there is one, or the log gives up. One sample for each append that had to wait;
    /// an append whose future is dropped meanwhile gives none.
    AdmissionWait,
    /// From the LSN until the flush thread has drained the record from its queue. A flush that runs is part of it.
    Queue,
    /// From there until the flush begins: what the policy waits for, and after a fault the time until the next epoch.
    Linger,
    /// From the beginning of the flush until the last `pwrite` has returned: the frame is built and written.
    Write,
    /// The `fdatasync` alone.
    Sync,
    /// From the return of the sync until the Flusher has sent the event to the Appender and the first subscribers.
    Notify,
    /// From the LSN until that event was sent.
    Commit,
}

/// The stages.
const STAGES: usize = 7;

/// What a log counts and measures for its metrics. Every part writes its own; the publisher reads all of it.
#[derive(Debug)]
pub struct Meter {
    commits: [[Counter; 3]; 3],
    flushes: [Counter; FlushCause::ALL.len()],
    refusals: [Counter; Refused::ALL.len()],
    stages: [Distribution; STAGES],
    /// Records of each batch.
    pub batch_records: Distribution,
    /// Bytes of each batch, as they were counted in flight.
    pub batch_bytes: Distribution,
    /// Bytes that were given LSNs.
    pub accepted_bytes: Counter,
    /// Bytes of those whose outcome is known.
    settled_bytes: Counter,
    /// When the oldest record came whose outcome is open: nanoseconds and one; zero if there is none.
    oldest: AtomicU64,
    /// Rotations that had to wait for a segment.
    pub awaited_segments: Counter,
    prepared: AtomicU64,
    lag: AtomicU64,
    /// I/O errors, without those of the preparer.
    pub errors: IoErrors,
    announcements: Announcements,
    /// Wakes the publisher.
    changes: (Sender<()>, Receiver<()>),
    /// `None` once the directory has to be free.
    storage: Mutex<Option<Weak<dyn Storage>>>,
    location: OnceLock<String>,
    /// Free bytes and one; zero if they are not known.
    free: AtomicU64,
    detached: AtomicBool,
}

impl Default for Meter {
    fn default() -> Self {
        Meter {
            commits: Default::default(),
            flushes: Default::default(),
            refusals: Default::default(),
            stages: std::array::from_fn(|_| Distribution::new(Scale::TIMES)),
            batch_records: Distribution::new(Scale::RECORDS),
            batch_bytes: Distribution::new(Scale::BYTES),
            accepted_bytes: Counter::default(),
            settled_bytes: Counter::default(),
            oldest: AtomicU64::new(0),
            awaited_segments: Counter::default(),
            prepared: AtomicU64::new(0),
            lag: AtomicU64::new(0),
            errors: IoErrors::default(),
            announcements: Announcements::default(),
            changes: bounded(1),
            storage: Mutex::new(None),
            location: OnceLock::new(),
            free: AtomicU64::new(0),
            detached: AtomicBool::new(false),
        }
    }
}

/// What the parts of the log call.
impl Meter {
    /// Records of so many bytes have LSNs and go to the queue. The oldest of them came at this time.
    pub fn handed_over(&self, since: Option<Tick>, bytes: usize) {
        self.accepted_bytes.add(bytes as u64);
        if let Some(since) = since {
            // What is open already is older.
            let stamp = nanos(since) + 1;
            let _ = self.oldest.compare_exchange(0, stamp, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// So many records were refused.
    pub fn refused(&self, reason: impl FnOnce() -> Refused, records: u64) {
        self.refusals[reason() as usize].add(records);
    }

    /// An append begins to wait for its permit.
    pub fn begin(&self, clock: &dyn Clock) -> Tick {
        clock.now()
    }

    /// That append has waited.
    pub fn admitted(&self, since: Tick, clock: &dyn Clock) {
        self.took(Stage::AdmissionWait, since, clock.now(), 1);
    }

    /// Records have an outcome; they are no longer in flight.
    pub fn settled(&self, modes: Modes, bytes: usize, outcome: Fated) {
        for (counters, records) in self.commits.iter().zip(modes.0) {
            if records > 0 {
                counters[outcome as usize].add(records);
            }
        }
        self.settled_bytes.add(bytes as u64);
    }

    /// A frame was written and synced.
    pub fn flushed(&self, cause: FlushCause) {
        self.flushes[cause as usize].add(1);
    }

    /// An I/O operation failed.
    pub fn io_fault(&self, fault: impl FnOnce() -> IoFault) {
        self.errors.count(fault);
    }

    /// A write or a sync of the flush thread failed.
    pub fn io_error(&self, cause: &Cause) {
        if let Cause::Io(fault) | Cause::NoSpace(fault) | Cause::Shortage(fault) = cause {
            self.errors.count(|| fault.clone());
        }
    }

    /// The Flusher has sent the event that covers all batches up to this LSN.
    pub fn announced(&self, through: Lsn, clock: &dyn Clock) {
        let mut now = None;
        while let Some(done) = self.announcements.take(through) {
            let now = *now.get_or_insert_with(|| clock.now());
            self.took(Stage::Notify, done.synced, now, done.batches);
            self.took(Stage::Commit, done.oldest, now, done.batches);
        }
    }

    /// How many records the slowest subscriber is behind.
    pub fn subscribers(&self, lag: impl FnOnce() -> u64) {
        self.lag.store(lag(), Ordering::Relaxed);
    }

    /// How many segments are prepared.
    pub fn prepared(&self, segments: impl FnOnce() -> usize) {
        self.prepared.store(segments() as u64, Ordering::Relaxed);
    }

    /// The state of the log has changed: the publisher has to say so.
    pub fn state_changed(&self) {
        // If there is something in it, the publisher is on its way.
        let _ = self.changes.0.try_send(());
    }

    /// The log lies here.
    pub fn attach(&self, storage: &Arc<dyn Storage>) {
        let _ = self.location.set(storage.location());
        *self.storage() = Some(Arc::downgrade(storage));
    }

    /// Nothing touches the directory any more when this returns. Called by threads that may block.
    pub fn detach(&self) {
        *self.storage() = None;
        self.detached.store(true, Ordering::Release);
        self.state_changed();
    }

    fn took(&self, stage: Stage, since: Tick, until: Tick, times: u64) {
        self.stages[stage as usize].record_many(nanos(until.saturating_sub(since)), times);
    }

    fn storage(&self) -> MutexGuard<'_, Option<Weak<dyn Storage>>> {
        // The value is replaced as a whole.
        self.storage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the publisher reads.
impl Meter {
    /// Records of a mode with this outcome.
    pub fn commits(&self, mode: Durability, outcome: Fated) -> u64 {
        self.commits[mode as usize][outcome as usize].get()
    }

    /// Frames that were written for this.
    pub fn flushes(&self, cause: FlushCause) -> u64 {
        self.flushes[cause as usize].get()
    }

    /// Records that were refused for this.
    pub fn refusals(&self, reason: Refused) -> u64 {
        self.refusals[reason as usize].get()
    }

    /// How long a stage took, in nanoseconds.
    pub fn stage(&self, stage: Stage) -> &Distribution {
        &self.stages[stage as usize]
    }

    /// Bytes of records that have LSNs and no outcome yet.
    pub fn unsettled_bytes(&self) -> u64 {
        // In this order, so that no record has an outcome before it has an LSN.
        let settled = self.settled_bytes.get();
        self.accepted_bytes.get().saturating_sub(settled)
    }

    /// When the oldest record without an outcome came.
    pub fn oldest(&self) -> Option<Tick> {
        self.oldest.load(Ordering::Relaxed).checked_sub(1).map(Tick::from_nanos)
    }

    /// How many segments are prepared.
    pub fn prepared_segments(&self) -> u64 {
        self.prepared.load(Ordering::Relaxed)
    }

    /// How many records the slowest subscriber is behind.
    pub fn subscriber_lag(&self) -> u64 {
        self.lag.load(Ordering::Relaxed)
    }

    /// What wakes the publisher.
    pub fn changes(&self) -> &Receiver<()> {
        &self.changes.1
    }

    /// The name of the place where the log lies, if it was recovered from one.
    pub fn location(&self) -> Option<&str> {
        self.location.get().map(String::as_str)
    }

    /// Asks the file system how much space is free. It may block as long as the disk does, and so does
    /// [`detach`](Self::detach) meanwhile.
    pub fn measure_space(&self) {
        let storage = self.storage();
        let free =
            storage.as_ref().and_then(Weak::upgrade).and_then(|storage| storage.free_bytes());
        self.free.store(free.map_or(0, |free| free.saturating_add(1)), Ordering::Relaxed);
    }

    /// How many bytes were free when that was asked last.
    pub fn free_bytes(&self) -> Option<u64> {
        self.free.load(Ordering::Relaxed).checked_sub(1)
    }

    /// Whether the flush thread has ended for good.
    pub fn is_detached(&self) -> bool {
        self.detached.load(Ordering::Acquire)
    }
}

/// How many records of each mode there are in some entries.
#[derive(Clone, Copy, Debug)]
pub struct Modes([u64; 3]);

impl Modes {
    /// Counts them.
    pub(crate) fn of(entries: &[Entry]) -> Self {
        let mut modes = [0; 3];
        for entry in entries {
            modes[entry.durability as usize] += entry.payload.count() as u64;
        }
        Modes(modes)
    }
}

/// What the flush loop knows of the next batch.
#[derive(Debug, Default)]
pub struct BatchMeter {
    /// When the oldest pending record had come out of the queue.
    drained: Cell<Option<Tick>>,
    cause: Cell<FlushCause>,
    /// What this loop has put into [`Meter::oldest`].
    noted: Cell<u64>,
    awaits: Cell<bool>,
    /// What there was no room for.
    late: Cell<Option<Done>>,
}

impl BatchMeter {
    /// The loop looks at what is pending.
    pub fn saw(&self, meter: &Meter, pending: &Pending, now: Tick) {
        if pending.oldest.is_some() && self.drained.get().is_none() {
            self.drained.set(Some(now));
        }
        if let Some(late) = self.late.take()
            && !meter.announcements.put(late)
        {
            self.late.set(Some(late));
        }
        self.left(meter, pending.oldest);
    }

    /// The oldest record that is pending came at this time.
    pub fn left(&self, meter: &Meter, oldest: Option<Tick>) {
        let stamp = oldest.map_or(0, |oldest| nanos(oldest) + 1);
        if stamp != 0 {
            meter.oldest.store(stamp, Ordering::Relaxed);
        } else {
            // Not over what the Appender has noted meanwhile.
            let (noted, order) = (self.noted.get(), Ordering::Relaxed);
            let _ = meter.oldest.compare_exchange(noted, 0, order, order);
        }
        self.noted.set(stamp);
    }

    /// Why the next batch is flushed.
    pub fn decided(&self, cause: impl FnOnce() -> FlushCause) {
        self.cause.set(cause());
    }

    /// The loop can not go on without another segment.
    pub fn awaits_segment(&self) {
        self.awaits.set(true);
    }

    /// It has gone on in another segment.
    pub fn rotated(&self, meter: &Meter) {
        if self.awaits.take() {
            meter.awaited_segments.add(1);
        }
    }

    /// A batch is durable. It came into its flush at `started`.
    pub(crate) fn complete(
        &self,
        meter: &Meter,
        entries: &[Entry],
        batch: Tally,
        started: Tick,
        laps: &LapTimes,
    ) {
        let (written, synced) = (laps.written.get(), laps.synced.get());
        let Some(first) = entries.first() else { return };
        let (oldest, last) = (first.since, entries.last().map_or(Lsn::NONE, Entry::last_lsn));
        let drained = self.drained.take().unwrap_or(started).clamp(oldest.min(started), started);
        meter.took(Stage::Queue, oldest, drained, 1);
        meter.took(Stage::Linger, drained, started, 1);
        meter.took(Stage::Write, started, written, 1);
        meter.took(Stage::Sync, written, synced, 1);
        meter.batch_records.record(batch.entries as u64);
        meter.batch_bytes.record(batch.bytes as u64);
        meter.settled(Modes::of(entries), batch.bytes, Fated::Durable);
        meter.flushed(self.cause.take());
        let done = match self.late.take() {
            Some(late) => Done { through: last, batches: late.batches + 1, ..late },
            None => Done { through: last, synced, oldest, batches: 1 },
        };
        if !meter.announcements.put(done) {
            self.late.set(Some(done));
        }
    }
}

/// When the write and the sync of a frame ended.
#[derive(Debug)]
pub struct LapTimes {
    clock: Arc<dyn Clock>,
    written: Cell<Tick>,
    synced: Cell<Tick>,
}

impl LapTimes {
    /// Nothing has ended yet.
    pub fn of(clock: &Arc<dyn Clock>) -> Self {
        let zero = || Cell::new(Tick::ZERO);
        LapTimes { clock: Arc::clone(clock), written: zero(), synced: zero() }
    }

    /// What notes these times.
    pub fn laps(&self) -> Laps<'_> {
        Laps(Some(self))
    }
}

/// Notes when the write and the sync of a frame ended, for a writer that has no clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct Laps<'a>(Option<&'a LapTimes>);

impl Laps<'_> {
    /// The write has returned; the sync begins.
    pub fn written(self) {
        if let Some(times) = self.0 {
            times.written.set(times.clock.now());
        }
    }

    /// The sync has returned.
    pub fn synced(self) {
        if let Some(times) = self.0 {
            times.synced.set(times.clock.now());
        }
    }
}

/// Up to which LSN a subscriber has been notified.
#[derive(Clone, Copy, Debug, Default)]
pub struct Delivered(Lsn);

impl Delivered {
    /// Up to this one.
    pub fn through(through: Lsn) -> Self {
        Delivered(through)
    }

    /// It has been notified of this too.
    pub fn raise(&mut self, newer: Delivered) {
        self.0 = self.0.max(newer.0);
    }

    /// How many records it is behind.
    pub fn behind(self, newest: Lsn) -> u64 {
        newest.get().saturating_sub(self.0.get())
    }
}
