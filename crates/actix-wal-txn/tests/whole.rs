//! Guards P24, P25, P10 and P16 for transactions that are sent whole, several in one message, and for keys that are watched from one
//! to the next.

#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]

use std::time::Duration;

use actix::Addr;
use actix_wal::testkit::{MockHandle, MockLog, MockScript, MockStep};
use actix_wal::{Cause, Durability, Lsn, Wal, WalConfig};
use actix_wal_txn::coordinator::{CoordinatorLimits, TransactionCoordinator};
use actix_wal_txn::error::TxnError;
use actix_wal_txn::latest::Latest;
use actix_wal_txn::messages::{
    Each, Execute, ExecuteEach, GetCounts, GetUsage, Outcomes, Transaction,
};
use actix_wal_txn::recovery::{self, Recovered};
use actix_wal_txn::store::{Budget, KeyRange, Limits, Write};
use actix_wal_txn::watches::WatchedKey;
use bytes::Bytes;

type Coordinator = Addr<TransactionCoordinator>;

/// What one transaction of these tests does.
#[derive(Clone, Debug)]
enum Do {
    /// Adds one to a number, and gives what it is then.
    Add(&'static str),
    Read(&'static str),
    /// The same by a look at it.
    Look(&'static str),
    /// How many keys there are, by a scan.
    Scan,
    Count(&'static str),
    /// Reads, and fails with what it has read.
    Refuse(&'static str),
    /// Writes a value of so many bytes.
    Large(usize),
    SeeAll,
    /// Gives this number, which is also how much it weighs.
    Weigh(u64),
}

/// Outputs that weigh so much together are enough for one message.
const ENOUGH: usize = 1000;

impl Transaction for Do {
    type Output = u64;

    const AT_ONCE: usize = ENOUGH;

    fn weight(output: &u64) -> usize {
        // Sums and counts of these tests are small.
        *output as usize
    }

    fn run(&self, latest: &mut Latest<'_>) -> Result<u64, TxnError> {
        match self {
            Do::Add(key) => {
                let sum = number(latest, key)? + 1;
                set(latest, key, sum.to_string().into())?;
                Ok(sum)
            }
            Do::Read(key) => number(latest, key),
            Do::Look(key) => Ok(latest.peek(key.as_bytes())?.map_or(0, |value| value.len() as u64)),
            Do::Scan => Ok(latest.scan(&KeyRange::all(), Budget::default())?.rows.len() as u64),
            Do::Count(prefix) => Ok(latest.count(prefix.as_bytes())?),
            Do::Refuse(key) => Err(TxnError::aborted(number(latest, key)?.to_string())),
            Do::Large(bytes) => set(latest, "large", vec![b'1'; *bytes].into()).map(|()| 0),
            Do::SeeAll => {
                latest.see_all();
                Ok(0)
            }
            Do::Weigh(weight) => Ok(*weight),
        }
    }
}

fn number(latest: &mut Latest<'_>, key: &str) -> Result<u64, TxnError> {
    let value = latest.get(key.as_bytes())?.unwrap_or_else(|| Bytes::from("0"));
    Ok(String::from_utf8_lossy(&value).parse().unwrap())
}

fn set(latest: &mut Latest<'_>, key: &'static str, value: Bytes) -> Result<(), TxnError> {
    Ok(latest.write(Write { key: key.into(), value: Some(value) })?)
}

fn each(transactions: impl IntoIterator<Item = Do>) -> ExecuteEach<Do> {
    let transactions = transactions.into_iter().collect();
    ExecuteEach { transactions, durability: Durability::default() }
}

async fn mocked() -> (Wal, Coordinator, MockHandle) {
    let (wal, mock) = MockLog::start(MockScript::manual());
    let recovered = Recovered::empty(Limits::default());
    let limits = CoordinatorLimits::default();
    let coordinator = TransactionCoordinator::start(&wal, recovered, limits).await.unwrap();
    (wal, coordinator, mock)
}

/// What each gave, and its LSN; or how it failed.
fn told(each: Each<Do>) -> Vec<Result<(u64, Option<u64>), String>> {
    let lsn = |lsn: Option<Lsn>| lsn.map(Lsn::get);
    let told = each.done.into_iter().map(|done| match done {
        Ok(done) => Ok((done.value, lsn(done.lsn))),
        Err(error) => Err(error.to_string()),
    });
    told.collect()
}

#[actix::test]
async fn p25_each_of_several_transactions_is_one_commit_and_the_answer_waits_for_all_of_them() {
    let (_wal, coordinator, mock) = mocked().await;
    let all =
        [Do::Add("a"), Do::Read("a"), Do::Refuse("a"), Do::Add("a"), Do::Read("b"), Do::Count("")];
    let mut answer = Box::pin(coordinator.send(each(all)));
    for through in 0..2 {
        if through > 0 {
            mock.acknowledge_through(Lsn::new(through)).await;
        }
        let early = tokio::time::timeout(Duration::from_millis(1), &mut answer).await;
        assert!(early.is_err(), "answered when LSN {through} is durable");
        assert_eq!(coordinator.send(GetUsage).await.unwrap().on_the_way as u64, 2 - through);
    }
    mock.acknowledge_through(Lsn::new(2)).await;
    let answer = answer.await.unwrap();
    assert!(answer.left.is_empty());
    let refused = Err("the transaction aborts: 1".to_owned());
    let expected = vec![
        Ok((1, Some(1))),
        Ok((1, None)),
        refused,
        Ok((2, Some(2))),
        Ok((0, None)),
        Ok((1, None)),
    ];
    assert_eq!(told(answer), expected);
}

#[actix::test]
async fn p25_whatever_has_been_read_is_not_told_before_it_is_durable_in_whichever_way() {
    let (_wal, coordinator, mock) = mocked().await;
    let ways = [Do::Read("a"), Do::Look("a"), Do::Scan, Do::Count(""), Do::Refuse("a")];
    for (way, lsn) in ways.into_iter().zip(1..) {
        let add = ExecuteEach { durability: Durability::Async, ..each([Do::Add("a")]) };
        coordinator.send(add).await.unwrap();
        let mut answer = Box::pin(coordinator.send(each([way.clone()])));
        // It has been handled when this is answered.
        coordinator.send(GetUsage).await.unwrap();
        let early = tokio::time::timeout(Duration::ZERO, &mut answer).await;
        assert!(early.is_err(), "{way:?}: {early:?}");
        mock.acknowledge_through(Lsn::new(lsn)).await;
        assert_eq!(answer.await.unwrap().done.len(), 1, "{way:?}");
    }
}

#[actix::test]
async fn p25_of_several_transactions_those_fail_that_come_after_one_that_failed() {
    let (_wal, coordinator, mock) = mocked().await;
    let answer = coordinator.send(each([Do::Add("a"), Do::Read("b"), Do::Add("b"), Do::Read("a")]));
    let (answer, ()) = tokio::join!(answer, async {
        coordinator.send(GetUsage).await.unwrap();
        // The log fails both: the second one builds on an epoch that has ended.
        mock.act(MockStep::Fail(Cause::Closed)).await;
        mock.act(MockStep::Fail(Cause::Closed)).await;
    });
    let told = told(answer.unwrap());
    assert!(told[0].is_err() && told[2].is_err() && told[3].is_err(), "{told:?}");
    assert_eq!(told[1], Ok((0, None)), "it has seen nothing of the others");
    let after = coordinator.send(each([Do::Read("a"), Do::Read("b"), Do::Count("")]));
    assert_eq!(self::told(after.await.unwrap()), vec![Ok((0, None)); 3]);
}

#[actix::test]
async fn p23_each_transaction_counts_once_by_what_became_of_it() {
    let (_wal, coordinator, mock) = mocked().await;
    let counts = || async { coordinator.send(GetCounts).await.unwrap() };
    let all = [Do::Add("a"), Do::Read("a"), Do::Refuse("a"), Do::Read("b"), Do::Add("b")];
    let mut answer = Box::pin(coordinator.send(each(all)));
    // It has been handled when the counts are given: what is not settled does not count.
    assert!(tokio::time::timeout(Duration::ZERO, &mut answer).await.is_err());
    let early = counts().await;
    assert_eq!(early.outcomes, Outcomes { read_only: 1, ..Outcomes::default() });
    assert_eq!(early.kept_back, 2, "what has seen the first commit");
    mock.acknowledge_through(Lsn::new(2)).await;
    answer.await.unwrap();
    let settled = Outcomes { committed: 2, read_only: 2, aborted: 1, ..Outcomes::default() };
    assert_eq!(counts().await.outcomes, settled);

    let refused = Execute::new(|_| Err::<(), _>(TxnError::aborted("it is tried")));
    coordinator.send(refused).await.unwrap().unwrap_err();
    let asynchronous = ExecuteEach { durability: Durability::Async, ..each([Do::Add("c")]) };
    coordinator.send(asynchronous).await.unwrap();
    assert_eq!(counts().await.outcomes, Outcomes { aborted: 2, ..settled });
    mock.acknowledge_through(Lsn::new(3)).await;

    let answer = coordinator.send(each([Do::Add("a"), Do::Add("b"), Do::Read("a")]));
    let (answer, ()) = tokio::join!(answer, async {
        coordinator.send(GetUsage).await.unwrap();
        mock.act(MockStep::Fail(Cause::Closed)).await;
        mock.act(MockStep::Fail(Cause::Closed)).await;
    });
    assert!(answer.unwrap().done.iter().all(Result::is_err));
    let all = counts().await;
    let failed = Outcomes { committed: 3, not_durable: 2, saw_failed: 1, aborted: 2, ..settled };
    assert_eq!(all.outcomes, failed);
    let ages = (all.oldest_snapshot, all.oldest_prepared);
    assert_eq!((all.prepared, all.mismatches, ages), (0, 0, Default::default()));
}

#[actix::test]
async fn p10_transactions_that_the_log_has_no_room_for_come_back_with_those_behind_them() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = WalConfig::new(folder.path());
    config.max_in_flight_entries = 4;
    let opening = Wal::open(config);
    let (wal, recovered) = recovery::open(opening, Limits::default()).await.unwrap();
    let limits = CoordinatorLimits::default();
    let coordinator = TransactionCoordinator::start(&wal, recovered, limits).await.unwrap();
    // One that only reads needs no room, and waits behind one that has none all the same.
    let mut left = vec![[Do::Add("a"), Do::Read("b")]; 40].concat();
    let (mut sums, mut rounds) = (Vec::new(), 0);
    while !left.is_empty() {
        let Each { done, left: more } = coordinator.send(each(left)).await.unwrap();
        sums.extend(done.into_iter().map(|done| done.unwrap().value));
        (left, rounds) = (more, rounds + 1);
    }
    let expected: Vec<u64> = (1..=40).flat_map(|sum| [sum, 0]).collect();
    assert_eq!(sums, expected, "each once, in order");
    assert!(rounds > 1, "the log had room for all of them at once");
    // What is too large for any log is refused, and does not come back.
    let refused = coordinator.send(each([Do::Large(15 << 20), Do::Large(17 << 20)])).await.unwrap();
    assert!(refused.left.is_empty() && refused.done[1].is_err(), "{refused:?}");
    wal.close().await.unwrap();
}

#[actix::test]
async fn p25_an_answer_can_wait_for_all_that_was_put_in_before_also_for_what_is_async() {
    let (_wal, coordinator, mock) = mocked().await;
    let quick =
        ExecuteEach { durability: Durability::Async, ..each([Do::Add("a"), Do::Read("a")]) };
    let quick = told(coordinator.send(quick).await.unwrap());
    assert_eq!(quick, [Ok((1, None)), Ok((1, None))]);
    let mut answer = Box::pin(coordinator.send(each([Do::SeeAll])));
    assert!(tokio::time::timeout(Duration::from_millis(1), &mut answer).await.is_err());
    mock.acknowledge_through(Lsn::new(1)).await;
    assert_eq!(told(answer.await.unwrap()), [Ok((0, None))]);
}

/// Adds one to a number; its output has a weight.
#[derive(Debug)]
struct Weighs(usize);

impl Transaction for Weighs {
    type Output = usize;

    const AT_ONCE: usize = 10;

    fn run(&self, latest: &mut Latest<'_>) -> Result<usize, TxnError> {
        Do::Add("sum").run(latest).map(|_| self.0)
    }

    fn weight(output: &usize) -> usize {
        *output
    }
}

#[actix::test]
async fn p16_transactions_behind_outputs_that_weigh_too_much_come_back_and_have_no_effect() {
    let (_wal, coordinator, _mock) = mocked().await;
    for (weights, expected) in [(&[4, 5, 1, 1][..], 3), (&[4, 4, 4, 0, 0], 3), (&[11, 0], 1)] {
        let transactions: Vec<_> = weights.iter().map(|weight| Weighs(*weight)).collect();
        let sum =
            || Execute { durability: Durability::Async, ..Execute::new(|l| number(l, "sum")) };
        let before = coordinator.send(sum()).await.unwrap().unwrap().value;
        let each = ExecuteEach { transactions, durability: Durability::Async };
        let Each { done, left } = coordinator.send(each).await.unwrap();
        assert_eq!((done.len(), left.len()), (expected, weights.len() - expected), "{weights:?}");
        let after = coordinator.send(sum()).await.unwrap().unwrap().value;
        assert_eq!(after - before, expected as u64, "{weights:?}");
    }
}

fn watch(key: &'static str) -> Execute<WatchedKey> {
    let watch = move |latest: &mut Latest<'_>| Ok(latest.watch(key.into())?);
    Execute { durability: Durability::Async, ..Execute::new(watch) }
}

#[actix::test]
async fn p24_a_watched_key_is_changed_by_every_later_write_and_by_nothing_else() {
    let (_wal, coordinator, mock) = mocked().await;
    let watching = async |key| coordinator.send(watch(key)).await.unwrap().unwrap().value;
    let write = async |all: &[Do]| {
        let quick = ExecuteEach { durability: Durability::Async, ..each(all.iter().cloned()) };
        coordinator.send(quick).await.unwrap()
    };
    let (a, also_a, b) = (watching("a").await, watching("a").await, watching("b").await);
    write(&[Do::Read("a"), Do::Count(""), Do::Refuse("a")]).await;
    assert!(!a.is_changed() && !also_a.is_changed());
    write(&[Do::Add("a")]).await;
    assert!(a.is_changed() && also_a.is_changed() && !b.is_changed());
    let again = watching("a").await;
    assert!(!again.is_changed(), "watched behind that write");

    // A transaction that watches what it writes itself waits for others.
    let own = Execute::new(|latest| {
        set(latest, "c", "1".into())?;
        Ok(latest.watch("c".into())?)
    });
    let own = Execute { durability: Durability::Async, ..own };
    let own = coordinator.send(own).await.unwrap().unwrap().value;
    assert!(!own.is_changed());
    // What was read here may never have been.
    mock.act(MockStep::Fail(Cause::Closed)).await;
    coordinator.send(GetUsage).await.unwrap();
    assert!(again.is_changed() && b.is_changed() && own.is_changed());
    let lost = coordinator.send(GetUsage).await.unwrap().lost;
    assert_eq!(lost, 1, "one that was answered has failed");
}

#[actix::test]
async fn p10_transactions_behind_outputs_that_weigh_enough_come_back_and_do_not_run() {
    let (_wal, coordinator, _mock) = mocked().await;
    let enough = ENOUGH as u64;
    for (all, ran) in [
        (vec![Do::Weigh(enough - 1), Do::Weigh(1), Do::Refuse("a"), Do::Weigh(0)], 2),
        (vec![Do::Weigh(enough + 7), Do::Refuse("a")], 1),
        (vec![Do::Weigh(u64::MAX), Do::Refuse("a")], 1),
        (vec![Do::Weigh(enough - 1), Do::Weigh(0), Do::Weigh(enough)], 3),
        (vec![Do::Weigh(enough)], 1),
    ] {
        let sent = all.len();
        let Each { done, left } = coordinator.send(each(all)).await.unwrap();
        assert_eq!((done.len(), left.len()), (ran, sent - ran));
        assert!(left.iter().take(1).all(|it| matches!(it, Do::Refuse("a"))), "{left:?}");
    }
}
