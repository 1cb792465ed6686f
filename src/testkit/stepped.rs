//! Time, segments and workers by hand, to drive a [`FlushLoop`](crate::engine::write::flush_loop::FlushLoop) step by step
//! without a thread.

use std::{
    fmt, io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use super::errno;
use crate::engine::segments::clearing::OldSegment;
use crate::engine::segments::prepare::{PrepareJob, prepare};
use crate::engine::segments::preparer::PreparedSegment;
use crate::engine::segments::supply::{Need, SegmentSource, SegmentStyle, Supply};
use crate::error::{IoFault, IoOp};
use crate::runtime::clock::{Clock, Tick};
use crate::runtime::threads::{Running, SystemThreads, Threads, Turn, Worker};
use crate::storage::Storage;

/// A clock that stands still until it is moved. Its chance is a sequence that is the same in every run.
/// Clones are the same clock.
#[derive(Clone, Debug, Default)]
pub struct ManualClock(Arc<ClockState>);

#[derive(Debug, Default)]
struct ClockState {
    nanos: AtomicU64,
    drawn: AtomicU64,
    /// How many more looks at the time until one panics; zero for none.
    panic_in: AtomicU64,
}

impl ManualClock {
    /// A clock at time zero.
    pub fn new() -> ManualClock {
        ManualClock::default()
    }

    /// A clock at time zero with a chance of its own: two lives of one log must not draw the same salts.
    pub fn seeded(seed: u64) -> ManualClock {
        let clock = ManualClock::default();
        clock.0.drawn.store(seed, Ordering::SeqCst);
        clock
    }

    /// Moves it on.
    pub fn advance(&self, by: Duration) {
        self.0.nanos.fetch_add(by.as_nanos() as u64, Ordering::SeqCst);
    }

    /// The `looks`-th look at the time from now panics: a way to have code panic between two steps.
    pub fn panic_in(&self, looks: u64) {
        self.0.panic_in.store(looks, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Tick {
        let left = self.0.panic_in.load(Ordering::SeqCst);
        if left > 0 {
            self.0.panic_in.store(left - 1, Ordering::SeqCst);
            assert!(left > 1, "injected panic of the clock");
        }
        Duration::from_nanos(self.0.nanos.load(Ordering::SeqCst))
    }

    fn wall_us(&self) -> u64 {
        self.0.nanos.load(Ordering::SeqCst) / 1000
    }

    fn random(&self) -> u64 {
        let drawn = self.0.drawn.fetch_add(1, Ordering::SeqCst).wrapping_add(1);
        drawn.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

/// Keeps a worker of a log for a test that does its turns itself. Clones are the same.
#[derive(Clone, Default)]
pub struct ByHand {
    /// The name of the worker that is kept. Without a name each worker is kept, and replaces the one before.
    name: Option<&'static str>,
    worker: Arc<Mutex<Option<Box<dyn Worker>>>>,
}

impl ByHand {
    /// Keeps the worker of this name, such as `wal-flush`; the others have threads of the system.
    pub fn only(name: &'static str) -> ByHand {
        ByHand { name: Some(name), worker: Arc::default() }
    }

    /// Gives the worker away, if there is one.
    pub fn take(&self) -> Option<Box<dyn Worker>> {
        self.worker.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Has it do one piece of what it is asked for. Nothing, where it is at work already: it may be what calls
    /// this. A worker that would rest after a fault is asked once more. Whether there was anything to do.
    pub fn step(&self) -> bool {
        if let Ok(mut kept) = self.worker.try_lock()
            && let Some(worker) = &mut *kept
        {
            let turn = match worker.look() {
                Turn::Wait(Some(_)) => worker.look(),
                turn => turn,
            };
            match turn {
                Turn::Work => worker.work(),
                Turn::Wait(_) => {}
                Turn::End => *kept = None,
            }
            return turn == Turn::Work;
        }
        false
    }
}

impl fmt::Debug for ByHand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByHand").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Threads for ByHand {
    fn spawn(&self, name: &'static str, worker: Box<dyn Worker>) -> io::Result<Running> {
        if self.name.is_some_and(|only| only != name) {
            return SystemThreads.spawn(name, worker);
        }
        *self.worker.lock().unwrap_or_else(PoisonError::into_inner) = Some(worker);
        Ok(Running::elsewhere())
    }
}

/// A supply of segments that are prepared when they are taken, as long as the disk is not said to be full,
/// slow or broken. Clones are the same supply.
#[derive(Clone, Debug)]
pub struct SteppedSegments(Arc<Mutex<Segments>>);

/// What a [`SteppedSegments`] answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SupplyMode {
    /// As many segments as are taken.
    #[default]
    Plenty,
    /// They are being prepared.
    Slow,
    /// The disk is full; the one that is kept back for a restart is there until it is taken.
    Full,
    /// The process has no descriptor left for them.
    Short,
    /// They can not be prepared.
    Broken,
}

#[derive(Debug)]
struct Segments {
    storage: Arc<dyn Storage>,
    style: SegmentStyle,
    next_sequence: u64,
    mode: SupplyMode,
    reserve: bool,
    taken: Vec<Need>,
    recycled: Vec<String>,
    removed: Vec<String>,
}

impl SteppedSegments {
    /// A supply in this storage, beginning with this sequence number.
    pub fn new(storage: Arc<dyn Storage>, style: SegmentStyle, next_sequence: u64) -> Self {
        SteppedSegments(Arc::new(Mutex::new(Segments {
            storage,
            style,
            next_sequence,
            mode: SupplyMode::Plenty,
            reserve: true,
            taken: Vec::new(),
            recycled: Vec::new(),
            removed: Vec::new(),
        })))
    }

    /// Changes what is answered from now on.
    pub fn set(&self, mode: SupplyMode) {
        let mut segments = self.lock();
        segments.mode = mode;
        segments.reserve |= mode == SupplyMode::Plenty;
    }

    /// What segments were taken for, in order.
    pub fn taken(&self) -> Vec<Need> {
        self.lock().taken.clone()
    }

    /// The names that came back to be used again, in order. They are removed from the storage.
    pub fn recycled(&self) -> Vec<String> {
        self.lock().recycled.clone()
    }

    /// The names that must not be used again, in order.
    pub fn removed(&self) -> Vec<String> {
        self.lock().removed.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Segments> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Segments {
    fn make(&mut self, need: Need) -> Supply {
        let sequence = self.next_sequence;
        let size = self.style.segment_size;
        let plan = self.style.plan(sequence, size, false);
        let job = PrepareJob {
            name: plan.name.clone(),
            temp_name: plan.temp_name,
            size,
            header: plan.header,
            zero_fill: true,
            recycle: None,
            block_size: self.style.block_size as usize,
        };
        match prepare(&*self.storage, &job) {
            Ok(file) => {
                self.next_sequence += 1;
                self.taken.push(need);
                Supply::Ready(PreparedSegment { sequence, name: plan.name, size, file })
            }
            Err(fault) => Supply::Failed(fault.to_io_fault().into()),
        }
    }
}

fn fault(error: impl Into<io::Error>) -> IoFault {
    IoFault::new(IoOp::Prepare, "the next segment", None, error.into())
}

impl SegmentSource for SteppedSegments {
    fn take(&mut self, need: Need) -> Supply {
        let mut segments = self.lock();
        match segments.mode {
            SupplyMode::Plenty => segments.make(need),
            SupplyMode::Slow => Supply::NotYet,
            SupplyMode::Full if need == Need::Restart && segments.reserve => {
                segments.reserve = false;
                segments.make(need)
            }
            SupplyMode::Full => Supply::NoSpace(fault(io::ErrorKind::StorageFull)),
            SupplyMode::Short => {
                Supply::Failed(fault(io::Error::from_raw_os_error(errno::EMFILE)).into())
            }
            SupplyMode::Broken => Supply::Failed(fault(io::ErrorKind::Other).into()),
        }
    }

    /// Returns at once: a driver by hand does not wait.
    fn wait(&mut self, _: Duration) {}

    fn recycle(&mut self, old: Vec<OldSegment>) {
        let mut segments = self.lock();
        for OldSegment { name, .. } in old {
            // A name that is gone already is as good as removed.
            let _ = segments.storage.remove(&name);
            segments.recycled.push(name);
        }
    }

    fn remove(&mut self, name: String) {
        let mut segments = self.lock();
        let _ = segments.storage.remove(&name);
        segments.removed.push(name);
    }

    fn stop(&mut self) {}
}
