//! What all parts of one log share.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::Notify;

use super::counters::Counters;
use super::io_watch::IoWatch;
use super::lifecycle::Lifecycle;
use super::meter::{IoErrors, Meter, Refused};
use super::outcomes::{Fate, Outcomes};
use super::requests::{QueueReceiver, Requests};
use super::watermark::Watermark;
use crate::config::WalConfig;
use crate::engine::intake::admission::Admission;
use crate::engine::segments::catalog::Catalog;
use crate::engine::segments::preparer::PrepareStatus;
use crate::error::{AppendError, CommitError};
use crate::lsn::{Epoch, Lsn, LsnRange};
use crate::runtime::clock::Clock;
use crate::status::{LogState, Stats, Status};
use crate::storage::IoCounts;

/// What all parts of one log share: each field is a subject of its own.
#[derive(Debug)]
pub struct Shared {
    /// The bound on what is in flight.
    pub admission: Arc<Admission>,
    /// Which segment holds which LSNs.
    pub catalog: Catalog,
    /// Time and chance.
    pub clock: Arc<dyn Clock>,
    /// Requests to the flush thread, and its queue.
    pub requests: Requests,
    /// What is counted.
    pub counters: Counters,
    /// What is counted and measured beside that, for metrics.
    pub meter: Meter,
    /// How far the log has come.
    pub watermark: Watermark,
    /// LSNs that the watermark does not cover.
    pub outcomes: Outcomes,
    /// How long the I/O of the flush thread has been running.
    pub io: IoWatch,
    /// Wakes readers that follow the live tail.
    pub tail: Notify,
    /// Whether LSNs may be assigned.
    accepting: Mutex<bool>,
    /// Whether the host has let the log go, which its actors learn later.
    released: AtomicBool,
    life: Mutex<Lifecycle>,
    io_counts: OnceLock<Arc<IoCounts>>,
    prepare_status: OnceLock<PrepareStatus>,
}

impl Shared {
    /// The shared part of a log with these settings, and the receiving end of its queue.
    pub fn new(config: &WalConfig, clock: Arc<dyn Clock>) -> (Arc<Self>, QueueReceiver) {
        let (requests, receiver) = Requests::new(config.max_in_flight_entries);
        let shared = Shared {
            admission: Admission::new(config.max_in_flight_entries, config.in_flight_bytes()),
            catalog: Catalog::default(),
            clock,
            requests,
            counters: Counters::default(),
            meter: Meter::default(),
            watermark: Watermark::default(),
            outcomes: Outcomes::default(),
            io: IoWatch::default(),
            tail: Notify::new(),
            accepting: Mutex::new(false),
            released: AtomicBool::new(false),
            life: Mutex::default(),
            io_counts: OnceLock::new(),
            prepare_status: OnceLock::new(),
        };
        (Arc::new(shared), receiver)
    }

    /// Whether LSNs may be assigned.
    pub fn is_accepting(&self) -> bool {
        *self.accepting()
    }

    /// Whether LSNs may be assigned, which stays as it is while this is held: who assigns some holds it.
    pub(crate) fn accepting(&self) -> MutexGuard<'_, bool> {
        self.accepting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// No LSN is assigned from now on: all that are, the watermark of accepted ones covers. Comes before any permit of
    /// a failed batch is given back, so that no more LSNs are assigned beyond the durable watermark than the start
    /// frame says (promise P9).
    pub fn stop_accepting(&self) {
        *self.accepting() = false;
    }

    /// An epoch has begun: its start frame is durable.
    pub fn begin_epoch(&self, epoch: Epoch) {
        self.watermark.begin_epoch(epoch);
        *self.accepting() = true;
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
        self.lock_life().state().clone()
    }

    /// Goes on to this state, if it may follow.
    pub fn go(&self, next: LogState) {
        self.lock_life().go(next);
        self.meter.state_changed();
    }

    fn lock_life(&self) -> MutexGuard<'_, Lifecycle> {
        // A state is replaced as a whole, so a panic elsewhere leaves a sound one.
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes LSNs that the watermark does not cover, and counts them.
    pub fn note_exception(&self, range: LsnRange, fate: Fate) {
        match fate {
            Fate::NotDurable(_) => self.counters.not_durable.add(range.count()),
            Fate::Unknown(_) => self.counters.unknown.add(range.count()),
            Fate::Durable => {}
        }
        self.outcomes.note(range, fate);
    }

    /// Counts records that are refused with this error.
    pub(crate) fn note_refused(&self, error: &AppendError, records: usize) {
        self.counters.refused.add(records as u64);
        self.meter.refused(|| Refused::of(error), records as u64);
    }

    /// What became of `lsn`, or `None` while it is open.
    #[inline]
    pub fn fate(&self, lsn: Lsn) -> Option<Fate> {
        self.outcomes.fate(lsn, &self.watermark)
    }

    /// What became of `lsn` for those who were not told; `None` while that is open, and for one that was never assigned.
    pub(crate) fn outcome(&self, lsn: Lsn) -> Option<Result<(), CommitError>> {
        // The state first: whatever the log knew when it ended is in its table.
        let state = self.state();
        match (self.fate(lsn), state) {
            (Some(fate), _) => Some(fate.into_result(lsn)),
            (None, _) if lsn > self.watermark.accepted() => None,
            (None, LogState::Poisoned(cause)) => Some(Err(CommitError::NotDurable { lsn, cause })),
            (None, LogState::Closed(cause)) => Some(Err(CommitError::Unknown { lsn, cause })),
            (None, _) => None,
        }
    }

    /// Gives a hold without a lease back. What it alone kept from the last checkpoint is released.
    pub fn unhold(&self, id: u64) {
        if self.catalog.unhold(id) {
            self.requests.checkpoint_again();
        }
    }

    /// Moves such a hold up. The same is released.
    pub(crate) fn raise_hold(&self, id: u64, from: Lsn) {
        if self.catalog.raise_hold(id, from) {
            self.requests.checkpoint_again();
        }
    }

    /// Whether the next segment can not be prepared because the disk is full: a warning, nothing fails yet.
    pub fn is_low_on_space(&self) -> bool {
        self.prepare_status.get().is_some_and(PrepareStatus::is_no_space)
    }

    /// The I/O errors of the preparer, once there is one.
    #[cfg_attr(not(feature = "metrics"), allow(dead_code, reason = "metrics alone ask for it"))]
    pub(crate) fn preparer_errors(&self) -> Option<Arc<IoErrors>> {
        self.prepare_status.get().map(PrepareStatus::errors)
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
            stalled: self.io.is_stalled(),
            low_space: self.is_low_on_space(),
            epoch: self.watermark.open(),
            accepted: self.watermark.accepted(),
            written: self.watermark.written(),
            durable: self.watermark.durable(),
            low_water: self.catalog.low_water(),
            entries_in_flight: self.admission.entries_in_flight(),
            bytes_in_flight: self.admission.bytes_in_flight(),
            waiting_for_admission: self.admission.waiting(),
            segments: self.catalog.len(),
        }
    }
}
