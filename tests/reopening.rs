//! Guards P20: `open` waits for a log of this very process that is ending, and for no other; what is cancelled gives
//! the directory back at the next batch.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on has failed")]

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::task::{Context as TaskContext, Waker};
use std::time::Duration;

use actix::{Actor, Arbiter, Context, Handler, ResponseFuture, System};
use actix_wal::error::Holder;
use actix_wal::messages::{Replay, ReplayRefused};
use actix_wal::storage::Directory;
use actix_wal::testkit::internals::Parts;
use actix_wal::testkit::internals::engine::recovery::{Progress, ReplaySink, recover};
use actix_wal::testkit::{FaultEffect, FaultOp, FaultPlan, FaultRule, FaultyStorage, SimDisk};
use actix_wal::{Lsn, OpenError, RecordBatch, Wal, WalConfig};
use test_support::logs::{SOON, config_in, until, within};
use test_support::scratch::folder;

/// Set in the processes that tests start: the directory to open.
const DIRECTORY: &str = "ACTIX_WAL_REOPENING_DIRECTORY";

/// An opener that waits takes longer than any test does: it hangs where it should be refused.
fn config(path: &Path) -> WalConfig {
    let mut config = config_in(path);
    config.give_up_after = SOON * 100;
    config
}

/// Opens the log and commits a record. Records before it: one for each life.
async fn live(path: &Path, arbiter: Option<&Arbiter>, life: u64) -> Wal {
    let opening = Wal::open(config(path));
    let opening = match arbiter {
        Some(arbiter) => opening.in_arbiter(arbiter.handle()),
        None => opening,
    };
    let wal = within("open", opening).await.unwrap_or_else(|error| panic!("life {life}: {error}"));
    assert_eq!(wal.recovery_report().records, life, "life {life}");
    within("commit", wal.commit("record")).await.unwrap();
    wal
}

/// How a life of a log ends, without anything that waits for the end.
const ENDS: [fn(&Path, u64); 5] = [
    // Its System is stopped.
    |path, life| {
        let system = System::new();
        let _wal = system.block_on(live(path, None, life));
        System::current().stop();
        system.run().unwrap();
    },
    // Its System is stopped, and its Arbiter is another thread, which learns of it later.
    |path, life| {
        let system = System::new();
        let _wal = system.block_on(async { live(path, Some(&Arbiter::new()), life).await });
        System::current().stop();
        system.run().unwrap();
    },
    // The System is dropped with everything in it.
    |path, life| drop(System::new().block_on(live(path, None, life))),
    // The last handle is dropped in a System that goes on.
    |path, life| {
        System::new().block_on(async {
            drop(live(path, None, life).await);
            let wal = within("open", Wal::open(config(path))).await.expect("it waits");
            within("close", wal.close()).await.expect("clean");
        });
    },
    // The last handle of a log on its own thread is dropped.
    |path, life| {
        let wal = Wal::open(config(path)).blocking().unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(wal.recovery_report().records, life, "life {life}");
        wal.commit_blocking("record").unwrap();
    },
];

#[test]
fn p20_the_next_open_waits_for_a_log_that_ends_however_it_ends() {
    let folder = folder();
    for life in 0..200 {
        // A thread that had a System keeps its name, so each life has a thread of its own.
        let path = folder.path().to_owned();
        let end = ENDS[life as usize % ENDS.len()];
        std::thread::spawn(move || end(&path, life)).join().unwrap();
    }
}

#[test]
fn p20_the_next_open_waits_for_an_arbiter_that_was_stopped_and_is_busy_still() {
    let folder = folder();
    let (go, gate) = channel::<()>();
    let path = folder.path().to_owned();
    let life = std::thread::spawn(move || {
        let system = System::new();
        let wal = system.block_on(async {
            let arbiter = Arbiter::new();
            let wal = live(&path, Some(&arbiter), 0).await;
            let (begins, begun) = channel::<()>();
            arbiter.spawn_fn(move || {
                begins.send(()).unwrap();
                gate.recv().unwrap_or_default();
            });
            // An Arbiter that is stopped before does not begin with it.
            begun.recv().unwrap();
            wal
        });
        System::current().stop();
        system.run().unwrap();
        wal
    });
    // All Arbiters were told to stop; this one can not know it yet.
    let _wal = life.join().unwrap();
    let path = folder.path().to_owned();
    let next = std::thread::spawn(move || Wal::open(config(&path)).blocking());
    // Time for an opener that does not wait to be refused.
    std::thread::sleep(Duration::from_millis(100));
    go.send(()).unwrap();
    let wal = next.join().unwrap().expect("it waits");
    assert_eq!(wal.recovery_report().records, 1);
    wal.close_blocking().expect("clean");
}

#[actix::test]
async fn p20_a_log_in_use_is_refused_at_once_and_named() {
    let folder = folder();
    let wal = within("open", Wal::open(config(folder.path()))).await.unwrap();
    let refused = |opened: Result<Wal, OpenError>| match opened {
        Err(OpenError::Locked { directory, holder: Holder::ThisProcess }) => {
            assert_eq!(Path::new(&directory), folder.path());
        }
        other => panic!("it is in use: {other:?}"),
    };
    refused(within("open", Wal::open(config(folder.path()))).await);
    refused(within("open", Wal::open(config(folder.path())).on_own_thread()).await);
    // Also while the Arbiter of the log is not its opener's.
    let arbiter = Arbiter::new();
    refused(within("open", Wal::open(config(folder.path())).in_arbiter(arbiter.handle())).await);
    let held = Directory::open(folder.path()).expect_err("locked");
    assert_eq!(held.kind(), std::io::ErrorKind::WouldBlock);
    assert!(held.to_string().contains("another owner"), "{held}");
    within("commit", wal.commit("record")).await.expect("no open has harmed it");
    within("close", wal.close()).await.expect("clean");
    Directory::open(folder.path()).expect("free");
}

#[actix::test]
async fn p20_another_process_is_refused_at_once_and_told_which_process_it_is() {
    if let Some(path) = std::env::var_os(DIRECTORY) {
        match within("open", Wal::open(config(path.as_ref()))).await {
            Err(OpenError::Locked { holder: Holder::Process(id), .. }) => {
                assert_eq!(id, std::os::unix::process::parent_id());
            }
            // Where the kernel does not tell, as across namespaces.
            Err(OpenError::Locked { holder: Holder::Unknown, .. }) => {}
            other => panic!("{other:?}"),
        }
        return;
    }
    let folder = folder();
    let wal = within("open", Wal::open(config(folder.path()))).await.unwrap();
    let child = || {
        Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "p20_another_process_is_refused_at_once_and_told_which_process_it_is",
            ])
            .env(DIRECTORY, folder.path())
            .stdout(Stdio::null())
            .status()
            .unwrap()
            .success()
    };
    assert!(child());
    // It is refused at once also where this process would wait: the mark of an ending log is this process's.
    let records = wal.read(Lsn::FIRST).await.unwrap();
    within("close", wal.close()).await.expect("clean");
    assert!(child(), "a reader holds the directory");
    drop(records);
}

#[actix::test]
async fn p20_an_open_waits_no_longer_than_it_is_configured_to() {
    let folder = folder();
    let wal = within("open", Wal::open(config(folder.path()))).await.unwrap();
    let records = wal.read(Lsn::FIRST).await.unwrap();
    within("close", wal.close()).await.expect("clean");
    // It has ended but for a reader, which holds the directory.
    let mut impatient = config(folder.path());
    impatient.give_up_after = Duration::from_millis(50);
    match within("open", Wal::open(impatient)).await {
        Err(error @ OpenError::Locked { holder: Holder::Ending, .. }) => {
            assert!(error.to_string().contains("drop its readers"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    // Readers of a closed log are given a second, however patient the opener is.
    match within("open", Wal::open(config(folder.path()))).await {
        Err(OpenError::Locked { holder: Holder::Ending, .. }) => {}
        other => panic!("{other:?}"),
    }
    drop(records);
    let wal = within("open", Wal::open(config(folder.path()))).await.expect("it is free");
    within("close", wal.close()).await.expect("clean");
}

#[actix::test]
async fn p20_an_open_that_waits_and_is_dropped_does_not_take_the_directory() {
    let folder = folder();
    let wal = within("open", Wal::open(config(folder.path()))).await.unwrap();
    let records = wal.read(Lsn::FIRST).await.unwrap();
    within("close", wal.close()).await.expect("clean");
    let epoch = wal.status().epoch;
    let opening = Wal::open(config(folder.path())).into_future();
    // A second is more than this, so it has not been refused; either way it is not wanted any more.
    let _ = tokio::time::timeout(Duration::from_millis(100), opening).await;
    drop(records);
    let wal = within("open", Wal::open(config(folder.path()))).await.expect("it is free");
    assert_eq!(wal.status().epoch, epoch.next(), "an epoch was begun for nobody");
    within("close", wal.close()).await.expect("clean");
}

/// A log of several batches of about a mebibyte.
async fn long_log(path: &Path) {
    let wal = within("open", Wal::open(large(path))).await.unwrap();
    for _ in 0..64 {
        wal.append(vec![7; 128 << 10]).await.unwrap();
    }
    within("close", wal.close()).await.expect("clean");
}

fn large(path: &Path) -> WalConfig {
    let mut config = config(path);
    config.segment_size = 4 << 20;
    config
}

/// Is replayed to, and is never done with the first batch.
struct NeverDone(Arc<AtomicUsize>);

impl Actor for NeverDone {
    type Context = Context<Self>;
}

impl Handler<Replay> for NeverDone {
    type Result = ResponseFuture<Result<(), ReplayRefused>>;

    fn handle(&mut self, _: Replay, _: &mut Self::Context) -> Self::Result {
        self.0.fetch_add(1, Ordering::SeqCst);
        Box::pin(std::future::pending())
    }
}

#[actix::test]
async fn p20_an_open_that_is_dropped_does_not_wait_for_a_slow_host() {
    let folder = folder();
    long_log(folder.path()).await;
    let batches = Arc::new(AtomicUsize::new(0));
    let host = NeverDone(Arc::clone(&batches)).start();
    let opening = Wal::open(large(folder.path())).replay_to(host.recipient(), None);
    let opening = actix::spawn(opening.into_future());
    until("the first batch", || batches.load(Ordering::SeqCst) == 1).await;
    opening.abort();
    opening.await.expect_err("aborted");
    let wal = within("open", Wal::open(large(folder.path()))).await.expect("it is free");
    assert_eq!((batches.load(Ordering::SeqCst), wal.recovery_report().records), (1, 64));
    within("close", wal.close()).await.expect("clean");
}

#[actix::test]
async fn p20_an_open_that_is_dropped_calls_its_function_no_more() {
    let folder = folder();
    long_log(folder.path()).await;
    let batches = Arc::new(AtomicUsize::new(0));
    let (go, gate) = channel::<()>();
    let counted = Arc::clone(&batches);
    let opening = Wal::open(large(folder.path())).replay_with(None, move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        gate.recv().map_err(|_| ReplayRefused("the test is over".into()))
    });
    let opening = actix::spawn(opening.into_future());
    until("the first batch", || batches.load(Ordering::SeqCst) == 1).await;
    opening.abort();
    opening.await.expect_err("aborted");
    // As many as there are batches, so that the function is never what holds it up.
    (0..64).for_each(|_| go.send(()).unwrap());
    let wal = within("open", Wal::open(large(folder.path()))).await.expect("it is free");
    assert_eq!(batches.load(Ordering::SeqCst), 1, "the batch it had, and no other");
    within("close", wal.close()).await.expect("clean");
}

#[actix::test]
async fn p20_an_open_that_is_dropped_writes_nothing_also_if_nothing_is_replayed() {
    let disk = SimDisk::new();
    let wal = Wal::open(config(Path::new("unused"))).on_storage(disk.mount().unwrap());
    let wal = within("open", wal).await.unwrap();
    within("commit", wal.commit("record")).await.unwrap();
    within("close", wal.close()).await.expect("clean");
    drop(wal);

    let plan = FaultPlan::new();
    let storage = Arc::new(FaultyStorage::mount(&disk, plan.clone()).unwrap());
    plan.add(FaultRule::on(FaultOp::Read, FaultEffect::Stuck).times(1));
    let opening = Wal::open(config(Path::new("unused"))).on_storage(storage).into_future();
    let opening = actix::spawn(opening);
    until("a read", || plan.wait_until_stuck(Duration::ZERO)).await;
    opening.abort();
    opening.await.expect_err("aborted");
    plan.clear();
    plan.add(FaultRule::on(FaultOp::Write, FaultEffect::Delay(Duration::ZERO)));
    let hits = plan.hits();
    plan.release();
    until("the directory is free", || disk.mount().is_ok()).await;
    assert_eq!(plan.hits(), hits, "it has begun an epoch for nobody");
}

/// Wants nothing from the start.
struct Unwanted;

impl ReplaySink for Unwanted {
    fn replay(&mut self, _: RecordBatch, _: Progress) -> Result<(), String> {
        panic!("nothing is wanted");
    }

    fn is_wanted(&self) -> bool {
        false
    }
}

#[actix::test]
async fn p20_a_recovery_that_is_not_wanted_ends_also_below_the_first_record_to_replay() {
    let folder = folder();
    long_log(folder.path()).await;
    let (config, storage) = (large(folder.path()), Directory::open(folder.path()).unwrap());
    let link = Parts::new(&config);
    let from = Some(Lsn::new(64));
    match recover(Arc::new(storage), &config, &link.shared, from, &mut Unwanted) {
        Err(OpenError::Replay { .. }) => {}
        other => panic!("{other:?}"),
    }
}

#[actix::test]
async fn p20_a_read_stream_that_is_dropped_in_the_middle_of_a_read_ends_with_its_batch() {
    let folder = folder();
    long_log(folder.path()).await;
    for _ in 0..10 {
        let wal = within("open", Wal::open(large(folder.path()))).await.expect("it waits");
        let mut records = wal.read(Lsn::FIRST).await.unwrap();
        {
            let mut next = std::pin::pin!(records.next_batch());
            let _ = next.as_mut().poll(&mut TaskContext::from_waker(Waker::noop()));
        }
        drop(records);
        within("close", wal.close()).await.expect("clean");
    }
}
