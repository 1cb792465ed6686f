//! Guards P1, P6: a process that is stopped and continued (a debugger, a freezer, a live migration). Time in
//! which it did not run is not the disk's: nobody is told that a sync is stuck. One that is stuck is found.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on has failed")]

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_wal::testkit::{FaultEffect, FaultOp, FaultRule, errno};
use actix_wal::{Cause, CommitError, LogState, Lsn, Wal};
use test_support::child::{self, Job};
use test_support::clock::BentClock;
use test_support::lives::{Ledger, Life};
use test_support::logs::{World, config, on_segments, until, within};
use tokio::task::JoinHandle;

const HOUR: Duration = Duration::from_secs(3600);

/// Does nothing unless it is run as the child of another test.
#[test]
fn the_child_of_these_tests() {
    child::run();
}

/// The real time, and what a test adds to it: the process stood still for so long.
#[derive(Debug, Default)]
struct Jumping {
    ahead: Mutex<Duration>,
    /// How much every look adds.
    at_each_look: Mutex<Duration>,
    looks: AtomicU64,
}

/// A log whose watchdog looks often, and calls nothing stuck before half a minute has passed.
async fn open(world: &World, clock: &Arc<Jumping>) -> Wal {
    let mut config = config();
    config.slow_sync = Duration::from_millis(40);
    config.stalled_after = Duration::from_secs(20);
    config.give_up_after = Duration::from_secs(10);
    let jumping = Arc::clone(clock);
    let clock = BentClock::default().now(move |now| {
        jumping.looks.fetch_add(1, Ordering::SeqCst);
        let mut ahead = jumping.ahead.lock().unwrap();
        *ahead += *jumping.at_each_look.lock().unwrap();
        now + *ahead
    });
    let open = Wal::open(config).on_storage(world.storage()).with_clock(Arc::new(clock));
    within("open", open).await.unwrap()
}

/// While everything else is stuck only the watchdog looks at the clock.
async fn until_it_has_looked(clock: &Jumping) {
    let looks = clock.looks.load(Ordering::SeqCst);
    until("three looks", || clock.looks.load(Ordering::SeqCst) >= looks + 3).await;
}

fn commit(wal: &Wal) -> JoinHandle<Result<Lsn, CommitError>> {
    let wal = wal.clone();
    actix::spawn(async move { wal.commit("x").await })
}

/// Until the plan lets it go.
async fn commit_that_hangs(world: &World, wal: &Wal) -> JoinHandle<Result<Lsn, CommitError>> {
    world.plan.add(on_segments(FaultRule::on(FaultOp::Sync, FaultEffect::Stuck)));
    let committing = commit(wal);
    until("a sync", || world.plan.wait_until_stuck(Duration::ZERO)).await;
    committing
}

#[actix::test]
async fn p6_a_commit_in_flight_while_the_process_stands_still_is_no_stuck_sync() {
    let (world, clock) = (World::new(), Arc::new(Jumping::default()));
    let wal = open(&world, &clock).await;
    let committing = commit_that_hangs(&world, &wal).await;
    for _ in 0..3 {
        *clock.ahead.lock().unwrap() += HOUR;
        until_it_has_looked(&clock).await;
        assert!(!wal.status().stalled && !committing.is_finished(), "it stood still");
    }
    world.let_go();
    within("commit", committing).await.unwrap().expect("the disk did nothing wrong");
    within("close", wal.close()).await.unwrap();
}

#[actix::test]
async fn p6_a_sync_that_is_stuck_is_found_also_by_looks_that_always_come_late() {
    let (world, clock) = (World::new(), Arc::new(Jumping::default()));
    let wal = open(&world, &clock).await;
    let committing = commit_that_hangs(&world, &wal).await;
    // Each look is ten seconds late, and counts as one interval of twenty milliseconds: too few to wait for. So
    // the clock goes as fast as still counts as it shows.
    *clock.at_each_look.lock().unwrap() = Duration::from_millis(10);
    *clock.ahead.lock().unwrap() += HOUR;
    until("stalled", || wal.status().stalled).await;
    let outcome = within("commit", committing).await.unwrap();
    assert!(
        matches!(outcome, Err(CommitError::Unknown { cause: Cause::Stalled { .. }, .. })),
        "{outcome:?}"
    );
    world.let_go();
    within("close", wal.close()).await.unwrap();
}

#[actix::test]
async fn p6_a_log_that_waits_for_space_is_not_given_up_for_time_in_which_it_stood_still() {
    let (world, clock) = (World::new(), Arc::new(Jumping::default()));
    let wal = open(&world, &clock).await;
    // A write that finds the disk full is a fault that passes: it is tried again and again.
    let full = FaultRule::on(FaultOp::Write, FaultEffect::Fail(errno::ENOSPC));
    world.plan.add(on_segments(full));
    let committing = commit(&wal);
    until("it waits", || matches!(wal.status().state, LogState::Unavailable(_))).await;
    *clock.ahead.lock().unwrap() += HOUR;
    until_it_has_looked(&clock).await;
    // Its restarts look at the clock too: so many looks that the watchdog's are among them.
    let looks = clock.looks.load(Ordering::SeqCst);
    until("many looks", || clock.looks.load(Ordering::SeqCst) >= looks + 300).await;
    assert!(!committing.is_finished(), "{:?}", committing.await);
    world.plan.clear();
    within("commit", committing).await.unwrap().expect("there is space");
    within("close", wal.close()).await.unwrap();
}

#[test]
fn p1_p6_a_real_process_that_is_stopped_in_the_middle_of_commits_goes_on_as_if_nothing_were() {
    let folder = test_support::scratch::folder();
    let mut ledger = Ledger::default();
    let mut job = Job::endless(folder.path());
    job.impatient = true;
    let job = ledger.begin(job);
    let config = job.config();
    let life = Life::start(&job);
    for _ in 0..3 {
        life.acknowledges(100, &mut ledger);
        life.signal("STOP");
        // It has to stand still for longer than anybody would wait for a sync.
        std::thread::sleep(config.stalled_after + config.give_up_after + Duration::from_secs(1));
        life.signal("CONT");
    }
    life.acknowledges(100, &mut ledger);
    life.kill(&mut ledger);
    assert!(ledger.errors.is_empty(), "{:?} {:?}", ledger.errors, ledger.states);
    ledger.verify(folder.path(), &config);
}
