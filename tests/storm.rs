//! Guards P6, P23: a storm of faults is told in a few lines. What is said of a disk that fails must not fill it.

#![allow(clippy::expect_used, reason = "a test that can not go on has failed")]

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::time::{Duration, Instant};

use actix_wal::testkit::{FaultEffect, FaultOp, FaultRule, MockLog, MockScript, MockStep, errno};
use actix_wal::{CommitError, FaultPolicy};
use test_support::logs::{World, config, on_segments, within};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

static EVENTS: AtomicUsize = AtomicUsize::new(0);
static PANICS: AtomicBool = AtomicBool::new(false);

/// The tests share the subscriber of the process, so one runs after the other.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    let alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    static SET: Once = Once::new();
    SET.call_once(|| tracing::subscriber::set_global_default(Counting).expect("the only one"));
    alone
}

/// Counts the events of all levels and threads.
struct Counting;

impl Subscriber for Counting {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && metadata.target().starts_with("actix_wal")
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn event(&self, _: &Event<'_>) {
        EVENTS.fetch_add(1, Ordering::Relaxed);
        assert!(!PANICS.load(Ordering::Relaxed), "this subscriber panics");
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// How many events come while this happens, and how many may: one for each change of state, and one sum a second.
fn assert_few_events(changes: usize, storm: impl Future<Output = ()>) {
    let (before, began) = (EVENTS.load(Ordering::Relaxed), Instant::now());
    actix::System::new().block_on(storm);
    let events = EVENTS.load(Ordering::Relaxed) - before;
    let most = changes + began.elapsed().as_secs() as usize + 1;
    assert!((1..=most).contains(&events), "{events} events, and {most} are enough");
}

/// A disk that fails again and again before the log runs again.
async fn failing_writes() {
    const FAILURES: u64 = 500;
    let world = World::new();
    let mut config = config();
    config.fault_policy = FaultPolicy::Resend;
    config.restart_budget.restarts = u32::MAX;
    config.restart_budget.backoff = Duration::from_micros(1);
    config.restart_budget.max_backoff = Duration::from_micros(1);
    let wal = world.open(config).await;
    let eio = FaultEffect::Fail(errno::EIO);
    world.plan.add(on_segments(FaultRule::on(FaultOp::Write, eio).times(FAILURES)));
    within("commit", wal.commit("in the end")).await.expect("durable");
    assert!(wal.stats().restarts >= FAILURES, "{:?}", wal.stats());
    within("close", wal.close()).await.expect("closes");
    assert_eq!(world.plan.hits(), FAILURES);
}

/// As many records as in a bad minute end as not durable, each for itself.
async fn failing_records() {
    const FAILURES: u64 = 100_000;
    let (wal, _mock) = MockLog::start(MockScript::acknowledge().then(MockStep::fail()));
    for _ in 0..FAILURES {
        let outcome = wal.commit("lost").await;
        assert!(matches!(outcome, Err(CommitError::NotDurable { .. })), "{outcome:?}");
    }
}

#[test]
fn p6_p23_a_storm_of_failures_is_told_by_each_change_of_state_and_one_sum_a_second() {
    let _alone = alone();
    // Running, unavailable, running, closing, closed.
    assert_few_events(5, failing_writes());
    assert_few_events(1, failing_records());
}

#[test]
fn p23_a_subscriber_that_panics_ends_no_log() {
    let _alone = alone();
    let before = EVENTS.load(Ordering::Relaxed);
    PANICS.store(true, Ordering::Relaxed);
    // It checks what becomes of its commit and of its log.
    actix::System::new().block_on(failing_writes());
    PANICS.store(false, Ordering::Relaxed);
    assert!(EVENTS.load(Ordering::Relaxed) > before, "it was asked");
}
