//! The world of one run: chance, a time of its own, what was counted, and the moment of the crash. Everything
//! takes turns on one thread, so one seed replays one run.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix_wal::engine::clock::{Clock, Tick};
use actix_wal::testkit::{Persist, SimDisk};
use actix_wal::threads::{Running, Threads, Turn, Worker};
use actix_wal::{Epoch, LsnRange};

use super::facts::{Fact, Random};

/// How a life ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The log is closed; then the power fails.
    Close,
    /// The power fails.
    Power(Persist),
    /// The process is killed; the page cache lives on.
    Kill,
}

/// No life has a use for as many turns of its workers.
const ENDLESS: u64 = 100_000;

/// The longest that a piece of work takes in calm weather, in milliseconds.
pub(crate) const LONGEST_WORK: u64 = 35;

/// The longest that a worker does not look whether somebody has called, in milliseconds.
pub(crate) const LONGEST_PAUSE: u64 = 64;

/// How often things go wrong in a life: once in so many operations; zero is never.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Weather {
    pub(crate) faults: u64,
    pub(crate) slow: u64,
    pub(crate) stuck: u64,
}

impl Weather {
    /// Nothing goes wrong.
    pub(crate) fn is_calm(self) -> bool {
        self.faults == 0 && self.slow == 0 && self.stuck == 0
    }
}

/// A run of the whole system.
#[derive(Debug)]
pub(crate) struct World {
    state: Mutex<State>,
    /// How far the time of the worker that takes its turn lies behind, in nanoseconds: it began its work
    /// before it came to the disk.
    lag: AtomicU64,
    crashed: tokio::sync::Notify,
}

#[derive(Debug)]
struct State {
    random: Random,
    weather: Weather,
    /// What happened in all lives so far, as a number and, if wanted, in words.
    events: u64,
    digest: u64,
    trace: Option<Vec<String>>,
    counts: BTreeMap<&'static str, u64>,
    facts: Vec<Fact>,
    disk: SimDisk,
    end: End,
    /// After how many more operations of the storage the life ends.
    operations_left: Option<u64>,
    /// What the crash has left.
    image: Option<SimDisk>,
    /// How many lives ended in the middle of something.
    crashes: u64,
    /// How many turns workers have taken since this life began.
    turns: u64,
    /// The last one that anybody heard of, in any life.
    epoch: Epoch,
    /// When something failed in this life that the log can not get over without a new epoch.
    faults: Vec<Duration>,
    /// Whether the disk was full in this life.
    was_full: bool,
    /// What is broken, if it was not a client who noticed.
    failure: Option<String>,
}

impl World {
    pub(crate) fn new(seed: u64, traced: bool) -> Arc<Self> {
        let state = State {
            random: Random::new(seed),
            weather: Weather::default(),
            events: 0,
            digest: 0xcbf2_9ce4_8422_2325,
            trace: traced.then(Vec::new),
            counts: BTreeMap::new(),
            facts: Vec::new(),
            disk: SimDisk::new(),
            end: End::Close,
            operations_left: None,
            image: None,
            crashes: 0,
            turns: 0,
            epoch: Epoch::default(),
            faults: Vec::new(),
            was_full: false,
            failure: None,
        };
        let crashed = tokio::sync::Notify::new();
        Arc::new(World { state: Mutex::new(state), lag: AtomicU64::new(0), crashed })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn below(&self, limit: u64) -> u64 {
        self.state().random.below(limit)
    }

    pub(crate) fn number(&self) -> u64 {
        self.state().random.number()
    }

    /// Whether something happens that happens once in `times`; never, if that is zero.
    pub(crate) fn once_in(&self, times: u64) -> bool {
        times > 0 && self.below(times) == 0
    }

    pub(crate) fn weather(&self) -> Weather {
        self.state().weather
    }

    pub(crate) fn calm(&self) {
        self.state().weather = Weather::default();
    }

    /// Begins a life on this disk that ends like this: after so many operations, or when its clients say.
    pub(crate) fn begin(&self, disk: SimDisk, end: End, operations: Option<u64>, weather: Weather) {
        let mut state = self.state();
        (state.disk, state.end, state.weather) = (disk, end, weather);
        (state.operations_left, state.image) = (operations, None);
        state.turns = 0;
        state.faults.clear();
        state.was_full = false;
        state.disk.set_capacity(u64::MAX);
        self.lag.store(0, Ordering::Relaxed);
    }

    pub(crate) fn disk(&self) -> SimDisk {
        self.state().disk.clone()
    }

    /// Something happened. After the crash nothing does any more.
    pub(crate) fn event(&self, what: impl fmt::Display) {
        let mut state = self.state();
        if state.image.is_some() {
            return;
        }
        state.events += 1;
        let line = format!("{:>7} ms  {what}", now().as_millis());
        for byte in line.bytes() {
            state.digest = (state.digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        if let Some(trace) = &mut state.trace {
            trace.push(line);
        }
    }

    /// A client learned something, unless the crash came first.
    pub(crate) fn fact(&self, fact: Fact) {
        self.event(format_args!("{fact:?}"));
        let mut state = self.state();
        if state.image.is_none() {
            state.facts.push(fact);
        }
    }

    /// What clients have learned in all lives so far.
    pub(crate) fn facts(&self) -> Vec<Fact> {
        self.state().facts.clone()
    }

    pub(crate) fn count(&self, what: &'static str) {
        *self.state().counts.entry(what).or_default() += 1;
    }

    /// Before an operation of the storage: this may be where the life ends.
    pub(crate) fn operation(&self, what: impl fmt::Display) {
        self.event(what);
        let mut state = self.state();
        match &mut state.operations_left {
            Some(0) => {
                state.crashes += 1;
                drop(state);
                self.crash();
            }
            Some(left) => *left -= 1,
            None => {}
        }
    }

    /// The life ends here, as it was meant to.
    pub(crate) fn crash(&self) {
        let disk = self.disk();
        let end = self.state().end;
        self.event(format_args!("the end: {end:?}"));
        let image = match end {
            End::Close => disk.crash(Persist::Dropped),
            End::Power(persist) => disk.crash(persist),
            End::Kill => disk.fork(),
        };
        self.state().image.get_or_insert(image);
        self.crashed.notify_one();
    }

    pub(crate) fn has_crashed(&self) -> bool {
        self.state().image.is_some()
    }

    /// Waits for the crash.
    pub(crate) async fn crashed(&self) {
        while !self.has_crashed() {
            self.crashed.notified().await;
        }
    }

    /// What the life has left behind.
    pub(crate) fn take_image(&self) -> SimDisk {
        let image = self.state().image.take();
        image.unwrap_or_else(|| unreachable!("every life ends with an image"))
    }

    /// The worker has come to the disk, and what it waited for has happened.
    pub(crate) fn catch_up(&self) {
        self.lag.store(0, Ordering::Relaxed);
    }

    /// What a client is told that only a defect in the log explains.
    pub(crate) fn no_defect(&self, told: &dyn fmt::Debug) -> Result<(), String> {
        let told = format!("{told:?}");
        // A thread that the system refuses is said to be a broken invariant too.
        let defect = told.contains("Stopped {")
            || told.contains("Broken {") && !told.contains("thread")
            || told.contains("Panic {") && !told.contains("injected panic");
        if defect && !self.has_crashed() { Err(format!("P6: {told}")) } else { Ok(()) }
    }

    /// P9: an epoch that began has a number of its own.
    pub(crate) fn epoch_begins(&self, epoch: Epoch) -> Result<(), String> {
        let mut state = self.state();
        if state.image.is_some() {
            return Ok(());
        }
        let before = std::mem::replace(&mut state.epoch, epoch);
        if epoch > before {
            Ok(())
        } else {
            Err(format!("P9: epoch {epoch} begins after epoch {before}"))
        }
    }

    /// Something fails that costs an epoch.
    pub(crate) fn fault(&self) {
        self.state().faults.push(now());
    }

    /// How many faults there were since then, in this life.
    pub(crate) fn faults_since(&self, then: Duration) -> usize {
        self.state().faults.iter().filter(|at| **at >= then).count()
    }

    /// The disk is full, or says so.
    pub(crate) fn is_full(&self) {
        self.state().was_full = true;
    }

    pub(crate) fn was_full(&self) -> bool {
        self.state().was_full
    }

    /// A worker takes a turn.
    fn turn(&self) {
        let mut state = self.state();
        state.turns += 1;
        if state.turns == ENDLESS {
            drop(state);
            self.fail("P17: it goes on and on, and nothing comes of it".to_owned());
        }
    }

    /// Something is broken: the life ends.
    pub(crate) fn fail(&self, what: String) {
        self.event(&what);
        self.state().failure.get_or_insert(what);
        self.crash();
    }

    pub(crate) fn failure(&self) -> Option<String> {
        self.state().failure.clone()
    }

    pub(crate) fn crashes(&self) -> u64 {
        self.state().crashes
    }

    pub(crate) fn events(&self) -> u64 {
        self.state().events
    }

    pub(crate) fn outcome(&self, failure: Option<String>) -> Outcome {
        let mut state = self.state();
        Outcome {
            events: state.events,
            digest: state.digest,
            counts: std::mem::take(&mut state.counts),
            trace: state.trace.take().unwrap_or_default(),
            failure,
        }
    }

    /// How long the next piece of work takes.
    fn work_time(&self) -> Duration {
        let weather = self.weather();
        let usual = Duration::from_millis(5 + self.below(LONGEST_WORK - 4));
        if self.once_in(weather.stuck) {
            self.count("stuck");
            return Duration::from_millis(30_000 + self.below(150_000));
        }
        if self.once_in(weather.slow) {
            self.count("slow");
            return Duration::from_millis(100 + self.below(3000));
        }
        usual
    }
}

/// What came of a run.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) events: u64,
    /// Of all events in order: the same for the same run.
    pub(crate) digest: u64,
    /// What was done to the log, by kind.
    pub(crate) counts: BTreeMap<&'static str, u64>,
    /// If it was asked for.
    pub(crate) trace: Vec<String>,
    /// The promise that was broken.
    pub(crate) failure: Option<String>,
}

thread_local! {
    static ORIGIN: Cell<Option<tokio::time::Instant>> = const { Cell::new(None) };
}

/// Time begins.
pub(crate) fn start_time() {
    ORIGIN.set(Some(tokio::time::Instant::now()));
}

/// The time of this life. Timers of the runtime are good to a millisecond, so everything in here takes a
/// hundred times longer than on a real disk.
pub(crate) fn now() -> Duration {
    ORIGIN.get().map_or(Duration::ZERO, |origin| origin.elapsed())
}

/// The clock of a life. Its wall clock jumps, since nothing may depend on it.
#[derive(Debug)]
pub(crate) struct SimClock(pub(crate) Arc<World>);

impl Clock for SimClock {
    fn now(&self) -> Tick {
        let lag = Duration::from_nanos(self.0.lag.load(Ordering::Relaxed));
        now().saturating_sub(lag)
    }

    fn wall_us(&self) -> u64 {
        self.0.number() >> self.0.below(64)
    }

    fn random(&self) -> u64 {
        self.0.number()
    }
}

/// Has the workers of a log take turns.
#[derive(Debug)]
pub(crate) struct SimThreads {
    pub(crate) world: Arc<World>,
    pub(crate) shared: Arc<actix_wal::engine::shared::Shared>,
}

impl Threads for SimThreads {
    fn spawn(&self, name: &'static str, worker: Box<dyn Worker>) -> std::io::Result<Running> {
        if self.world.once_in(4 * self.world.weather().faults) {
            self.world.count("no thread");
            self.world.event(format_args!("no thread for {name}"));
            self.world.fault();
            if name == "wal-flush" {
                return Err(std::io::ErrorKind::WouldBlock.into());
            }
        }
        let (world, shared) = (Arc::clone(&self.world), Arc::clone(&self.shared));
        let turns = Turns { world, shared, name, worker };
        actix::spawn(turns.take());
        Ok(Running::elsewhere())
    }
}

/// The turns of one worker.
///
/// A piece of work happens at the moment at which it ends: whoever else has a turn while it lasts sees
/// nothing of it, as nobody sees what a thread does that hangs in a sync. Its own clock shows when it began.
struct Turns {
    world: Arc<World>,
    shared: Arc<actix_wal::engine::shared::Shared>,
    name: &'static str,
    worker: Box<dyn Worker>,
}

impl Turns {
    async fn take(mut self) {
        loop {
            self.world.turn();
            match self.worker.look() {
                Turn::Work => self.work().await,
                Turn::Wait(at_most) => self.wait(at_most).await,
                Turn::End => return self.world.event(format_args!("{} ends", self.name)),
            }
        }
    }

    async fn work(&mut self) {
        let takes = self.world.work_time();
        let flushes = self.name == "wal-flush";
        if flushes {
            self.shared.io_begins(now());
        }
        actix::clock::sleep(takes).await;
        if flushes {
            self.shared.io_ended();
            self.world.lag.store(takes.as_nanos() as u64, Ordering::Relaxed);
        }
        self.world.event(format_args!("{} works, {takes:?}", self.name));
        self.worker.work();
        self.world.catch_up();
        self.count_what_is_open();
    }

    /// P16: by what has an LSN and no outcome, whatever the log itself counts.
    fn count_what_is_open(&self) {
        let (durable, accepted) = (self.shared.durable(), self.shared.accepted());
        let limit = self.shared.admission.max_entries() as u64;
        let Some(open) = LsnRange::new(durable.next(), accepted) else { return };
        if open.count() > limit {
            let (failed, unknown) = self.shared.exceptions();
            let settled = failed.into_iter().chain(unknown);
            let settled = settled.filter_map(|range| {
                LsnRange::new(range.first.max(open.first), range.last.min(open.last))
            });
            let count = open.count() - settled.map(|range| range.count()).sum::<u64>();
            if count > limit {
                self.world.fail(format!("P16: {count} records are in flight, of {limit}"));
            }
        }
    }

    /// Looks now and then whether somebody has called, as seldom as the quiet lasts long.
    async fn wait(&mut self, at_most: Option<Duration>) {
        let until = at_most.map(|at_most| now().saturating_add(at_most));
        let mut pause = Duration::from_millis(1);
        while !self.worker.is_called() {
            let left = until.map_or(pause, |until| until.saturating_sub(now()));
            if left.is_zero() {
                return;
            }
            actix::clock::sleep(pause.min(left)).await;
            pause = (2 * pause).min(Duration::from_millis(LONGEST_PAUSE));
        }
    }
}
