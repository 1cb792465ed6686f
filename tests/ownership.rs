//! Guards P20: one owner. A stale lock is harmless; the lock is held until the last thread that may write has ended,
//! and no longer. Second openers, in this process and in another, are in `tests/reopening.rs`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on has failed")]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Instant;
use test_support::logs::config_in as config;
use test_support::scratch::folder;

use actix_wal::storage::Directory;
use actix_wal::testkit::{FaultEffect, FaultOp, FaultPlan, FaultRule, FaultyStorage};
use actix_wal::{OpenError, Wal};
use test_support::logs::{SOON, impatient, on_segments, records_in, until, within};

/// Set in the processes that tests start: the directory to open.
const DIRECTORY: &str = "ACTIX_WAL_OWNERSHIP_DIRECTORY";

async fn assert_locked(path: &Path) {
    let begun = Instant::now();
    let refused = within("a second open", Wal::open(config(path))).await;
    assert!(matches!(refused, Err(OpenError::Locked { .. })), "{refused:?}");
    assert!(begun.elapsed() < SOON, "at once, not after a wait");
}

/// Starts one test of this binary in a process of its own.
fn start(test: &str, path: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(DIRECTORY, path)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[actix::test]
async fn what_a_killed_owner_leaves_is_no_lock() {
    if let Some(path) = std::env::var_os(DIRECTORY) {
        let wal = Wal::open(config(path.as_ref())).await.unwrap();
        wal.commit("from the other process").await.unwrap();
        std::fs::write(Path::new(&path).join("committed"), "").unwrap();
        return actix::clock::sleep(SOON * 10).await;
    }
    let folder = folder();
    // Names that other logs use for their locks mean nothing here.
    for name in ["LOCK", ".lock", "wal.lock"] {
        std::fs::write(folder.path().join(name), "1").unwrap();
    }
    let mut child = start("what_a_killed_owner_leaves_is_no_lock", folder.path());
    until("the other process commits", || folder.path().join("committed").exists()).await;
    assert_locked(folder.path()).await;
    child.kill().unwrap();
    child.wait().unwrap();
    let wal = within("open", Wal::open(config(folder.path()))).await.expect("its owner is dead");
    assert_eq!(wal.recovery_report().records, 1);
    within("close", wal.close()).await.expect("clean");
}

#[actix::test]
async fn a_closed_log_can_be_opened_again_at_once() {
    let folder = folder();
    // Processes that are being started meanwhile inherit everything for a moment.
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let forks = std::thread::spawn({
        let stop = Arc::clone(&stop);
        move || {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let _ = Command::new("true").status();
            }
        }
    });
    for round in 0..25 {
        let opened = within("open", Wal::open(config(folder.path()))).await;
        let wal = opened.unwrap_or_else(|error| panic!("round {round}: {error}"));
        within("commit", wal.commit("x")).await.unwrap();
        within("close", wal.close()).await.expect("clean");
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    forks.join().unwrap();
}

#[actix::test]
async fn the_lock_is_held_until_the_flush_thread_has_ended() {
    let folder = folder();
    let plan = FaultPlan::new();
    let directory = Arc::new(Directory::open(folder.path()).unwrap());
    let storage = Arc::new(FaultyStorage::new(directory, plan.clone()));
    let mut config = impatient();
    config.directory = folder.path().to_owned();
    let wal = within("open", Wal::open(config.clone()).on_storage(storage)).await.unwrap();
    plan.add(on_segments(FaultRule::on(FaultOp::Sync, FaultEffect::Stuck)));
    assert!(within("commit", wal.commit("stuck")).await.is_err());
    assert!(within("close", wal.close()).await.is_err());
    drop(wal);
    assert_locked(folder.path()).await;
    plan.clear();
    plan.release();
    let mut free = None;
    until("the lock is free", || {
        free = Directory::open(folder.path()).ok();
        free.is_some()
    })
    .await;
    assert_eq!(records_in(Arc::new(free.unwrap()), &config).len(), 1);
}

#[actix::test]
async fn an_open_that_failed_gives_the_directory_back() {
    let folder = folder();
    let mut config = config(folder.path());
    let wal = within("open", Wal::open(config.clone())).await.unwrap();
    within("close", wal.close()).await.unwrap();
    let path = std::fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
    let content = std::fs::read(&path).unwrap();
    std::fs::write(&path, "damaged").unwrap();
    let refused = within("open", Wal::open(config.clone())).await;
    assert!(matches!(refused, Err(OpenError::Damaged(_))), "{refused:?}");
    std::fs::write(&path, content).unwrap();
    config.max_in_flight_entries = 7;
    let wal = within("open", Wal::open(config)).await.expect("it is free and whole again");
    within("close", wal.close()).await.unwrap();
}
