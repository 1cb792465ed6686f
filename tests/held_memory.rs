//! Guards P16 by counting what is allocated: a reader, a replay and a quiet log hold as much memory as their
//! documentation says, however large the frames were that came by.
//!
//! One test at a time, for what is counted is the whole process.

#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]

use std::alloc;
use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use actix::{Actor, Context, Handler, System};
use actix_wal::messages::{Replay, ReplayRefused};
use actix_wal::{Lsn, Wal, WalConfig};
use cap::Cap;
use tempfile::TempDir;
use test_support::logs::until;
use test_support::scratch::folder;

#[global_allocator]
static ALLOCATED: Cap<alloc::System> = Cap::new(alloc::System, usize::MAX);

static ALONE: Mutex<()> = Mutex::new(());

const MIB: usize = 1 << 20;
const RECORD: usize = 64 << 10;
/// A log of this many records in frames that are as large as may be.
const RECORDS: usize = 1200;

fn alone(test: impl Future<Output = ()>) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    System::new().block_on(test);
}

fn config(folder: &TempDir) -> WalConfig {
    let mut config = WalConfig::new(folder.path());
    config.seal_after = Duration::from_millis(20);
    config
}

/// What is allocated, in mebibytes beyond `before`.
fn mib_beyond(before: usize) -> f64 {
    ALLOCATED.allocated().saturating_sub(before) as f64 / MIB as f64
}

/// Records that are appended without waiting, so that the batches are large.
async fn append(wal: &Wal) -> Lsn {
    for _ in 0..RECORDS {
        wal.append(vec![7; RECORD]).await.unwrap();
    }
    wal.flush().await.unwrap()
}

#[test]
fn p16_a_reader_takes_batches_of_a_mebibyte_and_keeps_little_when_it_is_idle() {
    alone(async {
        let folder = folder();
        let wal = Wal::open(config(&folder)).await.unwrap();
        let empty = ALLOCATED.allocated();
        let last = append(&wal).await;
        until("it gave back what it took", || mib_beyond(empty) < 0.75).await;
        let before = ALLOCATED.allocated();
        let mut stream = wal.read(Lsn::FIRST).await.unwrap().follow();
        let (mut read, mut most) = (Lsn::NONE, 0.0);
        while read < last {
            let batch = stream.next_batch().await.unwrap().unwrap();
            let bytes: usize = batch.iter().map(|(_, payload)| payload.len() + 5).sum();
            assert!(bytes < MIB + RECORD + 5, "a batch of {bytes} bytes");
            most = mib_beyond(before).max(most);
            read = batch.iter().last().unwrap().0;
        }
        // The frame it stands in, and the batch.
        assert!(most <= 16.0 + 1.0 + 1.5, "{most} MiB at most");
        assert!(most >= 1.0, "{most} MiB at most: they are not counted");
        let idle = mib_beyond(before);
        assert!(idle < 0.5, "an idle reader keeps {idle} MiB");
        drop(stream);

        // One that reads record by record and stops in the middle of a small batch.
        let mut stream = wal.read(last).await.unwrap();
        let record = stream.next().await.unwrap().unwrap();
        assert_eq!((record.lsn, record.payload.len()), (last, RECORD));
        drop(record);
        assert!(stream.next().await.is_none());
        let idle = mib_beyond(before);
        assert!(idle < 0.5, "an idle reader keeps {idle} MiB");
        drop(stream);
        wal.close().await.unwrap();
    });
}

#[test]
fn p16_a_stream_of_tiny_records_takes_no_more_than_its_batch() {
    alone(async {
        let folder = folder();
        let wal = Wal::open(config(&folder)).await.unwrap();
        let empty = ALLOCATED.allocated();
        for _ in 0..20 {
            wal.append_all((0..20_000).map(|_| &b"x"[..])).await.unwrap();
        }
        let last = wal.flush().await.unwrap();
        until("it gave back what it took", || mib_beyond(empty) < 0.75).await;
        let before = ALLOCATED.allocated();
        let mut stream = wal.read(Lsn::FIRST).await.unwrap();
        let (mut count, mut most) = (0, 0.0);
        while let Some(record) = stream.next().await {
            record.unwrap();
            count += 1;
            if count % 1000 == 0 {
                most = mib_beyond(before).max(most);
            }
        }
        assert_eq!(count, last.get());
        assert!((1.0..3.5).contains(&most), "{most} MiB for a batch of one and as much read ahead");
        assert!(mib_beyond(before) < 0.5, "{} MiB when it has ended", mib_beyond(before));
        wal.close().await.unwrap();
    });
}

/// Notes the largest batch, and what is allocated meanwhile.
#[derive(Default)]
struct Host {
    largest: usize,
    before: usize,
    most: f64,
    told: Option<tokio::sync::oneshot::Sender<(usize, f64)>>,
}

impl Actor for Host {
    type Context = Context<Self>;

    fn stopped(&mut self, _: &mut Self::Context) {
        let told = self.told.take().unwrap();
        told.send((self.largest, self.most)).unwrap();
    }
}

impl Handler<Replay> for Host {
    type Result = Result<(), ReplayRefused>;

    fn handle(&mut self, replay: Replay, _: &mut Self::Context) -> Self::Result {
        let bytes = replay.records.iter().map(|(_, payload)| payload.len() + 5).sum();
        self.largest = self.largest.max(bytes);
        self.most = self.most.max(mib_beyond(self.before));
        Ok(())
    }
}

#[test]
fn p16_a_replay_hands_over_a_mebibyte_at_a_time_and_a_quiet_log_gives_back_what_it_took() {
    alone(async {
        let folder = folder();
        let first = ALLOCATED.allocated();
        let wal = Wal::open(config(&folder)).await.unwrap();
        let empty = mib_beyond(first);
        append(&wal).await;
        until("it gave back what it took", || mib_beyond(first) < empty + 0.75).await;
        wal.close().await.unwrap();

        let before = ALLOCATED.allocated();
        let (told, heard) = tokio::sync::oneshot::channel();
        let host = Host { before, told: Some(told), ..Host::default() }.start();
        let wal = Wal::open(config(&folder)).replay_to(host.recipient(), None).await.unwrap();
        let (largest, most) = heard.await.unwrap();
        assert!((MIB / 2..MIB + RECORD + 5).contains(&largest), "a batch of {largest} bytes");
        // The frame that is read, a copy of the last one, a batch with the host and one that is filled.
        assert!(most < 2.0 * 16.5 + 2.0 * 1.2 + empty + 2.0, "{most} MiB");
        until("it gave back what it took", || mib_beyond(before) < empty + 0.75).await;
        wal.close().await.unwrap();
    });
}
