//! Guards the guard: fault tests believe that a fault happens where the plan says.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;
use crate::{
    storage::{read_exact_at, write_all_at},
    testkit::{FailedSync, Persist},
};

const SOON: Duration = Duration::from_secs(20);

fn storage_with(rule: FaultRule) -> (SimDisk, FaultPlan, FaultyStorage) {
    let disk = SimDisk::new();
    let plan = FaultPlan::new();
    plan.add(rule);
    let storage = FaultyStorage::mount(&disk, plan.clone()).unwrap();
    (disk, plan, storage)
}

fn eio() -> FaultEffect {
    FaultEffect::Fail(errno::EIO)
}

#[test]
fn a_rule_lets_some_operations_pass_then_hits_some_and_is_spent() {
    let (_, plan, storage) = storage_with(FaultRule::on(FaultOp::Write, eio()).after(1).times(2));
    let file = storage.create("a").unwrap();
    let results = (0..5).map(|_| file.write_at(b"x", 0).is_ok());
    assert_eq!(results.collect::<Vec<_>>(), [true, false, false, true, true]);
    assert_eq!(plan.hits(), 2);
}

#[test]
fn a_write_that_fails_in_the_middle_has_left_its_beginning_and_nobody_is_told() {
    let effect = FaultEffect::FailPart { done: 3, errno: errno::EIO };
    let (disk, plan, storage) = storage_with(FaultRule::on(FaultOp::Write, effect).times(1));
    plan.add(FaultRule::on(FaultOp::SetSize, effect));
    let file = storage.create("a").unwrap();
    let error = file.write_at(b"abcdef", 0).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(errno::EIO));
    assert_eq!(disk.read_file("a").unwrap(), b"abc");
    file.set_size(9).unwrap_err();
    assert_eq!(disk.read_file("a").unwrap(), b"abc", "what has no parts is not done");
}

#[test]
fn a_rule_for_a_file_follows_it_through_a_rename() {
    let rule = FaultRule::on(FaultOp::Write, eio()).file(|name| name == "new");
    let (_, _, storage) = storage_with(rule);
    let file = storage.create("old").unwrap();
    file.write_at(b"x", 0).unwrap();
    storage.rename("old", "new").unwrap();
    let error = file.write_at(b"x", 0).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(errno::EIO));
}

#[test]
fn every_operation_can_fail_and_then_is_not_done() {
    let (disk, plan, storage) = storage_with(FaultRule::on(FaultOp::Create, eio()));
    storage.create("a").unwrap_err();
    plan.clear();
    let file = storage.create("a").unwrap();
    for op in [
        FaultOp::Open,
        FaultOp::Read,
        FaultOp::Write,
        FaultOp::Sync,
        FaultOp::SyncDir,
        FaultOp::Rename,
        FaultOp::Remove,
        FaultOp::SetSize,
        FaultOp::Size,
        FaultOp::List,
        FaultOp::FreeBytes,
    ] {
        plan.add(FaultRule::on(op, eio()));
    }
    storage.open("a").unwrap_err();
    file.read_at(&mut [0], 0).unwrap_err();
    file.write_at(b"x", 0).unwrap_err();
    file.sync().unwrap_err();
    storage.sync_dir().unwrap_err();
    storage.rename("a", "b").unwrap_err();
    storage.remove("a").unwrap_err();
    file.set_size(9).unwrap_err();
    file.size().unwrap_err();
    storage.list().unwrap_err();
    assert_eq!(storage.free_bytes(), None);
    assert_eq!(disk.read_file("a").unwrap(), b"");
    assert!(disk.crash(Persist::Dropped).names().is_empty());
}

#[test]
fn a_failure_afterwards_has_done_its_work() {
    let rule = FaultRule::on(FaultOp::Write, FaultEffect::FailAfter(errno::EIO));
    let (disk, _, storage) = storage_with(rule);
    storage.create("a").unwrap().write_at(b"x", 0).unwrap_err();
    assert_eq!(disk.read_file("a").unwrap(), b"x");
}

#[test]
fn short_and_interrupted_reads_and_writes_are_no_faults() {
    let (disk, plan, storage) = storage_with(FaultRule::on(FaultOp::Write, FaultEffect::Short(2)));
    let interrupted = FaultEffect::Fail(errno::EINTR);
    plan.add(FaultRule::on(FaultOp::Read, interrupted).times(1));
    plan.add(FaultRule::on(FaultOp::Read, FaultEffect::Short(1)));
    let file = storage.create("a").unwrap();
    write_all_at(&*file, b"abcde", 0).unwrap();
    let mut content = [0; 5];
    read_exact_at(&*file, &mut content, 0).unwrap();
    assert_eq!((&content, disk.read_file("a").unwrap()), (b"abcde", b"abcde".to_vec()));
    assert_eq!(plan.hits(), 3 + 1 + 5);
}

#[test]
fn after_a_failed_sync_a_second_one_succeeds_and_makes_nothing_durable() {
    let (disk, _, storage) = storage_with(FaultRule::on(FaultOp::Sync, eio()).times(1));
    let file = storage.create("a").unwrap();
    storage.sync_dir().unwrap();
    write_all_at(&*file, b"lost", 0).unwrap();
    file.sync().unwrap_err();
    file.sync().unwrap();
    assert_eq!(disk.read_file("a").unwrap(), b"lost");
    let found = disk.crash(Persist::Dropped).read_file("a").unwrap();
    assert_eq!(found, b"");
}

#[test]
fn a_reverting_disk_below_shows_the_old_bytes_after_an_injected_failure() {
    let disk = SimDisk::new().with_failed_sync(FailedSync::RevertsPages);
    let plan = FaultPlan::new();
    let storage = FaultyStorage::mount(&disk, plan.clone()).unwrap();
    let file = storage.create("a").unwrap();
    storage.sync_dir().unwrap();
    for (effect, content) in [(eio(), &b""[..]), (FaultEffect::FailAfter(errno::EIO), b"new")] {
        plan.add(FaultRule::on(FaultOp::Sync, effect).times(1));
        write_all_at(&*file, b"new", 0).unwrap();
        file.sync().unwrap_err();
        file.sync().unwrap();
        assert_eq!(disk.read_file("a").unwrap(), content, "{effect:?}");
        assert_eq!(disk.crash(Persist::Dropped).read_file("a").unwrap(), content, "{effect:?}");
    }
}

#[test]
fn a_stuck_operation_goes_on_when_it_is_released() {
    let (_, plan, storage) = storage_with(FaultRule::on(FaultOp::SyncDir, FaultEffect::Stuck));
    assert!(!plan.wait_until_stuck(Duration::ZERO));
    let stuck = thread::spawn(move || storage.sync_dir());
    assert!(plan.wait_until_stuck(SOON));
    assert!(!stuck.is_finished());
    plan.release();
    stuck.join().unwrap().unwrap();
    assert!(!plan.wait_until_stuck(Duration::ZERO));
}

#[test]
fn a_panic_comes_where_it_is_asked_for_and_breaks_nothing_else() {
    let rule = FaultRule::on(FaultOp::Remove, FaultEffect::Panic).times(1);
    let (disk, _, storage) = storage_with(rule);
    storage.create("a").unwrap();
    let panicked = catch_unwind(AssertUnwindSafe(|| storage.remove("a")));
    assert!(panicked.is_err());
    assert_eq!(disk.names(), ["a"]);
    storage.remove("a").unwrap();
}

#[test]
fn a_slow_operation_takes_its_time() {
    let time = Duration::from_millis(20);
    let (_, _, storage) = storage_with(FaultRule::on(FaultOp::SyncDir, FaultEffect::Delay(time)));
    let started = std::time::Instant::now();
    storage.sync_dir().unwrap();
    assert!(started.elapsed() >= time);
}

#[test]
fn a_release_between_the_hit_and_the_wait_is_not_missed() {
    let plan = FaultPlan::new();
    plan.add(FaultRule::on(FaultOp::Sync, FaultEffect::Stuck));
    let (_, releases) = plan.effect_on(&Operation::on(FaultOp::Sync, "a"));
    plan.clear();
    plan.release();
    let (done, waited) = std::sync::mpsc::channel();
    thread::spawn(move || {
        plan.be_stuck(releases);
        done.send(()).unwrap();
    });
    assert!(
        waited.recv_timeout(SOON).is_ok(),
        "it was hit before the release, and waits for another"
    );
}

#[test]
fn whoever_decides_is_told_what_is_about_to_be_done_and_may_use_the_storage_meanwhile() {
    let plan = FaultPlan::new();
    let storage = Arc::new(FaultyStorage::mount(&SimDisk::new(), plan.clone()).unwrap());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (log, within) = (Arc::clone(&seen), Arc::downgrade(&storage));
    plan.decide(move |operation| {
        log.lock().unwrap().push(operation.to_string());
        if operation.op == FaultOp::Sync {
            within.upgrade().unwrap().create("meanwhile").unwrap();
        }
        (operation.op == FaultOp::Write).then_some(FaultEffect::Short(3))
    });
    plan.add(FaultRule::on(FaultOp::SetSize, FaultEffect::Fail(errno::EIO)));
    let file = storage.create("a").unwrap();
    assert_eq!(file.write_at(b"whole", 7).unwrap(), 3);
    assert!(file.set_size(9).is_err(), "rules come first");
    file.sync().unwrap();
    let seen = seen.lock().unwrap().clone();
    assert_eq!(seen, ["create a", "write 5 bytes to a at 7", "sync a", "create meanwhile"]);
    assert_eq!(plan.hits(), 2);
}
