//! Commits of 128 bytes on a real directory, by so many concurrent clients that each wait for theirs.
//!
//! ```text
//! cargo bench --bench append
//! ```

#![allow(clippy::expect_used)] // A benchmark whose disk fails has no result.

use std::time::{Duration, Instant};

use actix::System;
use actix_wal::{Wal, WalConfig};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const RECORD: &[u8] = &[7; 128];
/// Few samples: a commit takes as long as the disk does, and no longer run makes that steadier.
const SAMPLES: usize = 10;

/// Commits `count` records with so many clients. Returns how long that took.
async fn commit(wal: &Wal, clients: u64, count: u64) -> Duration {
    let started = Instant::now();
    let running: Vec<_> = (0..clients)
        .map(|client| {
            let (wal, share) = (wal.clone(), count / clients + u64::from(client < count % clients));
            actix::spawn(async move {
                for _ in 0..share {
                    wal.commit(RECORD).await.expect("the disk works");
                }
            })
        })
        .collect();
    for client in running {
        client.await.expect("no client panics");
    }
    started.elapsed()
}

fn append(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("commit 128 bytes");
    group.sample_size(SAMPLES).throughput(Throughput::Elements(1));
    for clients in [1, 16, 256, 1024] {
        // Not /tmp: that may be memory.
        let folder = test_support::scratch::folder();
        let system = System::new();
        let open = async { Wal::open(WalConfig::new(folder.path())).await.expect("it opens") };
        let wal = system.block_on(open);
        let id = BenchmarkId::from_parameter(format!("{clients} clients"));
        group.bench_function(id, |bencher| {
            bencher.iter_custom(|count| {
                system.block_on(async {
                    let took = commit(&wal, clients, count).await;
                    // Nobody needs the records: a long run does not fill the disk.
                    wal.checkpoint(wal.durable_lsn()).await.expect("it is durable");
                    took
                })
            });
        });
        system.block_on(wal.close()).expect("it closes");
    }
    group.finish();
}

criterion_group!(benches, append);
criterion_main!(benches);
