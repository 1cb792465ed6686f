//! Snapshots of many small keys (16 bytes, values of 16 bytes): rows a second when one is written and when one is loaded,
//! and what the clients of 64 concurrent transactions notice while one is written. On a real directory, that of cargo's
//! target.
//!
//! ```text
//! WAL_SNAPSHOT_KEYS=10000000 cargo bench -p actix-wal-txn --bench snapshots
//! ```

#![allow(clippy::unwrap_used, reason = "a benchmark whose disk fails has no result")]

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
use actix_wal_txn::messages::{Execute, TakeSnapshot};
use actix_wal_txn::recovery::{Recovery, RecoveryProgress};
use actix_wal_txn::snapshotting::SnapshotPlan;
use actix_wal_txn::store::{Limits, Write};

type Coordinator = Addr<TransactionCoordinator>;

const CLIENTS: u64 = 64;
const ROUNDS: usize = 5;
const VALUE: &[u8; 16] = &[7; 16];

fn keys() -> u64 {
    let keys = std::env::var("WAL_SNAPSHOT_KEYS");
    keys.map_or(1_000_000, |keys| keys.parse().unwrap())
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

/// Commits a second, and the 99th percentile of a commit.
#[derive(Clone, Copy)]
struct Load {
    throughput: f64,
    p99: Duration,
}

/// The clients at work for as long as the future takes.
async fn while_it_runs(coordinator: &Coordinator, keys: u64, it: impl Future<Output = ()>) -> Load {
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
    Load { throughput: took.len() as f64 / seconds, p99: took[took.len() * 99 / 100] }
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of[of.len() / 2]
}

async fn measure(folder: &Path, keys: u64) {
    let (wal, coordinator) = life(folder).await;
    fill(&coordinator, keys).await;
    let taken = coordinator.send(TakeSnapshot).await.unwrap().unwrap();
    let rate = taken.rows as f64 / taken.took.as_secs_f64();
    println!(
        "written alone: {} rows, {} MiB, {:.2} M rows/s",
        taken.rows,
        taken.bytes >> 20,
        rate / 1e6
    );

    let (mut throughput, mut p99) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        // First, so that there is something new to write in each round.
        let pause = actix::clock::sleep(Duration::from_secs(3));
        let without = while_it_runs(&coordinator, keys, pause).await;
        let mut rate = 0.0;
        let with = while_it_runs(&coordinator, keys, async {
            let taken = coordinator.send(TakeSnapshot).await.unwrap().unwrap();
            rate = taken.rows as f64 / taken.took.as_secs_f64() / 1e6;
        });
        let with = with.await;
        let ratios = (
            with.throughput / without.throughput,
            with.p99.as_secs_f64() / without.p99.as_secs_f64(),
        );
        println!(
            "round {round}: {:.0} commits/s and p99 {:?} without, {:.0} and {:?} with a snapshot at {rate:.2} M rows/s: \
             throughput {:.2}, p99 {:.2}",
            without.throughput, without.p99, with.throughput, with.p99, ratios.0, ratios.1
        );
        throughput.push(ratios.0);
        p99.push(ratios.1);
    }
    println!("medians: throughput {:.2}, p99 {:.2}", median(throughput), median(p99));
    wal.close().await.unwrap();
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
    let keys = keys();
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let system = System::new();
    system.block_on(measure(folder.path(), keys));
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
