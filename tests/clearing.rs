//! Guards P13, P17, P19, P22 where thousands of segments are released at once: no commit, no open and no close waits
//! until their files are gone; all of them go, by and by; and nothing else does. On real files, with what is done on
//! the disk counted and not timed.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on has failed")]

use std::sync::Arc;

use actix_wal::storage::Directory;
use actix_wal::testkit::{OpLog, Random, Recorder};
use actix_wal::{Durability, Lsn, Wal, WalConfig};
use tempfile::TempDir;
use test_support::driven::Log;
use test_support::logs::{config, records_in, until, within};
use test_support::scratch::folder;
use test_support::witness::Witness;

/// Segments of the log that is released, and records in each of them.
const SEGMENTS: usize = 400;

fn small_segments(folder: &TempDir) -> WalConfig {
    let mut config = config();
    config.segment_size = 6 * 512;
    config.directory = folder.path().to_owned();
    config
}

fn files(folder: &TempDir) -> usize {
    std::fs::read_dir(folder.path()).unwrap().count()
}

/// A log of many small segments. The last LSN in it.
async fn fill(folder: &TempDir) -> Lsn {
    let wal = within("open", Wal::open(small_segments(folder))).await.unwrap();
    let mut last = Lsn::NONE;
    while wal.segments().len() <= SEGMENTS {
        let group = [vec![1; 200], vec![2; 200]];
        wal.append_all(group.clone()).await.unwrap();
        wal.append_all(group).await.unwrap();
        last = wal.flush().await.unwrap();
    }
    wal.close().await.unwrap();
    last
}

/// A log on real files without a thread, and what is done on the disk.
fn driven(folder: &TempDir) -> (Log, OpLog) {
    let recorder = Recorder::new(Arc::new(Directory::open(folder.path()).unwrap())).unwrap();
    let (done, config) = (recorder.log(), small_segments(folder));
    let witness = Witness::new(done.clone());
    let log = Log::open(Arc::new(recorder), &config, witness, 1, &mut Random::new(1)).unwrap();
    (log, done)
}

fn count(done: &OpLog, what: &str) -> usize {
    done.lines().iter().filter(|line| line.starts_with(what)).count()
}

/// The preparer works only where the log waits for it.
fn commit(log: &mut Log) -> Lsn {
    let before = log.shared.watermark.durable();
    log.append(&[300], Durability::GroupCommit);
    log.settle();
    let lsn = log.shared.watermark.durable();
    assert_eq!(lsn, before.max(log.shared.watermark.accepted()), "it is durable");
    lsn
}

#[actix::test]
async fn p17_no_commit_waits_until_released_segments_are_gone() {
    let folder = folder();
    let last = fill(&folder).await;
    let (mut log, done) = driven(&folder);
    let preparer = log.hand.clone();
    assert!(log.shared.catalog.len() > SEGMENTS);
    assert_eq!(log.shared.watermark.durable(), last);
    log.checkpoint(0);
    assert!(log.shared.catalog.len() <= 2, "all others are released");
    let commits: Vec<Lsn> = (0..10).map(|_| commit(&mut log)).collect();
    let (removed, syncs) = (count(&done, "remove "), count(&done, "sync directory"));
    let rotations = log.shared.stats().rotations as usize;
    assert!(rotations >= 3, "{rotations}");
    // A segment takes at most two syncs of the directory, and lets two removals go first.
    assert!(removed <= 2 * (rotations + 3), "{removed} before ten commits");
    assert!(syncs <= 3 * (rotations + 3), "{syncs} before ten commits");

    // The close does not wait for them either, and the next life clears up without being asked.
    log.close();
    assert!(!preparer.step(), "it ends, whatever is left to remove");
    assert!(count(&done, "remove ") <= removed + 1, "one that was being prepared");
    assert!(files(&folder) > SEGMENTS / 2, "{} files are left", files(&folder));

    let wal = within("open", Wal::open(small_segments(&folder))).await.unwrap();
    assert_eq!(wal.status().low_water, last);
    // But for those of the ten commits, and a few that are prepared.
    until("they are gone", || files(&folder) <= 16).await;
    let first = wal.read(last.next()).await.unwrap().next().await.unwrap().unwrap();
    assert_eq!(Some(&first.lsn), commits.first());
    wal.close().await.unwrap();
    let storage = Arc::new(Directory::open(folder.path()).unwrap());
    let left = records_in(storage, &small_segments(&folder));
    assert!(left.keys().eq(commits.iter()), "P19: {:?}", left.keys());
}

/// Any of the removals may be lost with the power, and any may not: all that is live is there all the same.
#[actix::test]
async fn p19_whichever_removals_power_loss_leaves_out_the_log_opens_with_all_that_is_live() {
    let folder = folder();
    let last = fill(&folder).await;
    let (mut log, done) = driven(&folder);
    log.checkpoint(0);
    let mut commits = vec![commit(&mut log)];
    while log.hand.step() {}
    commits.push(commit(&mut log));
    let removed = count(&done, "remove ");
    assert!(removed >= SEGMENTS - 20, "{removed}");
    let ops = done.len();
    for seed in 0..12u64 {
        let prefix = ops - (seed as usize * 37) % (ops / 2);
        let disk = done.image(prefix, actix_wal::testkit::Persist::Torn { seed });
        let left = records_in(disk.mount().unwrap(), &small_segments(&folder));
        let is_live = |lsn: &&Lsn| **lsn > last;
        let live: Vec<Lsn> = left.keys().filter(is_live).copied().collect();
        assert!(commits.starts_with(&live), "seed {seed}: {live:?}");
        assert!(prefix < ops || live == commits, "seed {seed}: {live:?}");
    }
}
