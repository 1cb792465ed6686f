//! Guards P2, P9, P10, P11, P15, P22: what recovery gives the host and how, and what it leaves behind.
//! That any bytes in a directory give an answer is tried in `tests/differential.rs`.

#![allow(clippy::expect_used)] // Clippy knows a test by its attribute, not the helpers beside it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::{Actor, ActorContext, Context, Handler, ResponseFuture};
use actix_wal::DamagePolicy::Refuse;
use actix_wal::messages::{Replay, ReplayRefused};
use actix_wal::testkit::internals::Parts;
use actix_wal::testkit::internals::engine::recovery::{Begun, Progress};
use actix_wal::testkit::internals::engine::segments::clearing::OldSegment;
use actix_wal::testkit::internals::format::segment::{SegmentHeader, scratch_name, segment_name};
use actix_wal::testkit::{
    FaultEffect, FaultOp, FaultPlan, FaultRule, FaultyStorage, Persist, SimDisk, errno,
};
use actix_wal::{Cause, CommitError, Lsn, LsnRange, OpenError, RecordBatch, Wal, WalConfig};
use test_support::recovered::for_the_next_life;
use test_support::small_logs::{
    change, closed_log, commit, config, expected, killed_log, live, open, prepared, recover,
    recover_from, renumbered, run, segments, unused, used,
};

/// What a host does with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Host {
    Takes {
        after: Duration,
    },
    /// The batch of this number.
    Refuses(usize),
    Stops,
    /// Answers the first batch only when the plan has something stuck, and lets it go.
    WaitsForTheReader,
}

/// What a host has seen.
#[derive(Debug, Default)]
struct Seen {
    lsns: Vec<u64>,
    progress: Vec<Progress>,
    largest: usize,
    at_once: usize,
    /// Whether something was read while the host was busy.
    read_meanwhile: bool,
}

struct Replayer {
    host: Host,
    plan: FaultPlan,
    seen: Arc<Mutex<Seen>>,
    outstanding: Arc<AtomicUsize>,
}

impl Actor for Replayer {
    type Context = Context<Self>;
}

impl Handler<Replay> for Replayer {
    type Result = ResponseFuture<Result<(), ReplayRefused>>;

    fn handle(&mut self, replay: Replay, context: &mut Self::Context) -> Self::Result {
        let outstanding = Arc::clone(&self.outstanding);
        let now = outstanding.fetch_add(1, Ordering::SeqCst) + 1;
        let mut seen = self.seen.lock().expect("sound");
        seen.at_once = seen.at_once.max(now);
        seen.progress.push(replay.progress);
        seen.lsns.extend(replay.records.iter().map(|(lsn, _)| lsn.get()));
        let bytes = replay.records.iter().map(|(_, payload)| payload.len()).sum();
        seen.largest = seen.largest.max(bytes);
        let batches = seen.progress.len();
        let host = self.host;
        if host == Host::Stops && batches == 2 {
            context.stop();
        }
        if host == Host::WaitsForTheReader && batches == 1 {
            seen.read_meanwhile = self.plan.wait_until_stuck(Duration::from_secs(10));
            self.plan.decide(|_| None);
            self.plan.release();
        }
        Box::pin(async move {
            if let Host::Takes { after } = host {
                actix::clock::sleep(after).await;
            }
            outstanding.fetch_sub(1, Ordering::SeqCst);
            match host {
                Host::Refuses(batch) if batches == batch => Err(ReplayRefused("enough".to_owned())),
                _ => Ok(()),
            }
        })
    }
}

/// A log of some megabytes, so that a replay takes several batches.
fn large_config() -> WalConfig {
    let mut config = config();
    config.segment_size = 1 << 20;
    config.max_in_flight_bytes = Some(400_000);
    config
}

const LARGE: u64 = 40;

fn large_log() -> SimDisk {
    let disk = SimDisk::new();
    run(async {
        let wal = open(&disk, large_config()).await;
        for lsn in 1..=LARGE {
            wal.commit(vec![lsn as u8; 100_000]).await.expect("durable");
        }
        wal.close().await.expect("closes");
    });
    disk
}

async fn replay(disk: &SimDisk, host: Host, from: Option<Lsn>) -> (Result<Wal, OpenError>, Seen) {
    replay_with(FaultPlan::new(), disk, host, from).await
}

async fn replay_with(
    plan: FaultPlan,
    disk: &SimDisk,
    host: Host,
    from: Option<Lsn>,
) -> (Result<Wal, OpenError>, Seen) {
    let (seen, outstanding) = (Arc::default(), Arc::default());
    let storage = FaultyStorage::mount(disk, plan.clone()).expect("free");
    let (its_seen, its_own) = (Arc::clone(&seen), Arc::clone(&outstanding));
    let replayer = Replayer { host, plan, seen: its_seen, outstanding: its_own }.start();
    let opening = Wal::open(large_config()).on_storage(Arc::new(storage));
    let opened = opening.replay_to(replayer.recipient(), from).await;
    assert!(host == Host::Stops || outstanding.load(Ordering::SeqCst) == 0, "it is not done yet");
    let seen = std::mem::take(&mut *seen.lock().expect("sound"));
    (opened, seen)
}

#[test]
fn records_are_replayed_in_order_one_batch_at_a_time_with_progress_up_to_the_end() {
    let disk = large_log();
    run(async {
        let (opened, seen) =
            replay(&disk, Host::Takes { after: Duration::from_millis(2) }, None).await;
        let wal = opened.expect("it opens");
        assert_eq!(seen.lsns, (1..=LARGE).collect::<Vec<_>>());
        assert_eq!(seen.at_once, 1, "a batch came before the last one was answered");
        assert!(seen.progress.len() > 3, "{:?}", seen.progress);
        assert!(seen.largest < 2 << 20, "a batch of {} bytes", seen.largest);
        assert!(seen.progress.is_sorted_by(|one, next| one.done <= next.done));
        let Progress { done, total } = seen.progress[0];
        assert!(done > 0 && done < total / 2, "one of several batches: {done} of {total}");
        assert!(total > 0 && seen.progress.iter().all(|progress| progress.total == total));
        assert_eq!(seen.progress.last().map(|last| last.done), Some(total));
        assert_eq!(wal.recovery_report().replayed, LARGE);
        wal.close().await.expect("closes");
    });
}

#[test]
fn the_next_batch_is_read_while_the_host_is_busy_with_one() {
    let disk = large_log();
    let plan = FaultPlan::new();
    let third = segment_name(segments(&disk)[2].sequence);
    // The survey reads the segment once, for its first frame. The second time it is read for the replay.
    let reads = AtomicUsize::new(0);
    plan.decide(move |read| {
        let is_large = read.op == FaultOp::Read && read.file == third && read.len > 500_000;
        (is_large && reads.fetch_add(1, Ordering::SeqCst) == 1).then_some(FaultEffect::Stuck)
    });
    run(async {
        let (opened, seen) = replay_with(plan, &disk, Host::WaitsForTheReader, None).await;
        assert!(seen.read_meanwhile, "nothing was read");
        assert_eq!((seen.lsns, seen.at_once), ((1..=LARGE).collect::<Vec<_>>(), 1));
        opened.expect("it opens").close().await.expect("closes");
    });
}

#[test]
fn an_open_that_fails_is_answered_when_the_host_is_done_with_what_it_was_given() {
    let disk = large_log();
    change(&disk, segments(&disk)[2].sequence, |bytes| bytes[500_000] ^= 1);
    run(async {
        let (opened, seen) =
            replay(&disk, Host::Takes { after: Duration::from_millis(200) }, None).await;
        assert!(matches!(opened, Err(OpenError::Damaged(_))), "{opened:?}");
        assert!(!seen.lsns.is_empty(), "nothing was replayed before the damage was met");
    });
}

#[test]
fn a_replay_begins_where_the_host_asks_and_never_below_a_checkpoint() {
    let disk = closed_log(27);
    for from in [1, 2, 7, 8, 9, 20, 27, 28] {
        let disk = disk.fork();
        let recovered = recover_from(&disk, &config(), Some(Lsn::new(from))).expect("it opens");
        assert_eq!(recovered.records, expected(from..=27));
        assert_eq!(recovered.report.records, 27);
    }
    run(async {
        let wal = open(&disk, config()).await;
        wal.checkpoint(Lsn::new(10)).await.expect("released");
        wal.close().await.expect("closes");
    });
    for from in [1, 10] {
        let before = disk.names();
        let released = recover_from(&disk, &config(), Some(Lsn::new(from)));
        assert!(
            matches!(released, Err(OpenError::Released { released, .. }) if released.get() == 10)
        );
        assert_eq!(disk.names(), before);
    }
    let recovered = recover_from(&disk, &config(), Some(Lsn::new(11))).expect("it opens");
    assert_eq!(recovered.records, expected(11..=27));
}

#[test]
fn a_host_that_refuses_or_stops_ends_the_open_and_nothing_was_written() {
    for host in [Host::Refuses(2), Host::Stops] {
        let disk = large_log();
        let before = disk.names();
        run(async {
            for _ in 0..5 {
                let (opened, _) = replay(&disk, host, None).await;
                assert!(matches!(opened, Err(OpenError::Replay { .. })), "{host:?}: {opened:?}");
            }
            assert_eq!(disk.names(), before, "{host:?}: attempts pile up files");
            let (opened, seen) = replay(&disk, Host::Takes { after: Duration::ZERO }, None).await;
            let wal = opened.expect("the next host gets everything");
            assert_eq!(seen.lsns, (1..=LARGE).collect::<Vec<_>>());
            assert!(wal.recovery_report().clean);
            wal.close().await.expect("closes");
        });
    }
}

#[test]
fn a_host_that_refuses_a_small_log_leaves_it_as_clean_as_it_was() {
    let disk = closed_log(3);
    let before = disk.names();
    let link = Parts::new(&config());
    let refused = actix_wal::testkit::internals::engine::recovery::recover(
        disk.mount().expect("free"),
        &config(),
        &link.shared,
        None,
        &mut |_: RecordBatch, _: Progress| Err("not today".to_owned()),
    );
    assert!(matches!(refused, Err(OpenError::Replay { .. })), "{refused:?}");
    drop(refused);
    assert_eq!(disk.names(), before);
    let report = recover(&disk.fork(), Refuse).expect("it opens").report;
    assert!(report.clean && report.next_lsn == Lsn::new(4), "{report:?}");
}

#[test]
fn a_host_that_refuses_the_last_batch_ends_the_open_and_nothing_but_a_start_frame_was_written() {
    // All records are in the first batch, and the second one ends the replay, in an epoch that has begun.
    for (batch, next_epoch) in [(1, 2), (2, 3)] {
        let disk = closed_log(3);
        run(async {
            let (opened, seen) = replay(&disk, Host::Refuses(batch), None).await;
            assert!(matches!(opened, Err(OpenError::Replay { .. })), "{batch}: {opened:?}");
            assert_eq!(seen.progress.len(), batch);
        });
        let recovered = recover(&disk, Refuse).expect("it opens");
        assert_eq!(recovered.records, expected(1..=3));
        assert_eq!(recovered.report.epoch.get(), next_epoch, "{batch}");
    }
}

#[test]
fn after_a_clean_close_there_is_nothing_to_repair() {
    let disk = closed_log(13);
    for life in 0..4 {
        let recovered = recover(&disk.fork(), Refuse).expect("it opens");
        let report = &recovered.report;
        assert!(report.clean && report.torn_tail.is_none() && report.gaps.is_empty(), "{report:?}");
        assert_eq!((report.carried, report.next_lsn.get()), (0, 14 + life));
        assert_eq!(recovered.records, expected(1..14 + life));
        live(&disk, 1);
    }
}

#[test]
fn a_hundred_short_lives_cost_their_bytes_and_not_a_segment_each() {
    let disk = SimDisk::new();
    (0..100).for_each(|_| live(&disk, 1));
    let used = used(&disk);
    let bytes: usize = used.iter().map(|segment| segment.bytes.len()).sum();
    // The header, the start frame, the record and the close frame: a block each.
    assert!(bytes <= 100 * 4 * 512, "{bytes} bytes in {} segments", used.len());
    assert!(segments(&disk).len() <= used.len() + 3, "{:?}", disk.names());
    let recovered = recover(&disk, Refuse).expect("it opens");
    assert_eq!(recovered.records, expected(1..=100));
}

#[test]
fn lives_that_end_in_a_crash_before_their_first_append_do_not_pile_up_files() {
    let mut disk = killed_log(5);
    let before = disk.names().len();
    let mut last = Lsn::NONE;
    for _ in 0..30 {
        let recovered = recover(&disk, Refuse).expect("it opens");
        assert_eq!(recovered.records, expected(1..=5));
        assert!(recovered.report.next_lsn > last, "P9");
        last = recovered.report.next_lsn;
        assert!(disk.names().len() <= before + 2, "{:?}", disk.names());
        disk = disk.crash(actix_wal::testkit::Persist::Kept);
    }
}

#[test]
fn segments_that_were_prepared_and_not_used_are_used_by_the_next_life() {
    let disk = SimDisk::new();
    run(async {
        let wal = open(&disk, config()).await;
        // The second one is filled as the current one is used up.
        commit(&wal, 4).await;
        prepared(&disk, 2).await;
        wal.close().await.expect("closes");
        let unused = unused(&disk);
        assert_eq!(unused.len(), 2);
        let wal = open(&disk, config()).await;
        commit(&wal, 1).await;
        let used = used(&disk).pop();
        assert_eq!(used.map(|segment| segment.sequence), Some(unused[0].sequence));
        wal.close().await.expect("closes");
    });
}

/// writeahead: an I/O error while recovering truncated acknowledged data.
#[test]
fn an_io_error_at_any_operation_of_a_recovery_loses_nothing() {
    let sound = killed_log(20);
    for op in [
        FaultOp::Open,
        FaultOp::Read,
        FaultOp::Create,
        FaultOp::Write,
        FaultOp::Sync,
        FaultOp::SyncDir,
        FaultOp::SetSize,
        FaultOp::Remove,
        FaultOp::Rename,
    ] {
        for at in 0..40 {
            let disk = sound.fork();
            let plan = FaultPlan::new();
            plan.add(FaultRule::on(op, FaultEffect::Fail(errno::EIO)).after(at).times(1));
            let storage = FaultyStorage::mount(&disk, plan.clone()).expect("free");
            let link = Parts::new(&config());
            let recovered = for_the_next_life(Arc::new(storage), &config(), &link.shared);
            assert!(plan.hits() > 0 || recovered.is_ok(), "{op:?} {at}: {recovered:?}");
            drop(recovered);
            let hit = plan.hits() > 0;
            let disk = disk.crash(actix_wal::testkit::Persist::Dropped);
            let again =
                recover(&disk, Refuse).unwrap_or_else(|error| panic!("{op:?} {at}: {error}"));
            assert_eq!(again.records, expected(1..=20), "{op:?} {at}");
            if !hit {
                break;
            }
        }
    }
}

#[actix::test]
async fn p6_an_lsn_that_a_crash_took_is_not_durable_although_the_watermark_passes_it() {
    let disk = SimDisk::new();
    let config = WalConfig::new("unused");
    let wal = Wal::open(config.clone()).on_storage(disk.mount().unwrap()).await.unwrap();
    let kept = wal.commit("kept").await.unwrap();
    let after_crash = disk.crash(Persist::Dropped);
    // Given out by a life that ends before it is durable there.
    let lost = wal.commit("lost").await.unwrap();
    drop(wal);

    for _ in 0..2 {
        let wal = Wal::open(config.clone()).on_storage(after_crash.mount().unwrap()).await.unwrap();
        assert!(wal.commit("goes on").await.unwrap() > lost);
        assert!(wal.wait_for_lsn(kept).await.is_ok());
        let outcome = wal.wait_for_lsn(lost).await;
        let told = matches!(
            outcome,
            Err(CommitError::NotDurable { lsn, cause: Cause::EarlierLife }) if lsn == lost
        );
        assert!(told, "{outcome:?}");
        assert_eq!(wal.stats().not_durable, 0, "it is no failure of this life");
        wal.close().await.unwrap();
    }
}

/// Two directory syncs failed in a row, and the power too: of two new names the later one survived.
#[actix::test]
async fn p6_a_flush_is_not_refused_for_what_an_earlier_life_took_with_it() {
    let disk = SimDisk::new();
    let wal = Wal::open(config()).on_storage(disk.mount().unwrap()).await.unwrap();
    wal.commit("kept").await.unwrap();
    // The power fails: what the next life may have to skip is a gap at the end of the log.
    let wal = Wal::open(config()).on_storage(disk.crash(Persist::Dropped).mount().unwrap()).await;
    let wal = wal.unwrap();
    assert!(wal.status().accepted > wal.durable_lsn(), "{:?}", wal.status());
    assert_eq!(wal.flush().await.unwrap(), wal.durable_lsn());
    let lsn = wal.commit("new").await.unwrap();
    assert_eq!(wal.flush().await.unwrap(), lsn);
}

#[test]
fn p10_a_number_that_was_never_used_is_not_missed_however_often_the_log_is_opened() {
    let disk = killed_log(4);
    let unused = unused(&disk);
    let [first, second] = &unused[..] else { panic!("two are prepared") };
    let (never, later) = (second.sequence, second.sequence + 1);
    disk.write_file(&scratch_name(never), second.bytes.clone());
    disk.remove_file(&segment_name(never));
    disk.write_file(&segment_name(later), renumbered(&second.bytes, later));
    for open in 1..5 {
        let recovered = recover(&disk, Refuse).unwrap_or_else(|error| panic!("{open}: {error}"));
        assert_eq!(recovered.records, expected(1..=4));
    }
    assert!(segments(&disk).iter().any(|segment| segment.sequence > first.sequence));
    assert!(!disk.names().contains(&scratch_name(never)), "it goes when it tells nothing any more");
}

#[test]
fn p10_a_number_right_behind_the_end_that_is_being_prepared_still_is_not_missed() {
    let disk = killed_log(4);
    let never = unused_numbers(&disk)[0];
    let bytes = disk.read_file(&segment_name(never)).expect("prepared");
    disk.remove_file(&segment_name(never));
    let refused = recover(&disk.fork(), Refuse);
    assert!(matches!(refused, Err(OpenError::Damaged(_))), "without a trace it is: {refused:?}");
    disk.write_file(&scratch_name(never), bytes);
    for open in 1..4 {
        let recovered = recover(&disk, Refuse).unwrap_or_else(|error| panic!("{open}: {error}"));
        assert_eq!(recovered.records, expected(1..=4));
    }
    assert!(!disk.names().contains(&scratch_name(never)));
}

#[test]
fn the_report_says_what_was_read_and_what_was_carried_over() {
    let disk = killed_log(13);
    let segments = used(&disk).len() as u64;
    let report = recover(&disk, Refuse).expect("it opens").report;
    assert_eq!((report.epoch.get(), report.records, report.carried), (2, 13, 1), "{report:?}");
    assert!(report.segments >= segments && report.frames >= 13, "{report:?}");

    // Its segments are of several lengths: what a life has not used was given back.
    let disk = closed_log(10);
    live(&disk, 3);
    let lens: Vec<_> = used(&disk).iter().map(|segment| segment.bytes.len() as u64).collect();
    let report = recover(&disk, Refuse).expect("it opens").report;
    let read = (report.segments, report.bytes);
    assert_eq!(read, (lens.len() as u64, lens.iter().sum()), "{lens:?}: {report:?}");
}

#[test]
fn a_gap_that_lives_without_a_record_have_left_is_reported_once() {
    let disk = SimDisk::new();
    for _ in 0..2 {
        recover(&disk, Refuse).expect("it opens");
    }
    let killed = run(async {
        let wal = open(&disk, config()).await;
        commit(&wal, 2).await;
        let killed = disk.fork();
        wal.close().await.expect("closes");
        killed
    });
    let recovered = recover(&killed, Refuse).expect("it opens");
    let (first, _) = recovered.records[0];
    let gap = LsnRange::new(Lsn::FIRST, Lsn::new(first - 1)).expect("each life leaves some out");
    assert_eq!(recovered.report.gaps, [gap]);
}

/// Recovers and gives back what the next life begins with.
fn recover_log(disk: &SimDisk, config: &WalConfig) -> Begun {
    let link = Parts::new(config);
    for_the_next_life(disk.mount().expect("free"), config, &link.shared).expect("it opens")
}

/// The numbers of the segments that were prepared and not used.
fn unused_numbers(disk: &SimDisk) -> Vec<u64> {
    unused(disk).iter().map(|segment| segment.sequence).collect()
}

/// Has a prepared segment be of so many blocks.
fn resize(disk: &SimDisk, sequence: u64, blocks: usize) {
    change(disk, sequence, |bytes| {
        let mut header = SegmentHeader::decode(bytes).expect("a header");
        header.size = (blocks * 512) as u64;
        *bytes = header.encode();
        bytes.resize(blocks * 512, 0);
    });
}

#[test]
fn p12_the_last_frame_is_carried_into_a_prepared_segment_only_if_there_is_room_for_it() {
    let large = vec![7; 3000];
    let killed = run(async {
        let disk = SimDisk::new();
        let wal = open(&disk, config()).await;
        wal.commit(large.clone()).await.expect("durable");
        prepared(&disk, 2).await;
        let killed = disk.fork();
        wal.close().await.expect("closes");
        killed
    });
    // The header, 7 blocks for the frame, one for the next record, and 3 for empty frames.
    for (blocks, fits) in [(12, true), (11, false), (6, false)] {
        let disk = killed.fork();
        let unused = unused_numbers(&disk);
        unused.iter().for_each(|sequence| resize(&disk, *sequence, blocks));
        for open in 0..3 {
            let recovered = recover(&disk, Refuse).expect("it opens");
            assert_eq!(recovered.records, [(1, large.clone())], "{blocks} blocks, open {open}");
            assert_eq!(recovered.report.carried, 1, "{blocks} blocks, open {open}");
            let begun = used(&disk).pop();
            let is_used = begun.is_some_and(|begun| begun.sequence == unused[0]);
            assert!(open > 0 || is_used == fits, "{blocks} blocks");
        }
    }
}

fn names_of(old: &[OldSegment]) -> Vec<String> {
    old.iter().map(|old| old.name.clone()).collect()
}

/// Full ones are left to the preparer, which may use them again; the others are of no use to anybody.
#[test]
fn what_an_earlier_life_has_prepared_otherwise_goes_once_the_log_is_past_it() {
    let disk = killed_log(5);
    let unused = unused_numbers(&disk);
    resize(&disk, unused[1], 8);
    let mut larger_blocks = config();
    larger_blocks.block_size = 1024;
    let log = recover_log(&disk, &larger_blocks);
    assert!(log.prepared.is_empty(), "{:?}", log.prepared);
    assert_eq!(names_of(&log.removable), [segment_name(unused[0])]);
    let names = disk.names();
    assert!(names.contains(&segment_name(unused[0])), "{names:?}");
    assert!(!names.contains(&segment_name(unused[1])), "{names:?}");
}

/// Its number would be left out right behind the end of the log, and be missed.
#[test]
fn p11_what_is_of_no_use_behind_the_segment_that_is_begun_stays_until_the_log_is_past_it() {
    let disk = killed_log(5);
    let unused = unused_numbers(&disk);
    change(&disk, unused[1], |bytes| bytes.truncate(2048));
    for begun in [unused[0], unused[1] + 1] {
        let log = recover_log(&disk, &config());
        assert_eq!(segments(&disk).last().map(|one| one.sequence), Some(unused[1].max(begun)));
        let there = disk.names().contains(&segment_name(unused[1]));
        assert_eq!(there, begun < unused[1], "{:?}", log.removable);
    }
}

#[test]
fn p10_a_torn_start_frame_is_kept_as_evidence_until_the_log_is_opened_again() {
    let disk = killed_log(5);
    let torn = unused_numbers(&disk)[0];
    change(&disk, torn, |bytes| bytes[512..700].fill(0x5a));
    for (open, goes) in [(1, false), (2, true)] {
        let log = recover_log(&disk, &config());
        let reported = log.report().torn_tail.map(|(segment, _)| segment);
        assert_eq!(reported, (!goes).then_some(torn), "open {open}");
        let goes_now = names_of(&log.removable).contains(&segment_name(torn));
        assert_eq!(goes_now, goes, "{:?}", log.removable);
        let bytes = disk.read_file(&segment_name(torn)).expect("until the preparer takes it");
        assert_eq!(bytes[512..700], [0x5a; 188], "open {open}");
    }
}

#[test]
fn a_log_whose_very_first_segment_was_being_prepared_opens() {
    let disk = SimDisk::new();
    disk.write_file(&scratch_name(1), vec![0x5a; 700]);
    let recovered = recover(&disk, Refuse).expect("it opens");
    assert!(recovered.records.is_empty());
    assert_eq!(disk.names(), [segment_name(1)]);
}

/// It would go on to say of its number that it was never used, also when that is missing one day.
#[test]
fn p14_what_was_being_prepared_and_can_not_be_removed_ends_the_open() {
    let disk = killed_log(4);
    let scratch = scratch_name(99);
    disk.write_file(&scratch, vec![0x5a; 700]);
    let plan = FaultPlan::new();
    let rule = FaultRule::on(FaultOp::Remove, FaultEffect::Fail(errno::EIO));
    plan.add(rule.file(|name| name.ends_with(".tmp")).times(1));
    let storage = Arc::new(FaultyStorage::mount(&disk, plan).expect("free"));
    let link = Parts::new(&config());
    let refused = for_the_next_life(storage, &config(), &link.shared);
    assert!(matches!(refused, Err(OpenError::Io(_))), "{refused:?}");
    drop(refused);
    let recovered = recover(&disk, Refuse).expect("the next open removes it");
    assert_eq!(recovered.records, expected(1..=4));
    assert!(!disk.names().contains(&scratch));
}

/// Who opens a log does not wait for a full segment of zeros; a full one is prepared meanwhile.
#[test]
fn the_first_segment_of_a_log_is_small_and_has_room_for_many_records() {
    let disk = SimDisk::new();
    let mut full = config();
    full.segment_size = 8 << 20;
    recover_log(&disk, &full);
    assert_eq!(segments(&disk)[0].bytes.len(), 1 << 20);
}
