//! Guards P1, P2, P5, P6, P8, P9, P11, P21: small real file systems of their own, where root may mount them: ext4,
//! xfs and btrfs. Processes are killed on them, they are filled up, and they are shut down under a running log,
//! which drops what was not synced, as a power cut does.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on has failed")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use test_support::child;

use actix_wal::storage::{Directory, Storage, filesystem_name};
use actix_wal::{AppendError, CommitError, LogState, Lsn, OpenError, Wal, WalConfig};
use test_support::child::Job;
use test_support::kills::{kill_again_and_again, wanted};
use test_support::lives::{Ledger, Life};
use test_support::logs::{records_in, until, within};
use test_support::mounts::{BTRFS, EXT4, Kind, Mount, XFS, said};
use test_support::skips::skip;

/// Does nothing unless it is run as the child of another test.
#[test]
fn the_child_of_these_tests() {
    child::run();
}

/// File systems of these kinds, as far as they can be mounted here. Each is printed, for a test that fails on it.
fn mounted<const N: usize>(kinds: [Kind; N]) -> impl Iterator<Item = (Kind, Mount)> {
    kinds.into_iter().filter_map(|kind| {
        println!("on {}", kind.name);
        Some((kind, Mount::new(kind)?))
    })
}

#[test]
fn p1_p2_p9_p11_killed_processes_lose_nothing_on_any_file_system() {
    for (kind, mount) in mounted([EXT4, XFS, BTRFS]) {
        assert_eq!(filesystem_name(&mount.place).unwrap(), kind.name);
        kill_again_and_again(&mount.place.join("log"), wanted(30) / 10);
    }
}

/// Free space is a hint. A file system that says "0 of 0" is not full: the writes decide.
#[actix::test]
async fn p21_a_file_system_that_does_not_tell_its_space_takes_a_log() {
    let Some(mount) = Mount::without_a_size() else { return };
    assert_eq!(Directory::open(&mount.place).unwrap().free_bytes(), None);
    let wal = within("open", Wal::open(WalConfig::new(&mount.place))).await.expect("it opens");
    for _ in 0..3 {
        within("commit", wal.commit(vec![7; 2 << 20]))
            .await
            .expect("durable, in segment after segment");
    }
    within("close", wal.close()).await.expect("closes");
}

#[actix::test]
async fn p21_a_full_file_system_refuses_and_takes_appends_again_when_there_is_space() {
    for (kind, mount) in mounted([EXT4, XFS, BTRFS]) {
        fill_up(kind, mount).await;
    }
}

/// Writes a file until nothing more fits.
fn ballast(place: &Path) {
    let mut file = File::create(place.join("ballast")).unwrap();
    for size in [1 << 20, 64 << 10, 4096] {
        while file.write_all(&vec![1; size]).and_then(|()| file.sync_all()).is_ok() {}
    }
}

fn config(directory: &Path) -> WalConfig {
    let mut config = Job::endless(directory).config();
    config.give_up_after = Duration::from_secs(1);
    config
}

/// Whether this is about space. Where every write goes to a new place one may fail for want of it that has
/// begun: then nobody knows at first.
fn is_no_space(error: &CommitError, kind: Kind) -> bool {
    match error {
        CommitError::Refused(AppendError::NoSpace(_)) => true,
        CommitError::NotDurable { cause, .. } => cause.is_no_space(),
        CommitError::Unknown { cause, .. }
        | CommitError::Refused(AppendError::Unavailable { cause }) => {
            kind.name == BTRFS.name && cause.is_no_space()
        }
        _ => false,
    }
}

fn is_full(state: &LogState) -> bool {
    matches!(state, LogState::NoSpace(_))
        || matches!(state, LogState::Unavailable(cause) if cause.is_no_space())
}

async fn fill_up(kind: Kind, mount: Mount) {
    let directory = mount.place.join("log");
    let wal = within("open", Wal::open(config(&directory))).await.unwrap();
    let (mut acknowledged, mut open) = (BTreeMap::new(), BTreeMap::new());
    for round in 0..2 {
        let lsn = within("commit", wal.commit("there is room")).await.expect("there is room");
        acknowledged.insert(lsn, b"there is room".to_vec());
        ballast(&mount.place);
        for number in 0.. {
            let payload = format!("{round} {number} {}", "x".repeat(3000)).into_bytes();
            match within("commit", wal.commit(payload.clone())).await {
                Ok(lsn) => drop(acknowledged.insert(lsn, payload)),
                Err(error) => {
                    assert!(is_no_space(&error, kind), "{error}");
                    if let CommitError::Unknown { lsn, .. } = error {
                        open.insert(lsn, payload);
                    }
                    break;
                }
            }
            assert!(number < 100_000, "it does not get full");
        }
        until("the state", || is_full(&wal.status().state)).await;
        let again = within("commit", wal.commit("x")).await.expect_err("it is full");
        assert!(is_no_space(&again, kind), "{again}");
        if let CommitError::Unknown { lsn, .. } = again {
            open.insert(lsn, b"x".to_vec());
        }
        // What was acknowledged stands, and can be read meanwhile.
        let mut reader = within("read", wal.read(Lsn::FIRST)).await.unwrap();
        let first = within("record", reader.next()).await.unwrap().unwrap();
        assert_eq!(&first.payload[..], &acknowledged[&first.lsn][..]);
        drop(reader);
        fs::remove_file(mount.place.join("ballast")).unwrap();
        // btrfs gives space back with its next commit.
        said(Command::new("sync").arg("-f").arg(&mount.place)).unwrap();
        until("it takes appends again", || matches!(wal.status().state, LogState::Running)).await;
    }
    let lsn = within("commit", wal.commit("the last one")).await.expect("there is room");
    acknowledged.insert(lsn, b"the last one".to_vec());
    within("close", wal.close()).await.expect("clean");
    drop(wal);
    mount.cycle();
    let storage = Arc::new(Directory::open(&directory).unwrap());
    let mut records = records_in(storage, &config(&directory));
    records.retain(|lsn, payload| open.get(lsn) != Some(payload));
    assert_eq!(records, acknowledged);
}

#[test]
fn p1_p5_p8_what_was_acknowledged_survives_a_shutdown_that_drops_all_that_was_not_synced() {
    for (_, mount) in mounted([EXT4, XFS]) {
        shut_down_under_load(&mount);
    }
}

/// Everything fails from one moment on, and what was not synced before is gone, names as well as bytes.
fn shut_down_under_load(mount: &Mount) {
    let directory = mount.place.join("log");
    let mut ledger = Ledger::default();
    for round in 0..wanted(30).div_ceil(10) {
        let job = ledger.begin(Job::endless(&directory));
        let life = Life::start(&job);
        life.acknowledges(50, &mut ledger);
        life.listen(&mut ledger, Duration::from_millis(7 * u64::from(round)), |_| false);
        // Without a flush of the journal.
        let mut shutdown = Command::new("xfs_io");
        shutdown.args(["-x", "-c", "shutdown"]).arg(&mount.place);
        if let Err(why) = said(&mut shutdown) {
            return skip(&format!("xfs_io: {why}"));
        }
        assert!(life.end(&mut ledger).success(), "{:?}", ledger.errors);
        assert_eq!(ledger.count(None), 0, "P6: somebody was told nothing");
        assert!(!ledger.errors.is_empty(), "nothing failed");
        for error in &ledger.errors {
            // EIO, EROFS, and on xfs EFSCORRUPTED for a directory.
            let known = ["code: 5,", "code: 117,", "code: 30,", "os error 5)", "os error 30)"];
            assert!(known.iter().any(|known| error.contains(known)), "what is this? {error}");
        }
        mount.cycle();
        ledger.verify(&directory, &job.config());
    }
}

#[test]
fn a_read_only_file_system_is_an_error_that_says_so_also_where_there_is_no_log_yet() {
    let Some(mount) = Mount::new(EXT4) else { return };
    let directory = mount.place.join("log");
    let mut ledger = Ledger::default();
    let job = ledger.begin(Job { commits: 20, ..Job::endless(&directory) });
    assert!(Life::start(&job).end(&mut ledger).success() && ledger.closed);
    mount.remount("ro").expect("nobody writes");
    for directory in [&directory, &mount.place.join("other/log")] {
        let opened = actix::System::new().block_on(async { Wal::open(config(directory)).await });
        let error = opened.expect_err("read-only");
        let source = match &error {
            OpenError::Io(fault) => &fault.source,
            OpenError::InTheWay { source, .. } => source,
            _ => panic!("{error:?}"),
        };
        assert_eq!(source.kind(), std::io::ErrorKind::ReadOnlyFilesystem, "{error:?}");
        let text = error.to_string();
        assert!(text.contains("able to write") || text.contains("for writing"), "{text}");
    }
    mount.remount("rw").unwrap();
    let recovered = ledger.verify(&directory, &job.config());
    assert!(recovered.report.clean);
}
