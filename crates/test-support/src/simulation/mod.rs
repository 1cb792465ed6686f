//! The whole log in a world that is all chance: its actors, its engine and its recovery, the same that
//! production runs, with clients, coordinators, readers and a disk, driven by one seed on one thread in
//! a time of its own.

pub mod chaos;
mod clients;
mod coordinators;
pub mod damage;
mod hang;
mod turns;
pub mod watch;
pub mod weather;
pub mod world;

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use actix::{Addr, Supervisor};
use actix_wal::FaultPolicy::{FailFast, Resend};
use actix_wal::actors::{Appender, Flusher};
use actix_wal::error::Damage;
use actix_wal::messages::GetStatus;
use actix_wal::storage::Storage;
use actix_wal::testkit::internals::Parts;
use actix_wal::testkit::internals::engine::recovery::{self, Begun};
use actix_wal::testkit::internals::engine::state::outcomes::Fate;
use actix_wal::testkit::internals::engine::state::requests::QueueReceiver;
use actix_wal::testkit::internals::engine::state::shared::Shared;
use actix_wal::testkit::internals::format::segment::segment_name;
use actix_wal::testkit::internals::runtime::clock::Clock;
use actix_wal::testkit::{FailedSync, Persist, SimDisk};
use actix_wal::{
    Bounds, CloseError, FlushPolicy, Lsn, LsnRange, OpenError, OverloadPolicy, RecordBatch,
    RecoveryReport, RestartBudget, Wal, WalConfig,
};

use crate::facts::{Fact, digest};
use crate::oracle::Oracle;
use crate::recovered::Recovered;
use crate::settings::blocks;
use chaos::{Chaos, Wrap};
use clients::Client;
use coordinators::Coordinator;
use damage::{Damaged, Must};
use demo::panics::INJECTED;
use turns::{SimClock, SimThreads};
use world::{
    End, Glimpse, LONGEST_PAUSE, LONGEST_STUCK, LONGEST_WORK, Outcome, SEGMENT_SIZE, Weather, When,
    World, start_time,
};

/// A run goes on until it has seen as much as this, and a crash.
const EVENTS: u64 = 500;

/// The shorter of the windows of the restart budgets, and the longer one.
const FORGIVEN: Duration = Duration::from_secs(20);
const PATIENCE: Duration = Duration::from_secs(3600);

/// What is put between the log and its world, where a test breaks something on purpose.
#[derive(Clone, Copy, Debug)]
pub struct Seams {
    pub storage: Wrap,
    pub clock: fn(Arc<dyn Clock>) -> Arc<dyn Clock>,
    pub queue: fn(QueueReceiver) -> QueueReceiver,
}

/// Nothing.
pub const SOUND: Seams =
    Seams { storage: |storage| storage, clock: |clock| clock, queue: |queue| queue };

/// Runs one seed.
pub fn run(seed: u64, seams: Seams, traced: bool) -> Outcome {
    let world = World::new(seed, traced);
    let (oracle, handed) = (Oracle::default(), BTreeMap::new());
    let mut run = Run { world: Arc::clone(&world), seams, oracle, handed, lives: 0 };
    let ended = catch_unwind(AssertUnwindSafe(|| run.all_lives()));
    let failure = ended.unwrap_or_else(|panic| Err(panicked(&*panic))).err();
    world.outcome(failure)
}

struct Run {
    world: Arc<World>,
    seams: Seams,
    oracle: Oracle,
    /// What any recovery has handed to the host, also one that did not come to its end: LSNs and digests.
    handed: BTreeMap<u64, u64>,
    lives: u32,
}

impl Run {
    fn all_lives(&mut self) -> Result<(), String> {
        let mut disk = self.draw_disk();
        while self.world.events() < EVENTS || self.world.crashes() == 0 {
            let end = self.draw_end();
            disk = self.live(disk, end)?;
            in_virtual_time(async {
                self.look_at_other_ends()?;
                if self.world.once_in(3) {
                    damage::spoil_what_is_released(&disk, &self.world);
                }
                Ok::<_, String>(())
            })?;
            if self.world.once_in(2) {
                in_virtual_time(async { self.damage(&disk) })?;
            }
        }
        in_virtual_time(async { self.last_look(disk) })
    }

    fn draw_disk(&self) -> SimDisk {
        let failed_sync = match self.world.below(3) {
            0 => FailedSync::RevertsPages,
            _ => FailedSync::KeepsNewPages,
        };
        self.world.set_failed_sync(failed_sync);
        SimDisk::new().with_failed_sync(failed_sync)
    }

    /// P10, P13, P14: what comes of a copy of the log that is damaged.
    fn damage(&self, disk: &SimDisk) -> Result<(), String> {
        let Some((what, must, damaged)) = damage::draw(disk, &self.world) else {
            return Ok(());
        };
        let Damaged { disk: damaged, place } = damaged;
        match (self.open_copy(&damaged)?, must) {
            (Err(refused), Must::BeRefused | Must::NotBeBelieved) if !refused.is_a_fault => {
                match place.filter(|place| !refused.damage.is_some_and(|at| place.is_meant_by(&at)))
                {
                    Some(place) => {
                        Err(format!("P10: {what}: at {place:?}, but: {}", refused.reason))
                    }
                    None => Ok(()),
                }
            }
            (Err(refused), _) => Err(format!("P10: {what}: it does not open: {}", refused.reason)),
            (Ok(_), Must::BeRefused) => Err(format!("P10: {what}: it opens as if nothing were")),
            (Ok((_, found)), _) => match self.open_copy(&disk.fork())? {
                Ok((_, sound)) if sound.records == found.records => Ok(()),
                Ok(_) => Err(format!("P13: {what}: it is taken for a part of the log")),
                Err(refused) => Err(format!("it does not open: {}", refused.reason)),
            },
        }
    }

    /// Recovers a disk that no life goes on from.
    fn open_copy(&self, disk: &SimDisk) -> Result<Result<(Begun, Recovered), Refused>, String> {
        disk.set_capacity(u64::MAX);
        let mounted = disk.mount().map_err(|error| format!("P20: {error}"))?;
        let config = self.draw_config();
        Ok(recover(mounted, &config, &self.link(&config), |_, _| {}))
    }

    /// What would have come of this life, had the power failed elsewhere in it.
    fn look_at_other_ends(&self) -> Result<(), String> {
        let facts = self.world.facts();
        for glimpse in self.world.take_glimpses() {
            self.world.count("power: looked at");
            let looked_at = self.look_at(&glimpse, &facts[..glimpse.known]);
            looked_at
                .map_err(|broken| format!("had it ended before {}: {broken}", glimpse.before))?;
        }
        self.world.take_copy().map_or(Ok(()), |copy| self.look_at_copy(&copy, &facts))
    }

    /// P2, P14: a directory that was copied while the log went on, and perhaps not to the end, is a prefix of
    /// the log, or is refused.
    fn look_at_copy(&self, copy: &SimDisk, facts: &[Fact]) -> Result<(), String> {
        self.world.count(damage::HALF_A_COPY);
        let recovered = match self.open_copy(copy)? {
            Ok((_, recovered)) => recovered,
            Err(refused) if refused.is_a_fault => {
                return Err(format!("P11: {}: {}", damage::HALF_A_COPY, refused.reason));
            }
            Err(_) => return Ok(()),
        };
        self.world.count("a copy that opens");
        let is_prefix = Oracle::after(facts, Oracle::default()).check_is_prefix(&recovered);
        is_prefix.map(drop).map_err(|broken| format!("{}: {broken}", damage::HALF_A_COPY))
    }

    fn look_at(&self, glimpse: &Glimpse, facts: &[Fact]) -> Result<(), String> {
        let opened = self.open_copy(&glimpse.disk)?;
        let (_, recovered) =
            opened.map_err(|refused| format!("it does not open: {}", refused.reason))?;
        torn_only_where(&recovered.report, |file| glimpse.may_be_torn(file))?;
        Oracle::after(facts, Oracle::default()).check(&recovered)
    }

    fn draw_end(&self) -> End {
        let world = &self.world;
        let seed = world.number();
        let (end, name) = match world.below(11) {
            0..=1 => (End::Close, "close"),
            2 => (End::Power(Persist::Dropped), "power: dropped"),
            3 => (End::Power(Persist::Kept), "power: kept"),
            4..=5 => (End::Power(Persist::Torn { seed }), "power: torn"),
            6..=7 => (End::Power(Persist::Garbled { seed }), "power: garbled"),
            _ => (End::Kill, "kill"),
        };
        world.count(name);
        end
    }

    fn draw_weather(&self) -> Weather {
        let (world, calm) = (&self.world, Weather::default());
        match world.below(13) {
            0..=2 => calm,
            3..=5 => Weather { faults: 300, slow: 50, ..calm },
            6..=8 => Weather { faults: 60, slow: 30, stuck: 400, ..calm },
            9..=11 => Weather { faults: 12, slow: 100, stuck: 200, ..calm },
            _ => {
                world.count("one fault at a time");
                Weather { faults: 8, rest: FORGIVEN + Duration::from_secs(10), ..calm }
            }
        }
    }

    fn draw_when(&self, end: End, weather: Weather) -> When {
        let world = &self.world;
        if end == End::Close || !weather.rest.is_zero() {
            return When::Done;
        }
        let (soon, late) = if end == End::Kill { (5, 40) } else { (12, 100) };
        match world.below(8) {
            0..=1 => When::Operations(world.below(soon)),
            2 => When::AfterFault(world.below(10)),
            3 => When::AfterCheckpoint(world.below(8)),
            _ => When::Operations(world.below(late)),
        }
    }

    /// One life, from the disk that the last one left to the disk that it leaves.
    fn live(&mut self, disk: SimDisk, end: End) -> Result<SimDisk, String> {
        self.lives += 1;
        let weather = self.draw_weather();
        self.world.begin(disk, end, self.draw_when(end, weather), weather);
        let world = Arc::clone(&self.world);
        in_virtual_time(async {
            tokio::select! {
                biased;
                () = world.crashed() => Ok(()),
                lived = self.use_the_log() => {
                    world.crash();
                    lived
                }
            }
        })?;
        match self.world.failure() {
            Some(failure) => Err(failure),
            None => Ok(self.world.take_image()),
        }
    }

    async fn use_the_log(&mut self) -> Result<(), String> {
        let config = self.draw_config();
        self.world.fact(Fact::Opening);
        let Some(log) = self.open(&config)? else {
            return Ok(());
        };
        let world = Arc::clone(&self.world);
        let fills = world.once_in(4);
        if fills {
            actix::spawn(chaos::fill_the_disk(Arc::clone(&world)));
        }
        let in_time = (world.weather().is_calm() && !fills).then(|| answered_within(&config));
        self.clients(&log.wal, &config, in_time).await?;
        if world.has_crashed() {
            return Ok(());
        }
        world.all_is_well();
        // Not always: a commit hides what a close makes of LSNs that were refused last.
        if !world.once_in(4) {
            let last = Client::new(200, self.lives * 1_000_000, &log.wal, &world, None);
            last.commits_in_the_end().await?;
        }
        let world = &self.world;
        if world.has_crashed() {
            return Ok(());
        }
        let shared = Arc::clone(&log.shared);
        let closed = log.close().await;
        if world.has_crashed() {
            return Ok(());
        }
        match closed {
            Ok(()) => {
                world.fact(Fact::Closed);
                drained(&shared)?;
                self.is_free_soon().await
            }
            Err(error) => world.not_for_nothing("P22: a close", &error),
        }
    }

    /// P20: after a close the directory is free, once the last worker has ended, even one that hangs.
    async fn is_free_soon(&self) -> Result<(), String> {
        for _ in 0..2 * LONGEST_STUCK / 1000 {
            if self.world.has_crashed() || self.world.disk().mount().is_ok() {
                return Ok(());
            }
            actix::clock::sleep(Duration::from_secs(1)).await;
        }
        Err("P20: the log is closed, and its directory is not free".to_owned())
    }

    fn draw_config(&self) -> WalConfig {
        let world = &self.world;
        let mut config = blocks(SEGMENT_SIZE / 512);
        config.max_in_flight_entries = 8 + world.below(40) as usize;
        let bounds = Bounds {
            max_delay: Duration::from_millis(20 + world.below(200)),
            max_entries: 1 + world.below(20) as usize,
            max_bytes: 4096,
        };
        config.flush_policy = match world.below(4) {
            0 => FlushPolicy::Eager,
            1 => FlushPolicy::Window(bounds),
            _ => FlushPolicy::Adaptive(bounds),
        };
        config.seal_after = Duration::from_millis(100 + world.below(1000));
        config.overload =
            if world.once_in(3) { OverloadPolicy::Refuse } else { OverloadPolicy::Wait };
        config.fault_policy = if world.once_in(2) { FailFast } else { Resend };
        config.slow_sync = Duration::from_secs(2);
        config.stalled_after = Duration::from_secs(20);
        config.give_up_after = Duration::from_secs(20);
        // Where faults come one at a time, each is forgiven before the next.
        let is_tight = !world.weather().rest.is_zero();
        config.restart_budget = RestartBudget {
            restarts: if is_tight || world.once_in(4) { 2 } else { 1000 },
            within: if is_tight || world.once_in(2) { FORGIVEN } else { PATIENCE },
            backoff: Duration::from_millis(50),
            max_backoff: Duration::from_millis(400),
        };
        config
    }

    fn link(&self, config: &WalConfig) -> Parts {
        let clock = Arc::new(SimClock(Arc::clone(&self.world)));
        let Parts { shared, queue } = Parts::with_clock(config, (self.seams.clock)(clock));
        Parts { shared, queue: (self.seams.queue)(queue) }
    }

    fn mount(&self) -> Result<Arc<dyn Storage>, String> {
        Chaos::mount(&self.world, self.seams.storage).map_err(|error| format!("P20: {error}"))
    }

    /// Recovers, holds what came out against what clients know, and starts the actors. `None` if the life
    /// ends in it.
    fn open(&mut self, config: &WalConfig) -> Result<Option<Log>, String> {
        let weather = self.world.weather();
        for attempt in 0.. {
            let troubles = self.world.troubles();
            let link = self.link(config);
            let storage = self.mount()?;
            let recovered = recover(storage, config, &link, |lsn, record| {
                if !self.world.has_crashed() {
                    self.handed.insert(lsn, digest(record));
                }
            });
            if self.world.has_crashed() {
                return Ok(None);
            }
            match recovered {
                Ok((log, recovered)) => {
                    self.world.turns(weather);
                    self.check(&recovered)?;
                    no_gap_is_durable(&log, &link.shared)?;
                    return Ok(Some(Log::start(&self.world, config, link, log)));
                }
                // Who did not fail is not to blame.
                Err(refused)
                    if refused.is_a_fault && attempt < 20 && self.world.troubles() > troubles =>
                {
                    self.world.count("recovery fails");
                    self.world.event(format_args!("recovery fails: {}", refused.reason));
                    // What was closed is not, once an open has begun to write.
                    self.world.fact(Fact::Opening);
                    self.world.turns(Weather::default());
                }
                Err(refused) => return Err(format!("it does not open: {}", refused.reason)),
            }
        }
        unreachable!("the last attempt has returned")
    }

    fn check(&mut self, recovered: &Recovered) -> Result<(), String> {
        let Recovered { records, report } = recovered;
        self.world.event(format_args!(
            "recovered {} records up to {}, next {}, torn {:?}, carried {}",
            records.len(),
            report.last_lsn,
            report.next_lsn,
            report.torn_tail,
            report.carried
        ));
        self.note(report);
        torn_only_where(report, |file| self.world.may_be_torn(file))?;
        self.world.epoch_begins(report.epoch)?;
        let mut facts = self.world.facts();
        // It is being opened now, and may have been closed before that.
        facts.pop_if(|fact| matches!(fact, Fact::Opening));
        self.oracle = Oracle::after(&facts, std::mem::take(&mut self.oracle));
        for (lsn, digest) in &self.handed {
            self.oracle.learn(Fact::Read { lsn: Lsn::new(*lsn), digest: *digest });
        }
        self.oracle.check(recovered)
    }

    fn note(&self, report: &RecoveryReport) {
        let seen = [
            ("recovered: carried", report.carried > 0),
            ("recovered: torn tail", report.torn_tail.is_some()),
            ("recovered: gaps", !report.gaps.is_empty()),
            ("recovered: checkpoint", !report.low_water.is_none()),
            ("recovered: segments", report.segments > 2),
            ("recovered: clean", report.clean),
        ];
        seen.iter().filter(|(_, seen)| *seen).for_each(|(what, _)| self.world.count(what));
    }

    async fn clients(
        &mut self,
        wal: &Wal,
        config: &WalConfig,
        in_time: Option<Duration>,
    ) -> Result<(), String> {
        let world = &self.world;
        let next = self.lives * 1_000_000;
        let mut broken: Vec<_> = (100..102)
            .map(|number| Coordinator::start(number, next, wal, world, config, in_time))
            .collect();
        let clients: Vec<_> = (0..2 + world.below(4) as u32)
            .map(|number| {
                let client = Client::new(number, next, wal, world, in_time);
                actix::spawn(client.run(4 + self.world.below(16) as u32))
            })
            .collect();
        for client in clients {
            client.await.map_err(|error| format!("a client: {error}"))??;
        }
        match broken.iter_mut().find_map(|broken| broken.try_recv().ok()) {
            Some(broken) => Err(broken),
            None => Ok(()),
        }
    }

    /// In the end the log opens in calm weather, and once more, to the same records.
    fn last_look(&mut self, disk: SimDisk) -> Result<(), String> {
        self.world.begin(disk, End::Close, When::Done, Weather::default());
        let config = self.draw_config();
        self.world.fact(Fact::Opening);
        let mut before = None;
        for _ in 0..2 {
            let link = self.link(&config);
            let storage = self.mount()?;
            let (_, recovered) = recover(storage, &config, &link, |_, _| {})
                .map_err(|refused| format!("it does not open in the end: {}", refused.reason))?;
            match before.replace(recovered.records.clone()) {
                None => self.check(&recovered)?,
                Some(before) if before != recovered.records => {
                    return Err("P11: the second recovery gives other records".to_owned());
                }
                Some(_) => {}
            }
        }
        Ok(())
    }
}

/// P10: a tail is torn where a write did not come to its end, and nowhere else.
fn torn_only_where(report: &RecoveryReport, may_be: impl Fn(&str) -> bool) -> Result<(), String> {
    match &report.torn_tail {
        Some((sequence, torn)) if !may_be(&segment_name(*sequence)) => {
            Err(format!("P10: segment {sequence} is torn, and was not written to: {torn:?}"))
        }
        _ => Ok(()),
    }
}

/// P8: what an earlier life took with it is not durable, also once the watermark has passed it.
fn no_gap_is_durable(log: &Begun, shared: &Shared) -> Result<(), String> {
    let report = log.report();
    let end = LsnRange::new(report.last_lsn.next(), report.next_lsn.previous());
    let mut ends = report.gaps.iter().copied().chain(end).flat_map(|gap| [gap.first, gap.last]);
    match ends.find(|lsn| !matches!(shared.fate(*lsn), Some(Fate::NotDurable(_)))) {
        Some(lsn) => Err(format!("P8: LSN {lsn} lies in a gap: {:?}", shared.fate(lsn))),
        None => Ok(()),
    }
}

/// P22: once it is closed, everything that has an LSN has an outcome.
fn drained(shared: &Shared) -> Result<(), String> {
    let (durable, accepted) = (shared.watermark.durable(), shared.watermark.accepted());
    let mut open = (durable.next().get()..=accepted.get()).map(Lsn::new);
    match open.find(|lsn| shared.fate(*lsn).is_none()) {
        Some(lsn) => Err(format!("P22: closed, but LSN {lsn} of {accepted} has no outcome")),
        None => Ok(()),
    }
}

/// P17: the delay and two syncs; and before them, at worst, a segment that has to be prepared and begun, by
/// workers that do not look at once.
fn answered_within(config: &WalConfig) -> Duration {
    let max_delay = config.flush_policy.bounds().map_or(Duration::ZERO, |bounds| bounds.max_delay);
    max_delay + Duration::from_millis(5 * LONGEST_WORK + 3 * LONGEST_PAUSE)
}

/// Runs this on this thread. Time stands still while anybody has something to do, and jumps when nobody has.
fn in_virtual_time<T>(life: impl Future<Output = T>) -> T {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_time().start_paused(true).build().expect("a runtime")
    };
    actix::System::with_tokio_rt(runtime).block_on(async {
        start_time();
        life.await
    })
}

/// An open log.
struct Log {
    wal: Wal,
    flusher: Addr<Flusher>,
    shared: Arc<Shared>,
}

impl Log {
    /// What `Wal::open` does once a log is recovered, with workers that take turns.
    fn start(world: &Arc<World>, config: &WalConfig, link: Parts, recovered: Begun) -> Self {
        let shared = Arc::clone(&link.shared);
        let parts = link.public();
        let threads = SimThreads { world: Arc::clone(world), shared: Arc::clone(&shared) };
        let report = recovered.report().clone();
        let appender = Appender::new(&parts, config.overload);
        let appender = Supervisor::start(|_| appender);
        let events = appender.clone().recipient();
        let flusher = Flusher::new(recovered.into(), &parts, config.clone(), events);
        let flusher = flusher.on_threads(Arc::new(threads));
        let flusher = Supervisor::start(|_| flusher);
        let wal = Wal::compose(config, &parts, report, &appender, &flusher);
        Log { wal, flusher, shared }
    }

    async fn close(self) -> Result<(), CloseError> {
        let _ = self.flusher.send(GetStatus).await;
        self.wal.close().await
    }
}

fn panicked(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("?");
    format!("it panicked: {text}")
}

struct Refused {
    /// Whether the disk failed, or the log was refused for what stands in it.
    is_a_fault: bool,
    reason: String,
    damage: Option<Damage>,
}

fn recover(
    storage: Arc<dyn Storage>,
    config: &WalConfig,
    link: &Parts,
    mut handed: impl FnMut(u64, &[u8]),
) -> Result<(Begun, Recovered), Refused> {
    let mut records = Vec::new();
    let mut sink = |batch: RecordBatch, _| {
        batch.iter().for_each(|(lsn, payload)| handed(lsn.get(), payload));
        records.extend(batch.iter().map(|(lsn, payload)| (lsn.get(), payload.to_vec())));
        Ok(())
    };
    let recovered = catch_unwind(AssertUnwindSafe(|| {
        recovery::recover(storage, config, &link.shared, None, &mut sink)
    }));
    match recovered {
        Ok(Ok(log)) => {
            let report = log.report().clone();
            Ok((log, Recovered { records, report }))
        }
        Ok(Err(error)) => {
            let (is_a_fault, reason) = (matches!(error, OpenError::Io(_)), error.to_string());
            let damage = if let OpenError::Damaged(damage) = error { Some(damage) } else { None };
            Err(Refused { is_a_fault, reason, damage })
        }
        // Only the disk panics on purpose.
        Err(panic) => {
            let reason = panicked(&*panic);
            let is_a_fault = reason.starts_with(&format!("it panicked: {INJECTED}"));
            Err(Refused { is_a_fault, reason, damage: None })
        }
    }
}
