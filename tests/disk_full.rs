//! Guards P6, P21: a disk is filled up while a segment is prepared, at a rotation, and under a write. It shows
//! early, then appends are refused with a type of their own; what was acknowledged stands, and appends
//! resume when space returns, without a restart.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use actix_wal::messages::LogEvent;
use actix_wal::storage::Medium;
use actix_wal::testkit::{FaultEffect, FaultOp, FaultRule, SimDisk, errno};
use actix_wal::{AppendError, Cause, CommitError, LogState, Lsn, Wal};
use test_support::logs::{
    Ear, World, bytes_on, config, impatient, outlast_a_stuck_sync, until, within,
};

/// Writes until the preparer has what it wants, and leaves no byte free: the last segment that is asked for is
/// filled as the current one is used up. What it wrote is acknowledged.
async fn fill_up(world: &World, wal: &Wal) -> BTreeMap<Lsn, Vec<u8>> {
    let mut acknowledged = BTreeMap::new();
    // More than half a segment, and less than a whole one.
    for _ in 0..4 {
        let payload = large_payload(&acknowledged);
        acknowledged.insert(within("commit", wal.commit(payload.clone())).await.unwrap(), payload);
    }
    until("two prepared segments", || {
        let segments = world.disk.names();
        segments.len() >= 3 && segments.iter().all(|name| name.ends_with(".wal"))
    })
    .await;
    assert_eq!(wal.stats().rotations, 0, "there is room left in the current one");
    world.disk.set_capacity(bytes_on(&world.disk));
    acknowledged
}

fn large_payload(acknowledged: &BTreeMap<Lsn, Vec<u8>>) -> Vec<u8> {
    format!("{} {}", acknowledged.len(), "x".repeat(700)).into_bytes()
}

/// Commits until the log says no, and gives what it acknowledged and what it said.
async fn commit_until_refused(wal: &Wal) -> (BTreeMap<Lsn, Vec<u8>>, CommitError) {
    let mut acknowledged = BTreeMap::new();
    loop {
        let payload = large_payload(&acknowledged);
        match within("commit", wal.commit(payload.clone())).await {
            Ok(lsn) => drop(acknowledged.insert(lsn, payload)),
            Err(error) => return (acknowledged, error),
        }
        assert!(acknowledged.len() < 10_000, "the disk does not get full");
    }
}

fn is_no_space(error: &CommitError) -> bool {
    matches!(
        error,
        CommitError::Refused(AppendError::NoSpace(_))
            | CommitError::NotDurable { cause: Cause::NoSpace(_), .. }
    )
}

#[actix::test]
async fn a_full_disk_warns_then_refuses_and_resumes_when_there_is_room_again() {
    let world = World::new();
    let wal = world.open(config()).await;
    let ear = Ear::on(&wal).await;
    let mut acknowledged = fill_up(&world, &wal).await;
    assert!(!wal.status().low_space);
    let mut warned_at = None;
    let refused = loop {
        let payload = large_payload(&acknowledged);
        match within("commit", wal.commit(payload.clone())).await {
            Ok(lsn) => drop(acknowledged.insert(lsn, payload)),
            Err(error) => break error,
        }
        // The preparer notices as soon as it is asked for the next one: wait for that, not for luck.
        if wal.stats().rotations == 1 && warned_at.is_none() {
            until("the warning", || wal.status().low_space).await;
            warned_at = Some(acknowledged.len());
        }
    };
    assert!(is_no_space(&refused), "{refused}");
    assert!(warned_at.is_some_and(|at| at < acknowledged.len()), "the warning comes first");
    until("the state", || matches!(wal.status().state, LogState::NoSpace(_))).await;
    let refused = within("append", wal.append("x")).await;
    assert!(matches!(refused, Err(AppendError::NoSpace(_))), "{refused:?}");
    let mut reader = within("read", wal.read(Lsn::FIRST)).await.unwrap();
    assert_eq!(
        &*within("record", reader.next()).await.unwrap().unwrap().payload,
        &acknowledged[&Lsn::FIRST][..]
    );
    drop(reader);

    world.disk.set_capacity(u64::MAX);
    until("it takes appends again", || matches!(wal.status().state, LogState::Running)).await;
    let lsn = within("commit", wal.commit("again")).await.expect("there is room");
    acknowledged.insert(lsn, b"again".to_vec());
    assert!(!wal.status().low_space);
    assert_eq!(wal.stats().restarts, 0);
    assert_eq!(wal.status().entries_in_flight, 0, "permits");
    let no_space =
        |event: &LogEvent| matches!(event, LogEvent::Unavailable { cause: Cause::NoSpace(_) });
    assert_eq!(ear.count(no_space), 1);
    until("ready", || ear.heard(|event| matches!(event, LogEvent::Ready { .. }))).await;
    within("close", wal.close()).await.expect("clean");
    assert_eq!(world.records().await, acknowledged);
}

#[actix::test]
async fn p6_p21_a_disk_that_is_full_for_long_is_not_taken_for_a_sync_that_hangs() {
    let world = World::new();
    let wal = world.open(impatient()).await;
    let ear = Ear::on(&wal).await;
    let mut acknowledged = fill_up(&world, &wal).await;
    acknowledged.extend(commit_until_refused(&wal).await.0);
    until("the state", || matches!(wal.status().state, LogState::NoSpace(_))).await;
    outlast_a_stuck_sync().await;
    assert!(!wal.status().stalled);
    let given_up =
        |event: &LogEvent| matches!(event, LogEvent::Stalled { .. } | LogEvent::GivenUp { .. });
    assert!(!ear.heard(given_up), "no sync hangs, and nobody waits");
    let refused = within("append", wal.append("x")).await;
    assert!(matches!(refused, Err(AppendError::NoSpace(_))), "{refused:?}");

    world.disk.set_capacity(u64::MAX);
    until("it takes appends again", || matches!(wal.status().state, LogState::Running)).await;
    let lsn = within("commit", wal.commit("again")).await.expect("there is room");
    acknowledged.insert(lsn, b"again".to_vec());
    within("close", wal.close()).await.expect("clean");
    assert!(!ear.heard(given_up));
    assert_eq!(world.records().await, acknowledged);
}

#[actix::test]
async fn a_checkpoint_makes_room_on_a_full_disk() {
    let world = World::new();
    let wal = world.open(config()).await;
    fill_up(&world, &wal).await;
    let (mut acknowledged, refused) = commit_until_refused(&wal).await;
    assert!(is_no_space(&refused), "{refused}");
    let last = *acknowledged.last_key_value().unwrap().0;
    for round in 0..3 {
        let low_water = within("checkpoint", wal.checkpoint(wal.durable_lsn())).await;
        assert!(low_water.unwrap() >= last);
        until("it resumes", || matches!(wal.status().state, LogState::Running)).await;
        let (more, refused) = commit_until_refused(&wal).await;
        assert!(is_no_space(&refused), "{refused}");
        assert!(!more.is_empty(), "round {round}");
        acknowledged = more;
    }
    assert_eq!(wal.stats().restarts, 0);
    within("close", wal.close()).await.expect("clean");
    let records = world.records().await;
    assert!(acknowledged.iter().all(|(lsn, payload)| records.get(lsn) == Some(payload)));
}

#[actix::test]
async fn a_full_disk_can_be_closed_and_opened_thanks_to_the_reserve() {
    for clean in [true, false] {
        let world = World::new();
        let wal = world.open(config()).await;
        let mut acknowledged = fill_up(&world, &wal).await;
        acknowledged.extend(commit_until_refused(&wal).await.0);
        let crashed = world.disk.crash(actix_wal::testkit::Persist::Dropped);
        within("close", wal.close()).await.expect("a full disk can be closed");
        until("closed", || world.disk.mount().is_ok()).await;
        let disk = if clean { world.disk.clone() } else { crashed };
        // Not enough for a segment, but for one and a half once the old ones are given up.
        disk.set_capacity(bytes_on(&disk) + 4096);
        let opened = Wal::open(config()).on_storage(disk.mount().unwrap());
        let wal = within("open", opened).await.expect("a full disk can be opened");
        assert_eq!(wal.recovery_report().records, acknowledged.len() as u64);
        let mut reader = within("read", wal.read(Lsn::FIRST)).await.unwrap();
        for (lsn, payload) in &acknowledged {
            let record = within("record", reader.next()).await.unwrap().unwrap();
            assert_eq!((record.lsn, &record.payload[..]), (*lsn, &payload[..]));
        }
        drop(reader);
        let freed = within("checkpoint", wal.checkpoint(wal.durable_lsn())).await;
        assert!(freed.is_ok());
        until("space", || !wal.status().low_space).await;
        within("commit", wal.commit("goes on")).await.expect("there is room now");
        within("close", wal.close()).await.expect("clean");
    }
}

#[actix::test]
async fn a_copy_on_write_disk_that_is_full_acknowledges_nothing_and_goes_on() {
    let mut world = World::new();
    world.disk = SimDisk::with_medium(Medium::CopyOnWrite);
    let wal = world.open(config()).await;
    within("commit", wal.commit("before")).await.unwrap();
    until("prepared", || world.disk.names().len() >= 3).await;
    world.disk.set_capacity(bytes_on(&world.disk));
    let waiting = actix::spawn({
        let wal = wal.clone();
        async move { wal.commit("waits").await }
    });
    until("a fault", || wal.stats().io_errors > 0).await;
    let refused = within("append", wal.append("x")).await;
    assert!(matches!(refused, Err(AppendError::NoSpace(_))), "{refused:?}");
    assert!(!waiting.is_finished(), "nothing is acknowledged");
    world.disk.set_capacity(u64::MAX);
    within("commit", waiting).await.unwrap().expect("durable once there is room");
    assert!(!matches!(wal.status().state, LogState::Poisoned(_)));
    within("close", wal.close()).await.expect("clean");
    assert_eq!(world.records().await.len(), 2);
}

#[actix::test]
async fn p6_a_close_ends_where_there_is_space_for_segments_and_for_nothing_behind_their_start() {
    let world = World::new();
    let wal = world.open(config()).await;
    let before = within("commit", wal.commit("before")).await.unwrap();
    let started = Mutex::new(BTreeSet::new());
    let behind_the_start = move |name: &str| {
        name.ends_with(".wal") && !started.lock().unwrap().insert(name.to_owned())
    };
    let full = FaultRule::on(FaultOp::Write, FaultEffect::Fail(errno::ENOSPC));
    world.plan.add(full.file(behind_the_start).times(u64::MAX));
    let lsn = within("commit", wal.commit("in a start frame")).await.expect("durable");
    within("close", wal.close()).await.expect("everything is durable");
    assert_eq!(world.records().await.into_keys().collect::<Vec<_>>(), [before, lsn]);
}
