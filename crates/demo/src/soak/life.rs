//! One life of the log: opened, used by clients, readers and a subscriber while the disk fails, and ended.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{Actor, Context, Handler};
use actix_wal::messages::LogEvent;
use actix_wal::storage::Directory;
use actix_wal::testkit::{
    FaultEffect, FaultOp, FaultPlan, FaultRule, FaultyStorage, Random, errno,
};
use actix_wal::{
    FaultPolicy, FlushPolicy, Lsn, OpenError, ReadError, RecoveryReport, RestartBudget, Wal,
    WalConfig,
};

use crate::clients::client;
use crate::clients::ledger::Verifier;
use crate::clients::payload;
use crate::clients::told::{Counter, Tell, Told};

/// Clients of one life.
pub(crate) const CLIENTS: u64 = 12;
/// How long an open waits for the threads of a life that was dropped.
const PATIENCE: Duration = Duration::from_secs(20);

/// How large the records of a client are.
fn size_of(client: u64) -> usize {
    payload::MIN_SIZE + Random::new(client).below(3000) as usize
}

/// A time in these bounds, of whole milliseconds.
pub(crate) fn time(random: &mut Random, from_ms: u64, to_ms: u64) -> Duration {
    Duration::from_millis(from_ms + random.below(to_ms - from_ms))
}

/// How a life goes.
#[derive(Clone, Debug)]
pub(crate) struct Life {
    pub(crate) directory: PathBuf,
    /// The number of its first client.
    pub(crate) first_client: u64,
    pub(crate) seed: u64,
    /// How long; without it until somebody kills the process.
    pub(crate) time: Option<Duration>,
}

/// Opens the log with calm storage, through `plan`, and replays it if somebody wants that. A life that was
/// dropped frees the directory in its own time.
pub(crate) async fn open(
    directory: &Path,
    plan: &FaultPlan,
    tune: impl Fn(&mut WalConfig),
    replay: Option<&Verifier>,
) -> Result<Wal, OpenError> {
    let mut config = WalConfig::new(directory);
    config.segment_size = 1 << 20;
    config.max_in_flight_bytes = Some(256 << 10);
    config.restart_budget = RestartBudget {
        restarts: 1000,
        within: Duration::from_secs(60),
        backoff: Duration::from_millis(1),
        max_backoff: Duration::from_millis(200),
    };
    tune(&mut config);
    let began = Instant::now();
    let lock = loop {
        match Directory::open(directory) {
            Err(error) if is_busy(&error) && began.elapsed() < PATIENCE => {
                actix::clock::sleep(Duration::from_millis(5)).await;
            }
            opened => break opened,
        }
    };
    let mut opening = Wal::open(config);
    if let Ok(storage) = lock {
        let storage = FaultyStorage::new(Arc::new(storage), plan.clone());
        opening = opening.on_storage(Arc::new(storage));
    }
    match replay {
        Some(verifier) => opening.replay_with(None, verifier.eye()).await,
        None => opening.await,
    }
}

fn is_busy(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::WouldBlock
}

/// Lives. `opened` is notified of the recovery before the first client begins.
pub(crate) async fn live(
    life: Life,
    replay: Option<&Verifier>,
    tell: Tell,
    opened: impl FnOnce(&RecoveryReport),
) -> Result<(), OpenError> {
    let mut chance = Random::new(life.seed);
    let plan = FaultPlan::new();
    let is_doomed = chance.below(6) == 0;
    let (flush, fault) = (chance.below(3), chance.below(2));
    let tune = |config: &mut WalConfig| {
        config.flush_policy = match flush {
            0 => FlushPolicy::Eager,
            1 => FlushPolicy::Window(Default::default()),
            _ => FlushPolicy::default(),
        };
        config.fault_policy = [FaultPolicy::Resend, FaultPolicy::FailFast][fault as usize];
        if is_doomed {
            config.restart_budget.restarts = 3;
        }
    };
    let wal = open(&life.directory, &plan, tune, replay).await?;
    opened(wal.recovery_report());
    let listener = Listener { last: Lsn::NONE, tell: Rc::clone(&tell) }.start();
    let _ = wal.subscribe(listener.recipient()).await;
    let until = life.time.map(|time| Instant::now() + time);
    let numbers = life.first_client..life.first_client + CLIENTS;
    let clients = client::start(&wal, numbers, size_of, until, &tell);
    let counter = Counter::new(&wal, &plan, &tell);
    let others = [
        actix::spawn(fail(plan.clone(), chance.clone(), is_doomed)),
        actix::spawn(release(wal.clone(), chance.clone(), Rc::clone(&tell))),
        actix::spawn(read(wal.clone(), Rc::clone(&tell))),
        actix::spawn(Rc::clone(&counter).run()),
    ];
    client::end(clients, &tell).await;
    for other in others {
        other.abort();
        let _ = other.await;
    }
    counter.tell();
    // Now and then nobody closes the log: it is dropped, with its System.
    if chance.below(5) > 0 {
        plan.clear();
        // A log that was poisoned says so.
        let _ = wal.close().await;
    }
    Ok(())
}

/// Makes the disk fail now and then; in a doomed life once for good.
async fn fail(plan: FaultPlan, mut chance: Random, is_doomed: bool) {
    let eio = FaultEffect::Fail(errno::EIO);
    let full = FaultEffect::Fail(errno::ENOSPC);
    loop {
        actix::clock::sleep(time(&mut chance, 10, 200)).await;
        let times = 1 + chance.below(2);
        match chance.below(10) {
            0 => plan.add(FaultRule::on(FaultOp::Sync, eio).times(times)),
            1 => plan.add(FaultRule::on(FaultOp::Write, eio).times(times)),
            2 => {
                let effect = FaultEffect::FailAfter(errno::EIO);
                plan.add(FaultRule::on(FaultOp::Sync, effect).times(times));
            }
            3 | 4 => {
                let slow = FaultEffect::Delay(time(&mut chance, 5, 100));
                plan.add(FaultRule::on(FaultOp::Sync, slow).times(3 * times));
            }
            5 => plan.add(FaultRule::on(FaultOp::Sync, FaultEffect::Panic).times(1)),
            6 => plan.add(FaultRule::on(FaultOp::Write, FaultEffect::Panic).times(1)),
            7 => plan.add(FaultRule::on(FaultOp::Write, FaultEffect::Short(700)).times(9)),
            8 => {
                // A disk that is full for a while, for whatever needs new space.
                for op in [FaultOp::Write, FaultOp::Create, FaultOp::SetSize] {
                    plan.add(FaultRule::on(op, full));
                }
                actix::clock::sleep(time(&mut chance, 10, 150)).await;
                plan.clear();
            }
            _ if is_doomed => plan.add(FaultRule::on(FaultOp::Sync, eio)),
            _ => plan.add(FaultRule::on(FaultOp::SyncDir, eio).times(times)),
        }
    }
}

/// Releases now and then what is durable, but not always all of it.
async fn release(wal: Wal, mut chance: Random, tell: Tell) {
    loop {
        actix::clock::sleep(time(&mut chance, 50, 400)).await;
        let lsn = Lsn::new(wal.durable_lsn().get().saturating_sub(chance.below(500)));
        tell(Told::Checkpoint(lsn));
        let _ = wal.checkpoint(lsn).await;
    }
}

/// Reads what is there and what comes, again and again.
async fn read(wal: Wal, tell: Tell) {
    let mut last = Lsn::NONE;
    loop {
        let from = last.max(wal.status().low_water).next();
        let mut stream = match wal.read(from).await {
            Ok(stream) => stream.follow(),
            Err(_) => {
                actix::clock::sleep(Duration::from_millis(10)).await;
                continue;
            }
        };
        while let Some(next) = stream.next().await {
            match next {
                Ok(record) if record.lsn > last && payload::decode(&record.payload).is_some() => {
                    last = record.lsn;
                }
                Ok(record) => {
                    tell(Told::Broken(format!("a reader sees LSN {} after {last}", record.lsn)));
                }
                Err(ReadError::Released { .. } | ReadError::LeaseExpired { .. }) => break,
                Err(ReadError::Closed { .. }) => return,
                Err(error) => return tell(Told::Broken(format!("a reader: {error}"))),
            }
        }
    }
}

/// A subscriber: the watermark never falls.
struct Listener {
    last: Lsn,
    tell: Tell,
}

impl Actor for Listener {
    type Context = Context<Self>;
}

impl Handler<LogEvent> for Listener {
    type Result = ();

    fn handle(&mut self, event: LogEvent, _: &mut Self::Context) {
        if let LogEvent::Durable { through, .. } = event {
            if through < self.last {
                (self.tell)(Told::Broken(format!("the watermark fell to {through}")));
            }
            self.last = through;
        }
    }
}
