//! Guards P6 and P20 for a log on its own thread: the thread ends with the log, however that ends, and the directory
//! is free then.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on has failed")]

use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use actix_wal::testkit::{FaultEffect, FaultOp, FaultRule};
use actix_wal::{AppendError, Cause, CommitError, Lsn, OpenError, Wal};
use test_support::logs;
use test_support::logs::config_in as config;
use test_support::logs::{SOON, World, on_segments};
use test_support::scratch::folder;
use tokio::runtime::{Builder, Runtime};

/// Set in the processes that tests start: the directory to open.
const DIRECTORY: &str = "ACTIX_WAL_OWN_THREAD_DIRECTORY";

/// Threads are counted, so one test at a time has any.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn tokio_runtime() -> Runtime {
    Builder::new_current_thread().enable_time().build().unwrap()
}

/// How many threads of this process have this name.
fn threads(name: &str) -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    // A thread may end between the list and the look.
    let names =
        tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|found| found.trim_end() == name).count()
}

#[track_caller]
fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !condition() {
        assert!(Instant::now() < deadline, "does not come: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[track_caller]
fn assert_all_ended() {
    for name in ["wal-actors", "wal-flush", "wal-prepare", "wal-recover"] {
        until(name, || threads(name) == 0);
    }
}

#[test]
fn p20_the_thread_ends_when_the_log_is_closed_also_while_handles_are_left() {
    let _alone = alone();
    let folder = folder();
    let wal = Wal::open(config(folder.path())).blocking().expect("opens");
    // A thread that it starts has its name until it takes its own.
    until("one thread for the actors", || threads("wal-actors") == 1);
    let other = wal.clone();
    wal.commit_blocking("record").expect("durable");
    wal.close_blocking().expect("clean");
    assert_all_ended();
    other.close_blocking().expect("it is closed");
    match other.commit_blocking("late") {
        Err(CommitError::Refused(AppendError::Closed { .. })) => {}
        late => panic!("{late:?}"),
    }
    assert_eq!(other.durable_lsn(), Lsn::FIRST);
    drop(other);
    let wal =
        tokio_runtime().block_on(Wal::open(config(folder.path())).on_own_thread().into_future());
    let wal = wal.expect("the directory is free");
    assert_eq!(wal.recovery_report().records, 1);
    assert!(wal.recovery_report().clean);
    tokio_runtime().block_on(wal.close()).expect("clean");
    assert_all_ended();
}

#[test]
fn p20_the_thread_ends_when_the_last_handle_is_dropped_and_everything_is_durable() {
    let _alone = alone();
    let folder = folder();
    let wal = Wal::open(config(folder.path())).blocking().expect("opens");
    let other = wal.clone();
    for _ in 0..500 {
        wal.append_blocking("record").expect("accepted");
    }
    drop(wal);
    other.append_blocking("the last one").expect("a handle is left");
    drop(other);
    // The open waits for the end of the log before.
    let wal = Wal::open(config(folder.path())).blocking().expect("opens");
    assert_eq!(wal.recovery_report().records, 501);
    assert!(wal.recovery_report().clean);
    wal.close_blocking().expect("clean");
    assert_all_ended();
}

#[test]
fn p20_no_thread_is_left_of_an_open_that_fails_or_is_dropped() {
    let _alone = alone();
    let folder = folder();
    let wal = Wal::open(config(folder.path())).blocking().expect("opens");
    let refused = Wal::open(config(folder.path())).blocking();
    assert!(matches!(refused, Err(OpenError::Locked { .. })), "{refused:?}");
    wal.close_blocking().expect("clean");
    assert_all_ended();
    tokio_runtime().block_on(async {
        let mut opening = Wal::open(config(folder.path())).on_own_thread().into_future();
        let polled = std::future::poll_fn(|context| opening.as_mut().poll(context).map(Some));
        // Until it has a thread, or as far as it came.
        tokio::select! { biased; _ = polled => {} () = tokio::task::yield_now() => {} }
    });
    assert_all_ended();
}

#[test]
fn p6_a_log_whose_sync_is_stuck_is_given_up_by_close_and_ends_when_the_sync_returns() {
    let _alone = alone();
    let world = World::new();
    let wal = Wal::open(logs::impatient()).on_storage(world.storage()).blocking().expect("opens");
    world.plan.add(on_segments(FaultRule::on(FaultOp::Sync, FaultEffect::Stuck)));
    wal.commit_blocking("stuck").expect_err("given up");
    wal.close_blocking().expect_err("given up");
    drop(wal);
    assert_eq!((threads("wal-actors"), threads("wal-flush")), (1, 1), "it may still write");
    world.let_go();
    assert_all_ended();
    assert_eq!(logs::records_on(&world.disk).len(), 1);
}

/// Runs one test of this binary in a process of its own.
fn child(test: &str, path: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]).env(DIRECTORY, path);
    command
}

#[test]
fn p1_a_process_that_ends_without_a_close_has_lost_nothing() {
    if let Some(path) = std::env::var_os(DIRECTORY) {
        let wal = Wal::open(config(path.as_ref())).blocking().expect("opens");
        wal.commit_blocking("record").expect("durable");
        // As `main` does when it returns.
        std::process::exit(0);
    }
    let _alone = alone();
    let folder = folder();
    let test = "p1_a_process_that_ends_without_a_close_has_lost_nothing";
    assert!(child(test, folder.path()).status().unwrap().success());
    let wal = Wal::open(config(folder.path())).blocking().expect("opens");
    assert_eq!(wal.recovery_report().records, 1);
    wal.close_blocking().expect("clean");
    assert_all_ended();
}

#[test]
fn a_thread_that_can_not_be_started_is_an_error_with_its_errno() {
    if let Some(path) = std::env::var_os(DIRECTORY) {
        let error = Wal::open(config(path.as_ref())).blocking().expect_err("there is no thread");
        println!("{error}");
        let OpenError::Start(Cause::Io(fault) | Cause::Shortage(fault)) = &error else {
            panic!("{error:?}")
        };
        assert!(fault.source.raw_os_error().is_some(), "{fault:?}");
        assert!(error.to_string().contains("wal-actors"), "{error}");
        return;
    }
    let _alone = alone();
    let folder = folder();
    let test = "a_thread_that_can_not_be_started_is_an_error_with_its_errno";
    let mut child = child(test, folder.path());
    // Stacks so large that there is no room for any.
    let output = child.env("RUST_MIN_STACK", (1_u64 << 46).to_string()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}
