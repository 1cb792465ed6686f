//! Guards the guard: crash tests believe that a cut shows the worst that the disk may hold.

use std::{thread, time::Duration};

use super::*;
use crate::{
    storage::write_all_at,
    testkit::{FailedSync, FaultEffect, FaultOp, FaultPlan, FaultRule, FaultyStorage, errno},
};

fn recorder_on(disk: &SimDisk) -> Recorder {
    Recorder::new(disk.mount().unwrap()).unwrap()
}

#[test]
fn a_cut_behind_a_sync_holds_what_was_written_and_one_before_it_may_not() {
    let recorder = recorder_on(&SimDisk::new());
    let file = recorder.create("a").unwrap();
    recorder.sync_dir().unwrap();
    write_all_at(&*file, b"x", 0).unwrap();
    file.sync().unwrap();
    let log = recorder.log();
    assert_eq!(log.lines(), ["create a", "sync directory", "write a at 0, 1 bytes", "sync a"]);
    let content = |prefix, persist| log.image(prefix, persist).read_file("a");
    assert_eq!(content(1, Persist::Dropped), None);
    assert_eq!(content(3, Persist::Dropped).unwrap(), b"");
    assert_eq!(content(3, Persist::Kept).unwrap(), b"x");
    assert_eq!(content(4, Persist::Dropped).unwrap(), b"x");
}

#[test]
fn the_last_cut_is_the_disk_itself() {
    let disk = SimDisk::new();
    disk.write_file("base", "there before");
    let recorder = recorder_on(&disk);
    let file = recorder.open("base").unwrap();
    write_all_at(&*file, b"now", 0).unwrap();
    file.set_size(100).unwrap();
    recorder.rename("base", "renamed").unwrap();
    write_all_at(&*file, b"then", 50).unwrap();
    recorder.create("gone").unwrap();
    recorder.remove("gone").unwrap();
    for persist in [Persist::Dropped, Persist::Kept] {
        let found = recorder.log().image(usize::MAX, persist);
        let expected = disk.crash(persist);
        assert_eq!(found.names(), expected.names());
        for name in found.names() {
            assert_eq!(found.read_file(&name), expected.read_file(&name));
        }
    }
}

#[test]
fn a_write_during_a_sync_is_not_covered_by_it() {
    let disk = SimDisk::new();
    let plan = FaultPlan::new();
    plan.add(FaultRule::on(FaultOp::Sync, FaultEffect::Stuck));
    let slow = FaultyStorage::mount(&disk, plan.clone()).unwrap();
    let recorder = Recorder::new(Arc::new(slow)).unwrap();
    let file = recorder.create("a").unwrap();
    recorder.sync_dir().unwrap();
    write_all_at(&*file, b"x", 0).unwrap();
    thread::scope(|scope| {
        let sync = scope.spawn(|| file.sync());
        assert!(plan.wait_until_stuck(Duration::from_secs(20)));
        write_all_at(&*file, b"y", 1).unwrap();
        plan.release();
        sync.join().unwrap().unwrap();
    });
    let found = recorder.log().image(usize::MAX, Persist::Dropped);
    assert_eq!(found.read_file("a").unwrap(), b"x");
    plan.clear();
    file.sync().unwrap();
    let found = recorder.log().image(usize::MAX, Persist::Dropped);
    assert_eq!(found.read_file("a").unwrap(), b"xy");
}

#[test]
fn a_sync_during_a_write_does_not_cover_it() {
    let disk = SimDisk::new();
    let plan = FaultPlan::new();
    let slow = FaultyStorage::mount(&disk, plan.clone()).unwrap();
    let recorder = Recorder::new(Arc::new(slow)).unwrap();
    let file = recorder.create("a").unwrap();
    recorder.sync_dir().unwrap();
    plan.add(FaultRule::on(FaultOp::Write, FaultEffect::Stuck));
    thread::scope(|scope| {
        let write = scope.spawn(|| file.write_at(b"x", 0));
        assert!(plan.wait_until_stuck(Duration::from_secs(20)));
        file.sync().unwrap();
        plan.release();
        write.join().unwrap().unwrap();
    });
    let found = recorder.log().image(usize::MAX, Persist::Dropped);
    assert_eq!(found.read_file("a").unwrap(), b"");
}

#[test]
fn short_writes_are_recorded_as_short_and_failed_changes_as_nothing() {
    let plan = FaultPlan::new();
    plan.add(FaultRule::on(FaultOp::Write, FaultEffect::Short(2)).times(1));
    plan.add(FaultRule::on(FaultOp::Write, FaultEffect::Fail(errno::EIO)));
    plan.add(FaultRule::on(FaultOp::Sync, FaultEffect::Fail(errno::EIO)));
    let faulty = FaultyStorage::mount(&SimDisk::new(), plan).unwrap();
    let recorder = Recorder::new(Arc::new(faulty)).unwrap();
    let file = recorder.create("a").unwrap();
    file.write_at(b"abc", 0).unwrap();
    file.write_at(b"c", 2).unwrap_err();
    recorder.create("a").unwrap_err();
    recorder.remove("b").unwrap_err();
    file.sync().unwrap_err();
    recorder.sync_dir().unwrap();
    assert_eq!(
        recorder.log().lines(),
        [
            "create a",
            "write a at 0, 2 bytes",
            "nothing",
            "nothing",
            "nothing",
            "sync a: failed",
            "sync directory",
        ]
    );
    let found = recorder.log().image(usize::MAX, Persist::Dropped);
    assert_eq!(found.read_file("a").unwrap(), b"");
}

#[test]
fn a_walk_shows_after_a_failed_sync_what_the_disk_shows() {
    for how in [FailedSync::KeepsNewPages, FailedSync::RevertsPages] {
        let (disk, plan) = (SimDisk::new().with_failed_sync(how), FaultPlan::new());
        plan.add(FaultRule::on(FaultOp::Sync, FaultEffect::Fail(errno::EIO)).times(1));
        let faulty = FaultyStorage::mount(&disk, plan).unwrap();
        let recorder = Recorder::new(Arc::new(faulty)).unwrap();
        let file = recorder.create("a").unwrap();
        write_all_at(&*file, b"new", 0).unwrap();
        file.sync().unwrap_err();
        let mut cuts = recorder.log().cuts().with_failed_sync(how);
        while cuts.advance() {}
        assert_eq!(cuts.killed().read_file("a"), disk.read_file("a"), "{how:?}");
        assert_eq!(disk.read_file("a").unwrap().is_empty(), how == FailedSync::RevertsPages);
    }
}

#[test]
fn marks_stand_where_they_were_set() {
    let recorder = recorder_on(&SimDisk::new());
    let log = recorder.log();
    assert!(log.is_empty());
    recorder.create("a").unwrap();
    log.mark("acknowledged", 1);
    recorder.sync_dir().unwrap();
    log.mark("acknowledged", 2);
    let mark = |value| Mark { kind: "acknowledged", value };
    let mut cuts = log.cuts();
    for marks in [&[][..], &[mark(1)], &[mark(1)], &[mark(1), mark(2)]] {
        assert!(cuts.advance());
        assert_eq!(cuts.marks(), marks, "after {} operations", cuts.position());
    }
    assert!(!cuts.advance());
    assert_eq!(cuts.position(), log.len());
}

#[test]
fn thousands_of_cuts_of_a_segment_are_cheap() {
    let recorder = recorder_on(&SimDisk::new());
    let file = recorder.create("a").unwrap();
    write_all_at(&*file, &[0; 64 * 1024], 0).unwrap();
    for block in 0..2000_u64 {
        write_all_at(&*file, &[1; 512], block % 128 * 512).unwrap();
        file.sync().unwrap();
    }
    recorder.sync_dir().unwrap();
    let mut cuts = recorder.log().cuts();
    let mut torn = 0;
    while cuts.advance() {
        let seed = cuts.position() as u64;
        torn += cuts.image(Persist::Torn { seed }).names().len();
    }
    assert!(torn > 1000);
}
