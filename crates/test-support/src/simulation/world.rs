//! The world of one run: chance, a time of its own, what was counted, and the moment of the crash. Everything
//! takes turns on one thread, so one seed replays one run.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix_wal::Epoch;
use actix_wal::testkit::{Copying, FailedSync, FaultOp, Persist, Random, SimDisk};

pub use super::weather::*;
use crate::counts::Counts;
use crate::facts::Fact;

/// How many other crashes of a life are looked at.
const GLIMPSES: usize = 4;

/// Large enough to be filled with zeros by pieces of several blocks.
pub const SEGMENT_SIZE: u64 = 16 * 1024;

/// No life has a use for as many turns of its workers.
const ENDLESS: u64 = 100_000;

/// What would be there had the power failed at some time, though it did not.
#[derive(Debug)]
pub struct Glimpse {
    /// The operation before which it would have failed.
    pub before: String,
    pub disk: SimDisk,
    /// How much clients knew by then of what they know now.
    pub known: usize,
    unfinished: BTreeMap<String, bool>,
}

impl Glimpse {
    /// P10: see [`World::may_be_torn`].
    pub fn may_be_torn(&self, file: &str) -> bool {
        self.unfinished.contains_key(file)
    }
}

/// A run of the whole system.
#[derive(Debug)]
pub struct World {
    random: Mutex<Random>,
    state: Mutex<State>,
    /// How far the time of the worker that takes its turn lies behind, in nanoseconds: it began its work
    /// before it came to the disk.
    lag: AtomicU64,
    crashed: tokio::sync::Notify,
}

#[derive(Debug, Default)]
struct State {
    weather: Weather,
    /// What happened in all lives so far, as a number and, if wanted, in words.
    events: u64,
    digest: u64,
    trace: Option<Vec<String>>,
    counts: Counts,
    facts: Vec<Fact>,
    disk: SimDisk,
    failed_sync: FailedSync,
    end: End,
    when: When,
    /// Whether the life before was killed.
    after_kill: bool,
    /// How many operations of this life have changed the disk.
    operations: u64,
    /// After how many more operations of the storage the life ends.
    operations_left: Option<u64>,
    /// What the crash has left.
    image: Option<SimDisk>,
    /// What other crashes would have left in this life.
    glimpses: Vec<Glimpse>,
    /// The copy that is being made, and how many bytes it takes at once.
    copying: Option<(Copying, u64)>,
    /// How many operations of this life could have been looked at.
    could_be_seen: usize,
    /// How many lives ended in the middle of something.
    crashes: u64,
    /// How often the power failed.
    power_cuts: u64,
    /// How many turns workers have taken since this life began.
    turns: u64,
    /// The last one that any client was told, in any life.
    epoch: Epoch,
    /// When something failed in this life that the log can not get over without a new epoch.
    faults: Vec<Duration>,
    /// How often something was refused because the disk was full, though it had been promised, or of anything else that
    /// comes back.
    refused: u64,
    /// Whether the disk was full in this life, or the system short of something.
    was_full: bool,
    refuses: Refuses,
    /// Whether work was stuck in this life.
    was_stuck: bool,
    /// Whether nothing goes wrong any more until this life ends.
    is_over: bool,
    /// Files in which a write was begun, and not followed by a sync that succeeded; and whether a sync has
    /// failed, so that a later one says nothing.
    unfinished: BTreeMap<String, bool>,
    /// How long after a fault the log may still come to feel it.
    lasting: Duration,
    /// What is broken, if it was not a client who noticed.
    failure: Option<String>,
}

impl World {
    pub fn new(seed: u64, traced: bool) -> Arc<Self> {
        let state = State {
            digest: 0xcbf2_9ce4_8422_2325,
            trace: traced.then(Vec::new),
            ..State::default()
        };
        Arc::new(World {
            random: Mutex::new(Random::new(seed)),
            state: Mutex::new(state),
            lag: AtomicU64::new(0),
            crashed: tokio::sync::Notify::new(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn random(&self) -> MutexGuard<'_, Random> {
        self.random.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn below(&self, limit: u64) -> u64 {
        self.random().below(limit)
    }

    pub fn number(&self) -> u64 {
        self.random().number()
    }

    /// Whether something happens that happens once in `times`; never, if that is zero.
    pub fn once_in(&self, times: u64) -> bool {
        times > 0 && self.below(times) == 0
    }

    pub fn weather(&self) -> Weather {
        self.state().weather
    }

    /// The weather changes.
    pub fn turns(&self, weather: Weather) {
        self.state().weather = weather;
    }

    /// Nothing goes wrong any more in this life, and there is space.
    pub fn all_is_well(&self) {
        self.turns(Weather::default());
        self.state().is_over = true;
        self.refuse(Refuses::Nothing);
    }

    pub fn is_all_well(&self) -> bool {
        self.state().is_over
    }

    /// Begins a life on this disk that ends like this.
    pub fn begin(&self, disk: SimDisk, end: End, when: When, weather: Weather) {
        let mut state = self.state();
        (state.after_kill, state.operations) = (state.end == End::Kill, 0);
        (state.disk, state.end, state.weather) = (disk, end, weather);
        (state.when, state.image) = (when, None);
        state.operations_left = match when {
            When::Operations(left) => Some(left),
            _ => None,
        };
        let longest = if weather.stuck > 0 { LONGEST_STUCK } else { LONGEST_SLOW };
        state.lasting = Duration::from_millis(longest) + Duration::from_secs(2);
        (state.turns, state.could_be_seen) = (0, 0);
        state.faults.clear();
        (state.refused, state.was_full, state.was_stuck) = (0, false, false);
        (state.refuses, state.is_over) = (Refuses::Nothing, false);
        state.disk.set_capacity(u64::MAX);
        self.catch_up();
    }

    pub fn disk(&self) -> SimDisk {
        self.state().disk.clone()
    }

    /// Something happened. After the crash nothing does any more.
    pub fn event(&self, what: impl fmt::Display) {
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
    pub fn fact(&self, fact: Fact) {
        self.event(format_args!("{fact:?}"));
        let mut state = self.state();
        if let (Fact::Checkpoint(_), When::AfterCheckpoint(left)) = (fact, state.when) {
            state.operations_left.get_or_insert(left);
        }
        if state.image.is_none() {
            state.facts.push(fact);
        }
    }

    /// What clients have learned in all lives so far.
    pub fn facts(&self) -> Vec<Fact> {
        self.state().facts.clone()
    }

    /// Something was done to the log, or followed from that. After the crash nothing is.
    pub fn count(&self, what: &'static str) {
        let mut state = self.state();
        if state.image.is_none() {
            state.counts.count(what, 1);
        }
    }

    pub fn set_failed_sync(&self, how: FailedSync) {
        self.state().failed_sync = how;
    }

    /// A sync fails, and is not done: the disk makes of that what its model says.
    pub fn sync_fails(&self) {
        let how = self.state().failed_sync;
        self.count(match how {
            FailedSync::RevertsPages => "a failed sync reverts",
            FailedSync::KeepsNewPages => "a failed sync forgets",
        });
    }

    /// Before an operation that changes the disk: this may be where the life ends.
    pub fn operation(&self, op: FaultOp, what: impl fmt::Display) {
        let is_fresh = self.begins_after_a_kill();
        let often = match op {
            // What a killed process has left in the page cache is at stake as long as nobody has synced it.
            FaultOp::SyncDir | FaultOp::Sync if is_fresh => 2,
            FaultOp::SyncDir => 3,
            FaultOp::Sync => 8,
            _ => 40,
        };
        if self.once_in(often) {
            self.glimpse(&what);
        }
        self.event(what);
        self.go_on_copying();
        let mut state = self.state();
        // Who is killed loses nothing but what was never written: it matters which sync is not done.
        if state.end == End::Kill && !matches!(op, FaultOp::Sync | FaultOp::SyncDir) {
            return;
        }
        match &mut state.operations_left {
            Some(0) => {
                state.crashes += 1;
                let name = state.when.name();
                drop(state);
                self.count(name);
                self.crash();
            }
            Some(left) => *left -= 1,
            None => {}
        }
    }

    /// Counts an operation. Whether this life has just begun, on what a killed process has left.
    fn begins_after_a_kill(&self) -> bool {
        let mut state = self.state();
        state.operations += 1;
        state.after_kill && state.operations < 12
    }

    fn glimpse(&self, what: &impl fmt::Display) {
        let seed = self.number();
        let persist = match seed % 3 {
            0 => Persist::Dropped,
            1 => Persist::Torn { seed },
            _ => Persist::Garbled { seed },
        };
        let place = self.place_for_a_glimpse();
        let mut state = self.state();
        let Some(place) = place.filter(|_| state.image.is_none()) else { return };
        let (before, disk) = (what.to_string(), state.disk.crash(persist));
        let (known, unfinished) = (state.facts.len(), state.unfinished.clone());
        let glimpse = Glimpse { before, disk, known, unfinished };
        match state.glimpses.get_mut(place) {
            Some(earlier) => *earlier = glimpse,
            None => state.glimpses.push(glimpse),
        }
    }

    /// Of all the operations of a life that could be looked at, each is as likely to be, however long it is.
    fn place_for_a_glimpse(&self) -> Option<usize> {
        let mut state = self.state();
        state.could_be_seen += 1;
        let seen = state.could_be_seen;
        let place = if seen <= GLIMPSES { seen - 1 } else { self.below(seen as u64) as usize };
        (place < GLIMPSES).then_some(place)
    }

    /// Copies the directory while the log runs, a little at each turn.
    fn go_on_copying(&self) {
        let (begins, pace, seed) = (self.once_in(100), 1 << (8 + self.below(8)), self.number());
        let mut state = self.state();
        match &mut state.copying {
            None if begins => state.copying = Some((state.disk.begin_copy(seed), pace)),
            Some((copying, pace)) => drop(copying.advance((seed % *pace) as usize)),
            None => {}
        }
    }

    /// As much as was copied of the directory, whole or not, if anybody began to.
    pub fn take_copy(&self) -> Option<SimDisk> {
        let copying = self.state().copying.take();
        copying.map(|(copying, _)| copying.copied())
    }

    /// What other crashes would have left.
    pub fn take_glimpses(&self) -> Vec<Glimpse> {
        std::mem::take(&mut self.state().glimpses)
    }

    /// The life ends here, as it was meant to.
    pub fn crash(&self) {
        let disk = self.disk();
        let end = self.state().end;
        self.event(format_args!("the end: {end:?}"));
        let image = match end {
            End::Close => disk.crash(Persist::Dropped),
            End::Power(persist) => disk.crash(persist),
            End::Kill => disk.fork(),
        };
        if is_half_filled(&image) {
            self.count("ends: half filled");
        }
        let mut state = self.state();
        if state.image.is_none() {
            state.image = Some(image);
            state.power_cuts += u64::from(matches!(end, End::Power(_)));
        }
        drop(state);
        self.crashed.notify_one();
    }

    pub fn has_crashed(&self) -> bool {
        self.state().image.is_some()
    }

    /// Waits for the crash.
    pub async fn crashed(&self) {
        while !self.has_crashed() {
            self.crashed.notified().await;
        }
    }

    /// What the life has left behind.
    pub fn take_image(&self) -> SimDisk {
        let image = self.state().image.take();
        image.unwrap_or_else(|| unreachable!("every life ends with an image"))
    }

    /// The worker that takes its turn has begun so long ago.
    pub fn lag_behind(&self, by: Duration) {
        self.lag.store(by.as_nanos() as u64, Ordering::Relaxed);
    }

    /// The worker has come to the disk, and what it waited for has happened.
    pub fn catch_up(&self) {
        self.lag_behind(Duration::ZERO);
    }

    /// The time of the worker that takes its turn.
    pub fn time(&self) -> Duration {
        now().saturating_sub(Duration::from_nanos(self.lag.load(Ordering::Relaxed)))
    }

    /// What a client is told that only a defect in the log explains.
    pub fn no_defect(&self, told: &dyn fmt::Debug) -> Result<(), String> {
        let told = format!("{told:?}");
        let defect = told.contains("Stopped {")
            || told.contains("Broken {")
            || told.contains("Panic {") && !told.contains("injected panic");
        if defect && !self.has_crashed() { Err(format!("P6: {told}")) } else { Ok(()) }
    }

    /// Somebody is told that something can not be done: something must have failed in this life, or been full,
    /// or stuck.
    pub fn not_for_nothing(&self, who: &str, told: &dyn fmt::Debug) -> Result<(), String> {
        let state = self.state();
        let is_well =
            state.faults.is_empty() && state.refused == 0 && !state.was_full && !state.was_stuck;
        if is_well && state.image.is_none() {
            Err(format!("{who} was refused, and nothing has failed: {told:?}"))
        } else {
            Ok(())
        }
    }

    /// P9: an epoch that began has a number of its own.
    pub fn epoch_begins(&self, epoch: Epoch) -> Result<(), String> {
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
    pub fn fault(&self) {
        let mut state = self.state();
        state.faults.push(now());
        if let When::AfterFault(left) = state.when {
            state.operations_left.get_or_insert(left);
        }
    }

    /// Whether something may fail again.
    pub fn may_fail(&self) -> bool {
        let state = self.state();
        let last = state.faults.last().filter(|_| !state.weather.rest.is_zero());
        last.is_none_or(|last| now() >= *last + state.weather.rest)
    }

    /// How many faults may still have been felt at some time of the last `within`.
    pub fn faults_within(&self, within: Duration) -> usize {
        let lasting = self.state().lasting;
        self.faults_since(now().saturating_sub(within + lasting))
    }

    /// How often anything has failed in this life, also because the disk was full.
    pub fn troubles(&self) -> u64 {
        let state = self.state();
        state.faults.len() as u64 + state.refused
    }

    /// How many faults there were since then, in this life.
    pub fn faults_since(&self, then: Duration) -> usize {
        self.state().faults.iter().filter(|at| **at >= then).count()
    }

    /// The disk refuses this from now on.
    pub fn refuse(&self, what: Refuses) {
        let mut state = self.state();
        state.refuses = what;
        state.was_full |= what != Refuses::Nothing;
        state.disk.set_capacity(if what == Refuses::Nothing { u64::MAX } else { 0 });
    }

    pub fn refuses_writes(&self) -> bool {
        self.state().refuses == Refuses::Writes
    }

    /// The disk says that it is full where the space had been promised, or the system is short of something: that
    /// passes, and is no fault that the budget is for.
    pub fn refused(&self) {
        let mut state = self.state();
        state.was_full = true;
        state.refused += 1;
    }

    /// P21: a full disk costs no restart, unless it refuses a write that was sure to find its space.
    pub fn count_restarts(&self, restarts: u64) {
        let (faults, refused) = {
            let state = self.state();
            (state.faults.len() as u64, state.refused)
        };
        if restarts > faults + refused {
            self.fail(format!(
                "P21: {restarts} restarts after {faults} faults, {refused} refusals"
            ));
        }
    }

    /// A write to this file begins.
    pub fn writes(&self, file: &str) {
        self.state().unfinished.entry(file.to_owned()).or_default();
    }

    /// A sync of this file, which may fail.
    pub fn syncs<T, E>(&self, file: &str, sync: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        let known = self.state().unfinished.insert(file.to_owned(), true);
        let synced = sync();
        let mut state = self.state();
        if synced.is_ok() && known != Some(true) && state.image.is_none() {
            state.unfinished.remove(file);
        }
        synced
    }

    /// P10: whether the file may hold a write that did not come to its end.
    pub fn may_be_torn(&self, file: &str) -> bool {
        self.state().unfinished.contains_key(file)
    }

    pub fn was_full(&self) -> bool {
        self.state().was_full
    }

    /// A worker takes a turn.
    pub fn turn(&self) {
        let mut state = self.state();
        state.turns += 1;
        if state.turns == ENDLESS {
            drop(state);
            self.fail("P17: it goes on and on, and nothing comes of it".to_owned());
        }
    }

    /// Something is broken: the life ends.
    pub fn fail(&self, what: String) {
        self.event(&what);
        self.state().failure.get_or_insert(what);
        self.crash();
    }

    pub fn failure(&self) -> Option<String> {
        self.state().failure.clone()
    }

    pub fn crashes(&self) -> u64 {
        self.state().crashes
    }

    pub fn events(&self) -> u64 {
        self.state().events
    }

    pub fn outcome(&self, failure: Option<String>) -> Outcome {
        let mut state = self.state();
        Outcome {
            events: state.events,
            digest: state.digest,
            crashes: state.crashes,
            power_cuts: state.power_cuts,
            counts: std::mem::take(&mut state.counts),
            trace: state.trace.take().unwrap_or_default(),
            failure,
        }
    }

    /// How long the next piece of work takes.
    pub fn work_time(&self) -> Duration {
        Duration::from_millis(5 + self.below(LONGEST_WORK - 4))
    }

    /// How long the next sync hangs, if it does, and how that is counted.
    pub fn draw_hang(&self) -> Option<(&'static str, Duration)> {
        let weather = self.weather();
        let between = |least, most| Duration::from_millis(least + self.below(most - least));
        if self.once_in(weather.stuck) {
            return Some(("stuck", between(30_000, LONGEST_STUCK)));
        }
        self.once_in(weather.slow).then(|| ("slow", between(100, LONGEST_SLOW)))
    }

    /// A sync hangs, for so long.
    pub fn hangs(&self, name: &'static str, long: Duration) {
        self.catch_up();
        self.event(format_args!("the sync is {name}, {long:?}"));
        self.count(name);
        self.state().was_stuck |= name == "stuck";
    }

    /// Whether this life ends in the sync that hangs now.
    pub fn ends_in_a_sync(&self) -> bool {
        let when = self.state().when;
        !matches!(when, When::Done) && self.once_in(3)
    }

    pub fn end_in_a_sync(&self) {
        if !self.has_crashed() {
            self.count("ends: in a sync");
            self.state().crashes += 1;
            self.crash();
        }
    }
}

/// What came of a run.
#[derive(Debug, Default)]
pub struct Outcome {
    pub events: u64,
    /// Of all events in order: the same for the same run.
    pub digest: u64,
    /// How many lives ended in the middle of something, and how many because the power failed.
    pub crashes: u64,
    pub power_cuts: u64,
    /// What was done to the log, by kind.
    pub counts: Counts,
    /// If it was asked for.
    pub trace: Vec<String>,
    /// The promise that was broken.
    pub failure: Option<String>,
}

thread_local! {
    static ORIGIN: Cell<Option<tokio::time::Instant>> = const { Cell::new(None) };
}

/// Time begins.
pub fn start_time() {
    ORIGIN.set(Some(tokio::time::Instant::now()));
}

/// When time began, for a thread that joins this life.
pub fn origin() -> Option<tokio::time::Instant> {
    ORIGIN.get()
}

pub fn time_began(at: Option<tokio::time::Instant>) {
    ORIGIN.set(at);
}

/// The time of this life. Timers of the runtime are good to a millisecond, so everything in here takes a
/// hundred times longer than on a real disk.
pub fn now() -> Duration {
    ORIGIN.get().map_or(Duration::ZERO, |origin| origin.elapsed())
}

/// Whether a segment is filled with zeros in part.
fn is_half_filled(disk: &SimDisk) -> bool {
    let scratch = disk.names().into_iter().filter(|name| name.ends_with(".tmp"));
    let mut sizes = scratch.filter_map(|name| disk.read_file(&name)).map(|file| file.len() as u64);
    sizes.any(|size| size > 0 && size < SEGMENT_SIZE)
}
