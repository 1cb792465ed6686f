//! Guards P2, P6, P7, P8, P10, P16, P20, P21: rare orders of events, found by reading, that once lost a
//! promise.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on has failed")]

use std::future::{Future, IntoFuture};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use actix::{Actor, Supervisor};
use actix_wal::actors::{Appender, Flusher, Recovery};
use actix_wal::messages::{LogEvent, Recover, WaitForLsn};
use actix_wal::storage::Medium;
use actix_wal::testkit::internals::Parts;
use actix_wal::testkit::internals::engine::state::shared::Shared;
use actix_wal::testkit::internals::runtime::threads::{Threads, Turn};
use actix_wal::testkit::{ByHand, FaultEffect, FaultOp, FaultRule, SimDisk, errno};
use actix_wal::{Bounds, FlushPolicy, LogState, Lsn, OpenError, Wal};
use test_support::logs::{Ear, World, bytes_on, config, on_segments, records_on, until, within};
use test_support::refusing::Refusing;

#[actix::test]
async fn p2_a_reader_follows_a_log_on_a_copy_on_write_file_system() {
    let disk = SimDisk::with_medium(Medium::CopyOnWrite);
    let wal = Wal::open(config()).on_storage(disk.mount().unwrap()).await.unwrap();
    wal.commit("one").await.unwrap();
    let mut stream = wal.read(Lsn::FIRST).await.unwrap().follow();
    stream.next().await.unwrap().unwrap();
    for _ in 0..3 {
        wal.commit(vec![7u8; 900]).await.unwrap();
        let next = within("next", stream.next()).await.unwrap();
        assert!(next.is_ok(), "{next:?}");
    }
}

#[actix::test]
async fn p16_flushes_leave_the_queue_room_for_everything_that_has_a_permit() {
    let world = World::new();
    let mut config = config();
    config.max_in_flight_entries = 4;
    let wal = world.open(config).await;
    wal.commit("zero").await.unwrap();
    world.plan.add(on_segments(FaultRule::on(FaultOp::Sync, FaultEffect::Stuck)));
    let first = wal.append("a").await.unwrap();
    assert!(world.plan.wait_until_stuck(Duration::from_secs(10)));
    // More than the queue has room for, if each took a place in it.
    let mut flushes = Vec::new();
    for _ in 0..300 {
        let mut flush = Box::pin(wal.flush());
        assert!(flush.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        flushes.push(flush);
        // The Appender answers this behind the flush, so it has passed that on.
        let never = within("answer", wal.recipients().wait_for_lsn.send(WaitForLsn(Lsn::MAX)));
        never.await.unwrap().unwrap_err();
    }
    let mut results = Vec::new();
    for _ in 0..3 {
        results.push(within("append", wal.append("b")).await);
    }
    world.plan.clear();
    world.plan.release();
    assert!(results.iter().all(Result::is_ok), "{first} {results:?}");
}

#[actix::test]
async fn p6_a_seal_that_never_comes_and_a_window_without_end_are_no_faults() {
    let endless = Bounds { max_delay: Duration::MAX, ..Bounds::default() };
    for policy in [FlushPolicy::Eager, FlushPolicy::Window(endless)] {
        let world = World::new();
        let mut config = config();
        (config.flush_policy, config.seal_after) = (policy, Duration::MAX);
        config.validate().unwrap();
        let wal = world.open(config).await;
        wal.append("one").await.unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
        let state = wal.status().state;
        assert_eq!((state.name(), wal.stats().restarts), ("running", 0), "{state:?}");
    }
}

#[actix::test]
async fn p21_checkpoints_on_a_full_disk_always_end_and_free_space() {
    let world = World::new();
    let mut ends = Vec::new();
    for life in 0..6 {
        let wal = world.open(config()).await;
        ends.push(wal.commit(format!("life {life}")).await.unwrap());
        wal.close().await.unwrap();
        drop(wal);
        until("free", || world.disk.mount().is_ok()).await;
    }
    let wal = world.open(config()).await;
    // The last segment that is asked for is filled as the current one is used up: more than half of it.
    for _ in 0..4 {
        wal.commit(vec![1u8; 700]).await.unwrap();
    }
    assert_eq!(wal.stats().rotations, 0);
    // One for each life, one to rotate into, and one that is kept back: no more are asked for.
    until("prepared", || {
        let names = world.disk.names();
        println!("{names:?}");
        names.len() == 9 && names.iter().all(|name| name.ends_with(".wal"))
    })
    .await;
    world.disk.set_capacity(bytes_on(&world.disk));
    let mut last = Lsn::NONE;
    while let Ok(lsn) = wal.commit(vec![1u8; 700]).await {
        last = lsn;
    }
    until("no space", || matches!(wal.status().state, LogState::NoSpace(_))).await;
    for end in ends.into_iter().chain([last]) {
        within("checkpoint", wal.checkpoint(end)).await.unwrap();
        // Others take what it frees.
        world.disk.set_capacity(bytes_on(&world.disk));
    }
    until("running", || matches!(wal.status().state, LogState::Running)).await;
    wal.commit("again").await.unwrap();
}

#[actix::test]
async fn p7_segments_whose_start_failed_do_not_pile_up() {
    let world = World::new();
    let mut config = config();
    config.restart_budget.restarts = 1000;
    let wal = world.open(config).await;
    for _ in 0..10 {
        world
            .plan
            .add(on_segments(FaultRule::on(FaultOp::Sync, FaultEffect::Fail(errno::EIO)).times(2)));
        wal.commit("x").await.unwrap();
        world.plan.clear();
        wal.checkpoint(wal.durable_lsn()).await.unwrap();
    }
    // Ten have failed; the preparer removes them when it comes to it.
    until("they are removed", || world.disk.names().len() <= 7).await;
}

/// Says whether somebody was woken.
#[derive(Debug, Default)]
struct Alarm(AtomicBool);

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[actix::test]
async fn p20_an_open_that_is_dropped_lets_go_of_the_directory() {
    let mut is_open = false;
    let mut polls = 0;
    while !is_open {
        polls += 1;
        let world = World::new();
        let mut open = Box::pin(Wal::open(config()).on_storage(world.storage()).into_future());
        let alarm = Arc::new(Alarm::default());
        let waker = Waker::from(Arc::clone(&alarm));
        for _ in 0..polls {
            is_open = open.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
            if is_open {
                break;
            }
            // Whatever can happen before the next poll does.
            until("it goes on", || alarm.0.swap(false, Ordering::SeqCst)).await;
        }
        drop(open);
        until("the directory is free", || world.disk.mount().is_ok()).await;
    }
    assert!(polls > 1, "it was never dropped before its end");
}

#[actix::test]
async fn p10_a_panic_in_the_preparer_leaves_no_number_out() {
    let world = World::new();
    let victim = |name: &str| name == "00000000000000000003.wal.tmp";
    world.plan.add(FaultRule::on(FaultOp::Write, FaultEffect::Panic).file(victim).times(1));
    let wal = world.open(config()).await;
    while wal.stats().rotations < 1 {
        within("commit", wal.commit(vec![1u8; 700])).await.unwrap();
    }
    within("close", wal.close()).await.unwrap();
    drop(wal);
    until("free", || world.disk.mount().is_ok()).await;
    assert!(!records_on(&world.disk).is_empty());
}

/// Whether there is one to write to, one to rotate into, and one that is kept back, and nothing unfinished.
fn is_all_prepared(disk: &SimDisk) -> bool {
    let names = disk.names();
    names.len() >= 3 && names.iter().all(|name| name.ends_with(".wal"))
}

#[actix::test]
async fn p10_one_failed_directory_sync_never_has_recovery_miss_a_segment() {
    for skip in 0..8 {
        let world = World::new();
        let dir_sync = FaultRule::on(FaultOp::SyncDir, FaultEffect::Fail(errno::EIO));
        world.plan.add(dir_sync.after(skip).times(1));
        for life in 0..4 {
            match within("open", Wal::open(config()).on_storage(world.storage())).await {
                Ok(wal) => {
                    // Until the preparer has what it wants: the last segment that is asked for is filled as
                    // the current one is used up.
                    within("prepared", async {
                        loop {
                            wal.commit(format!("life {life}")).await.unwrap();
                            if is_all_prepared(&world.disk) {
                                break;
                            }
                            tokio::time::sleep(Duration::from_millis(1)).await;
                        }
                    })
                    .await;
                    wal.close().await.unwrap();
                }
                Err(error) => assert!(
                    !matches!(error, OpenError::Damaged(_)),
                    "skip {skip} life {life}: {error} {:?}",
                    world.disk.names()
                ),
            }
            until("free", || world.disk.mount().is_ok()).await;
        }
    }
}

/// A log in this Arbiter whose blocking parts are driven like this.
async fn open_on(threads: Arc<dyn Threads>, world: &World) -> (Wal, Arc<Shared>) {
    let config = config();
    let parts = Parts::new(&config);
    let shared = Arc::clone(&parts.shared);
    let parts = parts.public();
    let recovery = Recovery::new(&parts, config.clone()).start();
    let recover = Recover { storage: Some(world.storage()), ..Recover::default() };
    let recovered = recovery.send(recover).await.unwrap().unwrap();
    let report = recovered.report().clone();
    let appender = Appender::new(&parts, config.overload).start();
    let events = appender.clone().recipient();
    let flusher = Flusher::new(recovered, &parts, config.clone(), events);
    let flusher = flusher.on_threads(threads);
    let flusher = Supervisor::start(|_| flusher);
    (Wal::compose(&config, &parts, report, &appender, &flusher), shared)
}

#[actix::test]
async fn p6_a_flush_thread_that_the_system_refuses_is_a_passing_fault() {
    let (world, threads) = (World::new(), Refusing::default());
    threads.next("wal-flush", 2, errno::EAGAIN);
    let (wal, _) = open_on(Arc::new(threads), &world).await;
    within("append", wal.append("one")).await.unwrap();
    within("flush", wal.flush()).await.unwrap();
    assert_eq!((wal.status().state.name(), wal.stats().restarts), ("running", 2));
    within("close", wal.close()).await.unwrap();
    drop(wal);
    assert_eq!(world.records().await.len(), 1);
}

#[actix::test]
async fn p8_nobody_is_told_of_a_watermark_before_what_it_leaves_out() {
    let (world, threads) = (World::new(), ByHand::only("wal-flush"));
    let (wal, shared) = open_on(Arc::new(threads.clone()), &world).await;
    let ear = Ear::on(&wal).await;
    let mut worker = None;
    until("the flush loop", || {
        worker = threads.take();
        worker.is_some()
    })
    .await;
    let mut worker = worker.unwrap();
    assert!(matches!(worker.look(), Turn::Wait(_)), "the log opens with the first look");
    within("append", wal.append("one")).await.unwrap();
    assert_eq!(worker.look(), Turn::Work, "and says so");
    // As if it had got as far as this in its work, with something to tell first.
    shared.watermark.raise_durable(Lsn::FIRST);
    // The Flusher answers this behind what it was told before.
    within("checkpoint", wal.checkpoint(Lsn::NONE)).await.unwrap();
    let watermarks = || {
        let events = ear.0.lock().unwrap();
        events.iter().filter(|event| matches!(event, LogEvent::Durable { .. })).count()
    };
    assert_eq!(watermarks(), 0, "{:?}", ear.0.lock().unwrap());
    let late = wal.subscribe(Ear::default().start().recipient());
    assert_eq!(within("subscribe", late).await.unwrap(), Lsn::NONE, "nor who comes now");
    worker.work();
    until("the watermark", || watermarks() == 1).await;
    drop(worker);
}
