//! Snapshots of many small keys (16 bytes, values of 16 bytes): rows a second when one is written and when one is loaded;
//! what 64 clients notice while one is written, each of which reads and writes a key in one transaction after another; and how
//! long one piece of such work keeps all else waiting.
//!
//! ```text
//! cargo bench -p actix-wal-txn --bench snapshots -- dir=DIR keys=10000000 rounds=5
//! ```
//!
//! The clients are measured without a snapshot and while one is written, in turns of one run. A snapshot stands between two
//! measurements without one, and is compared with the mean of both: so what changes slowly in the machine counts for both.
//! They last as long as a snapshot, between one second and ten. A figure is the median of the rounds, and a ratio that of the
//! ratios in each round.

#![allow(clippy::unwrap_used, reason = "a benchmark whose disk fails has no result")]

mod snapshots {
    pub(crate) mod held;
}

use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use actix::{Addr, System};
use actix_wal::storage::{Directory, Storage};
use actix_wal::testkit::Random;
use actix_wal::{Wal, WalConfig};
use actix_wal_txn::coordinator::{CoordinatorLimits, TransactionCoordinator};
use actix_wal_txn::messages::{Execute, SnapshotTaken, TakeSnapshot};
use actix_wal_txn::recovery::{Recovery, RecoveryProgress};
use actix_wal_txn::snapshotting::SnapshotPlan;
use actix_wal_txn::store::{Limits, Write};
use snapshots::held;

type Coordinator = Addr<TransactionCoordinator>;

const CLIENTS: u64 = 64;
const VALUE: &[u8; 16] = &[7; 16];

/// The argument `NAME=VALUE`.
fn argument(name: &str) -> Option<String> {
    std::env::args().find_map(|it| Some(it.strip_prefix(name)?.strip_prefix('=')?.to_owned()))
}

fn number(name: &str, default: u64) -> u64 {
    argument(name).map_or(default, |number| number.parse().unwrap())
}

fn key(number: u64) -> [u8; 16] {
    u128::from(number).to_be_bytes()
}

fn recovery(folder: &Path) -> Recovery {
    let mut plan = SnapshotPlan::in_folder(folder.join("snapshots"));
    plan.after_log_bytes = None;
    let opening = Wal::open(WalConfig::new(folder.join("log")));
    let limits = Limits { bytes: usize::MAX, ..Limits::default() };
    Recovery::new(opening).limits(limits).snapshots(plan)
}

async fn life(folder: &Path) -> (Wal, Coordinator) {
    let (wal, recovered) = recovery(folder).open().await.unwrap();
    let limits = CoordinatorLimits::default();
    let coordinator = TransactionCoordinator::start(&wal, recovered, limits).await.unwrap();
    (wal, coordinator)
}

/// Sets keys in transactions of a thousand.
async fn fill(coordinator: &Coordinator, keys: u64) {
    for first in (0..keys).step_by(8000) {
        let part = |first: u64| {
            Execute::new(move |latest| {
                for number in first..keys.min(first + 1000) {
                    let key = key(number).to_vec().into();
                    latest.write(Write { key, value: Some(VALUE.to_vec().into()) })?;
                }
                Ok(())
            })
        };
        let parts: Vec<_> = (first..keys.min(first + 8000)).step_by(1000).collect();
        let sent: Vec<_> = parts.into_iter().map(|first| coordinator.send(part(first))).collect();
        for sent in sent {
            sent.await.unwrap().unwrap();
        }
    }
}

/// Sends transactions, each of which reads and writes one key, until told to stop. Returns how long each took.
async fn client(
    coordinator: Coordinator,
    keys: u64,
    seed: u64,
    stop: Rc<AtomicBool>,
) -> Vec<Duration> {
    let (mut random, mut took) = (Random::new(seed), Vec::new());
    while !stop.load(Ordering::Relaxed) {
        let number = random.below(keys);
        let began = Instant::now();
        let work = Execute::new(move |latest| {
            latest.get(&key(number))?;
            let (key, value) = (key(number).to_vec().into(), Some(VALUE.to_vec().into()));
            Ok(latest.write(Write { key, value })?)
        });
        coordinator.send(work).await.unwrap().unwrap();
        took.push(began.elapsed());
    }
    took
}

/// What clients notice.
#[derive(Clone, Copy)]
struct Noticed {
    /// Commits per second.
    throughput: f64,
    /// How long a commit took, in microseconds.
    p50: f64,
    p99: f64,
    longest: f64,
}

impl Noticed {
    /// Each figure made of those of two.
    fn with(self, other: Self, of: fn(f64, f64) -> f64) -> Self {
        Noticed {
            throughput: of(self.throughput, other.throughput),
            p50: of(self.p50, other.p50),
            p99: of(self.p99, other.p99),
            longest: of(self.longest, other.longest),
        }
    }

    fn medians(rounds: &[Self]) -> Self {
        let median = |of: fn(&Self) -> f64| {
            let mut of: Vec<_> = rounds.iter().map(of).collect();
            of.sort_by(f64::total_cmp);
            of[of.len() / 2]
        };
        Noticed {
            throughput: median(|it| it.throughput),
            p50: median(|it| it.p50),
            p99: median(|it| it.p99),
            longest: median(|it| it.longest),
        }
    }

    fn print(&self, what: &str) {
        let Noticed { throughput, p50, p99, longest } = self;
        println!("  {what:<24}{p50:>9.0}{p99:>9.0}{longest:>9.0}{throughput:>13.0}");
    }
}

/// The clients at work for as long as the future takes.
async fn while_it_runs(
    coordinator: &Coordinator,
    keys: u64,
    it: impl Future<Output = ()>,
) -> Noticed {
    let stop = Rc::new(AtomicBool::new(false));
    let began = Instant::now();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|seed| actix::spawn(client(coordinator.clone(), keys, seed, Rc::clone(&stop))))
        .collect();
    it.await;
    stop.store(true, Ordering::Relaxed);
    let mut took = Vec::new();
    for client in clients {
        took.extend(client.await.unwrap());
    }
    let seconds = began.elapsed().as_secs_f64();
    took.sort_unstable();
    let at = |percent: usize| took[(took.len() - 1) * percent / 100].as_secs_f64() * 1e6;
    let throughput = took.len() as f64 / seconds;
    Noticed { throughput, p50: at(50), p99: at(99), longest: at(100) }
}

async fn measure(folder: &Path, keys: u64, rounds: usize, least: Duration) {
    let (wal, coordinator) = life(folder).await;
    fill(&coordinator, keys).await;
    let taken = coordinator.send(TakeSnapshot).await.unwrap().unwrap();
    let rate = |taken: SnapshotTaken| taken.rows as f64 / taken.took.as_secs_f64() / 1e6;
    println!(
        "written alone: {} rows, {} MiB, {:.2} M rows/s\n",
        taken.rows,
        taken.bytes >> 20,
        rate(taken)
    );
    compare(&coordinator, keys, rounds, least).await;
    println!("how long one piece of work holds a thread, of {keys} keys");
    held::in_the_thread(&coordinator, keys).await;
    held::on_a_store(keys);
    println!();
    wal.close().await.unwrap();
}

/// 64 clients without a snapshot, and while one is written, in turns.
async fn compare(coordinator: &Coordinator, keys: u64, rounds: usize, least: Duration) {
    let pause = |time: Duration| while_it_runs(coordinator, keys, actix::clock::sleep(time));
    let (mut without, mut with, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    // First, so that there is something new to write.
    let mut before = pause(least * 3).await;
    println!(
        "{CLIENTS} clients{:>25}{:>9}{:>9}{:>13}",
        "p50 µs", "p99 µs", "longest", "per second"
    );
    for _ in 0..rounds {
        let mut taken = None;
        let writing = while_it_runs(coordinator, keys, async {
            taken = Some(coordinator.send(TakeSnapshot).await.unwrap().unwrap());
        });
        let writing = writing.await;
        let took = taken.unwrap().took;
        let after = pause(took.clamp(least, least * 10)).await;
        let around = before.with(after, |before, after| (before + after) / 2.0);
        around.print("without a snapshot");
        writing.print("while one is written");
        without.push(around);
        with.push(writing);
        ratios.push(writing.with(around, |with, without| with / without));
        before = after;
    }
    println!("medians of {rounds} rounds");
    Noticed::medians(&without).print("without a snapshot");
    Noticed::medians(&with).print("while one is written");
    let Noticed { throughput, p50, p99, longest } = Noticed::medians(&ratios);
    let missed = |is_met: bool| if is_met { "" } else { "  MISSED" };
    println!("  ratios: p50 {p50:.2}, longest {longest:.2}");
    println!("  ratio of p99        {p99:>6.2}   target <= 2{}", missed(p99 <= 2.0));
    println!(
        "  ratio of throughput {throughput:>6.2}   target >= 0.8{}\n",
        missed(throughput >= 0.8)
    );
}

/// Where the time of a load goes: the same file, only read and checked.
fn read_only(folder: &Path) -> Duration {
    let storage: Arc<dyn Storage> = loop {
        // The coordinator ends a moment after its log.
        match Directory::open(folder.join("snapshots")) {
            Ok(directory) => break Arc::new(directory),
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    let newest = actix_wal_txn::snapshot_file::list(&*storage).unwrap()[0];
    let mut reader = actix_wal_txn::snapshot_file::SnapshotReader::open(&*storage, newest).unwrap();
    let began = Instant::now();
    while reader.next_block().unwrap().is_some() {}
    began.elapsed()
}

fn main() {
    // As short as can be: to see that it works.
    let is_test = std::env::args().any(|it| it == "--test");
    let (keys, rounds, least) = if is_test { (10_000, 1, 50) } else { (1_000_000, 5, 1000) };
    let (keys, rounds) = (number("keys", keys), number("rounds", rounds) as usize);
    let place = argument("dir").unwrap_or_else(|| env!("CARGO_TARGET_TMPDIR").to_owned());
    std::fs::create_dir_all(&place).unwrap();
    let folder = tempfile::tempdir_in(place).unwrap();
    let system = System::new();
    system.block_on(measure(folder.path(), keys, rounds, Duration::from_millis(least)));
    let read = read_only(folder.path());
    for _ in 0..3 {
        system.block_on(load(folder.path(), read));
    }
}

async fn load(folder: &Path, read: Duration) {
    let times = Arc::new(Mutex::new((None, None)));
    let noted = Arc::clone(&times);
    let recovery = recovery(folder).on_progress(move |progress| {
        let mut times = noted.lock().unwrap();
        match progress {
            RecoveryProgress::Loading { .. } => times.0 = Some(Instant::now()),
            _ => times.1 = times.1.or(Some(Instant::now())),
        }
    });
    let began = Instant::now();
    let (wal, recovered) = recovery.open().await.unwrap();
    let (took, report) = (began.elapsed(), &recovered.report);
    let rows = report.snapshot.unwrap().rows as f64;
    let (last_row, first_commits) = *times.lock().unwrap();
    let millions = |took: Duration| rows / took.as_secs_f64() / 1e6;
    println!(
        "loaded: {rows} rows in {:.2?} ({:.2} M rows/s; {:.2} M rows/s if only read and checked), in use {:.2?} later; with \
         {} commits replayed {took:.2?}",
        last_row.unwrap() - began,
        millions(last_row.unwrap() - began),
        millions(read),
        first_commits.unwrap() - last_row.unwrap(),
        report.commits,
    );
    wal.close().await.unwrap();
}
