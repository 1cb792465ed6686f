//! Keeping prepared segments at hand: what to prepare next, what to recycle, when to try again; and clearing
//! up old ones meanwhile. Preparing comes first: the log may wait for it.
//!
//! [`PreparerCore`] takes these decisions and knows no thread and no clock; [`Preparer`] makes a worker of
//! it that has a thread of its own, so that the flush thread finds its next segment ready.

use std::{
    collections::VecDeque,
    error::Error,
    fmt, io,
    ops::ControlFlow,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, unbounded};
use tracing::{info, warn};

use super::clearing::{Clearing, OldSegment, REMOVALS_PER_SYNC, guarded};
use super::prepare::{Preparation, PrepareFault, PrepareJob};
use crate::engine::state::meter::IoErrors;
use crate::runtime::threads::{Running, Threads, Turn, Worker};
use crate::storage::{Medium, Storage, StorageFile};

/// How long to wait after the first failure; each further one in a row doubles it.
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LONGEST_RETRY: Duration = Duration::from_secs(1);
/// After this many failures in a row, which is most of a second, a fault is not a passing one.
const LASTING: u32 = 4;
/// How many steps of clearing up come between two segments that are wanted at once: more than the one segment
/// that the log can release meanwhile, so that the old ones grow fewer however busy the log is.
const STEPS_BETWEEN: usize = 2;

/// What the preparer needs to know once.
#[derive(Clone, Debug)]
pub struct PreparerConfig {
    /// The sequence number of the first segment to prepare.
    pub first_sequence: u64,
    /// The size of a full segment: only such segments are recycled.
    pub segment_size: u64,
    /// The block size of the log.
    pub block_size: usize,
    /// How many old segments to keep for later requests.
    pub max_spares: usize,
}

/// What differs from one segment to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentPlan {
    /// Its name.
    pub name: String,
    /// Its name while it is being prepared.
    pub temp_name: String,
    /// What stands at its beginning.
    pub header: Vec<u8>,
}

/// Plans the segment with the given sequence number and size; the flag says whether an old file is used
/// again for it.
pub type SegmentPlanner = Box<dyn Fn(u64, u64, bool) -> SegmentPlan + Send>;

/// What a preparer can be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PrepareRequest {
    /// Prepare one more segment.
    Segment {
        /// Its size in bytes.
        size: u64,
    },
    /// How far the log has come in its current segment.
    Pace {
        /// How many bytes of it are used up.
        used: u64,
        /// How many bytes it has.
        size: u64,
        /// How many bytes of zeros to write and sync at a time.
        piece: u64,
    },
    /// Do what is best with old segments that nobody needs any more: reuse or remove them, when nothing is
    /// to be prepared.
    Recycle {
        /// They, in any order.
        old: Vec<OldSegment>,
    },
    /// Remove a segment that nobody needs and nobody may write any more, when nothing is to be prepared.
    Remove {
        /// Its name.
        name: String,
    },
    /// End, whatever else was asked.
    Stop,
}

/// A segment that is ready to be written.
#[derive(Debug)]
pub struct PreparedSegment {
    /// Its sequence number. Segments are handed over in ascending order; a number is left out where a
    /// failed attempt may have left a file of that name.
    pub sequence: u64,
    /// Its name.
    pub name: String,
    /// The size it was asked for in bytes, which its file may still have to grow to.
    pub size: u64,
    /// The open file.
    pub file: Box<dyn StorageFile>,
}

/// The fault that a preparer is trying to get over, if any, for everyone to see.
#[derive(Clone, Debug, Default)]
pub struct PrepareStatus(Arc<Mutex<LastFailure>>);

#[derive(Debug, Default)]
struct LastFailure {
    /// The first of the failures in a row: it is shown, whatever clearing up meets after it.
    first: Option<PrepareFault>,
    fault: Option<PrepareFault>,
    /// Failures in a row.
    failures: u32,
    /// All of them, for metrics.
    errors: Arc<IoErrors>,
}

impl PrepareStatus {
    /// Why the latest attempt failed; `None` if it succeeded.
    pub fn fault(&self) -> Option<PrepareFault> {
        self.lock().fault.clone()
    }

    /// Why the first of the attempts in a row failed; `None` if the latest succeeded.
    pub fn first(&self) -> Option<PrepareFault> {
        self.lock().first.clone()
    }

    /// How many attempts in a row have failed.
    pub fn failures(&self) -> u32 {
        self.lock().failures
    }

    /// Whether so many attempts in a row have failed that the fault is not a passing one.
    pub fn is_lasting(&self) -> bool {
        self.failures() >= LASTING
    }

    /// Whether the latest attempt failed because no space (`ENOSPC`) or no quota (`EDQUOT`) is left.
    pub fn is_no_space(&self) -> bool {
        self.fault().is_some_and(|fault| fault.is_no_space())
    }

    /// How many attempts have failed, by error number.
    #[cfg_attr(not(feature = "metrics"), allow(dead_code, reason = "metrics alone ask for it"))]
    pub fn errors(&self) -> Arc<IoErrors> {
        Arc::clone(&self.lock().errors)
    }

    fn replace(&self, fault: Option<PrepareFault>) -> Option<PrepareFault> {
        let mut trouble = self.lock();
        if let Some(fault) = &fault {
            trouble.errors.count(|| fault.to_io_fault());
        }
        trouble.failures = if fault.is_some() { trouble.failures.saturating_add(1) } else { 0 };
        trouble.first =
            fault.as_ref().map(|fault| trouble.first.take().unwrap_or_else(|| fault.clone()));
        std::mem::replace(&mut trouble.fault, fault)
    }

    fn lock(&self) -> MutexGuard<'_, LastFailure> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What came of [`PreparerCore::try_prepare`].
#[derive(Debug)]
pub enum Attempt {
    /// There was nothing to prepare, or there is time.
    Idle,
    /// A piece of the oldest request is done.
    Begun,
    /// The oldest request is done.
    Ready(PreparedSegment),
    /// The disk is too full for the oldest request as long as the old segments are there.
    Crowded,
    /// The oldest request failed and stands. [`PrepareStatus`] says why.
    Failed {
        /// How long to wait for something to change.
        retry_after: Duration,
    },
}

/// The decisions of a preparer, one step at a time.
pub struct PreparerCore {
    storage: Arc<dyn Storage>,
    config: PreparerConfig,
    plan: SegmentPlanner,
    status: PrepareStatus,
    next_sequence: u64,
    /// The sizes asked for, oldest first.
    pending: VecDeque<u64>,
    /// The oldest of them, if it was begun.
    current: Option<Preparation>,
    /// The bytes of the log's current segment that are used up, and all of them.
    used: (u64, u64),
    piece: u64,
    /// The names of full-size segments that nobody needs.
    spares: VecDeque<String>,
    old: Clearing,
    /// Whether a number was left behind with a name that may not be durable.
    unsettled: bool,
    retry_after: Duration,
}

impl fmt::Debug for PreparerCore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PreparerCore")
            .field("next_sequence", &self.next_sequence)
            .field("pending", &self.pending)
            .field("spares", &self.spares)
            .field("old", &self.old)
            .finish_non_exhaustive()
    }
}

impl PreparerCore {
    /// A preparer in `storage` that was asked for nothing yet.
    pub fn new(storage: Arc<dyn Storage>, config: PreparerConfig, plan: SegmentPlanner) -> Self {
        PreparerCore {
            storage,
            plan,
            status: PrepareStatus::default(),
            next_sequence: config.first_sequence,
            pending: VecDeque::new(),
            current: None,
            used: (0, 0),
            piece: u64::MAX,
            spares: VecDeque::new(),
            old: Clearing::default(),
            unsettled: false,
            retry_after: FIRST_RETRY,
            config,
        }
    }

    /// Where this preparer publishes its fault.
    pub fn status(&self) -> PrepareStatus {
        self.status.clone()
    }

    /// Takes in one request; breaks when it is [`PrepareRequest::Stop`].
    pub fn handle(&mut self, request: PrepareRequest) -> ControlFlow<()> {
        match request {
            PrepareRequest::Segment { size } => self.pending.push_back(size),
            PrepareRequest::Pace { used, size, piece } => {
                (self.used, self.piece) = ((used, size), piece);
            }
            PrepareRequest::Recycle { old } => old.into_iter().for_each(|old| {
                if !self.keep(&old) {
                    self.old.add(old);
                }
            }),
            // Of no size, so that it is not used again.
            PrepareRequest::Remove { name } => self.old.add(OldSegment { name, size: 0 }),
            PrepareRequest::Stop => return ControlFlow::Break(()),
        }
        ControlFlow::Continue(())
    }

    /// Whether there is nothing to prepare, or nothing that is needed soon.
    pub fn is_idle(&self) -> bool {
        self.pending.is_empty() || self.has_time()
    }

    /// Whether the zeros can wait, since the commits of the log do not have to wait for them then. The last segment
    /// that is asked for is filled as the current one is used up, and done when half of that is. Another one
    /// is needed at once: there is none to restart with. So is the end of a fault.
    fn has_time(&self) -> bool {
        let (Some(current), Some(&all)) = (&self.current, self.pending.front()) else {
            return false;
        };
        let (used, size) = (u128::from(self.used.0), u128::from(self.used.1));
        let written = u128::from(all - current.zeros_left());
        self.pending.len() == 1 && written * size > 2 * used * u128::from(all) && !self.in_trouble()
    }

    fn in_trouble(&self) -> bool {
        self.status.failures() > 0
    }

    /// Does a piece of the oldest request.
    pub fn try_prepare(&mut self) -> Attempt {
        let Some(&size) = self.pending.front().filter(|_| !self.is_idle()) else {
            return Attempt::Idle;
        };
        if let Err(fault) = self.settle() {
            return self.failed(fault);
        }
        let mut current = match self.current.take() {
            Some(current) => current,
            None => Preparation::new(self.next_job(size)),
        };
        match step_or_fail(&*self.storage, &mut current, self.piece) {
            Ok(None) => {
                self.current = Some(current);
                Attempt::Begun
            }
            Ok(Some(file)) => {
                self.pending.pop_front();
                self.succeeded();
                let sequence = self.next_sequence;
                self.next_sequence += 1;
                let name = current.name().to_owned();
                Attempt::Ready(PreparedSegment { sequence, name, size, file })
            }
            Err(fault) => {
                // Two files must never have borne one sequence number.
                self.next_sequence += u64::from(fault.name_taken);
                self.unsettled |= fault.name_taken;
                if fault.is_no_space() && self.has_old() {
                    return Attempt::Crowded;
                }
                self.failed(fault)
            }
        }
    }

    /// Removes what was begun: nobody will need it.
    pub fn give_up(&mut self) {
        if let Some(current) = self.current.take() {
            current.give_up(&*self.storage);
        }
    }

    /// Makes the name durable that a failed attempt has left behind, before another one follows: if power loss
    /// took the first and left the second, recovery would miss a segment.
    fn settle(&mut self) -> Result<(), PrepareFault> {
        if self.unsettled {
            guarded(|| self.storage.sync_dir()).map_err(|source| PrepareFault {
                op: "sync the directory of",
                file: self.storage.location(),
                name_taken: false,
                source: Arc::new(source),
            })?;
            self.unsettled = false;
        }
        Ok(())
    }

    fn next_job(&mut self, size: u64) -> PrepareJob {
        let recycle = if size == self.config.segment_size { self.spares.pop_front() } else { None };
        let plan = (self.plan)(self.next_sequence, size, recycle.is_some());
        PrepareJob {
            name: plan.name,
            temp_name: plan.temp_name,
            size,
            header: plan.header,
            zero_fill: self.writes_in_place(),
            recycle,
            block_size: self.config.block_size,
        }
    }

    fn succeeded(&mut self) {
        self.retry_after = FIRST_RETRY;
        if self.status.replace(None).is_some() {
            info!(location = %self.storage.location(), "segments can be prepared again");
        }
    }

    fn failed(&mut self, fault: PrepareFault) -> Attempt {
        let previous = self.status.replace(Some(fault.clone()));
        if previous.is_none_or(|previous| !is_same(&previous, &fault)) {
            let location = self.storage.location();
            warn!(%location, error = &fault as &dyn Error, "no segment can be prepared");
        }
        let retry_after = self.retry_after;
        self.retry_after = (retry_after * 2).min(LONGEST_RETRY);
        Attempt::Failed { retry_after }
    }

    /// Whether there are old segments to remove, or removals to make durable.
    pub fn has_old(&self) -> bool {
        !self.old.is_clear()
    }

    /// Takes one step in clearing up: keeps or removes one old segment, or syncs the directory for many.
    pub fn clear(&mut self) {
        match self.old.next() {
            Some(old) if self.keep(&old) => {}
            Some(old) => self.old.remove(&*self.storage, &old),
            None => self.old.sync(&*self.storage),
        }
    }

    /// Keeps an old segment for a later request, if that has a use for it.
    fn keep(&mut self, old: &OldSegment) -> bool {
        let full = self.config.segment_size;
        let awaited = self.pending.iter().filter(|size| **size == full).count();
        let wanted = self.config.max_spares.max(awaited);
        let keeps = self.spares.len() < wanted && old.size == full && self.writes_in_place();
        if keeps {
            self.spares.push_back(old.name.clone());
        }
        keeps
    }

    /// Whether space taken today is the space that a later write goes to. It is so in memory too.
    fn writes_in_place(&self) -> bool {
        self.storage.medium() != Medium::CopyOnWrite
    }
}

/// A panic in the storage costs the file that was being prepared, like any other failure: if it ended
/// the thread, the log would wait for a segment forever.
fn step_or_fail(
    storage: &dyn Storage,
    current: &mut Preparation,
    piece: u64,
) -> Result<Option<Box<dyn StorageFile>>, PrepareFault> {
    let file = current.name().to_owned();
    catch_unwind(AssertUnwindSafe(|| current.step(storage, piece))).unwrap_or_else(|_| {
        let source = Arc::new(io::Error::other("the storage panicked"));
        // If it came as far as the name, the next attempt finds it taken: a rename never replaces. Until
        // then the number stays in use, for recovery takes one that is left out for a lost segment.
        Err(PrepareFault { op: "prepare", file, name_taken: false, source })
    })
}

/// Whether a second fault of this kind is no news.
fn is_same(one: &PrepareFault, other: &PrepareFault) -> bool {
    one.op == other.op && one.source.kind() == other.source.kind()
}

/// A worker named `wal-prepare` that prepares segments and clears up old ones.
///
/// It waits when nothing is asked of it. It ends upon [`PrepareRequest::Stop`], or when nobody can ask
/// anything any more, or nobody could take what it prepares; dropping the `Preparer` therefore ends it,
/// without waiting. It keeps the storage, and with it the lock of the directory, until it has ended.
#[derive(Debug)]
pub struct Preparer {
    requests: Sender<PrepareRequest>,
    pool: Receiver<PreparedSegment>,
    status: PrepareStatus,
    running: Running,
}

impl Preparer {
    /// Starts the worker.
    ///
    /// # Errors
    /// If the system refuses another thread.
    pub fn spawn(
        threads: &dyn Threads,
        storage: Arc<dyn Storage>,
        config: PreparerConfig,
        plan: SegmentPlanner,
    ) -> io::Result<Preparer> {
        let core = PreparerCore::new(storage, config, plan);
        let status = core.status();
        let (requests, requested) = unbounded();
        // Holds no more segments than were asked for, so it needs no limit of its own.
        let (prepared, pool) = unbounded();
        let worker = PrepareWorker::new(core, requested, prepared);
        let running = threads.spawn("wal-prepare", Box::new(worker))?;
        Ok(Preparer { requests, pool, status, running })
    }

    /// Where to send requests. The worker lives on while a clone of the sender does.
    pub fn requests(&self) -> &Sender<PrepareRequest> {
        &self.requests
    }

    /// Where the prepared segments come out, in ascending sequence order. Once it is disconnected, the
    /// worker has ended.
    pub fn pool(&self) -> &Receiver<PreparedSegment> {
        &self.pool
    }

    /// The fault that the worker is trying to get over, if any.
    pub fn status(&self) -> &PrepareStatus {
        &self.status
    }

    /// Ends the worker and waits until it has ended.
    ///
    /// # Errors
    /// What its thread panicked with, if it did.
    pub fn stop(self) -> thread::Result<()> {
        // Refused only if the worker has ended already.
        let _ = self.requests.send(PrepareRequest::Stop);
        self.running.join()
    }
}

struct PrepareWorker {
    core: PreparerCore,
    requests: Receiver<PrepareRequest>,
    pool: Sender<PreparedSegment>,
    ended: bool,
    /// How long to wait before the next attempt, unless something else is asked for.
    retry: Option<Duration>,
    /// How many steps of clearing up come before the next attempt.
    steps: usize,
    task: Task,
}

/// What is to be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Task {
    Prepare,
    Clear,
}

impl PrepareWorker {
    fn new(
        core: PreparerCore,
        requests: Receiver<PrepareRequest>,
        pool: Sender<PreparedSegment>,
    ) -> Self {
        let (ended, retry, steps, task) = (false, None, 0, Task::Prepare);
        PrepareWorker { core, requests, pool, ended, retry, steps, task }
    }

    fn take(&mut self, request: PrepareRequest) {
        self.ended |= self.core.handle(request).is_break();
    }

    /// The log may wait for a segment, and nobody waits for a removal.
    fn next_task(&self) -> Option<Task> {
        match (self.core.is_idle(), self.core.has_old()) {
            (false, true) if self.steps > 0 => Some(Task::Clear),
            (false, _) => Some(Task::Prepare),
            (true, true) => Some(Task::Clear),
            (true, false) => None,
        }
    }
}

impl Worker for PrepareWorker {
    /// Takes in all requests before the next piece: a Stop must not wait behind segments to fill, nor behind
    /// old ones to remove, which a later life does.
    fn look(&mut self) -> Turn {
        while !self.ended {
            match self.requests.try_recv() {
                Ok(request) => self.take(request),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => self.ended = true,
            }
        }
        match self.retry.take() {
            _ if self.ended => {
                self.core.give_up();
                Turn::End
            }
            Some(retry_after) => Turn::Wait(Some(retry_after)),
            None => match self.next_task() {
                Some(task) => {
                    self.task = task;
                    Turn::Work
                }
                None => Turn::Wait(None),
            },
        }
    }

    fn work(&mut self) {
        if self.task == Task::Clear {
            self.steps = self.steps.saturating_sub(1);
            return self.core.clear();
        }
        match self.core.try_prepare() {
            Attempt::Idle | Attempt::Begun => {}
            Attempt::Failed { retry_after } => self.retry = Some(retry_after),
            Attempt::Crowded => self.steps = REMOVALS_PER_SYNC + 1,
            Attempt::Ready(segment) => {
                self.steps = STEPS_BETWEEN;
                self.ended |= self.pool.send(segment).is_err();
            }
        }
    }

    fn wait(&mut self, at_most: Option<Duration>) {
        let received = match at_most {
            Some(at_most) => self.requests.recv_timeout(at_most),
            None => self.requests.recv().map_err(RecvTimeoutError::from),
        };
        // That nobody can ask any more is seen at the next look.
        if let Ok(request) = received {
            self.take(request);
        }
    }

    fn is_called(&self) -> bool {
        !self.requests.is_empty()
    }
}

#[cfg(test)]
mod tests;
