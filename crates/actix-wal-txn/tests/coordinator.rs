//! Guards P24, P25 and P6 in the coordinator, at the level of its messages: with a mocked Flusher, as its users test their
//! own actors, and with a real log.

#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use actix::Addr;
use actix_wal::testkit::{MockHandle, MockLog, MockScript, MockStep};
use actix_wal::{Cause, Durability, Lsn, Wal, WalConfig};
use actix_wal_txn::coordinator::{CoordinatorLimits, TransactionCoordinator};
use actix_wal_txn::error::TxnError;
use actix_wal_txn::latencies::CoordinatorLatencies;
use actix_wal_txn::latest::Latest;
use actix_wal_txn::messages::{
    Abort, Begin, Commit, Committed, Execute, Executed, Get, GetLatencies, GetOutcome, GetUsage,
    Put, Scan, TxnId,
};
use actix_wal_txn::record::TxnRecord;
use actix_wal_txn::recovery::{self, Recovered};
use actix_wal_txn::store::{Budget, KeyRange, Limits, Write};
use actix_wal_txn::tokens::{Token, TokenOutcome};
use actix_wal_txn::workspace::{Isolation, WorkError};
use bytes::Bytes;

type Coordinator = Addr<TransactionCoordinator>;

/// The log stays open as long as its handle is there.
async fn mocked(script: impl Into<MockScript>) -> (Wal, Coordinator, MockHandle) {
    let (wal, mock) = MockLog::start(script);
    let coordinator = over(&wal, CoordinatorLimits::default()).await;
    (wal, coordinator, mock)
}

async fn over(wal: &Wal, limits: CoordinatorLimits) -> Coordinator {
    let empty = Recovered::empty(Limits::default());
    TransactionCoordinator::start(wal, empty, limits).await.unwrap()
}

/// Adds to a number, and gives what it is then.
fn add(key: &'static str, more: i64) -> Execute<i64> {
    Execute::new(move |latest| {
        let sum = number(latest.get(key.as_bytes())?) + more;
        set(latest, key, sum)?;
        Ok(sum)
    })
}

fn read(key: &'static str) -> Execute<i64> {
    Execute::new(move |latest| Ok(number(latest.get(key.as_bytes())?)))
}

fn set(latest: &mut Latest<'_>, key: &'static str, value: i64) -> Result<(), WorkError> {
    latest.write(Write { key: key.into(), value: Some(value.to_string().into()) })
}

fn number(value: Option<Bytes>) -> i64 {
    value.map_or(0, |value| String::from_utf8_lossy(&value).parse().unwrap())
}

async fn begin(coordinator: &Coordinator) -> TxnId {
    coordinator.send(Begin::default()).await.unwrap().unwrap()
}

async fn get(coordinator: &Coordinator, txn: TxnId) -> i64 {
    let get = Get { txn, key: "a".into(), tracked: true };
    number(coordinator.send(get).await.unwrap().unwrap())
}

/// A message that has been handled, and whose answer is kept back.
struct Waits<F>(Pin<Box<F>>);

impl<F: Future> Waits<F> {
    /// Sends it, and returns when the coordinator has handled it. Its answer must not be there.
    async fn new(coordinator: &Coordinator, sent: F) -> Self {
        let mut waits = Waits(Box::pin(sent));
        waits.has_no_answer();
        coordinator.send(GetUsage).await.unwrap();
        waits.has_no_answer();
        waits
    }

    #[track_caller]
    fn has_no_answer(&mut self) {
        let polled = self.0.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(polled, Poll::Pending), "it is answered");
    }
}

#[actix::test]
async fn p25_answers_are_kept_back_until_all_that_they_tell_is_durable() {
    let (_wal, coordinator, mock) = mocked(MockScript::manual()).await;
    let mut first = Waits::new(&coordinator, coordinator.send(add("a", 1))).await;
    let mut second = Waits::new(&coordinator, coordinator.send(add("a", 1))).await;
    let mut reader = Waits::new(&coordinator, coordinator.send(read("a"))).await;
    let aborts = Execute::<()>::new(|latest| {
        let sum = number(latest.get(b"a")?);
        Err(TxnError::aborted(format!("it is {sum}")))
    });
    let mut aborted = Waits::new(&coordinator, coordinator.send(aborts)).await;
    // What has seen nothing of it is answered.
    let other = coordinator.send(read("b")).await.unwrap().unwrap();
    assert_eq!(other, Executed { value: 0, lsn: None });

    mock.acknowledge_through(Lsn::new(1)).await;
    let done = first.0.as_mut().await.unwrap().unwrap();
    assert_eq!(done, Executed { value: 1, lsn: Some(Lsn::FIRST) });
    coordinator.send(GetUsage).await.unwrap();
    second.has_no_answer();
    reader.has_no_answer();
    aborted.has_no_answer();

    mock.acknowledge_through(Lsn::new(2)).await;
    assert_eq!(second.0.await.unwrap().unwrap().value, 2);
    assert_eq!(reader.0.await.unwrap().unwrap(), Executed { value: 2, lsn: None });
    let aborted = aborted.0.await.unwrap().unwrap_err();
    assert!(matches!(&aborted, TxnError::Aborted { reason } if reason == "it is 2"), "{aborted}");
}

#[actix::test]
async fn p25_async_answers_at_once_and_sees_its_own_writes() {
    let (_wal, coordinator, _mock) = mocked(MockScript::manual()).await;
    let quick = |execute| Execute { durability: Durability::Async, ..execute };
    let done = coordinator.send(quick(add("a", 1))).await.unwrap().unwrap();
    assert_eq!(done, Executed { value: 1, lsn: None });
    assert_eq!(coordinator.send(quick(read("a"))).await.unwrap().unwrap().value, 1);
    // A client that did not ask for that waits.
    Waits::new(&coordinator, coordinator.send(read("a"))).await;
}

#[actix::test]
async fn p25_what_fails_is_gone_and_those_that_saw_it_are_told_nothing_of_it() {
    let (_wal, coordinator, mock) = mocked(MockScript::manual()).await;
    let writer = Waits::new(&coordinator, coordinator.send(add("a", 1))).await;
    let reader = Waits::new(&coordinator, coordinator.send(read("a"))).await;
    mock.act(MockStep::Fail(Cause::Closed)).await;
    let failed = writer.0.await.unwrap().unwrap_err();
    assert!(matches!(failed, TxnError::NotDurable(_)) && failed.has_no_effect(), "{failed}");
    let saw = reader.0.await.unwrap().unwrap_err();
    assert!(matches!(saw, TxnError::SawFailed(_)), "{saw}");
    assert_eq!(coordinator.send(read("a")).await.unwrap().unwrap().value, 0);
}

#[actix::test]
async fn p25_interactive_transactions_see_what_is_durable_and_the_first_committer_wins() {
    let (_wal, coordinator, mock) = mocked(MockScript::manual()).await;
    let put = |txn: TxnId, value: &'static str| Put { txn, key: "a".into(), value: value.into() };
    let commit = |txn| Commit { txn, durability: Durability::default(), token: None };
    let (one, two) = (begin(&coordinator).await, begin(&coordinator).await);
    coordinator.send(put(one, "1")).await.unwrap().unwrap();
    coordinator.send(put(two, "2")).await.unwrap().unwrap();
    assert_eq!((get(&coordinator, one).await, get(&coordinator, two).await), (1, 2));
    let first = Waits::new(&coordinator, coordinator.send(commit(one))).await;
    let lost = coordinator.send(commit(two)).await.unwrap().unwrap_err();
    assert!(matches!(lost, TxnError::Work(WorkError::WriteConflict { .. })), "{lost}");
    let before = begin(&coordinator).await;
    mock.acknowledge_through(Lsn::new(1)).await;
    assert_eq!(first.0.await.unwrap().unwrap(), Committed { lsn: Some(Lsn::FIRST) });
    let after = begin(&coordinator).await;
    assert_eq!((get(&coordinator, before).await, get(&coordinator, after).await), (0, 1));
    // One that wrote nothing is answered at once.
    assert_eq!(coordinator.send(commit(after)).await.unwrap().unwrap(), Committed { lsn: None });
    coordinator.send(Abort { txn: before }).await.unwrap().unwrap();
    let ended = coordinator.send(commit(before)).await.unwrap().unwrap_err();
    assert!(matches!(ended, TxnError::NotOpen { .. }), "{ended}");
}

#[actix::test]
async fn p16_open_transactions_are_bounded_in_number_and_age() {
    let (wal, _mock) = MockLog::start([]);
    let limits = CoordinatorLimits { open: 2, ..CoordinatorLimits::default() };
    let coordinator = over(&wal, limits).await;
    let begin = Begin { isolation: Isolation::Serializable };
    for _ in 0..2 {
        coordinator.send(begin).await.unwrap().unwrap();
    }
    let refused = coordinator.send(begin).await.unwrap().unwrap_err();
    assert!(matches!(refused, TxnError::TooMany { limit: 2 }), "{refused}");

    let limits = CoordinatorLimits { age: Duration::from_millis(5), ..limits };
    let coordinator = over(&wal, limits).await;
    let first = coordinator.send(begin).await.unwrap().unwrap();
    let refused = loop {
        let get = Get { txn: first, key: "a".into(), tracked: true };
        match coordinator.send(get).await.unwrap() {
            Ok(_) => actix::clock::sleep(Duration::from_millis(1)).await,
            Err(refused) => break refused,
        }
    };
    assert!(matches!(refused, TxnError::Expired { .. } | TxnError::NotOpen { .. }), "{refused}");
    while coordinator.send(GetUsage).await.unwrap().open > 0 {
        actix::clock::sleep(Duration::from_millis(1)).await;
    }
}

#[actix::test]
async fn p6_work_that_panics_is_answered_and_has_no_effect() {
    let (_wal, coordinator, _mock) = mocked([]).await;
    let panics = Execute::<()>::new(|latest| {
        set(latest, "a", 7)?;
        panic!("no such account");
    });
    let refused = coordinator.send(panics).await.unwrap().unwrap_err();
    assert!(refused.to_string().ends_with("panicked: no such account"), "{refused}");
    assert_eq!(coordinator.send(read("a")).await.unwrap().unwrap().value, 0);
}

#[actix::test]
async fn p25_a_log_that_keeps_a_record_on_top_of_one_that_failed_is_written_to_no_more() {
    let (_wal, coordinator, mock) = mocked(MockScript::manual()).await;
    let first = Waits::new(&coordinator, coordinator.send(add("a", 1))).await;
    let second = Waits::new(&coordinator, coordinator.send(add("a", 1))).await;
    // Only a mock does this.
    mock.act(MockStep::Fail(Cause::Closed)).await;
    mock.acknowledge_through(Lsn::new(2)).await;
    first.0.await.unwrap().unwrap_err();
    let done = second.0.await.unwrap().unwrap();
    assert_eq!(done, Executed { value: 2, lsn: Some(Lsn::new(2)) }, "it is durable all the same");
    // What the store shows lacks that commit, so that nothing may be read there either.
    for refused in [
        coordinator.send(add("a", 1)).await.unwrap().unwrap_err(),
        coordinator.send(read("a")).await.unwrap().unwrap_err(),
        coordinator.send(Begin::default()).await.unwrap().unwrap_err(),
    ] {
        let text = refused.to_string();
        assert!(text.contains("LSN 2") && text.contains("restart"), "{text}");
    }
}

#[actix::test]
async fn a_token_tells_what_became_of_a_commit_and_keeps_it_from_being_done_twice() {
    let (_wal, coordinator, mock) = mocked(MockScript::manual()).await;
    let token = Token::new("client 1, payment 7").unwrap();
    let pay = || Execute { token: Some(token.clone()), ..add("a", 1) };
    let outcome = || async { coordinator.send(GetOutcome(token.clone())).await.unwrap() };
    assert_eq!(outcome().await, TokenOutcome::Aborted);
    let paid = Waits::new(&coordinator, coordinator.send(pay())).await;
    assert_eq!(outcome().await, TokenOutcome::Open);
    let again = coordinator.send(pay()).await.unwrap().unwrap_err();
    assert!(matches!(again, TxnError::TokenUsed), "{again}");
    mock.act(MockStep::Fail(Cause::Closed)).await;
    paid.0.await.unwrap().unwrap_err();
    assert_eq!(outcome().await, TokenOutcome::Aborted);
    let paid = Waits::new(&coordinator, coordinator.send(pay())).await;
    mock.acknowledge_through(Lsn::new(2)).await;
    let Executed { value, lsn } = paid.0.await.unwrap().unwrap();
    assert_eq!((value, outcome().await), (1, TokenOutcome::Committed(lsn.unwrap())));
}

#[actix::test]
async fn p1_p25_a_real_log_recovers_what_its_transactions_were_told() {
    let folder = tempfile::tempdir().unwrap();
    let config = || WalConfig::new(folder.path().join("log"));
    const ACCOUNTS: [&str; 4] = ["a", "b", "c", "d"];
    let token = Token::new("the last one").unwrap();
    for life in 0..3 {
        let (wal, recovered) =
            recovery::open(Wal::open(config()), Limits::default()).await.unwrap();
        let coordinator =
            TransactionCoordinator::start(&wal, recovered, CoordinatorLimits::default())
                .await
                .unwrap();
        let sum = Execute::new(|latest| {
            ACCOUNTS.iter().try_fold(0, |sum, key| Ok(sum + number(latest.get(key.as_bytes())?)))
        });
        assert_eq!(coordinator.send(sum).await.unwrap().unwrap().value, 0);
        let a = coordinator.send(read("a")).await.unwrap().unwrap().value;
        assert_eq!(a, -200 * life, "what was told in the lives before");

        let transfers: Vec<_> = (0..200)
            .map(|at| {
                coordinator.send(Execute::new(move |latest| {
                    let to = ACCOUNTS[1 + at % 3];
                    let (from, into) =
                        (number(latest.get(b"a")?), number(latest.get(to.as_bytes())?));
                    set(latest, "a", from - 1)?;
                    Ok(set(latest, to, into + 1)?)
                }))
            })
            .collect();
        for transfer in transfers {
            transfer.await.unwrap().unwrap();
        }
        let last = Execute { token: Some(token.clone()), ..add("e", 1) };
        let last = coordinator.send(last).await.unwrap();
        assert_eq!(last.is_ok(), life == 0, "{last:?}: the token is known after a restart");
        wal.close().await.unwrap();
    }
}

#[actix::test]
async fn p10_a_log_that_does_not_have_the_whole_state_is_refused_with_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let opened = |name| {
        let opening = Wal::open(WalConfig::new(folder.path().join(name)));
        recovery::open(opening, Limits::default())
    };
    let (wal, _) = opened("foreign").await.unwrap();
    wal.commit("no record of ours").await.unwrap();
    wal.close().await.unwrap();
    let refused = opened("foreign").await.unwrap_err().to_string();
    assert!(refused.starts_with("the record at LSN 1 has version 110"), "{refused}");
    assert!(refused.ends_with("or it is none of a transaction, and this is another program's log"));

    let (wal, recovered) = opened("released").await.unwrap();
    let limits = CoordinatorLimits::default();
    let coordinator = TransactionCoordinator::start(&wal, recovered, limits).await.unwrap();
    for _ in 0..3 {
        coordinator.send(add("a", 1)).await.unwrap().unwrap();
    }
    wal.checkpoint(Lsn::new(2)).await.unwrap();
    wal.close().await.unwrap();
    let refused = opened("released").await.unwrap_err().to_string();
    assert!(refused.starts_with("the log has released its records up to LSN 2"), "{refused}");
}

#[actix::test]
async fn p16_watched_ranges_are_bounded_over_all_transactions_and_the_refused_one_goes_on() {
    let (wal, _mock) = MockLog::start([]);
    let limits = CoordinatorLimits { watched: 2, ..CoordinatorLimits::default() };
    let coordinator = over(&wal, limits).await;
    let mut open = Vec::new();
    for _ in 0..3 {
        let begin = Begin { isolation: Isolation::Serializable };
        open.push(coordinator.send(begin).await.unwrap().unwrap());
    }
    let scan = |txn, tracked| {
        let (range, budget) = (KeyRange::prefix("a"), Budget::default());
        coordinator.send(Scan { txn, range, budget, tracked })
    };
    for txn in &open[..2] {
        scan(*txn, true).await.unwrap().unwrap();
    }
    let refused = scan(open[2], true).await.unwrap().unwrap_err();
    assert!(matches!(refused, TxnError::Work(WorkError::TooManyRanges { .. })), "{refused}");
    assert!(refused.to_string().starts_with("2 ranges are watched"), "{refused}");
    scan(open[2], false).await.unwrap().unwrap();
    coordinator.send(Abort { txn: open[0] }).await.unwrap().unwrap();
    scan(open[2], true).await.unwrap().unwrap();
    assert_eq!(coordinator.send(GetUsage).await.unwrap().watched, 2);
}

#[actix::test]
async fn the_time_of_each_commit_is_measured_and_how_many_become_durable_at_once() {
    let (_wal, coordinator, mock) = mocked(MockScript::manual()).await;
    let began = Instant::now();
    let mut commits = Vec::new();
    for _ in 0..3 {
        commits.push(Waits::new(&coordinator, coordinator.send(add("a", 1))).await);
    }
    let reader = Waits::new(&coordinator, coordinator.send(read("a"))).await;
    let put_in = Instant::now();
    actix::clock::sleep(Duration::from_millis(20)).await;
    let least = put_in.elapsed();
    mock.acknowledge_through(Lsn::new(1)).await;
    mock.acknowledge_through(Lsn::new(3)).await;
    for commit in commits {
        commit.0.await.unwrap().unwrap();
    }
    reader.0.await.unwrap().unwrap();
    let most = began.elapsed();
    let CoordinatorLatencies { commits, at_once } = coordinator.send(GetLatencies).await.unwrap();
    assert_eq!((commits.count, at_once.count, at_once.max), (3, 2, 2), "a read is no commit");
    // The buckets are exact to a hundredth.
    let hundredth = |time: Duration| time / 50 + Duration::from_micros(2);
    assert!(commits.p50 + hundredth(least) >= least, "{commits:?}, at least {least:?}");
    assert!(commits.max <= most + hundredth(most), "{commits:?}, at most {most:?}");

    let fails = Waits::new(&coordinator, coordinator.send(add("a", 1))).await;
    mock.act(MockStep::Fail(Cause::Closed)).await;
    fails.0.await.unwrap().unwrap_err();
    let CoordinatorLatencies { commits, at_once } = coordinator.send(GetLatencies).await.unwrap();
    assert_eq!((commits.count, at_once.count), (4, 2), "it has an answer, and is not durable");
}

#[actix::test]
async fn p3_a_transaction_is_one_record_however_many_keys_it_writes() {
    let (_wal, coordinator, mock) = mocked(MockScript::acknowledge()).await;
    let many = Execute::new(|latest| {
        ["a", "b", "c"].into_iter().try_for_each(|key| Ok(set(latest, key, 1)?))
    });
    coordinator.send(many).await.unwrap().unwrap();
    let txn = begin(&coordinator).await;
    for key in ["d", "e"] {
        let put = Put { txn, key: key.into(), value: "1".into() };
        coordinator.send(put).await.unwrap().unwrap();
    }
    let commit = Commit { txn, durability: Durability::default(), token: None };
    coordinator.send(commit).await.unwrap().unwrap();
    let written: Vec<_> = mock
        .received()
        .await
        .iter()
        .map(|record| match TxnRecord::decode(record.lsn, &record.payload).unwrap() {
            TxnRecord::Commit { writes, .. } => writes.len(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(written, [3, 2]);
}

/// Writes so many keys, and gives each this value.
async fn fill(coordinator: &Coordinator, keys: usize, value: &'static str) {
    for first in (0..keys).step_by(500) {
        let part = Execute::new(move |latest| {
            let write =
                |key: usize| Write { key: format!("{key}").into(), value: Some(value.into()) };
            (first..first + 500).try_for_each(|key| Ok(latest.write(write(key))?))
        });
        coordinator.send(part).await.unwrap().unwrap();
    }
}

#[actix::test]
async fn p16_a_collection_lets_the_other_tasks_of_its_thread_have_their_turns() {
    let (_wal, coordinator, _mock) = mocked(MockScript::acknowledge()).await;
    fill(&coordinator, 20_000, "1").await;
    let txn = begin(&coordinator).await;
    fill(&coordinator, 20_000, "2").await;
    coordinator.send(Abort { txn }).await.unwrap().unwrap();
    // Each question is put by a task that has had its turn since the answer to the one before.
    let mut seen = BTreeSet::new();
    while !seen.contains(&0) {
        seen.insert(coordinator.send(GetUsage).await.unwrap().store.pinned);
    }
    assert!(seen.len() > 20, "of 78 pieces only {} had somebody else between them", seen.len());
}
