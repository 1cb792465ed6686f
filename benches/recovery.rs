//! Opening a log and replaying all of it to an actor, from the page cache, in bytes of log per second: of
//! lone commits, each padded to a block, and of big batches.
//!
//! ```text
//! cargo bench --bench recovery
//! ```

#![allow(clippy::expect_used)] // A benchmark whose disk fails has no result.

use std::path::Path;
use std::time::{Duration, Instant};

use actix::{Actor, Context, Handler, System};
use actix_wal::messages::{Replay, ReplayRefused};
use actix_wal::{Durability, Wal, WalConfig};
use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const RECORD: &[u8] = &[7; 128];
/// The live bytes of the logs, about.
const LOG: u64 = 32 << 20;
const SAMPLES: usize = 10;

/// A host that looks at every byte of what is replayed.
#[derive(Default)]
struct Host {
    sum: u64,
}

impl Actor for Host {
    type Context = Context<Self>;
}

impl Handler<Replay> for Host {
    type Result = Result<(), ReplayRefused>;

    fn handle(&mut self, replay: Replay, _: &mut Self::Context) -> Self::Result {
        for (lsn, payload) in replay.records.iter() {
            self.sum += lsn.get() + payload.iter().map(|byte| u64::from(*byte)).sum::<u64>();
        }
        Ok(())
    }
}

/// Writes a log whose frames hold so many records each. Returns how many records it holds.
async fn write(directory: &Path, per_frame: u64) -> u64 {
    let wal = Wal::open(WalConfig::new(directory)).await.expect("it opens");
    let frame_len = (per_frame * (RECORD.len() as u64 + 5) + 108).next_multiple_of(4096);
    let frames = LOG / frame_len;
    for _ in 0..frames {
        if per_frame == 1 {
            wal.commit_with(RECORD, Durability::Synchronous).await.expect("the disk works");
        } else {
            let group = (0..per_frame).map(|_| Bytes::from_static(RECORD));
            let range = wal.append_all(group).await.expect("the disk works");
            wal.wait_for_lsn(range.last).await.expect("the disk works");
        }
    }
    wal.close().await.expect("it closes");
    frames * per_frame
}

/// Opens the log, replays it, and closes it again. Returns how long it took until the log was open, and
/// how many bytes of segments and how many records were read.
async fn recover(directory: &Path) -> (Duration, u64, u64) {
    let host = Host::default().start();
    let started = Instant::now();
    let opening = Wal::open(WalConfig::new(directory)).replay_to(host.recipient(), None);
    let wal = opening.await.expect("it opens");
    let took = started.elapsed();
    let report = wal.recovery_report().clone();
    wal.close().await.expect("it closes");
    (took, report.bytes, report.replayed)
}

fn recovery(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("recover and replay");
    group.sample_size(SAMPLES);
    for per_frame in [1, 256, 4096] {
        let folder = test_support::scratch::folder();
        let directory = folder.path().join("log");
        let system = System::new();
        let records = system.block_on(write(&directory, per_frame));
        let (_, bytes, _) = system.block_on(recover(&directory));
        group.throughput(Throughput::Bytes(bytes));
        let id = BenchmarkId::from_parameter(format!("{per_frame} records per frame"));
        group.bench_function(id, |bencher| {
            bencher.iter_custom(|count| {
                let mut took = Duration::ZERO;
                for _ in 0..count {
                    let (time, _, replayed) = system.block_on(recover(&directory));
                    assert_eq!(replayed, records);
                    took += time;
                }
                took
            });
        });
    }
    group.finish();
}

criterion_group!(benches, recovery);
criterion_main!(benches);
