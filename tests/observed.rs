//! Guards P23: a log that is watched by everything there is to watch it with (tracing at its most
//! talkative, a subscriber, a thread that asks for counters all the time) gives the same acknowledgements
//! and writes the same bytes as one that nobody looks at.

#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use actix::{Actor, Context, Handler};
use actix_wal::testkit::SimDisk;
use actix_wal::{Durability, FlushPolicy, LogEvent, Lsn, Wal};
use test_support::clock::BentClock;
use test_support::settings::segments_of;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Wants everything that is traced, and formats every field of it.
#[derive(Debug)]
struct Nosy {
    seen: Arc<AtomicU64>,
}

struct Format<'a>(&'a AtomicU64);

impl Visit for Format<'_> {
    fn record_debug(&mut self, _: &Field, value: &dyn fmt::Debug) {
        self.0.fetch_add(format!("{value:?}").len() as u64, Ordering::Relaxed);
    }
}

impl Subscriber for Nosy {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        span.record(&mut Format(&self.seen));
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, values: &Record<'_>) {
        values.record(&mut Format(&self.seen));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        event.record(&mut Format(&self.seen));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// Hears of everything.
struct Listener;

impl Actor for Listener {
    type Context = Context<Self>;
}

impl Handler<LogEvent> for Listener {
    type Result = ();

    fn handle(&mut self, _: LogEvent, _: &mut Self::Context) {}
}

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
        wal.subscribe(Listener.start().recipient()).await.unwrap();
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
    let seen = Arc::new(AtomicU64::new(0));
    tracing::subscriber::set_global_default(Nosy { seen: Arc::clone(&seen) }).unwrap();
    let watched = run(true).await;
    assert!(seen.load(Ordering::Relaxed) > 0, "nothing was traced");
    assert_eq!(alone.acknowledged, watched.acknowledged);
    for ((name, expected), (other, found)) in alone.segments.iter().zip(&watched.segments) {
        assert_eq!(name, other);
        assert!(expected == found, "{name} differs");
    }
    assert_eq!(alone.segments.len(), watched.segments.len());
}
