//! Guards P1, P6, P9, P16: clocks that jump. The wall clock is for people, so nothing depends on it, whatever it
//! says. A monotonic clock that stands still or leaps by hours is broken; it may cost somebody an answer in time,
//! and never a record.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on has failed")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use test_support::child;
use test_support::clock::BentClock;
use test_support::lives;
use test_support::logs::config_in as config;
use test_support::scratch::folder;

use actix_wal::storage::Directory;
use actix_wal::testkit::Random;
use actix_wal::testkit::internals::runtime::clock::{Clock, SystemClock};
use actix_wal::{Cause, CommitError, FlushPolicy, LogState, Lsn, RecoveryReport, Wal};
use test_support::child::Job;
use test_support::lives::{Ledger, Life};
use test_support::logs::{records_in, until, within};
use test_support::skips::skip;

const HOUR: Duration = Duration::from_secs(3600);

/// Does nothing unless it is run as the child of another test.
#[test]
fn the_child_of_these_tests() {
    child::run();
}

/// A clock that is wrong in the way a test wants.
#[derive(Debug, Default)]
struct Wrong {
    /// What the wall clock says, one after the other; the right time if there is nothing.
    walls: Vec<u64>,
    asked: AtomicU64,
    /// One look of so many is hours later than the one before; never if it is 0.
    leaps: u64,
    ahead: Mutex<Duration>,
    /// Nanoseconds at which the monotonic clock stands, unless it is 0.
    stands_at: AtomicU64,
}

impl Wrong {
    fn new(walls: &[u64], leaps: u64) -> Arc<Wrong> {
        Arc::new(Wrong { walls: walls.to_vec(), leaps, ..Wrong::default() })
    }

    fn clock(self: &Arc<Wrong>) -> Arc<dyn Clock> {
        let (time, wall, random) = (self.clone(), self.clone(), Mutex::new(Random::new(7)));
        let now = move |now| match time.stands_at.load(Ordering::SeqCst) {
            0 => {
                let mut ahead = time.ahead.lock().unwrap();
                if time.leaps > 0 && random.lock().unwrap().below(time.leaps) == 0 {
                    *ahead += HOUR * 5;
                }
                now + *ahead
            }
            nanos => Duration::from_nanos(nanos),
        };
        let wall = move |right| {
            let asked = wall.asked.fetch_add(1, Ordering::SeqCst) as usize;
            if wall.walls.is_empty() { right } else { wall.walls[asked % wall.walls.len()] }
        };
        Arc::new(BentClock::default().now(now).wall(wall))
    }
}

/// The same life twice over, with restarts of the log, rotations and checkpoints. Returns what the clients were
/// told, and what the second life found.
async fn two_lives(clock: &Arc<Wrong>) -> (Vec<Lsn>, RecoveryReport, BTreeMap<Lsn, Vec<u8>>) {
    let folder = folder();
    let (mut lsns, mut report) = (Vec::new(), RecoveryReport::default());
    for _ in 0..2 {
        let opened = Wal::open(config(folder.path())).with_clock(clock.clock());
        let wal = within("open", opened).await.unwrap();
        report = wal.recovery_report().clone();
        for number in 0..60 {
            lsns.push(within("commit", wal.commit(vec![number; 300])).await.unwrap());
            if number == 40 {
                let lsn = Lsn::new(lsns[lsns.len() - 1].get() - 10);
                within("checkpoint", wal.checkpoint(lsn)).await.unwrap();
            }
        }
        assert!(wal.stats().rotations > 2);
        within("close", wal.close()).await.expect("clean");
    }
    let storage = Arc::new(Directory::open(folder.path()).unwrap());
    (lsns, report, records_in(storage, &config(folder.path())))
}

#[actix::test]
async fn nothing_depends_on_the_wall_clock() {
    let (lsns, report, records) = two_lives(&Wrong::new(&[], 0)).await;
    assert!(!records.is_empty() && report.clean);
    let year = 365 * 24 * 3600 * 1_000_000;
    for walls in [&[0][..], &[u64::MAX], &[u64::MAX, 0, 1], &[50 * year, year, 49 * year, 0]] {
        let clock = Wrong::new(walls, 0);
        let (lsns2, report2, records2) = two_lives(&clock).await;
        assert!(clock.asked.load(Ordering::SeqCst) > 50, "nobody looked at it");
        assert_eq!((&lsns2, &records2), (&lsns, &records), "{walls:?}");
        let of = |report: &RecoveryReport| {
            let RecoveryReport { epoch, records, last_lsn, next_lsn, low_water, clean, .. } =
                report;
            (*epoch, *records, *last_lsn, *next_lsn, *low_water, *clean)
        };
        assert_eq!(of(&report2), of(&report), "{walls:?}");
    }
}

#[actix::test]
async fn p1_p6_a_monotonic_clock_that_leaps_by_hours_loses_nothing_and_stops_nothing() {
    for (policy, leaps) in [
        (FlushPolicy::Eager, 2),
        (FlushPolicy::default(), 7),
        (FlushPolicy::Window(actix_wal::Bounds::default()), 5),
    ] {
        let folder = folder();
        let mut config = config(folder.path());
        config.flush_policy = policy;
        let clock = Wrong::new(&[], leaps);
        let opened = Wal::open(config.clone()).with_clock(clock.clock());
        let wal = within("open", opened).await.unwrap();
        let (mut durable, mut open) = (BTreeMap::new(), BTreeMap::new());
        for number in 0..150_u8 {
            let payload = vec![number; 200];
            match within("commit", wal.commit(payload.clone())).await {
                Ok(lsn) => drop(durable.insert(lsn, payload)),
                // To this clock the sync has been running for hours.
                Err(CommitError::Unknown { lsn, cause: Cause::Stalled { .. } }) => {
                    open.insert(lsn, payload);
                }
                Err(error) => panic!("what is this? {error}"),
            }
        }
        within("checkpoint", wal.checkpoint(Lsn::FIRST)).await.unwrap();
        assert_eq!(wal.stats().restarts, 0);
        assert!(*clock.ahead.lock().unwrap() > HOUR * 100, "it did not leap");
        within("close", wal.close()).await.expect("clean");
        let storage = Arc::new(Directory::open(folder.path()).unwrap());
        let mut records = records_in(storage, &config);
        records.retain(|lsn, payload| open.get(lsn) != Some(payload));
        durable.remove(&Lsn::FIRST);
        assert_eq!(records, durable, "{policy:?}");
    }
}

#[actix::test]
async fn p6_a_monotonic_clock_that_stands_still_keeps_nobody_waiting_who_waits_for_the_disk_alone()
{
    let folder = folder();
    for policy in [FlushPolicy::Eager, FlushPolicy::default()] {
        let mut config = config(folder.path());
        config.flush_policy = policy;
        let clock = Wrong::new(&[], 0);
        let opened = Wal::open(config).with_clock(clock.clock());
        let wal = within("open", opened).await.unwrap();
        clock.stands_at.store(1, Ordering::SeqCst); // and before that, it goes back
        for number in 0..100_u8 {
            within("commit", wal.commit(vec![number; 300])).await.unwrap();
        }
        within("checkpoint", wal.checkpoint(wal.durable_lsn())).await.unwrap();
        within("close", wal.close()).await.expect("clean");
    }
}

#[actix::test]
async fn p1_a_window_ends_when_a_clock_that_stood_still_goes_on_or_somebody_flushes() {
    let folder = folder();
    let mut config = config(folder.path());
    config.flush_policy = FlushPolicy::Window(actix_wal::Bounds::default());
    let clock = Wrong::new(&[], 0);
    let opened = Wal::open(config).with_clock(clock.clock());
    let wal = within("open", opened).await.unwrap();
    clock.stands_at.store(1, Ordering::SeqCst);
    let lsn = within("append", wal.append("waits for the clock")).await.unwrap();
    assert_eq!(within("flush", wal.flush()).await.unwrap(), lsn);
    let lsn = within("append", wal.append("waits for the clock")).await.unwrap();
    clock.stands_at.store(0, Ordering::SeqCst);
    within("wait", wal.wait_for_lsn(lsn)).await.unwrap();
    until("running", || matches!(wal.status().state, LogState::Running)).await;
    within("close", wal.close()).await.expect("clean");
}

/// The library that libfaketime preloads, if it is installed.
fn faketime() -> Option<String> {
    let output = Command::new("faketime").args(["2020-01-01", "env"]).output().ok()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    said.lines().find_map(|line| line.strip_prefix("LD_PRELOAD=")).map(str::to_owned)
}

/// Has a program see the wall clock as the file says.
fn misled(mut command: Command, library: &str, file: &Path) -> Command {
    let set = [("FAKETIME_NO_CACHE", "1"), ("FAKETIME_DONT_FAKE_MONOTONIC", "1")];
    command.envs(set).env("DONT_FAKE_MONOTONIC", "1");
    command.env("LD_PRELOAD", library).env("FAKETIME_TIMESTAMP_FILE", file);
    command
}

/// Written whole or not at all: the child reads it all the time.
fn set_time(file: &Path, offset: &str) {
    let fresh: PathBuf = file.with_extension("fresh");
    fs::write(&fresh, offset).unwrap();
    fs::rename(fresh, file).unwrap();
}

#[test]
fn p1_a_real_process_whose_wall_clock_jumps_by_decades_goes_on_and_loses_nothing() {
    let Some(library) = faketime() else {
        return skip("faketime is not installed");
    };
    let folder = folder();
    let (directory, file) = (folder.path().join("log"), folder.path().join("time"));
    set_time(&file, "-20y");
    let mut date = Command::new("date");
    date.arg("+%s").stdin(Stdio::null());
    let seconds = misled(date, &library, &file).output().unwrap().stdout;
    let seconds: u64 = String::from_utf8_lossy(&seconds).trim().parse().unwrap();
    let now = SystemClock::default().wall_us() / 1_000_000;
    assert!(now - seconds > 19 * 365 * 24 * 3600, "it has no effect: {seconds}");

    let mut ledger = Ledger::default();
    for _ in 0..2 {
        let job = ledger.begin(Job::endless(&directory));
        let life = Life::of(misled(lives::command(&[], &job), &library, &file));
        for offset in ["+10y", "-20y", "+0", "-1d", "+3d", "-30y", "+60y", "-2s"].repeat(3) {
            set_time(&file, offset);
            life.acknowledges(30, &mut ledger);
        }
        life.kill(&mut ledger);
        assert!(ledger.errors.is_empty(), "{:?}", ledger.errors);
        ledger.verify(&directory, &job.config());
    }
}
