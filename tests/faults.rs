//! Guards P1, P6, P7, P8, P9, P11, P15, P17, P21 under faults. Every write and sync of a small run fails once, before or
//! after its effect, or panics; then everything fails, gets stuck, or goes away: every append has its
//! outcome, nobody hangs, and what is on the disk afterwards is what the outcomes said.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on has failed")]

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::mpsc;
use std::task::{Context, Waker};
use std::time::Duration;

use actix::Arbiter;
use actix_wal::messages::LogEvent;
use actix_wal::testkit::{FaultEffect, FaultOp, FaultRule, Persist, errno};
use actix_wal::{
    AppendError, Cause, CloseError, CommitError, Durability, FaultPolicy, LogState, Lsn, Wal,
    WalConfig,
};
use test_support::logs::{
    Ear, SOON, World, config, impatient, on_prepared, on_segments, records_on, until, within,
};

type Outcomes = Vec<(Vec<u8>, Result<Lsn, CommitError>)>;

const EIO: FaultEffect = FaultEffect::Fail(errno::EIO);
const FAULTS: [(FaultOp, FaultEffect); 6] = [
    (FaultOp::Write, EIO),
    (FaultOp::Write, FaultEffect::FailAfter(errno::EIO)),
    (FaultOp::Write, FaultEffect::Panic),
    (FaultOp::Sync, EIO),
    (FaultOp::Sync, FaultEffect::FailAfter(errno::EIO)),
    (FaultOp::Sync, FaultEffect::Panic),
];

/// Three clients commit one after the other, enough for two rotations. A group is among it.
async fn run(wal: &Wal) -> Outcomes {
    let client = |client: usize| {
        let wal = wal.clone();
        async move {
            let mut outcomes = Outcomes::new();
            for round in 0..6 {
                let payload = format!("client {client} round {round} {}", "x".repeat(600));
                let outcome = within("commit", wal.commit(payload.clone())).await;
                outcomes.push((payload.into_bytes(), outcome));
            }
            outcomes
        }
    };
    let clients: Vec<_> = (0..3).map(|number| actix::spawn(client(number))).collect();
    let mut outcomes = Outcomes::new();
    for client in clients {
        outcomes.extend(client.await.unwrap());
    }
    outcomes
}

/// What recovery gives is what the outcomes said: `Ok` is there, `NotDurable` is not, nothing is there
/// twice, nothing is there that nobody submitted.
fn check(outcomes: &Outcomes, records: &BTreeMap<Lsn, Vec<u8>>, case: &str) {
    for (payload, outcome) in outcomes {
        let copies = records.values().filter(|record| *record == payload).count();
        match outcome {
            Ok(lsn) => {
                assert_eq!((records.get(lsn), copies), (Some(payload), 1), "{case}: LSN {lsn}");
            }
            Err(error) if error.is_not_durable() => assert_eq!(copies, 0, "{case}: {error}"),
            Err(error) => assert!(copies <= 1, "{case}: {error}"),
        }
    }
    for record in records.values() {
        assert!(outcomes.iter().any(|(payload, _)| payload == record), "{case}: invented");
    }
}

#[actix::test]
async fn under_resend_one_fault_at_any_write_or_sync_costs_no_client_anything() {
    for (op, effect) in FAULTS {
        for after in 0.. {
            let case = format!("{effect:?} at {op:?} {after}");
            let world = World::new();
            let wal = world.open(config()).await;
            world.plan.add(on_segments(FaultRule::on(op, effect)).after(after).times(1));
            let outcomes = run(&wal).await;
            for (_, outcome) in &outcomes {
                assert!(outcome.is_ok(), "{case}: {outcome:?}");
            }
            let before_close = world.plan.hits();
            within("close", wal.close()).await.unwrap_or_else(|error| panic!("{case}: {error}"));
            let hit = world.plan.hits();
            // A closed log that can not be trimmed just keeps its unused space.
            assert!((before_close..=hit).contains(&wal.stats().restarts), "{case}");
            assert_eq!((wal.stats().not_durable, wal.stats().unknown), (0, 0), "{case}");
            assert_eq!(wal.status().entries_in_flight, 0, "{case}: permits");
            assert_eq!(wal.status().bytes_in_flight, 0, "{case}: permits");
            assert_eq!(world.touched_again(), 0, "{case}: P7");
            let records = world.records().await;
            assert_eq!(records.len(), outcomes.len(), "{case}");
            check(&outcomes, &records, &case);
            if hit == 0 {
                assert!(after >= 8, "the run is too short to prove anything: {after}");
                break;
            }
        }
    }
}

#[actix::test]
async fn under_fail_fast_every_outcome_is_explicit_and_what_failed_is_never_replayed() {
    for (op, effect) in FAULTS {
        for after in 0.. {
            let case = format!("{effect:?} at {op:?} {after}");
            let world = World::new();
            let fault_policy = FaultPolicy::FailFast;
            let wal = world.open(with(|config| config.fault_policy = fault_policy)).await;
            let ear = Ear::on(&wal).await;
            world.plan.add(on_segments(FaultRule::on(op, effect)).after(after).times(1));
            let outcomes = run(&wal).await;
            let hit = world.plan.hits();
            let mut failed = Vec::new();
            for (_, outcome) in &outcomes {
                match outcome {
                    Ok(_) => {}
                    Err(CommitError::NotDurable { lsn, .. }) => failed.push(*lsn),
                    Err(other) => panic!("{case}: {other}"),
                }
            }
            failed.sort_unstable();
            assert_eq!(failed.is_empty(), hit == 0, "{case}");
            assert_eq!(wal.stats().restarts, hit, "{case}");
            assert_eq!(wal.stats().not_durable, failed.len() as u64, "{case}");
            assert_eq!(world.touched_again(), 0, "{case}: P7");
            check(&outcomes, &records_on(&world.disk.crash(Persist::Kept)), &case);
            check(&outcomes, &records_on(&world.disk.crash(Persist::Dropped)), &case);
            for lsn in &failed {
                let waited = within("wait", wal.wait_for_lsn(*lsn)).await;
                assert!(matches!(waited, Err(CommitError::NotDurable { .. })), "{case}");
            }
            within("close", wal.close()).await.expect("clean");
            until("closed", || ear.heard(|event| matches!(event, LogEvent::Closed { .. }))).await;
            let mut told = ear.durable().1;
            told.sort_unstable();
            assert_eq!(told, failed, "{case}: the failed ranges of the events");
            check(&outcomes, &world.records().await, &case);
            if hit == 0 {
                break;
            }
        }
    }
}

fn with(change: impl FnOnce(&mut WalConfig)) -> WalConfig {
    let mut config = config();
    change(&mut config);
    config
}

#[actix::test]
async fn repeated_errors_end_in_poisoned_with_every_client_answered() {
    for policy in [FaultPolicy::Resend, FaultPolicy::FailFast] {
        for effect in [EIO, FaultEffect::FailAfter(errno::EIO), FaultEffect::Panic] {
            let case = format!("{policy:?} {effect:?}");
            let world = World::new();
            let wal = world.open(with(|config| config.fault_policy = policy)).await;
            let ear = Ear::on(&wal).await;
            let before = within("commit", wal.commit("before")).await.unwrap();
            world.plan.add(on_segments(FaultRule::on(FaultOp::Sync, effect)));
            let mut outcomes = run(&wal).await;
            assert!(outcomes.iter().all(|(_, outcome)| outcome.is_err()), "{case}");
            let state = wal.status().state;
            assert!(matches!(state, LogState::Poisoned(_)), "{case}: {state:?}");
            let refused = within("append", wal.append("after")).await;
            assert!(matches!(refused, Err(AppendError::Poisoned { .. })), "{case}: {refused:?}");
            let lsn = before.next();
            let waited = within("wait", wal.wait_for_lsn(lsn)).await;
            assert!(waited.is_err(), "{case}");

            let mut reader = within("read", wal.read(Lsn::FIRST)).await.expect("stays readable");
            let record = within("record", reader.next()).await.unwrap().unwrap();
            assert_eq!(&record.payload[..], b"before", "{case}");
            drop(reader);
            assert_eq!(world.touched_again(), 0, "{case}: P7");
            assert_eq!(wal.status().entries_in_flight, 0, "{case}: permits");

            let unknown = outcomes.iter().filter_map(|(_, outcome)| match outcome {
                Err(CommitError::Unknown { lsn, .. }) => Some(*lsn),
                _ => None,
            });
            let unknown: Vec<_> = unknown.collect();
            let closed = within("close", wal.close()).await;
            let Err(CloseError { unresolved, .. }) = closed else {
                panic!("{case}: a poisoned log must not say that it closed cleanly");
            };
            assert_eq!(unresolved.map(|range| range.first), unknown.iter().min().copied());
            assert_eq!(unresolved.map(|range| range.last), unknown.iter().max().copied());
            until("closed", || ear.heard(|event| matches!(event, LogEvent::Closed { .. }))).await;
            let poisoned = ear.count(|event| matches!(event, LogEvent::Poisoned { .. }));
            assert_eq!(poisoned, 1, "{case}: it is said once");
            outcomes.push((b"before".to_vec(), Ok(before)));
            check(&outcomes, &records_on(&world.disk.crash(Persist::Kept)), &case);
            check(&outcomes, &world.records().await, &case);
        }
    }
}

#[actix::test]
async fn an_error_of_the_preparer_discards_only_the_file_it_was_preparing() {
    let ops = [
        FaultOp::Create,
        FaultOp::Write,
        FaultOp::Sync,
        FaultOp::Rename,
        FaultOp::SyncDir,
        FaultOp::Remove,
    ];
    for op in ops {
        for effect in [EIO, FaultEffect::FailAfter(errno::EIO), FaultEffect::Panic] {
            for after in 0..2 {
                let case = format!("{effect:?} at {op:?} {after}");
                let world = World::new();
                let wal = world.open(config()).await;
                world.plan.add(on_prepared(op, effect).after(after).times(1));
                let outcomes = run(&wal).await;
                assert!(outcomes.iter().all(|(_, outcome)| outcome.is_ok()), "{case}");
                assert_eq!(wal.stats().restarts, 0, "{case}");
                within("close", wal.close()).await.expect("clean");
                check(&outcomes, &world.records().await, &case);
            }
        }
    }
}

/// The segment that is kept back, while it is filled with zeros.
const UNFINISHED: &str = "00000000000000000003.wal.tmp";

/// With room for a few records before the log is nearer by a piece.
fn four_pieces() -> WalConfig {
    with(|config| config.segment_size = 16 << 10)
}

/// An open log on a disk that does this to the second piece of zeros of the last segment, and what it has acknowledged
/// until that piece was due: it waits until the log comes nearer.
async fn up_to_the_second_piece(
    world: &World,
    op: FaultOp,
    effect: FaultEffect,
) -> (Wal, Outcomes) {
    let second = FaultRule::on(op, effect).file(|name| name == UNFINISHED).after(1);
    world.plan.add(second.times(1));
    let wal = world.open(four_pieces()).await;
    let first = within("commit", wal.commit("first")).await;
    let mut outcomes = vec![(b"first".to_vec(), first)];
    until("one piece", || {
        let unfinished = world.disk.read_file(UNFINISHED);
        unfinished.is_some_and(|bytes| bytes.len() as u64 == four_pieces().segment_size / 4)
    })
    .await;
    assert_eq!(world.plan.hits(), 0);
    commit_large(&wal, 4, &mut outcomes).await;
    until("the second piece", || world.plan.hits() == 1).await;
    (wal, outcomes)
}

async fn commit_large(wal: &Wal, times: u32, outcomes: &mut Outcomes) {
    for _ in 0..times {
        let payload = format!("{} {}", outcomes.len(), "x".repeat(700)).into_bytes();
        let outcome = within("commit", wal.commit(payload.clone())).await;
        outcomes.push((payload, outcome));
    }
}

#[actix::test]
async fn p7_p21_a_fault_between_two_pieces_of_zeros_loses_nothing_and_the_log_goes_on() {
    let full = (FaultOp::Write, FaultEffect::Fail(errno::ENOSPC));
    for (op, effect) in FAULTS.into_iter().chain([full]) {
        let case = format!("{effect:?} at {op:?}");
        let world = World::new();
        let (wal, mut outcomes) = up_to_the_second_piece(&world, op, effect).await;
        // Though the log does not come nearer: as long as the fault stands, a rotation may be refused.
        until("it is done at once", || {
            world.disk.names().iter().all(|name| name.ends_with(".wal"))
                && world.disk.names().len() == 3
                && !wal.status().low_space
        })
        .await;
        commit_large(&wal, 60, &mut outcomes).await;
        assert!(outcomes.iter().all(|(_, outcome)| outcome.is_ok()), "{case}");
        assert!(wal.stats().rotations > 3, "{case}");
        assert_eq!((wal.stats().restarts, world.touched_again()), (0, 0), "{case}");
        within("close", wal.close()).await.expect("clean");
        check(&outcomes, &world.records().await, &case);
    }
}

#[actix::test]
async fn p1_p11_a_crash_between_two_pieces_of_zeros_loses_nothing_and_the_next_life_goes_on() {
    let world = World::new();
    let (_wal, acknowledged) =
        up_to_the_second_piece(&world, FaultOp::Write, FaultEffect::Stuck).await;
    let torn = (0..8).flat_map(|seed| [Persist::Torn { seed }, Persist::Garbled { seed }]);
    let cut = [Persist::Dropped, Persist::Kept].into_iter().chain(torn);
    let killed = ("killed".to_owned(), world.disk.fork());
    let found = cut.map(|persist| (format!("{persist:?}"), world.disk.crash(persist)));
    for (case, disk) in found.chain([killed]) {
        let (next, mut outcomes) = (World { disk, ..World::new() }, acknowledged.clone());
        let wal = next.open(four_pieces()).await;
        commit_large(&wal, 60, &mut outcomes).await;
        assert!(outcomes.iter().all(|(_, outcome)| outcome.is_ok()), "{case}");
        assert!(wal.stats().rotations > 3, "{case}");
        within("close", wal.close()).await.expect("clean");
        check(&outcomes, &next.records().await, &case);
        let left = next.disk.names();
        assert!(left.iter().all(|name| name.ends_with(".wal")), "{case}: {left:?}");
    }
    world.plan.release();
}

#[actix::test]
async fn short_and_interrupted_writes_are_not_faults() {
    for effect in [FaultEffect::Short(100), FaultEffect::Fail(errno::EINTR)] {
        let world = World::new();
        let wal = world.open(config()).await;
        world.plan.add(FaultRule::on(FaultOp::Write, effect).times(40));
        let outcomes = run(&wal).await;
        assert!(outcomes.iter().all(|(_, outcome)| outcome.is_ok()));
        within("close", wal.close()).await.expect("clean");
        assert!(world.plan.hits() > 10);
        assert_eq!((wal.stats().restarts, wal.stats().io_errors), (0, 0));
        check(&outcomes, &world.records().await, "short");
    }
}

/// A log whose syncs are stuck, with times that a test can wait for.
async fn stuck_log(world: &World) -> Wal {
    let wal = world.open(impatient()).await;
    within("commit", wal.commit("before")).await.unwrap();
    world.plan.add(on_segments(FaultRule::on(FaultOp::Sync, FaultEffect::Stuck)));
    wal
}

#[actix::test]
async fn a_stuck_sync_is_stalled_then_unknown_and_resolved_when_it_returns() {
    let world = World::new();
    let wal = stuck_log(&world).await;
    let ear = Ear::on(&wal).await;
    let outcome = within("commit", wal.commit("stuck")).await;
    let Err(CommitError::Unknown { lsn, cause: Cause::Stalled { .. } }) = outcome else {
        panic!("{outcome:?}");
    };
    assert!(wal.status().stalled);
    // Who comes after the log was given up does not wait for ever either.
    let later = within("a later commit", wal.commit("stuck too")).await;
    assert!(matches!(later, Err(CommitError::Unknown { .. })), "{later:?}");
    let later = within("a later wait", wal.wait_for_lsn(lsn)).await;
    assert!(matches!(later, Err(CommitError::Unknown { .. })), "{later:?}");

    let closed = within("close", wal.close()).await.expect_err("it can not be closed");
    assert_eq!(closed.unresolved.map(|range| range.first), Some(lsn));
    let again = within("a second close", wal.close()).await.expect_err("nor now");
    assert!(matches!(again.cause, Cause::Stalled { .. }));
    assert!(world.disk.mount().is_err(), "the lock stays held");
    assert_eq!((wal.stats().restarts, wal.durable_lsn()), (0, lsn.previous()), "no restart");
    assert_eq!(ear.count(|event| matches!(event, LogEvent::Stalled { .. })), 1);
    // Each close and each waiter was answered by one, and so subscribers have as many.
    assert!(ear.count(|event| matches!(event, LogEvent::GivenUp { .. })) >= 2);

    world.let_go();
    until("the watermark", || wal.durable_lsn() == lsn.next()).await;
    until("closed", || ear.heard(|event| matches!(event, LogEvent::Closed { .. }))).await;
    assert_eq!(ear.durable(), (lsn.next(), vec![]));
    assert!(!wal.status().stalled);
    within("close", wal.close()).await.expect("it is closed now");
    assert_eq!(world.records().await.len(), 3);
}

#[actix::test]
async fn a_log_that_was_stalled_goes_on_when_the_sync_returns_and_can_stall_again() {
    let world = World::new();
    let wal = stuck_log(&world).await;
    let ear = Ear::on(&wal).await;
    for round in 1..=2 {
        world.plan.add(on_segments(FaultRule::on(FaultOp::Sync, FaultEffect::Stuck)));
        let outcome = within("commit", wal.commit("stuck")).await;
        assert!(matches!(outcome, Err(CommitError::Unknown { .. })), "{outcome:?}");
        world.let_go();
        within("commit", wal.commit("goes on")).await.expect("durable");
        until("not stalled", || !wal.status().stalled).await;
        assert_eq!(ear.count(|event| matches!(event, LogEvent::Stalled { .. })), round);
        assert!(ear.count(|event| matches!(event, LogEvent::GivenUp { .. })) >= round);
    }
    within("close", wal.close()).await.expect("clean");
}

#[actix::test]
async fn a_preparer_that_is_stuck_lets_nobody_hang_either() {
    let world = World::new();
    let wal = world.open(impatient()).await;
    world.plan.add(on_prepared(FaultOp::Sync, FaultEffect::Stuck));
    let outcomes = run(&wal).await;
    for (_, outcome) in &outcomes {
        match outcome {
            Ok(_) | Err(CommitError::Unknown { .. }) => {}
            // It waited for a permit when the log was given up.
            Err(CommitError::Refused(AppendError::Overloaded { .. })) => {}
            Err(other) => panic!("{other}"),
        }
    }
    assert!(outcomes.iter().any(|(_, outcome)| outcome.is_err()));
    assert!(wal.status().stalled);
    let closed = within("close", wal.close()).await;
    assert!(closed.is_err());
    world.let_go();
    let records = world.records().await;
    check(&outcomes, &records, "stuck preparer");
}

#[actix::test]
async fn when_nothing_restarts_for_long_waiters_and_closers_are_answered() {
    let world = World::new();
    let wal = world.open(with(|config| {
        config.restart_budget.backoff = SOON * 10;
        config.restart_budget.max_backoff = SOON * 10;
        config.give_up_after = Duration::from_millis(50);
    }));
    let wal = wal.await;
    let ear = Ear::on(&wal).await;
    world.plan.add(on_segments(FaultRule::on(FaultOp::Sync, EIO)).times(1));
    let outcome = within("commit", wal.commit("x")).await;
    assert!(matches!(outcome, Err(CommitError::Unknown { .. })), "{outcome:?}");
    let parked = within("append", wal.append("y")).await;
    assert!(matches!(parked, Err(AppendError::Unavailable { .. })), "{parked:?}");
    assert!(ear.heard(|event| matches!(event, LogEvent::Unavailable { .. })));
    // A close does not wait for the back-off.
    within("close", wal.close()).await.expect("the sync works now");
    assert_eq!(world.records().await.len(), 1);
}

#[actix::test]
async fn a_close_during_a_fault_that_stays_is_answered() {
    let world = World::new();
    let wal = world.open(config()).await;
    world.plan.add(on_segments(FaultRule::on(FaultOp::Sync, EIO)));
    let lsn = within("append", wal.append("x")).await.unwrap();
    let closed = within("close", wal.close()).await;
    assert!(closed.is_err(), "{closed:?}");
    let outcome = within("wait", wal.wait_for_lsn(lsn)).await;
    assert!(matches!(outcome, Err(CommitError::Unknown { .. })), "{outcome:?}");
    world.records().await;
}

#[actix::test]
async fn appends_that_were_accepted_before_a_close_are_durable_after_it() {
    for round in 0..200 {
        let world = World::new();
        let wal = world.open(config()).await;
        let count = round % 7;
        for number in 0..count {
            let durability = Durability::Async;
            within("append", wal.append_with(vec![number as u8], durability)).await.unwrap();
        }
        within("close", wal.close()).await.expect("clean");
        assert_eq!(world.records().await.len(), count, "round {round}");
    }
}

#[actix::test]
async fn a_stopped_arbiter_answers_everyone_and_what_was_accepted_is_written() {
    let world = World::new();
    let arbiter = Arbiter::new();
    let opened = Wal::open(config()).in_arbiter(arbiter.handle()).on_storage(world.storage());
    let wal = within("open", opened).await.unwrap();
    world.plan.add(on_segments(FaultRule::on(FaultOp::Sync, FaultEffect::Stuck)));
    let lsn = within("append", wal.append("accepted")).await.unwrap();
    let waiting = actix::spawn({
        let wal = wal.clone();
        async move { wal.commit("waits").await }
    });
    until("it has its LSN", || wal.status().accepted == lsn.next()).await;
    arbiter.stop();
    let outcome = within("commit", waiting).await.unwrap();
    assert!(matches!(outcome, Err(CommitError::Unknown { .. })), "{outcome:?}");
    let state = || wal.status().state;
    until("closed", || matches!(state(), LogState::Closed(Cause::Stopped { .. }))).await;
    let refused = within("append", wal.append("x")).await;
    assert!(matches!(refused, Err(AppendError::Closed { .. })), "{refused:?}");
    assert!(within("wait", wal.wait_for_lsn(lsn)).await.is_err());
    assert!(within("flush", wal.flush()).await.is_err());
    assert!(within("checkpoint", wal.checkpoint(Lsn::FIRST)).await.is_err());
    assert!(within("read", wal.read(Lsn::FIRST)).await.is_err());
    assert!(within("close", wal.close()).await.is_err());
    assert!(world.disk.mount().is_err(), "the flush thread may still write");
    world.let_go();
    assert_eq!(world.records().await.len(), 2);
}

#[test]
fn a_system_that_ends_leaves_what_was_accepted_durable() {
    let world = World::new();
    actix::System::new().block_on(async {
        let wal = world.open(config()).await;
        for number in 0..5_u8 {
            within("append", wal.append(vec![number])).await.unwrap();
        }
    });
    let records = actix::System::new().block_on(world.records());
    assert_eq!(records.len(), 5);
}

#[actix::test]
async fn dropping_the_last_handle_flushes_what_was_accepted_even_through_a_fault() {
    for faults in 0..3 {
        let world = World::new();
        let wal = world.open(config()).await;
        let ear = Ear::on(&wal).await;
        world.plan.add(on_segments(FaultRule::on(FaultOp::Sync, FaultEffect::Stuck)).times(1));
        within("append", wal.append("0")).await.unwrap();
        assert!(world.plan.wait_until_stuck(SOON));
        world.plan.add(on_segments(FaultRule::on(FaultOp::Write, EIO)).times(faults));
        for number in 1..5_u8 {
            within("append", wal.append(vec![number])).await.unwrap();
        }
        drop(wal);
        world.plan.release();
        until("closed", || ear.heard(|event| matches!(event, LogEvent::Closed { .. }))).await;
        assert_eq!(world.records().await.len(), 5, "{faults} faults");
    }
}

#[actix::test]
async fn a_future_that_is_dropped_withdraws_nothing() {
    let world = World::new();
    let wal = world.open(config()).await;
    let mut commit = Box::pin(wal.commit("dropped"));
    assert!(commit.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    drop(commit);
    drop(wal.commit("never polled"));
    within("commit", wal.commit("kept")).await.unwrap();
    within("close", wal.close()).await.expect("clean");
    let records: Vec<_> = world.records().await.into_values().collect();
    assert_eq!(records, [b"dropped".to_vec(), b"kept".to_vec()]);
}

#[actix::test]
async fn while_a_restart_is_under_way_appends_wait_or_are_refused_as_configured() {
    use actix_wal::OverloadPolicy::{Refuse, Wait};
    for overload in [Wait, Refuse] {
        let world = World::new();
        let wal = world.open(with(|config| {
            config.overload = overload;
            config.restart_budget.backoff = Duration::from_millis(200);
            config.restart_budget.max_backoff = Duration::from_millis(200);
        }));
        let wal = wal.await;
        let ear = Ear::on(&wal).await;
        world.plan.add(on_segments(FaultRule::on(FaultOp::Sync, EIO)).times(1));
        let first = within("append", wal.append("x")).await.unwrap();
        until("a fault", || ear.heard(|event| matches!(event, LogEvent::Unavailable { .. }))).await;
        let accepted = wal.status().accepted;
        let second = within("append", wal.append("y")).await;
        match overload {
            Wait => assert_eq!(second.unwrap(), first.next()),
            _ => assert!(matches!(second, Err(AppendError::Unavailable { .. })), "{second:?}"),
        }
        assert_eq!(accepted, first, "no LSN between a fault and Ready");
        within("wait", wal.wait_for_lsn(first)).await.unwrap();
        assert_eq!(ear.count(|event| matches!(event, LogEvent::Ready { .. })), 1);
        within("close", wal.close()).await.expect("clean");
    }
}

#[actix::test]
async fn commits_from_plain_threads_are_answered_through_faults_and_the_end() {
    let world = World::new();
    let wal = world.open(config()).await;
    world.plan.add(on_segments(FaultRule::on(FaultOp::Sync, EIO)).after(3).times(1));
    let (done, finished) = mpsc::channel();
    for client in 0..4_u8 {
        let (wal, done) = (wal.clone(), done.clone());
        std::thread::spawn(move || {
            let mut durable = 0;
            while wal.commit_blocking(vec![client]).is_ok() {
                durable += 1;
            }
            done.send(durable).unwrap();
        });
    }
    until("some commits", || wal.stats().durable > 20).await;
    within("close", wal.close()).await.expect("clean");
    drop(done);
    let counted = tokio::task::spawn_blocking(move || {
        (0..4).map(|_| finished.recv_timeout(SOON).expect("hangs: commit_blocking")).sum::<usize>()
    });
    let counted = within("threads", counted).await.unwrap();
    assert_eq!(wal.stats().restarts, 1);
    assert_eq!(world.records().await.len(), counted);
}

#[actix::test]
async fn a_fault_in_the_start_frame_after_a_fault_is_just_another_one() {
    for effect in [EIO, FaultEffect::FailAfter(errno::EIO), FaultEffect::Panic] {
        for op in [FaultOp::Write, FaultOp::Sync] {
            let world = World::new();
            let wal = world.open(config()).await;
            let ear = Ear::on(&wal).await;
            world.plan.add(on_segments(FaultRule::on(op, effect)).after(2).times(3));
            let outcomes = run(&wal).await;
            assert!(outcomes.iter().all(|(_, outcome)| outcome.is_ok()), "{outcomes:?}");
            assert_eq!(wal.stats().restarts, 3);
            check(&outcomes, &records_on(&world.disk.crash(Persist::Kept)), "kept");
            check(&outcomes, &records_on(&world.disk.crash(Persist::Dropped)), "dropped");
            within("close", wal.close()).await.expect("clean");
            assert_eq!(ear.durable().1, []);
            check(&outcomes, &world.records().await, "closed");
        }
    }
}
