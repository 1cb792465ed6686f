//! Guards P23: a log that is watched by everything there is to watch it with (tracing at its most
//! talkative, a subscriber, a recorder of metrics, a thread that asks for counters and publishes all the time) gives the same acknowledgements
//! and writes the same bytes as one that nobody looks at.

#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use actix_wal::testkit::SimDisk;
use actix_wal::{Durability, FlushPolicy, Lsn, Wal};
use test_support::clock::BentClock;
use test_support::logs::Ear;
use test_support::recorded::Recorded;
use test_support::settings::segments_of;
use test_support::traces::Traces;
use tracing::Level;

/// What came of a run: the LSNs that were acknowledged, and the bytes of the segments that were used.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    acknowledged: Vec<Lsn>,
    segments: Vec<(String, Vec<u8>)>,
}

/// Asks for counters and state as fast as it can, until it is told to stop.
fn ask_all_the_time(wal: Wal, stop: Arc<AtomicBool>) -> thread::JoinHandle<u64> {
    thread::spawn(move || {
        let mut asked = 0;
        while !stop.load(Ordering::Relaxed) {
            std::hint::black_box((wal.stats(), wal.status(), wal.durable_lsn()));
            wal.publish_metrics();
            asked += 1;
            thread::yield_now();
        }
        asked
    })
}

/// Every append is answered before the next one is made, so what a batch holds does not depend on chance.
async fn run(watched: bool) -> Outcome {
    let disk = SimDisk::new();
    let mut config = segments_of(64 << 10);
    config.flush_policy = FlushPolicy::Eager;
    // A seal comes after a quiet moment, and what is quiet depends on the machine.
    config.seal_after = Duration::from_secs(3600);
    // Real time, for waiting; but the wall stands still, and chance is counted.
    let drawn = AtomicU64::new(0);
    let count = move |_| drawn.fetch_add(1, Ordering::Relaxed);
    let clock = Arc::new(BentClock::default().wall(|_| 1_000_000).random(count));
    let open = Wal::open(config).on_storage(disk.mount().unwrap()).with_clock(clock);
    let wal = open.await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let mut watcher = None;
    if watched {
        let _ = Ear::on(&wal).await;
        watcher = Some(ask_all_the_time(wal.clone(), Arc::clone(&stop)));
    }
    let mut acknowledged = Vec::new();
    for number in 0..60u32 {
        let payload = number.to_le_bytes().repeat(1 + number as usize * 20);
        let durability =
            if number % 3 == 0 { Durability::Synchronous } else { Durability::GroupCommit };
        acknowledged.push(wal.commit_with(payload, durability).await.unwrap());
    }
    stop.store(true, Ordering::Relaxed);
    if let Some(watcher) = watcher {
        assert!(watcher.join().unwrap() > 0, "nobody asked");
    }
    wal.close().await.unwrap();
    let used = wal.stats().rotations as usize + 1;
    assert!(used >= 3, "a rotation should be part of this");
    let mut names = disk.names();
    names.sort();
    let content = |name: String| {
        let bytes = disk.read_file(&name).unwrap();
        (name, bytes)
    };
    Outcome { acknowledged, segments: names.into_iter().take(used).map(content).collect() }
}

#[actix::test]
async fn p23_a_watched_log_acknowledges_and_writes_the_same_as_one_that_is_not_watched() {
    let alone = run(false).await;
    let traces = Traces::of(Level::TRACE);
    tracing::subscriber::set_global_default(traces.clone()).unwrap();
    // The first run had no recorder.
    let recorded = Recorded::globally();
    let watched = run(true).await;
    assert_eq!(recorded.sum("simulated disk", "wal_commits_total"), 60.0);
    assert!(!traces.text().is_empty(), "nothing was traced");
    assert_eq!(alone.acknowledged, watched.acknowledged);
    for ((name, expected), (other, found)) in alone.segments.iter().zip(&watched.segments) {
        assert_eq!(name, other);
        assert!(expected == found, "{name} differs");
    }
    assert_eq!(alone.segments.len(), watched.segments.len());
}
