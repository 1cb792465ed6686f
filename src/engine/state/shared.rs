//! What all parts of one log share: the watermark, the state, the wishes, the counters.
//!
//! Three words for three states, everywhere: *accepted* (has an LSN), *written* (given to the file
//! system), *durable* (the sync that covers it returned). `accepted >= written >= durable`.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use serde::Serialize;
use tokio::sync::Notify;

use crate::config::WalConfig;
use crate::engine::intake::admission::Admission;
use crate::engine::intake::entry::QueueItem;
use crate::engine::segments::catalog::Catalog;
use crate::engine::segments::preparer::PrepareStatus;
use crate::engine::state::outcomes::{Exceptions, Fate};
use crate::error::{Cause, IoFault};
use crate::lsn::{Epoch, Lsn, LsnRange};
use crate::runtime::clock::{Clock, Tick};
use crate::storage::IoCounts;

/// Slots of the queue beyond the in-flight limit, so that nudges never take the room of an append: a few
/// more than [`AWAKE`], since several threads may nudge at once.
const NUDGE_SLOTS: usize = 256;

/// With so many items in its queue the flush thread has work to do, and needs no nudge.
const AWAKE: usize = 8;

/// What state a log is in.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum LogState {
    /// It is being recovered: nothing is accepted yet.
    #[default]
    Opening,
    /// It takes appends.
    Running,
    /// It recovers from a fault; appends wait or are refused.
    Unavailable(Cause),
    /// The disk is full; appends are refused until space returns.
    NoSpace(IoFault),
    /// Restarts did not help. What is durable can still be read.
    Poisoned(Cause),
    /// It is being closed: what was accepted is flushed.
    Closing,
    /// It is closed.
    Closed(Cause),
}

impl LogState {
    /// A single word for it.
    pub fn name(&self) -> &'static str {
        match self {
            LogState::Opening => "opening",
            LogState::Running => "running",
            LogState::Unavailable(_) => "unavailable",
            LogState::NoSpace(_) => "no space",
            LogState::Poisoned(_) => "poisoned",
            LogState::Closing => "closing",
            LogState::Closed(_) => "closed",
        }
    }

    /// Whether it never takes an append again.
    pub fn is_final(&self) -> bool {
        matches!(self, LogState::Poisoned(_) | LogState::Closed(_))
    }
}

/// What somebody wants of the flush thread. Set, then [nudge](Shared::nudge).
#[derive(Debug, Default)]
pub struct Control {
    /// Flush everything, write the close frame, and end.
    pub close: AtomicBool,
    /// The close does not come by way of the Appender, so LSNs may still be given out meanwhile: no
    /// close frame, and the next life begins beyond all of them, as after a crash (promise P9).
    pub close_unannounced: AtomicBool,
    /// Flush at once what is pending up to this LSN.
    pub flush_through: AtomicU64,
    /// Release everything up to this LSN.
    pub checkpoint: AtomicU64,
    /// Complete the segment with this sequence number, if it is the one that is being written.
    pub rotate: AtomicU64,
}

/// What all parts of one log share.
#[derive(Debug)]
pub struct Shared {
    /// The bound on what is in flight.
    pub admission: Arc<Admission>,
    /// Which segment holds which LSNs.
    pub catalog: Catalog,
    /// Time and chance.
    pub clock: Arc<dyn Clock>,
    /// Wishes to the flush thread.
    pub control: Control,
    /// What has been counted.
    pub counters: Counters,
    /// Wakes readers that follow the live tail.
    pub tail: Notify,
    /// Whether somebody will look whether a sync is stuck.
    pub watched: AtomicBool,
    io_counts: OnceLock<Arc<IoCounts>>,
    accepted: AtomicU64,
    written: AtomicU64,
    durable: AtomicU64,
    epoch: AtomicU64,
    accepting: AtomicBool,
    /// Whether the host has let the log go, which its actors learn later.
    released: AtomicBool,
    prepare_status: OnceLock<PrepareStatus>,
    stalled: AtomicBool,
    /// Nanoseconds at which the I/O that the flush thread waits for began, plus one; zero if none runs.
    io_since: AtomicU64,
    /// The highest LSN in the table of exceptions: what is appended after a fault or an unclean end is above
    /// it, and need not be looked up.
    last_exception: AtomicU64,
    exceptions: RwLock<Exceptions>,
    state: Mutex<LogState>,
    queue: Sender<QueueItem>,
}

/// The flush side's end of the queue. There is one for the life of the log; it moves from the Flusher
/// to the flush thread and back.
pub type QueueReceiver = Receiver<QueueItem>;

impl Shared {
    /// The shared part of a log with these settings, and the receiving end of its queue.
    pub fn new(config: &WalConfig, clock: Arc<dyn Clock>) -> (Arc<Self>, QueueReceiver) {
        let (queue, receiver) = bounded(config.max_in_flight_entries + NUDGE_SLOTS);
        let shared = Shared {
            admission: Admission::new(config.max_in_flight_entries, config.in_flight_bytes()),
            catalog: Catalog::default(),
            clock,
            control: Control::default(),
            counters: Counters::default(),
            tail: Notify::new(),
            watched: AtomicBool::new(false),
            io_counts: OnceLock::new(),
            accepted: AtomicU64::new(0),
            written: AtomicU64::new(0),
            durable: AtomicU64::new(0),
            epoch: AtomicU64::new(0),
            accepting: AtomicBool::new(false),
            released: AtomicBool::new(false),
            prepare_status: OnceLock::new(),
            stalled: AtomicBool::new(false),
            io_since: AtomicU64::new(0),
            last_exception: AtomicU64::new(0),
            exceptions: RwLock::default(),
            state: Mutex::default(),
            queue,
        };
        (Arc::new(shared), receiver)
    }

    /// The highest LSN whose sync has returned. Never falls, never ahead of the disk (promise P5).
    pub fn durable(&self) -> Lsn {
        Lsn::new(self.durable.load(Ordering::Acquire))
    }

    /// The highest LSN that was handed out.
    pub fn accepted(&self) -> Lsn {
        Lsn::new(self.accepted.load(Ordering::Acquire))
    }

    /// The LSN of the next append: no record has it, nor any above it.
    pub fn next_lsn(&self) -> Lsn {
        self.accepted().max(self.durable()).next()
    }

    /// The highest LSN that was given to the file system.
    pub fn written(&self) -> Lsn {
        Lsn::new(self.written.load(Ordering::Acquire))
    }

    /// The epoch that is writing.
    pub fn epoch(&self) -> Epoch {
        Epoch::new(self.epoch.load(Ordering::Acquire))
    }

    /// Raises the watermark. Only after the sync that covers it has returned.
    pub fn publish_durable(&self, through: Lsn) {
        self.durable.fetch_max(through.get(), Ordering::AcqRel);
    }

    /// Notes the highest LSN that was handed out.
    pub fn publish_accepted(&self, last: Lsn) {
        self.accepted.fetch_max(last.get(), Ordering::AcqRel);
    }

    /// Notes the highest LSN that was given to the file system.
    pub fn publish_written(&self, last: Lsn) {
        self.written.fetch_max(last.get(), Ordering::AcqRel);
    }

    /// Whether LSNs may be handed out.
    pub fn is_accepting(&self) -> bool {
        self.accepting.load(Ordering::Acquire)
    }

    /// No LSN is handed out from now on. Comes before any permit of a failed batch is given back, so
    /// that no more LSNs are handed out beyond the watermark than the start frame says (promise P9).
    pub fn stop_accepting(&self) {
        self.accepting.store(false, Ordering::Release);
    }

    /// An epoch has begun: its start frame is durable.
    pub fn begin_epoch(&self, epoch: Epoch) {
        self.epoch.store(epoch.get(), Ordering::Release);
        self.accepting.store(true, Ordering::Release);
    }

    /// The host has closed the log, dropped its last handle, or given up opening it. Set before the actors are told, so
    /// that an open that follows knows at once.
    pub(crate) fn release(&self) {
        self.released.store(true, Ordering::Release);
    }

    /// Whether the log is about to give its directory back.
    pub(crate) fn is_ending(&self) -> bool {
        let ends = || matches!(self.state(), LogState::Closing | LogState::Closed(_));
        self.released.load(Ordering::Acquire) || ends()
    }

    /// The state of the log.
    pub fn state(&self) -> LogState {
        self.lock_state().clone()
    }

    /// Changes the state. A final state stays, except that a poisoned log can be closed.
    pub fn set_state(&self, state: LogState) -> bool {
        let mut current = self.lock_state();
        let stays = match &*current {
            LogState::Closed(_) => true,
            LogState::Poisoned(_) => !matches!(state, LogState::Closed(_)),
            _ => false,
        };
        if !stays {
            *current = state;
        }
        !stays
    }

    fn lock_state(&self) -> MutexGuard<'_, LogState> {
        // A state is replaced as a whole, so a panic elsewhere leaves a sound one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts an entry into the queue; gives it back if the queue is full, which a permit rules out.
    pub fn enqueue(&self, item: QueueItem) -> Result<(), QueueItem> {
        self.queue.try_send(item).map_err(|error| error.into_inner())
    }

    /// Makes the flush thread look at [`Control`]. It does so after every item that it takes out of the
    /// queue, so one that has many to take will look anyway.
    pub fn nudge(&self) {
        // The wish is to be seen by whoever takes an item that is counted here.
        fence(Ordering::SeqCst);
        if self.queue.len() < AWAKE {
            let _ = self.queue.try_send(QueueItem::Nudge);
        }
    }

    /// Asks the flush thread to flush everything, close the log, and end.
    pub fn request_close(&self) {
        self.control.close.store(true, Ordering::Release);
        self.nudge();
    }

    /// Notes LSNs that name no record, since an earlier life ended before they were durable.
    pub fn note_gap(&self, gap: LsnRange) {
        let mut table = self.exceptions.write().unwrap_or_else(PoisonError::into_inner);
        table.note(gap, Fate::NotDurable(Cause::EarlierLife));
        self.last_exception.fetch_max(gap.last.get(), Ordering::AcqRel);
    }

    /// Notes LSNs that the watermark does not cover.
    pub fn note_exception(&self, range: LsnRange, fate: Fate) {
        let mut table = self.exceptions.write().unwrap_or_else(PoisonError::into_inner);
        match fate {
            Fate::NotDurable(_) => self.counters.not_durable.add(range.count()),
            Fate::Unknown(_) => self.counters.unknown.add(range.count()),
            Fate::Durable => {}
        }
        table.note(range, fate);
        self.last_exception.fetch_max(range.last.get(), Ordering::AcqRel);
    }

    /// May forget exceptions at or below `lsn`, which a checkpoint has released, if there are very many.
    pub fn forget_exceptions(&self, lsn: Lsn) {
        let mut table = self.exceptions.write().unwrap_or_else(PoisonError::into_inner);
        table.forget_through(lsn);
    }

    /// LSNs that are certainly not in the log, and those of which nobody knows, as far as no checkpoint
    /// has released them.
    pub fn exceptions(&self) -> (Vec<LsnRange>, Vec<LsnRange>) {
        let table = self.exceptions.read().unwrap_or_else(PoisonError::into_inner);
        let (mut failed, mut unknown) = (Vec::new(), Vec::new());
        for (range, fate) in table.iter() {
            match fate {
                Fate::NotDurable(_) => failed.push(range),
                Fate::Unknown(_) => unknown.push(range),
                Fate::Durable => {}
            }
        }
        (failed, unknown)
    }

    /// What became of `lsn`, or `None` while it is open.
    pub fn fate(&self, lsn: Lsn) -> Option<Fate> {
        // The watermark first: an exception below it was noted before it was published.
        let durable = lsn <= self.durable();
        if lsn.get() <= self.last_exception.load(Ordering::Acquire) {
            let table = self.exceptions.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(fate) = table.fate(lsn) {
                return Some(fate.clone());
            }
        }
        durable.then_some(Fate::Durable)
    }

    /// A write or a sync begins.
    pub fn io_begins(&self, now: Tick) {
        self.io_since.store(now.as_nanos() as u64 + 1, Ordering::Release);
    }

    /// The flush thread waits for something that I/O elsewhere has to bring: a segment.
    pub fn io_awaited(&self, now: Tick) {
        let since = now.as_nanos() as u64 + 1;
        let _ = self.io_since.compare_exchange(0, since, Ordering::AcqRel, Ordering::Acquire);
    }

    /// It returned.
    pub fn io_ended(&self) {
        self.io_since.store(0, Ordering::Release);
    }

    /// When the write or sync that runs now began.
    pub fn io_since(&self) -> Option<Tick> {
        self.io_since.load(Ordering::Acquire).checked_sub(1).map(Duration::from_nanos)
    }

    /// How long the write or sync that runs now has been running, by the clock.
    pub fn io_running_for(&self, now: Tick) -> Option<Duration> {
        self.io_since().map(|since| now.saturating_sub(since))
    }

    /// Whether a sync has not returned for longer than the configured limit.
    pub fn is_stalled(&self) -> bool {
        self.stalled.load(Ordering::Acquire)
    }

    /// Notes whether a sync is stuck.
    pub fn set_stalled(&self, stalled: bool) {
        self.stalled.store(stalled, Ordering::Release);
    }

    /// Whether the next segment can not be prepared for want of space: a warning, nothing fails yet.
    pub fn is_low_on_space(&self) -> bool {
        self.prepare_status.get().is_some_and(PrepareStatus::is_no_space)
    }

    /// Attaches the status of the preparer, for [`Status`].
    pub fn watch_space(&self, status: PrepareStatus) {
        let _ = self.prepare_status.set(status);
    }

    /// Attaches the counters of the storage, for [`Stats`].
    pub fn count_io(&self, counts: Arc<IoCounts>) {
        let _ = self.io_counts.set(counts);
    }

    /// What has been counted so far.
    pub fn stats(&self) -> Stats {
        let counters = &self.counters;
        let io = self.io_counts.get();
        Stats {
            accepted: counters.accepted.get(),
            durable: counters.durable.get(),
            durable_bytes: counters.durable_bytes.get(),
            not_durable: counters.not_durable.get(),
            unknown: counters.unknown.get(),
            refused: counters.refused.get(),
            batches: counters.batches.get(),
            seals: counters.seals.get(),
            rotations: counters.rotations.get(),
            restarts: counters.restarts.get(),
            io_errors: counters.io_errors.get(),
            flush_nanos: counters.flush_nanos.get(),
            fsyncs: io.map_or(0, |io| io.file_syncs() + io.dir_syncs()),
            bytes_written: io.map_or(0, |io| io.bytes_written()),
        }
    }

    /// The state of the log at a glance.
    pub fn status(&self) -> Status {
        Status {
            state: self.state(),
            stalled: self.is_stalled(),
            low_space: self.is_low_on_space(),
            epoch: self.epoch(),
            accepted: self.accepted(),
            written: self.written(),
            durable: self.durable(),
            low_water: self.catalog.low_water(),
            entries_in_flight: self.admission.entries_in_flight(),
            bytes_in_flight: self.admission.bytes_in_flight(),
            waiting_for_admission: self.admission.waiting(),
            segments: self.catalog.len(),
        }
    }
}

/// The state of a log at a glance.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Status {
    /// What it does.
    pub state: LogState,
    /// Whether a sync has not returned for longer than the configured limit.
    pub stalled: bool,
    /// Whether the next segment could not be prepared for want of space.
    pub low_space: bool,
    /// The epoch that is writing.
    pub epoch: Epoch,
    /// The highest LSN that was handed out.
    pub accepted: Lsn,
    /// The highest LSN that was given to the file system.
    pub written: Lsn,
    /// The highest durable LSN.
    pub durable: Lsn,
    /// The highest LSN that a checkpoint has released.
    pub low_water: Lsn,
    /// Records in flight.
    pub entries_in_flight: usize,
    /// Bytes in flight.
    pub bytes_in_flight: usize,
    /// Appends that wait for a permit.
    pub waiting_for_admission: usize,
    /// Segments that are part of the log.
    pub segments: usize,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds to it.
    pub fn add(&self, number: u64) {
        self.0.fetch_add(number, Ordering::Relaxed);
    }

    /// Reads it.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What is counted; see [`Stats`] for the meanings.
#[derive(Debug, Default)]
#[allow(missing_docs)]
pub struct Counters {
    pub accepted: Counter,
    pub durable: Counter,
    pub durable_bytes: Counter,
    pub not_durable: Counter,
    pub unknown: Counter,
    pub refused: Counter,
    pub batches: Counter,
    pub seals: Counter,
    pub rotations: Counter,
    pub restarts: Counter,
    pub io_errors: Counter,
    pub flush_nanos: Counter,
}

/// What has been counted since the log was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Stats {
    /// Records that were given an LSN.
    pub accepted: u64,
    /// Records that became durable.
    pub durable: u64,
    /// Their bytes, with five bytes of overhead each.
    pub durable_bytes: u64,
    /// Records that were answered `NotDurable`.
    pub not_durable: u64,
    /// Records that were answered `Unknown`.
    pub unknown: u64,
    /// Appends that were refused before they had an LSN.
    pub refused: u64,
    /// Flushes of records: one frame, one write, one sync each.
    pub batches: u64,
    /// Empty frames that vouch for the last batch.
    pub seals: u64,
    /// Times the log went on in a new segment because the old one was full.
    pub rotations: u64,
    /// Restarts of the Flusher after a fault.
    pub restarts: u64,
    /// Writes and syncs that failed.
    pub io_errors: u64,
    /// Time spent in flushes, in nanoseconds.
    pub flush_nanos: u64,
    /// All syncs of files and directories, also those of segments prepared ahead.
    pub fsyncs: u64,
    /// All bytes written, also the zeros of segments prepared ahead.
    pub bytes_written: u64,
}
