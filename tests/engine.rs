//! Guards P3, P4, P7, P8, P17, P18, P21, P22 in the flush loop itself, driven step by step by hand on a
//! clock that stands still: when it flushes, what it takes, and what it does about faults.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on has failed")]

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use actix_wal::testkit::internals::engine::intake::entry::{Entry, Payload};
use actix_wal::testkit::internals::engine::segments::supply::{Need, SegmentStyle};
use actix_wal::testkit::internals::engine::state::outcomes::Fate;
use actix_wal::testkit::internals::engine::state::shared::Shared;
use actix_wal::testkit::internals::engine::write::flush_loop::{
    FlushLoop, LoopEvent, Next, Worked,
};
use actix_wal::testkit::internals::format::segment::segment_name;
use actix_wal::testkit::internals::runtime::clock::Clock;
use actix_wal::testkit::internals::{Parts, permits::spend};
use actix_wal::testkit::{
    FaultEffect, FaultOp, FaultPlan, FaultRule, FaultyStorage, ManualClock, Persist, SimDisk,
    SteppedSegments, SupplyMode, errno,
};
use actix_wal::{
    Bounds, Cause, Durability, FaultPolicy, FlushPolicy, Lsn, LsnRange, RecoveryReport, WalConfig,
};
use test_support::logs::{SOON, config, records_on};
use test_support::recovered::for_the_next_life;
use test_support::small_logs::recover_from;

const MS: Duration = Duration::from_millis(1);
const NS: Duration = Duration::from_nanos(1);

/// A flush loop with everything around it in the hands of the test.
struct Bench {
    clock: ManualClock,
    disk: SimDisk,
    plan: FaultPlan,
    segments: SteppedSegments,
    shared: Arc<Shared>,
    /// Kept: a log whose queue has gone is a different case.
    _link: actix_wal::testkit::internals::engine::state::requests::QueueReceiver,
    /// Of the recovery before.
    report: RecoveryReport,
    run: FlushLoop,
    next: Lsn,
}

impl Bench {
    fn new(change: impl FnOnce(&mut WalConfig)) -> Bench {
        Bench::on_segments(64 * 512, change)
    }

    fn on_segments(segment_size: u64, change: impl FnOnce(&mut WalConfig)) -> Bench {
        let mut config = config();
        config.segment_size = 64 * 512;
        change(&mut config);
        config.validate().unwrap();
        Bench::on(SimDisk::new(), &config, segment_size)
    }

    /// The next life of the log on this disk. Its segments have this size, but for the first one.
    fn on(disk: SimDisk, config: &WalConfig, segment_size: u64) -> Bench {
        let (clock, plan) = (ManualClock::new(), FaultPlan::new());
        let storage = Arc::new(FaultyStorage::mount(&disk, plan.clone()).unwrap());
        let Parts { shared, queue } = Parts::with_clock(config, Arc::new(clock.clone()));
        let log = for_the_next_life(storage, config, &shared).unwrap();
        let (report, next) = (log.report().clone(), log.position.next_lsn);
        let style = SegmentStyle { segment_size, ..log.style };
        let segments = SteppedSegments::new(log.storage, style, log.next_sequence);
        let source = Box::new(segments.clone());
        let parts = Arc::clone(&shared);
        let mut run = FlushLoop::new(config, parts, style, source, log.position, log.writer);
        assert!(matches!(run.take_events()[..], [LoopEvent::EpochStarted(..)]));
        Bench { clock, disk, plan, segments, shared, _link: queue, report, run, next }
    }

    fn next(&self) -> Next {
        self.run.next(self.clock.now())
    }

    /// Appends, with a permit, as the Appender would.
    fn append_payload(&mut self, payload: Payload, durability: Durability) -> LsnRange {
        let (entries, bytes) = (payload.count(), payload.encoded_len());
        spend(self.shared.admission.try_acquire(entries, bytes).expect("room"));
        let entry = Entry { first_lsn: self.next, payload, durability, since: self.clock.now() };
        let range = LsnRange::new(entry.first_lsn, entry.last_lsn()).unwrap();
        self.next = entry.next_lsn();
        self.shared.watermark.raise_accepted(range.last);
        self.run.offer(entry).unwrap();
        range
    }

    fn append(&mut self, count: usize) {
        for _ in 0..count {
            let payload = format!("record {}", self.next).into_bytes();
            self.append_payload(Payload::One(payload.into()), Durability::GroupCommit);
        }
    }

    fn work(&mut self) {
        assert_eq!(self.next(), Next::Work);
        assert_eq!(self.run.work().unwrap(), Worked::Done);
    }

    /// Works until there is nothing to do, or a segment is missing.
    fn settle(&mut self) {
        while self.next() == Next::Work && self.run.work().unwrap() == Worked::Done {}
    }

    /// The cause of the fault when the next operation of this kind fails in this way.
    fn fail(&mut self, op: FaultOp, effect: FaultEffect) -> Cause {
        self.plan.add(FaultRule::on(op, effect).times(1));
        self.run.work().unwrap_err()
    }

    /// Appends a record of this many bytes.
    fn append_bytes(&mut self, count: usize) -> LsnRange {
        self.append_payload(Payload::One(vec![1; count].into()), Durability::GroupCommit)
    }

    /// Writes so many records that take a segment each.
    fn fill(&mut self, segments: usize) {
        for _ in 0..segments {
            self.append_bytes(25_000);
            self.settle();
        }
    }

    fn batches(&self) -> u64 {
        self.shared.stats().batches
    }

    /// What power loss would leave.
    fn records(&self) -> BTreeMap<Lsn, Vec<u8>> {
        records_on(&self.disk.crash(Persist::Dropped))
    }

    /// What is kept of what was never synced, too.
    fn records_kept(&self) -> BTreeMap<Lsn, Vec<u8>> {
        records_on(&self.disk.crash(Persist::Kept))
    }
}

fn window(config: &mut WalConfig) {
    config.flush_policy = FlushPolicy::Window(Bounds::default());
}

fn adaptive(config: &mut WalConfig) {
    config.flush_policy = FlushPolicy::Adaptive(Bounds::default());
}

#[test]
fn p17_a_window_flushes_ten_milliseconds_after_the_oldest_append_and_not_before() {
    let mut bench = Bench::new(window);
    bench.clock.advance(3 * MS);
    bench.append(1);
    bench.clock.advance(9 * MS);
    bench.append(1);
    assert_eq!(bench.next(), Next::WaitUntil(13 * MS));
    bench.clock.advance(MS - NS);
    assert_eq!(bench.next(), Next::WaitUntil(13 * MS));
    bench.clock.advance(NS);
    bench.work();
    assert_eq!((bench.batches(), bench.shared.watermark.durable()), (1, Lsn::new(2)));
}

#[test]
fn a_window_flushes_at_a_hundred_entries_and_takes_the_whole_pile() {
    let mut bench = Bench::new(window);
    bench.append(99);
    assert!(matches!(bench.next(), Next::WaitUntil(_)));
    bench.append(1);
    assert_eq!(bench.next(), Next::Work);
    bench.append(150);
    bench.work();
    assert_eq!((bench.batches(), bench.shared.watermark.durable()), (1, Lsn::new(250)), "no cap");
}

#[test]
fn bytes_are_a_trigger_too_and_no_cap_either() {
    for policy in [FlushPolicy::Window as fn(Bounds) -> FlushPolicy, FlushPolicy::Adaptive] {
        let bounds = Bounds { max_bytes: 1000, ..Bounds::default() };
        let mut bench = Bench::new(|config| config.flush_policy = policy(bounds));
        let nobody_waits = Durability::Async;
        bench.append_payload(Payload::One(vec![1; 994].into()), nobody_waits);
        assert!(matches!(bench.next(), Next::WaitUntil(_)), "999 bytes");
        bench.append_payload(Payload::One(vec![2; 5000].into()), nobody_waits);
        bench.work();
        assert_eq!((bench.batches(), bench.shared.watermark.durable()), (1, Lsn::new(2)));
    }
}

#[test]
fn a_synchronous_append_an_explicit_flush_and_a_close_flush_at_once() {
    for policy in [window, adaptive] {
        let quiet = |bench: &mut Bench| {
            let payload = Payload::One("quiet".into());
            bench.append_payload(payload, Durability::Async);
            assert!(matches!(bench.next(), Next::WaitUntil(_)));
        };
        let mut bench = Bench::new(policy);
        quiet(&mut bench);
        bench.append_payload(Payload::One("now".into()), Durability::Synchronous);
        bench.work();
        assert_eq!(bench.shared.watermark.durable(), Lsn::new(2));

        quiet(&mut bench);
        bench.shared.requests.flush(Lsn::new(3));
        bench.work();
        assert_eq!(bench.shared.watermark.durable(), Lsn::new(3));
        quiet(&mut bench);
        bench.shared.requests.close();
        bench.work();
        assert_eq!(bench.shared.watermark.durable(), Lsn::new(4));
    }
}

#[test]
fn p18_a_lone_commit_on_an_idle_log_pays_no_wait() {
    for policy in [adaptive as fn(&mut WalConfig), |_| {}] {
        let mut bench = Bench::new(policy);
        for _ in 0..5 {
            bench.append(1);
            bench.work();
            bench.clock.advance(50 * MS);
        }
        assert_eq!(bench.batches(), 5);
    }
}

#[test]
fn p4_what_nobody_waits_for_is_durable_within_max_delay() {
    let mut bench = Bench::new(adaptive);
    bench.append_payload(Payload::One("x".into()), Durability::Async);
    assert_eq!(bench.next(), Next::WaitUntil(10 * MS));
    bench.clock.advance(10 * MS);
    bench.work();
    assert_eq!(bench.shared.watermark.durable(), Lsn::new(1));
}

#[test]
fn the_sync_interval_is_kept_also_by_urgent_appends() {
    let mut bench = Bench::new(|config| config.min_sync_interval = 4 * MS);
    bench.append(1);
    bench.work();
    bench.clock.advance(MS);
    bench.append_payload(Payload::One("x".into()), Durability::Synchronous);
    assert_eq!(bench.next(), Next::WaitUntil(4 * MS));
    bench.clock.advance(3 * MS);
    bench.work();
}

#[test]
fn the_seal_comes_after_the_quiet_time_and_only_once() {
    let mut bench = Bench::new(|config| config.seal_after = 100 * MS);
    assert_eq!(bench.next(), Next::Wait, "there is nothing to vouch for");
    bench.append(1);
    bench.work();
    assert_eq!(bench.next(), Next::WaitUntil(100 * MS));
    bench.clock.advance(60 * MS);
    bench.append(1);
    bench.work();
    assert_eq!(bench.next(), Next::WaitUntil(160 * MS), "an append begins the quiet time anew");
    bench.clock.advance(100 * MS);
    bench.work();
    assert_eq!((bench.shared.stats().seals, bench.batches()), (1, 2));
    assert_eq!(bench.next(), Next::Wait);
    bench.clock.advance(1000 * MS);
    assert_eq!(bench.next(), Next::Wait);
    bench.append(1);
    bench.work();
    bench.clock.advance(100 * MS);
    bench.work();
    assert_eq!(bench.shared.stats().seals, 2);
}

#[test]
fn p3_groups_are_never_split_and_a_full_segment_is_followed_by_another() {
    let mut bench = Bench::new(|_| {});
    let record = |size: usize| bytes::Bytes::from(vec![9; size]);
    let group = |count| Payload::Group(vec![record(1000); count]);
    let group_commit = Durability::GroupCommit;
    let first = bench.append_payload(group(12), group_commit);
    bench.work();
    let second = bench.append_payload(group(12), group_commit);
    let third = bench.append_payload(group(12), group_commit);
    let fourth = bench.append_payload(Payload::One(record(10)), group_commit);
    let mut watermarks = vec![bench.shared.watermark.durable()];
    while bench.next() == Next::Work {
        bench.run.work().unwrap();
        watermarks.push(bench.shared.watermark.durable());
    }
    watermarks.dedup();
    let ends = [first.last, second.last, third.last, fourth.last];
    assert!(watermarks[1..].iter().all(|durable| ends.contains(durable)), "{watermarks:?}");
    assert_eq!(watermarks.last(), Some(&fourth.last));
    assert_eq!(bench.shared.stats().rotations, 1);
    assert_eq!(bench.records().len(), 37);
    let complete = bench.run.take_events().into_iter().find_map(|event| match event {
        LoopEvent::SegmentComplete(segment) => segment.live_end,
        _ => None,
    });
    assert!(ends.contains(&complete.unwrap()));
}

#[test]
fn p9_an_lsn_that_does_not_come_next_is_a_fault() {
    for wrong in [1, 3] {
        let mut bench = Bench::new(|_| {});
        bench.append(1);
        let payload = Payload::One("x".into());
        let (first_lsn, since) = (Lsn::new(wrong), bench.clock.now());
        let durability = Durability::GroupCommit;
        let refused = bench.run.offer(Entry { first_lsn, payload, durability, since });
        assert!(matches!(refused, Err(Cause::Broken { .. })), "{refused:?}");
    }
}

#[test]
fn a_panic_between_the_sync_and_the_watermark_neither_loses_nor_repeats_an_entry() {
    // With metrics the loop looks at the clock more often than before the write and after the sync.
    let (mut before, mut after) = (0, 0);
    for looks in 1..10 {
        let mut bench = Bench::new(|_| {});
        bench.append(3);
        bench.clock.panic_in(looks);
        let worked = catch_unwind(AssertUnwindSafe(|| bench.run.work().unwrap()));
        bench.clock.panic_in(0);
        let synced = bench.records().len();
        if worked.is_err() {
            bench.run.fault(&Cause::Closed);
            (before, after) = if synced == 0 { (before + 1, after) } else { (before, after + 1) };
            assert_eq!(
                bench.shared.watermark.durable(),
                Lsn::new(synced as u64),
                "what is on disk"
            );
            let in_flight = bench.shared.admission.entries_in_flight();
            assert_eq!(in_flight, 3 - synced, "each permit is given back once");
            bench.work();
        }
        assert_eq!(bench.shared.watermark.durable(), Lsn::new(3));
        assert_eq!(bench.shared.admission.entries_in_flight(), 0);
        assert_eq!(bench.records().len(), 3);
        assert_eq!(worked.is_err(), looks <= before + after, "all of the first looks panic");
    }
    assert!(before > 0 && after > 0, "{before} before the sync and {after} after it");
}

#[test]
fn p8_under_resend_the_batch_is_written_again_and_its_first_copy_is_dead() {
    for op in [FaultOp::Write, FaultOp::Sync] {
        let mut bench = Bench::new(|_| {});
        bench.append(2);
        bench.work();
        bench.append(3);
        let cause = bench.fail(op, FaultEffect::FailAfter(errno::EIO));
        assert!(matches!(cause, Cause::Io(_)), "{cause}");
        bench.run.fault(&cause);
        assert!(!bench.shared.is_accepting());
        assert_eq!(bench.shared.watermark.durable(), Lsn::new(2));
        bench.append(1);
        bench.work();
        assert!(bench.shared.is_accepting());
        assert_eq!(bench.shared.watermark.durable(), Lsn::new(6), "all of it in the start frame");
        assert_eq!(bench.segments.taken(), [Need::Restart]);
        assert_eq!((bench.records().len(), bench.records_kept().len()), (6, 6));
    }
}

#[test]
fn p8_under_fail_fast_nothing_is_not_durable_before_the_cut_is() {
    let mut bench = Bench::new(|config| config.fault_policy = FaultPolicy::FailFast);
    bench.append(2);
    let cause = bench.fail(FaultOp::Sync, FaultEffect::FailAfter(errno::EIO));
    bench.append(2);
    bench.run.fault(&cause);
    assert!(bench.shared.fate(Lsn::new(2)).is_none(), "it may be on disk: no outcome yet");
    assert!(matches!(bench.shared.fate(Lsn::new(3)), Some(Fate::NotDurable(_))), "never written");
    assert_eq!(bench.records_kept().len(), 2);
    bench.work();
    assert!(matches!(bench.shared.fate(Lsn::new(1)), Some(Fate::NotDurable(_))));
    assert_eq!(bench.shared.admission.entries_in_flight(), 0);
    assert_eq!(bench.records_kept().len(), 0);
    bench.append(1);
    bench.work();
    assert_eq!(bench.records_kept().into_keys().collect::<Vec<_>>(), [Lsn::new(5)]);
}

#[test]
fn p25_what_was_on_its_way_when_something_was_given_up_is_given_up_before_the_next_epoch() {
    for policy in [FaultPolicy::FailFast, FaultPolicy::Resend] {
        let mut bench = Bench::new(|config| config.fault_policy = policy);
        let epoch = bench.shared.watermark.epoch();
        bench.append(1);
        let cause = bench.fail(FaultOp::Sync, FaultEffect::Fail(errno::EIO));
        // It has an LSN, and has not come out of the queue.
        let (late, gives_up) = (bench.next, policy == FaultPolicy::FailFast);
        bench.shared.watermark.raise_accepted(late);
        bench.run.fault(&cause);
        assert_eq!(bench.shared.watermark.has_ended(epoch), gives_up, "{policy:?}");
        if gives_up {
            assert_eq!(bench.run.work().unwrap(), Worked::NeedsSegment, "it waits for it");
            assert!(bench.shared.io.since().is_none(), "which is no sync that hangs");
        }
        bench.append(1);
        let fate = bench.shared.fate(late);
        assert_eq!(matches!(fate, Some(Fate::NotDurable(_))), gives_up, "{policy:?} {fate:?}");
        bench.work();
        bench.append(1);
        bench.settle();
        let kept: Vec<_> = bench.records().into_keys().map(Lsn::get).collect();
        assert_eq!(kept, if gives_up { vec![3] } else { vec![1, 2, 3] }, "{policy:?}");
        assert!(!bench.shared.watermark.has_ended(bench.shared.watermark.epoch()));
    }
}

#[test]
fn abandoned_entries_are_unknown_if_they_were_written_and_not_durable_if_not() {
    for policy in [FaultPolicy::Resend, FaultPolicy::FailFast] {
        let mut bench = Bench::new(|config| config.fault_policy = policy);
        bench.append(2);
        let cause = bench.fail(FaultOp::Sync, FaultEffect::Fail(errno::EIO));
        bench.append(2);
        bench.run.fault(&cause);
        bench.run.abandon(&cause);
        for (lsn, unknown) in [(1, true), (2, true), (3, false), (4, false)] {
            let fate = bench.shared.fate(Lsn::new(lsn)).unwrap();
            assert_eq!(matches!(fate, Fate::Unknown(_)), unknown, "{policy:?} {lsn}");
            assert_eq!(matches!(fate, Fate::NotDurable(_)), !unknown, "{policy:?} {lsn}");
        }
        assert_eq!(bench.shared.admission.entries_in_flight(), 0);
        assert_eq!(bench.next(), Next::Ended);
    }
}

#[test]
fn p21_a_full_disk_refuses_what_was_not_written_and_ends_by_itself() {
    let mut bench = Bench::new(|_| {});
    bench.append_bytes(25_000);
    bench.work();
    bench.segments.set(SupplyMode::Slow);
    let range = bench.append_bytes(9000);
    assert_eq!(bench.run.work().unwrap(), Worked::NeedsSegment);
    let waits_since = Some(bench.clock.now());
    bench.clock.advance(5 * MS);
    assert_eq!(bench.shared.io.since(), waits_since, "the watchdog sees the wait for a segment");
    bench.segments.set(SupplyMode::Full);
    assert_eq!(bench.run.work().unwrap(), Worked::NeedsSegment);
    assert!(bench.shared.io.since().is_none(), "full is not stuck");
    assert!(!bench.shared.is_accepting());
    let fate = bench.shared.fate(range.first);
    assert!(matches!(fate, Some(Fate::NotDurable(Cause::NoSpace(_)))), "{fate:?}");
    // What was on its way is refused too.
    bench.append(1);
    assert!(matches!(bench.shared.fate(Lsn::new(3)), Some(Fate::NotDurable(Cause::NoSpace(_)))));
    assert_eq!(bench.shared.admission.entries_in_flight(), 0);
    assert!(bench.run.take_events().iter().any(|event| matches!(event, LoopEvent::NoSpace(_))));
    assert_eq!(bench.segments.taken(), [], "the reserve is not touched");
    // A shortage meanwhile is said, and that the disk is still full after it.
    let mut waits_for = |mode| {
        bench.segments.set(mode);
        assert_eq!(bench.run.work().unwrap(), Worked::NeedsSegment);
        match &bench.run.take_events()[..] {
            [LoopEvent::Waiting(cause)] => cause.is_no_space(),
            other => panic!("{mode:?}: {other:?}"),
        }
    };
    assert!(!waits_for(SupplyMode::Short) && waits_for(SupplyMode::Full));

    bench.segments.set(SupplyMode::Plenty);
    bench.work();
    assert!(bench.shared.is_accepting());
    bench.append(1);
    bench.work();
    let kept: Vec<_> = bench.records().into_keys().map(Lsn::get).collect();
    assert_eq!(kept, [1, 4], "and a declared gap between them");
}

#[test]
fn p21_a_checkpoint_on_a_full_disk_needs_no_space() {
    let mut bench = Bench::new(|_| {});
    bench.fill(2);
    bench.segments.set(SupplyMode::Full);
    bench.append_bytes(9000);
    assert_eq!(bench.run.work().unwrap(), Worked::NeedsSegment);
    bench.run.take_events();
    bench.shared.requests.checkpoint(Lsn::new(1));
    bench.work();
    let events = bench.run.take_events();
    assert!(matches!(events[..], [LoopEvent::Checkpointed(_)]), "{events:?}");
    assert_eq!(bench.segments.recycled().len(), 1);
    assert_eq!(bench.records().into_keys().collect::<Vec<_>>(), [Lsn::new(2)]);
}

#[test]
fn p19_p21_what_a_hold_kept_on_a_full_disk_is_freed_as_soon_as_it_is_given_back() {
    let mut bench = Bench::new(|_| {});
    bench.fill(2);
    let now = bench.clock.now();
    let hold = bench.shared.catalog.keep(Lsn::new(1), "a transaction".into(), now).unwrap();
    bench.shared.requests.checkpoint(Lsn::new(1));
    bench.work();
    assert_eq!(bench.segments.recycled().len(), 0, "it is held");
    bench.segments.set(SupplyMode::Full);
    bench.append_bytes(9000);
    assert_eq!(bench.run.work().unwrap(), Worked::NeedsSegment);
    assert!(!bench.shared.is_accepting());
    bench.shared.unhold(hold);
    bench.settle();
    assert_eq!(bench.segments.recycled().len(), 1, "nobody has to ask again");
    assert_eq!(bench.records().into_keys().collect::<Vec<_>>(), [Lsn::new(2)]);
}

#[test]
fn p22_a_close_flushes_writes_the_close_frame_and_leaves_nothing_to_repair() {
    let mut bench = Bench::new(window);
    bench.append(2);
    bench.shared.requests.close();
    bench.work();
    bench.work();
    assert_eq!(bench.next(), Next::Ended);
    assert!(!bench.shared.is_accepting());
    let report = report_after_power_loss(&bench);
    assert!(report.clean);
    assert_eq!((report.carried, report.gaps.len(), report.next_lsn), (0, 0, Lsn::new(3)));
}

#[test]
fn p9_a_close_without_the_appender_leaves_every_lsn_that_it_may_give_out_meanwhile_unused() {
    let mut bench = Bench::new(window);
    bench.append(2);
    bench.shared.requests.forgo_close_frame();
    bench.shared.requests.close();
    bench.work();
    bench.work();
    assert_eq!(bench.next(), Next::Ended);
    // The Appender has not heard of it yet: this LSN is out, and its record will never be written.
    bench.shared.watermark.raise_accepted(Lsn::new(3));
    let report = report_after_power_loss(&bench);
    assert_eq!(report.last_lsn, Lsn::new(2));
    assert!(report.next_lsn > Lsn::new(3), "{report:?}");
}

fn report_after_power_loss(bench: &Bench) -> RecoveryReport {
    let disk = bench.disk.crash(Persist::Dropped);
    recover_from(&disk, &config(), None).unwrap().report
}

#[test]
fn a_close_waits_for_what_was_accepted_and_is_still_in_the_queue() {
    let mut bench = Bench::new(|_| {});
    // The Appender has given out LSN 1 and asked for the close; the entry has not come out yet.
    bench.shared.watermark.raise_accepted(Lsn::new(1));
    bench.shared.requests.close();
    assert_eq!(bench.next(), Next::Wait);
    bench.append(1);
    bench.work();
    assert_eq!(bench.shared.watermark.durable(), Lsn::new(1));
    bench.work();
    assert_eq!(bench.next(), Next::Ended);
}

/// Rotates so often that there are `complete` segments behind the one that is written, each with one record.
fn with_complete_segments(complete: usize) -> Bench {
    let mut bench = Bench::new(|_| {});
    bench.fill(complete + 1);
    assert_eq!(bench.shared.stats().rotations, complete as u64);
    bench
}

fn checkpoint(bench: &mut Bench, through: u64) {
    bench.shared.requests.checkpoint(Lsn::new(through));
    bench.settle();
    let done =
        |event: &LoopEvent| matches!(event, LoopEvent::Checkpointed(lsn) if lsn.get() == through);
    assert!(bench.run.take_events().iter().any(done), "checkpoint {through}");
}

#[test]
fn p19_a_checkpoint_that_removes_nothing_writes_nothing() {
    let mut bench = with_complete_segments(0);
    bench.append(2);
    bench.work();
    let written = bench.disk.fork();
    checkpoint(&mut bench, 2);
    assert_eq!(written.read_file(&segment_name(1)), bench.disk.read_file(&segment_name(1)));
    assert_eq!(bench.run.position().low_water, Lsn::NONE, "it travels with the next frame");
    bench.append(1);
    bench.work();
    assert_eq!(bench.run.position().low_water, Lsn::new(2));
}

/// The last block of a segment is kept for the close frame, however many checkpoints come before.
#[test]
fn p22_checkpoints_that_do_not_fit_go_on_in_the_next_segment_and_the_close_is_clean() {
    let mut bench = with_complete_segments(5);
    bench.append_bytes(5000);
    bench.work();
    for through in 1..=5 {
        checkpoint(&mut bench, through);
        assert_eq!(bench.segments.recycled().len() as u64, through);
    }
    assert_eq!(bench.shared.stats().rotations, 6, "one frame of them began a segment");
    bench.shared.requests.close();
    bench.work();
    let report = report_after_power_loss(&bench);
    assert!(report.clean && report.torn_tail.is_none(), "{report:?}");
    assert_eq!((report.low_water, report.last_lsn), (Lsn::new(5), Lsn::new(7)));
}

#[test]
fn p7_a_segment_whose_sync_failed_is_removed_and_never_used_again() {
    let mut bench = Bench::new(|_| {});
    bench.append(1);
    bench.work();
    bench.append_bytes(25_000);
    let cause = bench.fail(FaultOp::Sync, FaultEffect::FailAfter(errno::EIO));
    bench.run.fault(&cause);
    bench.work();
    bench.fill(2);
    checkpoint(&mut bench, 3);
    assert_eq!(bench.segments.removed(), [segment_name(1)]);
    assert_eq!(bench.segments.recycled(), [segment_name(2), segment_name(3)]);
}

/// A segment that an earlier life has prepared may be smaller than what is accepted at a time.
#[test]
fn a_start_frame_leaves_the_blocks_that_are_reserved_for_empty_frames() {
    let mut bench = Bench::on_segments(32 * 512, |_| {});
    // The header, 28 blocks for the frame, and 3 that are reserved.
    bench.append_bytes(28 * 512 - 108 - 5);
    bench.append(1);
    let cause = bench.fail(FaultOp::Write, FaultEffect::Fail(errno::EIO));
    bench.run.fault(&cause);
    bench.work();
    assert_eq!(bench.shared.watermark.durable(), Lsn::new(1), "the second one does not fit");
}

/// What is waited for after a fault is watched and charged to the restarts; on a full disk neither, or the
/// log would give up before there is space (promise P21).
#[test]
fn p21_a_segment_that_does_not_come_is_a_fault_after_a_fault_but_not_on_a_full_disk() {
    for full in [false, true] {
        let mut bench = Bench::new(|_| {});
        bench.append_bytes(25_000);
        if full {
            bench.work();
            bench.segments.set(SupplyMode::Full);
            bench.append_bytes(9000);
            assert_eq!(bench.run.work().unwrap(), Worked::NeedsSegment);
        } else {
            let cause = bench.fail(FaultOp::Sync, FaultEffect::FailAfter(errno::EIO));
            bench.run.fault(&cause);
        }
        bench.segments.set(SupplyMode::Slow);
        assert_eq!(bench.run.work().unwrap(), Worked::NeedsSegment);
        let watched = bench.shared.io.since().is_some();
        bench.segments.set(SupplyMode::Broken);
        let is_fault = bench.run.work().is_err();
        assert_eq!((watched, is_fault), (!full, !full), "full: {full}");
        bench.segments.set(SupplyMode::Plenty);
        bench.work();
        assert_eq!((bench.records().len(), bench.shared.is_accepting()), (1, true));
    }
}

/// No later byte of the old life vouches for what was carried into the start frame, nor does the start frame.
#[test]
fn what_was_carried_over_is_sealed_after_the_quiet_time_and_nothing_else_is() {
    for (records, next) in [(0, Next::Wait), (1, Next::WaitUntil(SOON))] {
        let mut bench = Bench::new(|_| {});
        for _ in 0..records {
            bench.append(1);
            bench.work();
        }
        let config = config();
        let later = Bench::on(bench.disk.crash(Persist::Dropped), &config, config.segment_size);
        assert_eq!(later.report.carried, records);
        assert_eq!(later.next(), next, "{records} carried");
    }
}

/// A segment is used to its last byte: records up to the three reserved blocks, and then each kind of empty frame.
#[test]
fn p22_a_segment_that_is_full_to_the_byte_has_room_for_a_seal_a_low_water_mark_and_the_close_frame()
{
    // Before it the header, and a start frame of 50 blocks; its own frame ends with a block.
    let fits = 64 * 512 - (51 + 3) * 512 - 108 - 5;
    for (len, rotations) in [(fits, 2), (fits + 1, 3)] {
        let mut bench = with_complete_segments(2);
        bench.append_bytes(len);
        bench.work();
        assert_eq!(bench.shared.stats().rotations, rotations, "{len} bytes");
    }
    // A second low-water mark would take the block of the close frame: it goes into the next segment.
    for (marks, rotations) in [(1, 2), (2, 3)] {
        let mut bench = with_complete_segments(2);
        bench.append_bytes(fits);
        bench.work();
        bench.clock.advance(SOON);
        bench.work();
        assert_eq!(bench.shared.stats().seals, 1);
        for mark in 1..=marks {
            checkpoint(&mut bench, mark);
            assert_eq!(bench.segments.recycled().len() as u64, mark);
        }
        bench.shared.requests.close();
        bench.work();
        assert_eq!(bench.shared.stats().rotations, rotations, "{marks} marks");
        let report = report_after_power_loss(&bench);
        assert!(report.clean && report.torn_tail.is_none(), "{report:?}");
        assert_eq!((report.low_water, report.last_lsn), (Lsn::new(marks), Lsn::new(4)));
    }
}
