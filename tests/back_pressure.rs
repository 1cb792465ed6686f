//! Guards P16: many producers flood a log whose disk is stuck. What is in flight stays within the limits,
//! past them the answer is `Overloaded` or a fair wait, memory stays bounded, and everyone is answered when
//! the disk is back.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on has failed")]

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};

use actix_wal::testkit::internals::engine::intake::admission::{Admission, Refusal};
use actix_wal::testkit::internals::permits;
use actix_wal::testkit::{FaultEffect, FaultOp, FaultRule};
use actix_wal::{AppendError, CommitError, Lsn, OverloadPolicy, Wal};
use test_support::logs::{SOON, World, config, on_segments, until, within};

const MAX_ENTRIES: usize = 20;
const MAX_BYTES: usize = 4000;

async fn stuck(world: &World, overload: OverloadPolicy) -> Wal {
    let mut config = config();
    config.overload = overload;
    config.max_in_flight_entries = MAX_ENTRIES;
    config.max_in_flight_bytes = Some(MAX_BYTES);
    let wal = world.open(config).await;
    world.plan.add(on_segments(FaultRule::on(FaultOp::Sync, FaultEffect::Stuck)));
    within("append", wal.append("stuck")).await.unwrap();
    assert!(world.plan.wait_until_stuck(SOON));
    wal
}

fn assert_bounded(wal: &Wal) {
    let status = wal.status();
    assert!(status.entries_in_flight <= MAX_ENTRIES, "{status:?}");
    assert!(status.bytes_in_flight <= MAX_BYTES, "{status:?}");
    let open = status.accepted.get() - status.durable.get();
    assert!(open <= MAX_ENTRIES as u64, "{open} records have an LSN and no outcome");
}

#[actix::test]
async fn past_the_limit_of_entries_or_bytes_the_answer_is_overloaded() {
    for size in [10, 500] {
        let world = World::new();
        let wal = stuck(&world, OverloadPolicy::Refuse).await;
        let mut accepted = 1;
        let overloaded = loop {
            match within("append", wal.append(vec![0; size])).await {
                Ok(_) => accepted += 1,
                Err(error) => break error,
            }
            assert_bounded(&wal);
            assert!(accepted <= MAX_ENTRIES);
        };
        let AppendError::Overloaded { entries, bytes } = overloaded else {
            panic!("{overloaded}");
        };
        assert_eq!(entries, accepted);
        assert!(entries == MAX_ENTRIES || bytes + size + 5 > MAX_BYTES, "{entries} {bytes}");
        let too_large = within("append", wal.append(vec![0; MAX_BYTES])).await;
        assert!(matches!(too_large, Err(AppendError::TooLarge { .. })), "never, not later");
        assert_eq!(wal.stats().refused, 2);
        world.let_go();
        within("flush", wal.flush()).await.unwrap();
        within("append", wal.append(vec![0; size])).await.expect("there is room again");
        within("close", wal.close()).await.expect("clean");
        assert_eq!(world.records().await.len(), accepted + 1, "a refused one is not in the log");
    }
}

#[actix::test]
async fn a_flood_waits_bounded_and_everyone_is_answered_when_the_disk_is_back() {
    const PRODUCERS: usize = 200;
    let world = World::new();
    let wal = stuck(&world, OverloadPolicy::Wait).await;
    let outcomes = Arc::new(Mutex::new(Vec::<Result<Lsn, CommitError>>::new()));
    for producer in 0..PRODUCERS {
        let (wal, outcomes) = (wal.clone(), Arc::clone(&outcomes));
        actix::spawn(async move {
            for round in 0..3 {
                let outcome = wal.commit(vec![producer as u8; 50 + round * 300]).await;
                outcomes.lock().unwrap().push(outcome);
            }
        });
    }
    until("they wait", || {
        assert_bounded(&wal);
        wal.status().waiting_for_admission == PRODUCERS - (MAX_ENTRIES - 1)
    })
    .await;
    assert!(outcomes.lock().unwrap().is_empty(), "nothing is acknowledged");
    world.let_go();
    until("all are answered", || {
        assert_bounded(&wal);
        outcomes.lock().unwrap().len() == PRODUCERS * 3
    })
    .await;
    assert!(outcomes.lock().unwrap().iter().all(Result::is_ok));
    assert_eq!(wal.status().waiting_for_admission, 0);
    within("close", wal.close()).await.expect("clean");
    assert_eq!((wal.status().entries_in_flight, wal.status().bytes_in_flight), (0, 0));
    assert_eq!(world.records().await.len(), PRODUCERS * 3 + 1);
}

#[actix::test]
async fn waiting_is_first_come_first_served_and_a_dropped_waiter_leaves_nothing_behind() {
    let admission = Admission::new(2, 100);
    let held = admission.try_acquire(2, 100).unwrap();
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut tasks = Vec::new();
    for (number, bytes) in [(0, 90), (1, 5), (2, 5)] {
        let (room, seen) = (Arc::clone(&admission), Arc::clone(&order));
        tasks.push(actix::spawn(async move {
            let permit = room.acquire(1, bytes).await.unwrap();
            seen.lock().unwrap().push(number);
            permits::spend(permit);
        }));
        until("it waits", || admission.waiting() == number + 1).await;
    }
    tasks.remove(1).abort();
    until("the second is gone", || admission.waiting() == 2).await;
    drop(held);
    until("both have theirs", || order.lock().unwrap().len() == 2).await;
    assert_eq!(*order.lock().unwrap(), [0, 2]);
    assert_eq!((admission.entries_in_flight(), admission.bytes_in_flight()), (2, 95));
    assert_eq!(admission.waiting(), 0);
}

#[actix::test]
async fn a_commit_that_is_dropped_while_it_waits_is_not_appended() {
    let world = World::new();
    let wal = stuck(&world, OverloadPolicy::Wait).await;
    for _ in 1..MAX_ENTRIES {
        within("append", wal.append("fills")).await.unwrap();
    }
    let mut commit = Box::pin(wal.commit("dropped"));
    assert!(commit.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    assert_eq!(wal.status().waiting_for_admission, 1);
    drop(commit);
    assert_eq!(wal.status().waiting_for_admission, 0);
    world.let_go();
    within("flush", wal.flush()).await.unwrap();
    within("close", wal.close()).await.expect("clean");
    assert_eq!(world.records().await.len(), MAX_ENTRIES);
}

#[actix::test]
async fn those_who_wait_are_refused_when_the_log_closes_or_gives_up() {
    let admission = Admission::new(1, 100);
    let _held = admission.try_acquire(1, 1).unwrap();
    for (end, refusal) in [
        (permits::refuse_waiting as fn(&Admission), Refusal::Overloaded),
        (permits::close, Refusal::Closed),
    ] {
        let waiting = actix::spawn({
            let admission = Arc::clone(&admission);
            async move { admission.acquire(1, 1).await.err() }
        });
        until("it waits", || admission.waiting() == 1).await;
        end(&admission);
        assert_eq!(within("refusal", waiting).await.unwrap(), Some(refusal));
    }
}
