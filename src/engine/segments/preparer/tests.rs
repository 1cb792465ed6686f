//! Guards P20 (the lock outlives the last thread) and P21 (preparing resumes when space returns).

use std::time::Instant;

use super::*;
use crate::runtime::threads::SystemThreads;
use crate::testkit::{
    FaultEffect, FaultOp, FaultPlan, FaultRule, FaultyStorage, OpLog, Persist, Recorder, SimDisk,
    errno,
};

const SIZE: u64 = 8 * 1024;
const SOON: Duration = Duration::from_secs(20);

fn config() -> PreparerConfig {
    PreparerConfig { first_sequence: 5, segment_size: SIZE, block_size: 512, max_spares: 1 }
}

fn planner() -> SegmentPlanner {
    Box::new(|sequence, size, _| SegmentPlan {
        name: format!("{sequence}.wal"),
        temp_name: format!("{sequence}.tmp"),
        header: format!("{sequence} of {size}").into_bytes(),
    })
}

fn core_in(storage: Arc<dyn Storage>) -> PreparerCore {
    PreparerCore::new(storage, config(), planner())
}

fn segment() -> PrepareRequest {
    PrepareRequest::Segment { size: SIZE }
}

fn old(name: &str, size: u64) -> OldSegment {
    OldSegment { name: name.to_owned(), size }
}

fn recycle(name: &str) -> PrepareRequest {
    PrepareRequest::Recycle { old: vec![old(name, SIZE)] }
}

/// Clears up to the end. How many steps it took.
fn clear(core: &mut PreparerCore) -> usize {
    std::iter::from_fn(|| core.has_old().then(|| core.clear())).count()
}

fn put_segment(disk: &SimDisk, name: &str) {
    disk.write_file(name, vec![7; SIZE as usize]);
}

fn ask(core: &mut PreparerCore, request: PrepareRequest) {
    assert!(core.handle(request).is_continue());
}

#[track_caller]
fn ready(core: &mut PreparerCore) -> PreparedSegment {
    match core.try_prepare() {
        Attempt::Ready(segment) => segment,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn failed(core: &mut PreparerCore) -> Duration {
    match core.try_prepare() {
        Attempt::Failed { retry_after } => retry_after,
        other => panic!("{other:?}"),
    }
}

#[test]
fn segments_are_prepared_in_the_order_of_their_sequence_numbers() {
    let disk = SimDisk::new();
    let mut core = core_in(disk.mount().unwrap());
    ask(&mut core, PrepareRequest::Segment { size: 1024 });
    ask(&mut core, segment());
    let first = ready(&mut core);
    assert_eq!((first.sequence, first.name.as_str()), (5, "5.wal"));
    assert_eq!((first.size, first.file.size().unwrap()), (1024, 1024));
    assert_eq!(ready(&mut core).sequence, 6);
    assert!(matches!(core.try_prepare(), Attempt::Idle));
    assert_eq!(disk.read_file("6.wal").unwrap()[..9], *b"6 of 8192");
}

#[test]
fn zeros_are_written_as_the_log_comes_near_them_and_at_once_if_it_waits() {
    let disk = SimDisk::new();
    let mut core = core_in(disk.mount().unwrap());
    let pace = |used| PrepareRequest::Pace { used, size: 100, piece: SIZE / 8 };
    ask(&mut core, pace(0));
    ask(&mut core, segment());
    assert!(matches!(core.try_prepare(), Attempt::Begun));
    assert!(core.is_idle(), "nothing of the current segment is used up");
    assert!(matches!(core.try_prepare(), Attempt::Idle));

    ask(&mut core, pace(10));
    assert!(matches!(core.try_prepare(), Attempt::Begun));
    assert!(core.is_idle(), "a fifth is due, and a quarter is written");

    ask(&mut core, segment());
    assert!(!core.is_idle(), "there is none at hand");
    (0..5).for_each(|_| assert!(matches!(core.try_prepare(), Attempt::Begun)));
    assert_eq!(ready(&mut core).sequence, 5);
    (0..2).for_each(|_| assert!(matches!(core.try_prepare(), Attempt::Begun)));
    assert!(core.is_idle());
    ask(&mut core, pace(50));
    (0..5).for_each(|_| assert!(matches!(core.try_prepare(), Attempt::Begun)));
    assert_eq!(ready(&mut core).sequence, 6);
    assert_eq!(disk.read_file("6.wal").unwrap().len() as u64, SIZE);
}

#[test]
fn p21_after_a_fault_a_segment_is_done_at_once_and_the_fault_is_over() {
    let disk = SimDisk::new();
    let plan = FaultPlan::new();
    let mut core = core_in(Arc::new(FaultyStorage::mount(&disk, plan.clone()).unwrap()));
    ask(&mut core, PrepareRequest::Pace { used: 0, size: 100, piece: SIZE / 8 });
    ask(&mut core, segment());
    assert!(matches!(core.try_prepare(), Attempt::Begun));
    ask(&mut core, PrepareRequest::Pace { used: 10, size: 100, piece: SIZE / 8 });
    plan.add(FaultRule::on(FaultOp::Write, FaultEffect::Fail(errno::ENOSPC)).times(1));
    failed(&mut core);
    assert_eq!(disk.names(), Vec::<String>::new());
    assert!(core.status().is_no_space());
    (0..7).for_each(|_| assert!(matches!(core.try_prepare(), Attempt::Begun)));
    ready(&mut core);
    assert!(!core.status().is_no_space(), "a rotation would be refused for it");
}

#[test]
fn what_was_begun_is_removed_when_nobody_needs_it_any_more() {
    let disk = SimDisk::new();
    let (requests, requested) = unbounded();
    let mut core = core_in(disk.mount().unwrap());
    ask(&mut core, PrepareRequest::Pace { used: 0, size: 100, piece: 512 });
    ask(&mut core, segment());
    assert!(matches!(core.try_prepare(), Attempt::Begun));
    assert_eq!(disk.names(), ["5.tmp"]);
    let (pool, _prepared) = unbounded();
    let mut worker = PrepareWorker::new(core, requested, pool);
    assert_eq!(worker.look(), Turn::Wait(None));
    requests.send(PrepareRequest::Stop).unwrap();
    assert_eq!(worker.look(), Turn::End);
    assert_eq!(disk.names(), Vec::<String>::new());
}

#[test]
fn an_old_segment_becomes_the_next_one() {
    let disk = SimDisk::new();
    put_segment(&disk, "1.wal");
    let recorder = Arc::new(Recorder::new(disk.mount().unwrap()).unwrap());
    let mut core = core_in(Arc::<Recorder>::clone(&recorder));
    ask(&mut core, recycle("1.wal"));
    ask(&mut core, segment());
    ready(&mut core);
    assert_eq!(disk.names(), ["5.wal"]);
    assert!(recorder.log().lines().contains(&"rename 1.wal to 5.tmp".to_owned()));
}

#[test]
fn a_spare_waits_for_a_request_of_its_size() {
    let disk = SimDisk::new();
    put_segment(&disk, "1.wal");
    let mut core = core_in(disk.mount().unwrap());
    ask(&mut core, recycle("1.wal"));
    ask(&mut core, PrepareRequest::Segment { size: 1024 });
    ready(&mut core);
    assert_eq!(disk.names(), ["1.wal", "5.wal"]);
    ask(&mut core, segment());
    ready(&mut core);
    assert_eq!(disk.names(), ["5.wal", "6.wal"]);
}

#[test]
fn what_is_not_full_size_or_one_spare_too_many_is_removed_durably() {
    let disk = SimDisk::new();
    put_segment(&disk, "1.wal");
    put_segment(&disk, "2.wal");
    disk.write_file("3.wal", "trimmed");
    let mut core = core_in(disk.mount().unwrap());
    let full = |name| old(name, SIZE);
    let old = vec![full("1.wal"), full("2.wal"), old("3.wal", 7), full("never was.wal")];
    ask(&mut core, PrepareRequest::Recycle { old });
    assert_eq!(disk.names().len(), 3, "asked is not done");
    assert_eq!(clear(&mut core), 3 + 1, "with the sync");
    assert_eq!(disk.crash(crate::testkit::Persist::Dropped).names(), ["1.wal"]);
}

#[test]
fn what_must_not_be_written_again_is_removed_though_a_segment_is_wanted() {
    let disk = SimDisk::new();
    put_segment(&disk, "1.wal");
    let mut core = core_in(disk.mount().unwrap());
    ask(&mut core, segment());
    ask(&mut core, PrepareRequest::Remove { name: "1.wal".to_owned() });
    clear(&mut core);
    assert_eq!(disk.names(), Vec::<String>::new());
    ready(&mut core);
}

/// A worker for requests that were asked before it began, and all that it does on the disk.
fn worker_for(
    requests: Vec<PrepareRequest>,
) -> (PrepareWorker, Sender<PrepareRequest>, Receiver<PreparedSegment>, OpLog) {
    let disk = SimDisk::new();
    for request in &requests {
        if let PrepareRequest::Recycle { old } = request {
            old.iter().for_each(|old| disk.write_file(&old.name, "old"));
        }
    }
    let recorder = Recorder::new(disk.mount().unwrap()).unwrap();
    let log = recorder.log();
    let (asked, requested) = unbounded();
    requests.into_iter().for_each(|request| asked.send(request).unwrap());
    let (pool, prepared) = unbounded();
    (PrepareWorker::new(core_in(Arc::new(recorder)), requested, pool), asked, prepared, log)
}

fn thousands() -> PrepareRequest {
    let old = (1000..6000).map(|number| old(&format!("{number}.old"), 3)).collect();
    PrepareRequest::Recycle { old }
}

fn count(log: &OpLog, what: &str) -> usize {
    log.lines().iter().filter(|line| line.starts_with(what)).count()
}

#[test]
fn p17_segments_are_prepared_before_any_of_thousands_of_old_ones_is_removed() {
    let (mut worker, _asked, prepared, log) = worker_for(vec![thousands(), segment(), segment()]);
    for (segments, at_most) in [(1, 0), (2, STEPS_BETWEEN)] {
        while prepared.len() < segments {
            assert_eq!(worker.look(), Turn::Work);
            worker.work();
        }
        assert!(count(&log, "remove ") <= at_most, "{:?}", log.lines());
    }
    while worker.look() == Turn::Work {
        worker.work();
    }
    assert_eq!(count(&log, "remove "), 5000, "{:?}", &log.lines()[..20]);
    let syncs = count(&log, "sync directory");
    assert!((10..=100).contains(&syncs), "{syncs} for all of it");
}

#[test]
fn old_segments_grow_fewer_though_segments_are_always_wanted() {
    let mut requests = vec![thousands()];
    requests.extend((0..100).map(|_| segment()));
    let (mut worker, _asked, prepared, log) = worker_for(requests);
    while prepared.len() < 100 {
        assert_eq!(worker.look(), Turn::Work);
        worker.work();
    }
    assert!(count(&log, "remove ") > 100, "{}", count(&log, "remove "));
}

#[test]
fn p22_a_close_does_not_wait_for_thousands_of_removals() {
    let (mut worker, asked, _prepared, log) = worker_for(vec![thousands()]);
    for _ in 0..10 {
        assert_eq!(worker.look(), Turn::Work);
        worker.work();
    }
    asked.send(PrepareRequest::Stop).unwrap();
    assert_eq!(worker.look(), Turn::End);
    assert_eq!(count(&log, "remove "), 10);
}

#[test]
fn p21_what_a_full_disk_is_full_of_goes_before_it_is_called_full() {
    let disk = SimDisk::new();
    let names: Vec<_> = (0..100).map(|number| format!("{number}.old")).collect();
    names.iter().for_each(|name| disk.write_file(name, vec![1; 512]));
    disk.set_capacity(100 * 512);
    let (asked, requested) = unbounded();
    let old = names.iter().map(|name| old(name, 512)).collect();
    asked.send(PrepareRequest::Recycle { old }).unwrap();
    asked.send(segment()).unwrap();
    let (pool, prepared) = unbounded();
    let mut worker = PrepareWorker::new(core_in(disk.mount().unwrap()), requested, pool);
    while prepared.is_empty() {
        assert_eq!(worker.look(), Turn::Work);
        worker.work();
        assert!(!worker.core.status().is_no_space(), "appends would be refused");
    }
}

#[test]
fn copy_on_write_disks_get_neither_zeros_nor_recycled_segments() {
    let disk = SimDisk::with_medium(Medium::CopyOnWrite);
    put_segment(&disk, "1.wal");
    let mut core = core_in(disk.mount().unwrap());
    ask(&mut core, recycle("1.wal"));
    clear(&mut core);
    ask(&mut core, segment());
    let segment = ready(&mut core);
    assert_eq!(segment.size, SIZE);
    assert_eq!(disk.read_file("5.wal").unwrap(), b"5 of 8192");
    assert_eq!(disk.names(), ["5.wal"]);
}

#[test]
fn a_full_disk_is_published_retried_ever_less_often_and_over_when_space_returns() {
    let disk = SimDisk::new();
    disk.set_capacity(SIZE - 1);
    let mut core = core_in(disk.mount().unwrap());
    let status = core.status();
    ask(&mut core, segment());
    let delays: Vec<_> = (0..5).map(|_| failed(&mut core).as_millis()).collect();
    assert_eq!(delays, [100, 200, 400, 800, 1000]);
    assert!(status.is_no_space());
    assert!(disk.names().is_empty());

    disk.set_capacity(SIZE);
    assert_eq!(ready(&mut core).sequence, 5, "no name was taken by the failures");
    assert!(status.fault().is_none());
    disk.set_capacity(0);
    ask(&mut core, segment());
    assert_eq!(failed(&mut core).as_millis(), 100, "a success resets the delays");
}

#[test]
fn a_recycled_segment_gets_over_a_full_disk() {
    let disk = SimDisk::new();
    put_segment(&disk, "1.wal");
    disk.set_capacity(SIZE);
    let mut core = core_in(disk.mount().unwrap());
    ask(&mut core, segment());
    failed(&mut core);
    ask(&mut core, recycle("1.wal"));
    assert_eq!(ready(&mut core).sequence, 5);
}

#[test]
fn a_sequence_number_whose_name_may_be_on_disk_is_not_used_again() {
    let disk = SimDisk::new();
    let plan = FaultPlan::new();
    plan.add(FaultRule::on(FaultOp::SyncDir, FaultEffect::Fail(errno::EIO)).times(1));
    let mut core = core_in(Arc::new(FaultyStorage::mount(&disk, plan).unwrap()));
    ask(&mut core, segment());
    failed(&mut core);
    assert!(!core.status().is_no_space());
    assert_eq!(ready(&mut core).sequence, 6);
    assert_eq!(disk.names(), ["5.wal", "6.wal"], "no gap in the numbers: that would be a loss");
}

#[test]
fn the_thread_is_named_and_hands_over_what_was_asked_for() {
    let disk = SimDisk::new();
    let named = |sequence, size, _| {
        assert_eq!(thread::current().name(), Some("wal-prepare"));
        planner()(sequence, size, false)
    };
    let preparer =
        Preparer::spawn(&SystemThreads, disk.mount().unwrap(), config(), Box::new(named)).unwrap();
    for _ in 0..3 {
        preparer.requests().send(segment()).unwrap();
    }
    let sequences = (0..3).map(|_| preparer.pool().recv_timeout(SOON).unwrap().sequence);
    assert_eq!(sequences.collect::<Vec<_>>(), [5, 6, 7]);
    preparer.stop().unwrap();
}

#[test]
fn stop_is_obeyed_at_once_while_retrying() {
    let disk = SimDisk::new();
    disk.set_capacity(0);
    let preparer =
        Preparer::spawn(&SystemThreads, disk.mount().unwrap(), config(), planner()).unwrap();
    preparer.requests().send(segment()).unwrap();
    let started = Instant::now();
    while preparer.status().fault().is_none() {
        assert!(started.elapsed() < SOON);
        thread::yield_now();
    }
    preparer.stop().unwrap();
    disk.mount().unwrap();
}

#[test]
fn an_old_segment_wakes_a_preparer_that_waits_for_space() {
    let disk = SimDisk::new();
    put_segment(&disk, "1.wal");
    disk.set_capacity(SIZE);
    let preparer =
        Preparer::spawn(&SystemThreads, disk.mount().unwrap(), config(), planner()).unwrap();
    preparer.requests().send(segment()).unwrap();
    preparer.requests().send(recycle("1.wal")).unwrap();
    assert_eq!(preparer.pool().recv_timeout(SOON).unwrap().sequence, 5);
    assert!(preparer.status().fault().is_none());
}

#[test]
fn the_thread_ends_when_nobody_can_ask_and_holds_the_storage_until_then() {
    let disk = SimDisk::new();
    let plan = FaultPlan::new();
    plan.add(FaultRule::on(FaultOp::Sync, FaultEffect::Stuck));
    let storage = Arc::new(FaultyStorage::mount(&disk, plan.clone()).unwrap());
    let preparer = Preparer::spawn(&SystemThreads, storage, config(), planner()).unwrap();
    preparer.requests().send(segment()).unwrap();
    assert!(plan.wait_until_stuck(SOON));
    drop(preparer);
    let refused = disk.mount().unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);

    plan.clear();
    plan.release();
    let started = Instant::now();
    while disk.mount().is_err() {
        assert!(started.elapsed() < SOON);
        thread::yield_now();
    }
}

#[test]
fn p10_power_loss_never_leaves_a_number_out_behind_a_failed_directory_sync() {
    for seed in 0..64 {
        let disk = SimDisk::new();
        let plan = FaultPlan::new();
        plan.add(FaultRule::on(FaultOp::SyncDir, FaultEffect::Fail(errno::EIO)).times(1));
        let recorder = Recorder::new(disk.mount().unwrap()).unwrap();
        let log = recorder.log();
        let mut core = core_in(Arc::new(FaultyStorage::new(Arc::new(recorder), plan)));
        ask(&mut core, segment());
        ask(&mut core, segment());
        assert!(matches!(core.try_prepare(), Attempt::Failed { .. }));
        assert_eq!((ready(&mut core).sequence, ready(&mut core).sequence), (6, 7));
        let mut cuts = log.cuts();
        while cuts.advance() {
            let names = cuts.image(Persist::Torn { seed }).names();
            let has = |name: &str| names.iter().any(|one| one == name);
            assert!(has("5.wal") || !has("6.wal"), "after {:?}: {names:?}", cuts.last_op());
        }
    }
}
