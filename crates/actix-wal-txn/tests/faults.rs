//! Guards P24, P25 and P6 in the coordinator when the disk fails: what it answers, shows and recovers is the same, and it
//! goes on by itself.

#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]

use std::collections::BTreeMap;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use actix::{Actor, Addr, Arbiter};
use actix_wal::testkit::{
    FaultEffect, FaultOp, FaultPlan, FaultRule, FaultyStorage, MockLog, MockStep, SimDisk, errno,
};
use actix_wal::{Cause, FaultPolicy, Wal, WalConfig};
use actix_wal_txn::coordinator::{CoordinatorLimits, TransactionCoordinator};
use actix_wal_txn::error::TxnError;
use actix_wal_txn::messages::{Execute, GetOutcome, GetUsage};
use actix_wal_txn::recovery::{self, Recovered};
use actix_wal_txn::store::{Limits, Write};
use actix_wal_txn::tokens::{Token, TokenOutcome};
use bytes::Bytes;

/// All clients add to this one, and each to one of its own.
const HOT: &str = "hot";
const CLIENTS: [&str; 4] = ["a", "b", "c", "d"];
const ROUNDS: usize = 25;

fn config(fault_policy: FaultPolicy) -> WalConfig {
    let mut config = WalConfig::new("log");
    (config.segment_size, config.fault_policy) = (64 * 1024, fault_policy);
    config
}

fn number(value: Option<Bytes>) -> usize {
    value.map_or(0, |value| String::from_utf8_lossy(&value).parse().unwrap())
}

/// Adds one to each of these.
fn add(keys: [&'static str; 2]) -> Execute<()> {
    Execute::new(move |latest| {
        for key in keys {
            let sum = number(latest.get(key.as_bytes())?) + 1;
            latest.write(Write { key: key.into(), value: Some(sum.to_string().into()) })?;
        }
        Ok(())
    })
}

async fn shown(coordinator: &Addr<TransactionCoordinator>, key: &'static str) -> usize {
    let read = Execute::new(move |latest| Ok(number(latest.get(key.as_bytes())?)));
    coordinator.send(read).await.unwrap().unwrap().value
}

/// The log and its coordinator on this disk.
async fn live(
    disk: &SimDisk,
    plan: &FaultPlan,
    policy: FaultPolicy,
) -> (Wal, Addr<TransactionCoordinator>) {
    let storage = loop {
        // The life before may be about to give the disk back.
        match FaultyStorage::mount(disk, plan.clone()) {
            Ok(storage) => break Arc::new(storage),
            Err(_) => tokio::task::yield_now().await,
        }
    };
    let opening = Wal::open(config(policy)).on_storage(storage);
    let (wal, recovered) = recovery::open(opening, Limits::default()).await.unwrap();
    let limits = CoordinatorLimits::default();
    let coordinator = TransactionCoordinator::start(&wal, recovered, limits).await.unwrap();
    (wal, coordinator)
}

#[actix::test]
async fn p6_p25_after_a_fault_the_coordinator_shows_and_recovers_what_it_answered_and_goes_on() {
    let mut failed = 0;
    for policy in [FaultPolicy::FailFast, FaultPolicy::Resend] {
        for (op, errno) in [
            (FaultOp::Write, errno::EIO),
            (FaultOp::Sync, errno::EIO),
            (FaultOp::Write, errno::ENOSPC),
        ] {
            for after in 0..10 {
                let case = format!("{policy:?} errno {errno} at {op:?} {after}");
                let (disk, plan) = (SimDisk::new(), FaultPlan::new());
                let (wal, coordinator) = live(&disk, &plan, policy).await;
                plan.add(FaultRule::on(op, FaultEffect::Fail(errno)).after(after).times(2));
                let clients = CLIENTS.map(|client| {
                    let coordinator = coordinator.clone();
                    actix::spawn(async move {
                        let mut done = 0;
                        for _ in 0..ROUNDS {
                            match coordinator.send(add([HOT, client])).await.unwrap() {
                                Ok(_) => done += 1,
                                Err(error) => assert!(error.has_no_effect(), "{error}"),
                            }
                        }
                        done
                    })
                });
                let mut done = BTreeMap::from([(HOT, 0)]);
                for (key, client) in CLIENTS.into_iter().zip(clients) {
                    let own = client.await.unwrap();
                    done.insert(key, own);
                    *done.get_mut(HOT).unwrap() += own;
                }
                failed += CLIENTS.len() * ROUNDS - done[HOT];
                plan.clear();
                while coordinator.send(add([HOT, "a"])).await.unwrap().is_err() {
                    tokio::task::yield_now().await;
                }
                *done.get_mut(HOT).unwrap() += 1;
                *done.get_mut("a").unwrap() += 1;
                for (key, sum) in &done {
                    assert_eq!(shown(&coordinator, key).await, *sum, "{case}: {key}");
                }
                wal.close().await.unwrap();
                drop((wal, coordinator));

                let (_wal, coordinator) = live(&disk, &plan, policy).await;
                for (key, sum) in &done {
                    assert_eq!(shown(&coordinator, key).await, *sum, "{case}, recovered: {key}");
                }
            }
        }
    }
    assert!(failed > 0, "no fault has hit anything");
}

/// Adds one, in the thread of the coordinator, once the test lets it.
fn slow_add(began: mpsc::Sender<()>, go_on: mpsc::Receiver<()>) -> Execute<()> {
    Execute::new(move |latest| {
        let sum = number(latest.get(HOT.as_bytes())?) + 1;
        began.send(()).unwrap();
        go_on.recv().unwrap();
        Ok(latest.write(Write { key: HOT.into(), value: Some(sum.to_string().into()) })?)
    })
}

#[actix::test]
async fn p6_p25_what_builds_on_a_commit_that_fails_is_refused_before_the_coordinator_knows_of_it() {
    let (wal, mock) = MockLog::start([MockStep::Hold]);
    // In a thread of its own, in which nothing else happens while a transaction runs.
    let arbiter = Arbiter::new();
    let coordinator = TransactionCoordinator::start_in_arbiter(&arbiter.handle(), {
        let (wal, empty) = (wal.clone(), Recovered::empty(Limits::default()));
        let limits = CoordinatorLimits::default();
        move |context| TransactionCoordinator::new(&wal, empty, limits, context)
    });
    wal.subscribe(coordinator.clone().recipient()).await.unwrap();
    let first = actix::spawn(coordinator.send(add([HOT, "a"])));
    while mock.received().await.is_empty() {
        actix::clock::sleep(Duration::from_millis(1)).await;
    }
    let ((began, has_begun), (go_on, goes_on)) = (mpsc::channel(), mpsc::channel());
    let second = actix::spawn(coordinator.send(slow_add(began, goes_on)));
    while has_begun.try_recv().is_err() {
        actix::clock::sleep(Duration::from_millis(1)).await;
    }
    // It has read what the first one wrote, which fails now. The news waits in the mailbox.
    mock.act(MockStep::fail()).await;
    go_on.send(()).unwrap();
    for commit in [first, second] {
        let failed = commit.await.unwrap().unwrap().unwrap_err();
        assert!(failed.has_no_effect(), "{failed}");
    }
    assert_eq!(mock.received().await.len(), 1, "the second one never has an LSN");
    assert_eq!(shown(&coordinator, HOT).await, 0);
    coordinator.send(add([HOT, "a"])).await.unwrap().unwrap();
    arbiter.stop();
}

#[actix::test]
async fn p6_p25_what_nobody_knows_while_a_disk_hangs_is_known_when_it_has_come_back() {
    let mut config = WalConfig::new("mock");
    config.give_up_after = Duration::from_millis(50);
    let hangs = MockStep::Restart(Cause::Stalled { seconds: 1 }, Duration::from_millis(400));
    let (wal, _mock) = MockLog::with_config(&config, [MockStep::Acknowledge, hangs]);
    let empty = Recovered::empty(Limits::default());
    let limits = CoordinatorLimits::default();
    let coordinator = TransactionCoordinator::start(&wal, empty, limits).await.unwrap();
    coordinator.send(add([HOT, "a"])).await.unwrap().unwrap();

    let token = Token::new("payment 7").unwrap();
    let outcome = || async { coordinator.send(GetOutcome(token.clone())).await.unwrap() };
    let paid = Execute { token: Some(token.clone()), ..add([HOT, "a"]) };
    let unknown = coordinator.send(paid).await.unwrap().unwrap_err();
    assert!(matches!(unknown, TxnError::Unknown(_)), "{unknown}");
    assert_eq!(outcome().await, TokenOutcome::Open);
    // Its value may be lost, so that nobody sees it; and nobody builds on a store without it.
    let read = Execute::new(|latest| Ok(number(latest.get(b"hot")?)));
    let read = actix::spawn(coordinator.send(read));
    while coordinator.send(GetUsage).await.unwrap().on_the_way > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    match read.await.unwrap().unwrap() {
        Ok(done) => assert_eq!(done.value, 2),
        Err(error) => assert!(matches!(error, TxnError::SawFailed(_)), "{error}"),
    }
    assert!(matches!(outcome().await, TokenOutcome::Committed(_)));
    coordinator.send(add([HOT, "a"])).await.unwrap().unwrap();
    assert_eq!(shown(&coordinator, HOT).await, 3);
}
