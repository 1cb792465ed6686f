//! Guards P6, P16. Does every call of the handle as a message that an actor sends, and tries the edges of
//! what an append may be: empty, as large as can be, too large, with a permit for something else.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on has failed")]

use std::sync::Arc;

use actix::Recipient;
use actix_wal::codec::{Bincode, Codec};
use actix_wal::messages::{
    Append, AppendAll, Checkpoint, Close, Commit, Flush, GetStats, GetStatus, LogEvent, Read,
    Recipients, Subscribe, Unsubscribe, WaitForLsn,
};
use actix_wal::testkit::internals::engine::intake::admission::{Admission, Refusal};
use actix_wal::testkit::internals::engine::intake::entry::{Payload, RECORD_OVERHEAD};
use actix_wal::testkit::internals::submit;
use actix_wal::testkit::internals::wire::{Reply, Submit};
use actix_wal::testkit::{FaultEffect, FaultOp, FaultRule, SimDisk, errno};
use actix_wal::{
    AppendError, CommitError, Durability, FaultPolicy, Lsn, OverloadPolicy, ReadError,
    RestartBudget, Wal, WalConfig,
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use test_support::logs::{Ear, World, on_segments, until, within};
use test_support::settings::segments_of;
use test_support::small_logs::open;
use tokio::sync::oneshot;

fn config() -> WalConfig {
    segments_of(1 << 18)
}

/// Uses a log by its messages only, and gives the LSNs of everything that was appended.
async fn use_the_log(
    log: Recipients,
    admission: Arc<Admission>,
    me: Recipient<LogEvent>,
) -> Vec<Lsn> {
    let room = "there is room";
    let from = log.subscribe.send(Subscribe(me.clone())).await.expect("alive");
    assert_eq!(from, Lsn::NONE);

    let append = Append::try_new(&admission, "one").expect(room);
    let one = log.append.send(append).await.expect("alive").expect("accepted");
    log.wait_for_lsn.send(WaitForLsn(one)).await.expect("alive").expect("durable");

    // The typed permit flow by hand: first the right, then the message.
    let payload = Bytes::from_static(b"two");
    let permit = admission.try_acquire(1, payload.len() + RECORD_OVERHEAD).expect(room);
    let commit = Commit { payload, options: Durability::Synchronous.into(), permit };
    let two = log.commit.send(commit).await.expect("alive").expect("durable");

    let group = AppendAll::try_new(&admission, vec!["three".into(), "four".into()]).expect(room);
    let group = log.append_all.send(group).await.expect("alive").expect("accepted");
    let flushed = log.flush.send(Flush).await.expect("alive").expect("durable");
    assert_eq!(flushed, group.last);

    let (reply, answer) = oneshot::channel();
    let payload = Payload::One(Bytes::from_static(b"five"));
    let permit = admission.acquire(payload.count(), payload.encoded_len()).await.expect(room);
    let (durability, reply) = (Durability::GroupCommit, Reply::Outcome(reply));
    submit(&log, Submit { payload, durability, builds_on: None, permit, reply });
    let five = answer.await.expect("alive").expect("durable").first;

    let stats = log.get_stats.send(GetStats).await.expect("alive");
    let status = log.get_status.send(GetStatus).await.expect("alive");
    assert_eq!((stats.accepted, stats.durable), (5, 5));
    assert_eq!((status.durable, status.entries_in_flight), (five, 0));

    // A cursor reads files, so it belongs on a thread that may block.
    let mut cursor = log.read.send(Read { from: two }).await.expect("alive").expect("readable");
    let batch = tokio::task::spawn_blocking(move || cursor.read()).await.expect("no panic");
    let payloads: Vec<_> =
        batch.expect("sound").expect("records").records().map(|record| record.payload).collect();
    assert_eq!(payloads, ["two", "three", "four", "five"]);

    let low_water = log.checkpoint.send(Checkpoint(one)).await.expect("alive").expect("durable");
    assert_eq!(low_water, one);
    assert!(log.unsubscribe.send(Unsubscribe(me)).await.expect("alive"));
    log.close.send(Close).await.expect("alive").expect("clean");
    let refused = Append::try_new(&admission, "too late").expect_err("closed");
    assert_eq!(refused, Refusal::Closed);
    vec![one, two, group.first, group.last, five]
}

#[actix::test]
async fn every_call_of_the_handle_is_also_a_message() {
    let disk = SimDisk::new();
    let wal = open(&disk, config()).await;
    let (log, admission) = (wal.recipients().clone(), Arc::clone(wal.admission()));
    let (ear, me) = Ear::started();
    let lsns = use_the_log(log, admission, me).await;
    assert_eq!(lsns, (1..=5).map(Lsn::new).collect::<Vec<_>>());
    assert_eq!(ear.durable(), (Lsn::new(5), vec![]));
    let of_the_end =
        |event: &LogEvent| matches!(event, LogEvent::Closing | LogEvent::Closed { .. });
    assert!(!ear.heard(of_the_end), "it has unsubscribed: {ear:?}");
}

#[actix::test]
async fn p16_a_permit_for_something_else_is_refused_by_type_and_given_back() {
    let (wal, other) = (open(&SimDisk::new(), config()).await, SimDisk::new());
    let other = open(&other, config()).await;
    let payload = Bytes::from_static(b"0123456789");
    let fits = payload.len() + RECORD_OVERHEAD;
    let wrong = [
        wal.admission().try_acquire(1, fits - 1),
        wal.admission().try_acquire(2, fits),
        other.admission().try_acquire(1, fits),
    ];
    for permit in wrong {
        let permit = permit.expect("room");
        let append = Append { payload: payload.clone(), options: Durability::Async.into(), permit };
        match wal.recipients().append.send(append).await.expect("alive") {
            Err(AppendError::WrongPermit { entries: 1, bytes, .. }) => assert_eq!(bytes, fits),
            other => panic!("a wrong permit is refused as one, not {other:?}"),
        }
    }
    let generous = wal.admission().try_acquire(1, 10 * fits).expect("room");
    let commit = Commit { payload, options: Durability::GroupCommit.into(), permit: generous };
    let lsn = wal.recipients().commit.send(commit).await.expect("alive").expect("durable");
    assert_eq!(lsn, Lsn::FIRST, "a refusal uses no LSN up");
    for wal in [wal, other] {
        let status = wal.status();
        assert_eq!((status.entries_in_flight, status.bytes_in_flight), (0, 0));
        wal.close().await.expect("clean");
    }
}

#[actix::test]
async fn payloads_from_empty_to_the_largest_work_and_larger_ones_name_the_limit() {
    let mut smallest = config();
    (smallest.block_size, smallest.segment_size) = (512, 6 * 512);
    for config in [smallest, config(), WalConfig::new("unused")] {
        let disk = SimDisk::new();
        let limit = config.in_flight_bytes();
        let wal = open(&disk, config.clone()).await;
        let largest = vec![7; limit - RECORD_OVERHEAD];
        let mut lsns = vec![wal.commit("").await.expect("an empty record")];
        lsns.push(wal.commit(largest.clone()).await.expect("the largest record"));
        let halves = [vec![1; limit / 2 - RECORD_OVERHEAD], vec![2; limit / 2 - RECORD_OVERHEAD]];
        let group = wal.append_all(halves.clone()).await.expect("the largest group");
        lsns.push(wal.commit("").await.expect("an empty record"));
        for refused in [
            wal.append(vec![0; limit - RECORD_OVERHEAD + 1]).await.map(|_| ()),
            wal.append_all([largest.clone(), Vec::new()]).await.map(|_| ()),
        ] {
            let error = refused.expect_err("too large");
            assert!(error.to_string().contains(&limit.to_string()), "{error}");
            match error {
                AppendError::TooLarge { size, limit: told, unit: "bytes" } => {
                    assert!(told == limit as u64 && size > told);
                }
                other => panic!("what is too large is refused as such, not {other:?}"),
            }
        }
        let empty = wal.append_all(Vec::<Bytes>::new()).await;
        assert!(matches!(empty, Err(AppendError::EmptyGroup)), "{empty:?}");
        wal.close().await.expect("clean");

        let wal = open(&disk, config).await;
        let mut records = wal.read(Lsn::FIRST).await.expect("readable");
        let mut lens = Vec::new();
        while let Some(record) = records.next().await {
            lens.push(record.expect("sound").payload.len());
        }
        assert_eq!(lens, [0, largest.len(), halves[0].len(), halves[1].len(), 0]);
        assert_eq!((group.count(), lsns), (2, [1, 2, 5].map(Lsn::new).to_vec()));
        drop(records);
        wal.close().await.expect("clean");
    }
}

#[actix::test]
async fn p16_more_records_than_may_ever_be_in_flight_are_too_large_and_more_than_now_overload() {
    let mut config = config();
    config.max_in_flight_entries = 2;
    config.overload = OverloadPolicy::Refuse;
    let world = World::new();
    let wal = world.open(config).await;
    match wal.append_all(["a", "b", "c"]).await {
        Err(AppendError::TooLarge { size: 3, limit: 2, unit: "records" }) => {}
        other => panic!("three records never fit: {other:?}"),
    }
    world.plan.add(FaultRule::on(FaultOp::Sync, FaultEffect::Stuck));
    let group = wal.append_all(["a", "b"]).await.expect("two fit");
    match wal.append("c").await {
        Err(AppendError::Overloaded { entries: 2, .. }) => {}
        other => panic!("as much is in flight as may be: {other:?}"),
    }
    world.let_go();
    wal.wait_for_lsn(group.last).await.expect("durable");
    wal.append("c").await.expect("there is room again");
    wal.close().await.expect("clean");
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Change {
    Put { key: String, value: Vec<u8> },
    Delete { key: String },
}

#[actix::test]
async fn typed_records_come_back_as_they_were() {
    let disk = SimDisk::new();
    let wal = open(&disk, config()).await;
    let changes = [
        Change::Put { key: "a".into(), value: vec![0, 255] },
        Change::Delete { key: String::new() },
    ];
    let mut last = Lsn::NONE;
    for change in &changes {
        last = wal.append_record(change).await.expect("accepted");
    }
    wal.wait_for_lsn(last).await.expect("durable");
    wal.close().await.expect("clean");
    let wal = open(&disk, config()).await;
    let mut records = wal.read(Lsn::FIRST).await.expect("readable");
    for change in changes {
        let record = records.next().await.expect("a record").expect("sound");
        assert_eq!(Bincode.decode::<Change>(&record.payload), Ok(change));
    }
    assert!(records.next().await.is_none());
    drop(records);
    wal.close().await.expect("clean");
}

#[actix::test]
async fn p5_a_stream_ends_at_the_watermark_or_follows_it_until_the_log_closes() {
    let wal = open(&SimDisk::new(), config()).await;
    for payload in ["1", "2", "3"] {
        wal.commit(payload).await.expect("durable");
    }
    let mut finite = wal.read(Lsn::new(2)).await.expect("readable");
    let mut follow = wal.read(Lsn::new(2)).await.expect("readable").follow();
    for expected in [2, 3] {
        for stream in [&mut finite, &mut follow] {
            let record = stream.next().await.expect("a record").expect("sound");
            assert_eq!(record.lsn, Lsn::new(expected));
        }
    }
    assert!(finite.next().await.is_none(), "it ends at what is durable");
    let (sent, mut got) = tokio::sync::mpsc::unbounded_channel();
    let following = actix::spawn(async move {
        while let Some(record) = follow.next().await {
            sent.send(record.expect("sound")).expect("listened to");
        }
    });
    for expected in 4..100 {
        let lsn = wal.commit(expected.to_string()).await.expect("durable");
        let record = got.recv().await.expect("it follows");
        assert_eq!((record.lsn, record.payload), (lsn, Bytes::from(expected.to_string())));
    }
    wal.close().await.expect("clean");
    assert!(got.recv().await.is_none(), "nothing that was not appended");
    following.await.expect("it ends when the log closes");
    match wal.read(Lsn::FIRST).await {
        Err(ReadError::Closed { .. }) => {}
        other => panic!("a closed log has no readers: {other:?}"),
    }
}

#[actix::test]
async fn p6_a_stream_that_follows_ends_when_the_log_is_poisoned() {
    let mut config = config();
    config.restart_budget = RestartBudget { restarts: 0, ..RestartBudget::default() };
    let world = World::new();
    let wal = world.open(config).await;
    let lsn = wal.commit("kept").await.expect("durable");
    let mut follow = wal.read(lsn).await.expect("readable").follow();
    assert_eq!(follow.next().await.expect("a record").expect("sound").lsn, lsn);
    let following = actix::spawn(async move { follow.next().await.is_none() });
    // It waits at the tail once it has looked there; either way it has to end.
    world.plan.add(FaultRule::on(FaultOp::Sync, FaultEffect::Fail(errno::EIO)));
    wal.commit("lost").await.expect_err("the disk is broken");
    assert!(within("the end of the stream", following).await.expect("no panic"));
    until("poisoned", || wal.status().state.is_final()).await;
    assert_eq!(wal.durable_lsn(), lsn, "nothing else is durable");
    drop(wal.close().await);
}

async fn crowd(size: usize, wal: &Wal) -> Vec<Ear> {
    let mut crowd = Vec::new();
    for _ in 0..size {
        crowd.push(Ear::on(wal).await);
    }
    crowd
}

#[actix::test]
async fn p16_of_a_crowd_of_subscribers_each_hears_the_last_watermark_and_none_that_goes_back() {
    let wal = open(&SimDisk::new(), config()).await;
    let crowd = crowd(100, &wal).await;
    let mut last = Lsn::NONE;
    for _ in 0..50 {
        last = wal.commit("c").await.expect("durable");
    }
    for one in &crowd {
        until("it is told of the last batch", || one.durable().0 == last).await;
    }
    wal.close().await.expect("closes");
}

#[actix::test]
async fn p6_of_a_crowd_everybody_hears_what_failed_and_the_last_watermark_before_the_end() {
    let (world, mut config) = (World::new(), config());
    config.fault_policy = FaultPolicy::FailFast;
    let wal = world.open(config).await;
    let crowd = crowd(40, &wal).await;
    wal.commit("kept").await.expect("durable");
    let failing = FaultRule::on(FaultOp::Sync, FaultEffect::Fail(errno::EIO)).times(1);
    world.plan.add(on_segments(failing));
    let lost = match wal.commit("lost").await {
        Err(CommitError::NotDurable { lsn, .. }) => lsn,
        other => panic!("it is certainly not durable: {other:?}"),
    };
    let last = wal.commit("kept too").await.expect("durable");
    // No time to be told later: the log ends right behind the last batch.
    wal.close().await.expect("closes");
    let is_end = |event: &LogEvent| matches!(event, LogEvent::Closed { .. });
    for one in &crowd {
        until("it is told of the end", || one.heard(is_end)).await;
        assert_eq!(one.durable(), (last, vec![lost]));
        assert!(one.0.lock().unwrap().last().is_some_and(is_end), "the end is the last event");
    }
}

#[actix::test]
async fn p6_whoever_leaves_a_crowd_is_told_of_what_was_durable_before() {
    let wal = open(&SimDisk::new(), config()).await;
    let mut crowd = Vec::new();
    for _ in 0..40 {
        let (ear, one) = Ear::started();
        wal.subscribe(one.clone()).await.expect("runs");
        crowd.push((ear, one));
    }
    let lsn = wal.commit("before").await.expect("durable");
    for (ear, one) in crowd.into_iter().rev() {
        assert!(wal.unsubscribe(one.clone()).await.expect("runs"));
        // It handles this behind all that the log has sent.
        one.send(LogEvent::Closing).await.expect("alive");
        assert_eq!(ear.durable().0, lsn);
    }
    wal.close().await.expect("closes");
}
