//! Guards P6, P23: a storm of faults is told in a few lines. What is said of a disk that fails must not fill it.

#![allow(clippy::expect_used, reason = "a test that can not go on has failed")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use actix_wal::testkit::{FaultEffect, FaultOp, FaultRule, MockLog, MockScript, MockStep, errno};
use actix_wal::{CommitError, FaultPolicy};
use test_support::logs::{World, config, on_segments, within};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

static EVENTS: AtomicUsize = AtomicUsize::new(0);

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
    tracing::subscriber::set_global_default(Counting).expect("the only one");
    // Running, unavailable, running, closing, closed.
    assert_few_events(5, failing_writes());
    assert_few_events(1, failing_records());
}
