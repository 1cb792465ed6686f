//! The whole log in a world that is all chance: its actors, its engine and its recovery, the same that
//! production runs, with clients, coordinators, readers and a disk, driven by one seed on one thread in
//! a time of its own.

#![allow(dead_code)] // The tests that include this use a part of it each.
#![allow(clippy::expect_used)]

pub(crate) mod chaos;
mod clients;
#[path = "../common/facts.rs"]
pub(crate) mod facts;
#[path = "../common/oracle.rs"]
mod oracle;
pub(crate) mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use actix::{Addr, Supervisor};
use actix_wal::FaultPolicy::{FailFast, Resend};
use actix_wal::actors::{Appender, Flusher};
use actix_wal::engine::recovery::{self, RecoveredLog};
use actix_wal::messages::GetStatus;
use actix_wal::storage::Storage;
use actix_wal::testkit::{FailedSync, Persist, SimDisk};
use actix_wal::{
    Bounds, FlushPolicy, Link, OpenError, OverloadPolicy, RecordBatch, RecoveryReport,
    RestartBudget, Wal, WalConfig,
};

use chaos::{Chaos, Wrap};
use clients::{Client, Coordinator};
use facts::Fact;
use oracle::{Oracle, Recovered};
use world::{
    End, LONGEST_PAUSE, LONGEST_WORK, Outcome, SimClock, SimThreads, Weather, World, start_time,
};

/// A run goes on until it has seen as much as this, and a crash.
const EVENTS: u64 = 500;

/// What is put between the log and its disk, where a test breaks something on purpose.
pub(crate) const SOUND: Wrap = |storage| storage;

/// Runs one seed.
pub(crate) fn run(seed: u64, wrap: Wrap, traced: bool) -> Outcome {
    let world = World::new(seed, traced);
    let mut run = Run { world: Arc::clone(&world), wrap, oracle: Oracle::default(), lives: 0 };
    let ended = catch_unwind(AssertUnwindSafe(|| run.all_lives()));
    let failure = ended.unwrap_or_else(|_| Err("it panicked".to_owned())).err();
    world.outcome(failure)
}

struct Run {
    world: Arc<World>,
    wrap: Wrap,
    oracle: Oracle,
    lives: u32,
}

impl Run {
    fn all_lives(&mut self) -> Result<(), String> {
        let mut disk = self.draw_disk();
        while self.world.events() < EVENTS || self.world.crashes() == 0 {
            let end = self.draw_end();
            disk = self.live(disk, end)?;
        }
        in_virtual_time(async { self.last_look(disk) })
    }

    fn draw_disk(&self) -> SimDisk {
        let (failed_sync, name) = match self.world.below(3) {
            0 => (FailedSync::RevertsPages, "a failed sync reverts"),
            _ => (FailedSync::KeepsNewPages, "a failed sync forgets"),
        };
        self.world.count(name);
        SimDisk::new().with_failed_sync(failed_sync)
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
        let world = &self.world;
        match world.below(4) {
            0 => Weather::default(),
            1 => Weather { faults: 300, slow: 50, stuck: 0 },
            2 => Weather { faults: 60, slow: 30, stuck: 400 },
            _ => Weather { faults: 12, slow: 100, stuck: 200 },
        }
    }

    /// One life, from the disk that the last one left to the disk that it leaves.
    fn live(&mut self, disk: SimDisk, end: End) -> Result<SimDisk, String> {
        self.lives += 1;
        let operations = (end != End::Close).then(|| self.world.below(150));
        self.world.begin(disk, end, operations, self.draw_weather());
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
        self.clients(&log.wal, in_time).await?;
        if world.has_crashed() {
            return Ok(());
        }
        world.calm();
        let closed = log.close().await;
        if closed {
            world.fact(Fact::Closed);
        }
        Ok(())
    }

    fn draw_config(&self) -> WalConfig {
        let world = &self.world;
        let mut config = WalConfig::new("unused");
        config.block_size = 512;
        config.segment_size = 16 * 1024;
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
        config.restart_budget = RestartBudget {
            restarts: if world.once_in(4) { 2 } else { 1000 },
            within: Duration::from_secs(3600),
            backoff: Duration::from_millis(50),
            max_backoff: Duration::from_millis(400),
        };
        config
    }

    /// Recovers, holds what came out against what clients know, and starts the actors. `None` if the life
    /// ends in it.
    fn open(&mut self, config: &WalConfig) -> Result<Option<Log>, String> {
        for attempt in 0.. {
            let clock = Arc::new(SimClock(Arc::clone(&self.world)));
            let link = Link::with_clock(config, clock);
            let storage = Chaos::mount(&self.world, self.wrap).map_err(|e| format!("P20: {e}"))?;
            let recovered = recover(storage, config, &link);
            if self.world.has_crashed() {
                return Ok(None);
            }
            match recovered {
                Ok((log, records)) => {
                    self.check(&log, records)?;
                    return Ok(Some(Log::start(&self.world, config, link, log)));
                }
                Err(refused) if refused.is_a_fault && attempt < 20 => {
                    self.world.count("recovery fails");
                    self.world.event(format_args!("recovery fails: {}", refused.reason));
                    // What was closed is not, once an open has begun to write.
                    self.world.fact(Fact::Opening);
                    self.world.calm();
                }
                Err(refused) => return Err(format!("it does not open: {}", refused.reason)),
            }
        }
        unreachable!("the last attempt has returned")
    }

    fn check(&mut self, log: &RecoveredLog, records: Records) -> Result<(), String> {
        let report = log.report().clone();
        self.world.event(format_args!(
            "recovered {} records up to {}, next {}, torn {:?}, carried {}",
            records.len(),
            report.last_lsn,
            report.next_lsn,
            report.torn_tail,
            report.carried
        ));
        self.note(&report);
        let mut facts = self.world.facts();
        // It is being opened now, and may have been closed before that.
        facts.pop_if(|fact| matches!(fact, Fact::Opening));
        self.oracle = Oracle::after(&facts, std::mem::take(&mut self.oracle));
        self.oracle.check(&Recovered { records, report })
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

    async fn clients(&mut self, wal: &Wal, in_time: Option<Duration>) -> Result<(), String> {
        let world = &self.world;
        let next = self.lives * 1_000_000;
        let mut broken: Vec<_> = (100..102)
            .map(|number| Coordinator::start(number, next, wal, world, in_time))
            .collect();
        let clients: Vec<_> = (0..2 + world.below(4) as u32)
            .map(|number| {
                let (wal, world) = (wal.clone(), Arc::clone(world));
                let client = Client { number, next, wal, world, unwatched: Vec::new() };
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
        self.world.begin(disk, End::Close, None, Weather::default());
        let config = self.draw_config();
        self.world.fact(Fact::Opening);
        let mut before = None;
        for _ in 0..2 {
            let link = Link::with_clock(&config, Arc::new(SimClock(Arc::clone(&self.world))));
            let storage = Chaos::mount(&self.world, self.wrap).map_err(|e| format!("P20: {e}"))?;
            let (log, records) = recover(storage, &config, &link)
                .map_err(|refused| format!("it does not open in the end: {}", refused.reason))?;
            match before.replace(records.clone()) {
                None => self.check(&log, records)?,
                Some(before) if before != records => {
                    return Err("P11: the second recovery gives other records".to_owned());
                }
                Some(_) => {}
            }
        }
        Ok(())
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
}

impl Log {
    /// What `Wal::open` does once a log is recovered, with workers that take turns.
    fn start(world: &Arc<World>, config: &WalConfig, link: Link, recovered: RecoveredLog) -> Self {
        let Link { shared, queue } = link;
        let threads = SimThreads { world: Arc::clone(world), shared: Arc::clone(&shared) };
        let report = recovered.report().clone();
        let appender = Appender::new(Arc::clone(&shared), config.overload);
        let appender = Supervisor::start(|_| appender);
        let events = appender.clone().recipient();
        let flusher = Flusher::new(recovered, Arc::clone(&shared), queue, config.clone(), events);
        let flusher = flusher.on_threads(Arc::new(threads));
        let flusher = Supervisor::start(|_| flusher);
        let wal = Wal::compose(config, shared, report, &appender, &flusher);
        Log { wal, flusher }
    }

    /// Whether it could be closed cleanly.
    async fn close(self) -> bool {
        let _ = self.flusher.send(GetStatus).await;
        self.wal.close().await.is_ok()
    }
}

type Records = Vec<(u64, Vec<u8>)>;

struct Refused {
    /// Whether the disk failed, or the log was refused for what stands in it.
    is_a_fault: bool,
    reason: String,
}

fn recover(
    storage: Arc<dyn Storage>,
    config: &WalConfig,
    link: &Link,
) -> Result<(RecoveredLog, Records), Refused> {
    let mut records = Vec::new();
    let mut sink = |batch: RecordBatch, _| {
        records.extend(batch.iter().map(|(lsn, payload)| (lsn.get(), payload.to_vec())));
        Ok(())
    };
    let recovered = catch_unwind(AssertUnwindSafe(|| {
        recovery::recover(storage, config, &link.shared, None, &mut sink)
    }));
    match recovered {
        Ok(Ok(log)) => Ok((log, records)),
        Ok(Err(error)) => {
            let is_a_fault = matches!(error, OpenError::Io(_));
            Err(Refused { is_a_fault, reason: error.to_string() })
        }
        // Only the disk panics on purpose; any other panic is seen once the disk is calm.
        Err(_) => Err(Refused { is_a_fault: true, reason: "it panicked".to_owned() }),
    }
}
