//! Guards P6, P16. Does every call of the handle as a message that an actor sends, and tries the edges of
//! what an append may be: empty, as large as can be, too large, with a permit for something else.

#![allow(clippy::expect_used, reason = "a test that can not go on has failed")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{Actor, Context, Handler, Message, Recipient, ResponseFuture};
use actix_wal::codec::{Bincode, Codec};
use actix_wal::messages::{
    Append, AppendAll, Checkpoint, Close, Commit, Flush, GetStats, GetStatus, LogEvent, Read,
    Recipients, Subscribe, Unsubscribe, WaitForLsn,
};
use actix_wal::testkit::internals::engine::intake::admission::{Admission, Refusal};
use actix_wal::testkit::internals::engine::intake::entry::{Payload, RECORD_OVERHEAD};
use actix_wal::testkit::internals::submit;
use actix_wal::testkit::internals::wire::{Reply, Submit};
use actix_wal::testkit::{
    FaultEffect, FaultOp, FaultPlan, FaultRule, FaultyStorage, SimDisk, errno,
};
use actix_wal::{
    AppendError, CommitError, Durability, FaultPolicy, Lsn, LsnRange, OverloadPolicy, ReadError,
    RestartBudget, Wal, WalConfig,
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use test_support::settings::segments_of;
use test_support::small_logs::open;
use tokio::sync::oneshot;

fn config() -> WalConfig {
    segments_of(1 << 18)
}

/// An actor that knows a log by its messages only.
struct Client {
    log: Recipients,
    admission: Arc<Admission>,
    heard: Vec<LogEvent>,
}

impl Client {
    fn of(wal: &Wal) -> Client {
        let (log, admission) = (wal.recipients().clone(), Arc::clone(wal.admission()));
        Client { log, admission, heard: Vec::new() }
    }
}

impl Actor for Client {
    type Context = Context<Self>;
}

impl Handler<LogEvent> for Client {
    type Result = ();

    fn handle(&mut self, event: LogEvent, _: &mut Self::Context) {
        self.heard.push(event);
    }
}

struct Heard;

impl Message for Heard {
    type Result = Vec<String>;
}

impl Handler<Heard> for Client {
    type Result = Vec<String>;

    fn handle(&mut self, _: Heard, _: &mut Self::Context) -> Self::Result {
        self.heard.iter().map(|event| format!("{event:?}")).collect()
    }
}

struct Watermarks;

impl Message for Watermarks {
    type Result = Vec<Lsn>;
}

impl Handler<Watermarks> for Client {
    type Result = Vec<Lsn>;

    fn handle(&mut self, _: Watermarks, _: &mut Self::Context) -> Self::Result {
        let through = |event: &LogEvent| match event {
            LogEvent::Durable { through, .. } => Some(*through),
            _ => None,
        };
        self.heard.iter().filter_map(through).collect()
    }
}

/// Use the log, and give the LSNs of everything that was appended.
struct UseTheLog(Recipient<LogEvent>);

impl Message for UseTheLog {
    type Result = Vec<Lsn>;
}

impl Handler<UseTheLog> for Client {
    type Result = ResponseFuture<Vec<Lsn>>;

    fn handle(&mut self, UseTheLog(me): UseTheLog, _: &mut Self::Context) -> Self::Result {
        let (log, admission) = (self.log.clone(), Arc::clone(&self.admission));
        Box::pin(use_the_log(log, admission, me))
    }
}

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
    let commit = Commit { payload, durability: Durability::Synchronous, permit };
    let two = log.commit.send(commit).await.expect("alive").expect("durable");

    let group = AppendAll::try_new(&admission, vec!["three".into(), "four".into()]).expect(room);
    let group = log.append_all.send(group).await.expect("alive").expect("accepted");
    let flushed = log.flush.send(Flush).await.expect("alive").expect("durable");
    assert_eq!(flushed, group.last);

    let (reply, answer) = oneshot::channel();
    let payload = Payload::One(Bytes::from_static(b"five"));
    let permit = admission.acquire(payload.count(), payload.encoded_len()).await.expect(room);
    let (durability, reply) = (Durability::GroupCommit, Reply::Outcome(reply));
    submit(&log, Submit { payload, durability, permit, reply });
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
    let client = Client::of(&wal).start();
    let lsns = client.send(UseTheLog(client.clone().recipient())).await.expect("alive");
    assert_eq!(lsns, (1..=5).map(Lsn::new).collect::<Vec<_>>());
    let heard = client.send(Heard).await.expect("alive");
    assert!(heard.iter().any(|event| event.starts_with("Durable")), "heard {heard:?}");
    assert!(!heard.iter().any(|event| event.starts_with("Clos")), "it has unsubscribed: {heard:?}");
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
        let append = Append { payload: payload.clone(), durability: Durability::Async, permit };
        match wal.recipients().append.send(append).await.expect("alive") {
            Err(AppendError::WrongPermit { entries: 1, bytes, .. }) => assert_eq!(bytes, fits),
            other => panic!("a wrong permit is refused as one, not {other:?}"),
        }
    }
    let generous = wal.admission().try_acquire(1, 10 * fits).expect("room");
    let commit = Commit { payload, durability: Durability::GroupCommit, permit: generous };
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
    let plan = FaultPlan::new();
    let storage = FaultyStorage::mount(&SimDisk::new(), plan.clone()).expect("free");
    let wal = Wal::open(config).on_storage(Arc::new(storage)).await.expect("opens");
    match wal.append_all(["a", "b", "c"]).await {
        Err(AppendError::TooLarge { size: 3, limit: 2, unit: "records" }) => {}
        other => panic!("three records never fit: {other:?}"),
    }
    plan.add(FaultRule::on(FaultOp::Sync, FaultEffect::Stuck));
    let group = wal.append_all(["a", "b"]).await.expect("two fit");
    match wal.append("c").await {
        Err(AppendError::Overloaded { entries: 2, .. }) => {}
        other => panic!("as much is in flight as may be: {other:?}"),
    }
    plan.clear();
    plan.release();
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
    let plan = FaultPlan::new();
    let storage = FaultyStorage::mount(&SimDisk::new(), plan.clone()).expect("free");
    let wal = Wal::open(config).on_storage(Arc::new(storage)).await.expect("opens");
    let lsn = wal.commit("kept").await.expect("durable");
    let mut follow = wal.read(lsn).await.expect("readable").follow();
    assert_eq!(follow.next().await.expect("a record").expect("sound").lsn, lsn);
    let following = actix::spawn(async move { follow.next().await.is_none() });
    // It waits at the tail once it has looked there; either way it has to end.
    plan.add(FaultRule::on(FaultOp::Sync, FaultEffect::Fail(errno::EIO)));
    wal.commit("lost").await.expect_err("the disk is broken");
    let ended = tokio::time::timeout(Duration::from_secs(30), following).await;
    assert!(ended.expect("nobody follows a poisoned log for ever").expect("no panic"));
    let began = Instant::now();
    while !wal.status().state.is_final() {
        assert!(began.elapsed() < Duration::from_secs(60));
        actix::clock::sleep(Duration::from_millis(1)).await;
    }
    let range = LsnRange::new(lsn, lsn).expect("not empty");
    assert!(range.contains(wal.durable_lsn()), "only {lsn} is durable");
    drop(wal.close().await);
}

#[actix::test]
async fn p16_of_a_crowd_of_subscribers_each_hears_the_last_watermark_and_none_that_goes_back() {
    const CROWD: usize = 100;
    let disk = SimDisk::new();
    let wal = open(&disk, config()).await;
    let crowd: Vec<_> = (0..CROWD).map(|_| Client::of(&wal).start()).collect();
    for one in &crowd {
        wal.subscribe(one.clone().recipient()).await.expect("runs");
    }
    let mut last = Lsn::NONE;
    for _ in 0..50 {
        last = wal.commit("c").await.expect("durable");
    }
    for one in &crowd {
        let started = Instant::now();
        while one.send(Watermarks).await.expect("alive").last() != Some(&last) {
            assert!(
                started.elapsed() < Duration::from_secs(20),
                "it is not told of the last batch"
            );
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(one.send(Watermarks).await.expect("alive").is_sorted());
    }
    wal.close().await.expect("closes");
}

#[actix::test]
async fn p6_of_a_crowd_everybody_hears_what_failed_and_the_last_watermark_before_the_end() {
    const CROWD: usize = 40;
    let (disk, plan) = (SimDisk::new(), FaultPlan::new());
    let storage = Arc::new(FaultyStorage::mount(&disk, plan.clone()).expect("free"));
    let mut config = config();
    config.fault_policy = FaultPolicy::FailFast;
    let wal = Wal::open(config).on_storage(storage).await.expect("opens");
    let crowd: Vec<_> = (0..CROWD).map(|_| Client::of(&wal).start()).collect();
    for one in &crowd {
        wal.subscribe(one.clone().recipient()).await.expect("runs");
    }
    wal.commit("kept").await.expect("durable");
    let failing = FaultRule::on(FaultOp::Sync, FaultEffect::Fail(errno::EIO)).times(1);
    // Not a segment that is being prepared.
    plan.add(failing.file(|name| name.ends_with(".wal")));
    let lost = match wal.commit("lost").await {
        Err(CommitError::NotDurable { lsn, .. }) => lsn,
        other => panic!("it is certainly not durable: {other:?}"),
    };
    let last = wal.commit("kept too").await.expect("durable");
    // No time to be told later: the log ends right behind the last batch.
    wal.close().await.expect("closes");
    for one in &crowd {
        let started = Instant::now();
        while !one.send(Heard).await.expect("alive").iter().any(|event| event.starts_with("Closed"))
        {
            assert!(started.elapsed() < Duration::from_secs(20), "it is not told of the end");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let heard = one.send(Heard).await.expect("alive");
        let failed = format!("failed: [{:?}]", LsnRange::new(lost, lost).expect("not empty"));
        assert!(heard.iter().any(|event| event.contains(&failed)), "{failed} is in {heard:#?}");
        let closed = heard.iter().position(|event| event.starts_with("Closed"));
        assert_eq!(closed, Some(heard.len() - 1), "the end is the last event");
        assert_eq!(one.send(Watermarks).await.expect("alive").last(), Some(&last));
    }
}

#[actix::test]
async fn p6_whoever_leaves_a_crowd_is_told_of_what_was_durable_before() {
    let disk = SimDisk::new();
    let wal = open(&disk, config()).await;
    let crowd: Vec<_> = (0..40).map(|_| Client::of(&wal).start()).collect();
    for one in &crowd {
        wal.subscribe(one.clone().recipient()).await.expect("runs");
    }
    let lsn = wal.commit("before").await.expect("durable");
    for one in crowd.iter().rev() {
        assert!(wal.unsubscribe(one.clone().recipient()).await.expect("runs"));
        assert_eq!(one.send(Watermarks).await.expect("alive").last(), Some(&lsn));
    }
    wal.close().await.expect("closes");
}
