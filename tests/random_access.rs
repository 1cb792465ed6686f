//! Guards P5, P8, P10, P13, P19 for readers that begin anywhere: whatever LSN one begins at, it gives what a walk over
//! the whole log gives from there, on logs with cuts, gaps, recycled segments and frames of every size; ranges,
//! and the files that hold them.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on has failed")]

use std::collections::BTreeMap;

use actix_wal::error::{ReadError, RotateError};
use actix_wal::messages::{LogEvent, ReadRange, Rotate};
use actix_wal::testkit::{FaultEffect, FaultOp, FaultRule, Persist, Random, SimDisk, errno};
use actix_wal::{Durability, FaultPolicy, FlushPolicy, Lsn, LsnRange, ReadStream, Wal, WalConfig};
use test_support::logs::{
    Ear, SOON, World, config, on_prepared, on_segments, records_on, until, within,
};

type Records = BTreeMap<Lsn, Vec<u8>>;

fn large_segments() -> WalConfig {
    let mut config = config();
    config.segment_size = 128 * 512;
    config.restart_budget.restarts = u32::MAX;
    config
}

async fn all(mut stream: ReadStream) -> Vec<(Lsn, Vec<u8>)> {
    let mut records = Vec::new();
    while let Some(batch) = within("read", stream.next_batch()).await {
        let batch = batch.unwrap();
        records.extend(batch.iter().map(|(lsn, payload)| (lsn, payload.to_vec())));
    }
    records
}

/// A life of a log with all that can happen to it. What is durable in the end.
async fn live(world: &World, random: &mut Random, known: &mut Records) {
    let wal = world.open(large_segments()).await;
    for _ in 0..60 {
        let payload =
            |random: &mut Random| vec![random.below(256) as u8; random.below(1500) as usize];
        let group: Vec<_> = match random.below(4) {
            0 => (0..=random.below(40)).map(|_| payload(random)).collect(),
            _ => vec![payload(random)],
        };
        if random.one_in(12) {
            let (op, times) = (if random.one_in(2) { FaultOp::Write } else { FaultOp::Sync }, 1);
            let fault = FaultEffect::FailAfter(errno::EIO);
            world.plan.add(on_segments(FaultRule::on(op, fault)).times(times));
        }
        let range = within("append", wal.append_all(group.clone())).await.unwrap();
        for (at, payload) in group.into_iter().enumerate() {
            known.insert(range.first.plus(at as u64), payload);
        }
        if random.one_in(3) {
            within("wait", wal.wait_for_lsn(range.last)).await.unwrap();
        }
        if random.one_in(20) {
            within("flush", wal.flush()).await.unwrap();
            let low_water = wal.status().low_water.get();
            let upto = low_water + random.below(wal.durable_lsn().get() - low_water + 1);
            within("checkpoint", wal.checkpoint(Lsn::new(upto))).await.unwrap();
        }
        if random.one_in(25) {
            within("rotate", wal.rotate()).await.unwrap();
        }
    }
    within("flush", wal.flush()).await.unwrap();
    world.plan.clear();
    check(&wal, random, known).await;
    within("close", wal.close()).await.unwrap();
    // A close that is cut off leaves a gap.
    until("the directory is free", || world.disk.mount().is_ok()).await;
}

/// From any LSN on, and in any range, a reader gives what there is.
async fn check(wal: &Wal, random: &mut Random, known: &mut Records) {
    let (low, high) = (wal.status().low_water, wal.durable_lsn());
    known.retain(|lsn, _| *lsn > low);
    let whole = all(wal.read(low.next()).await.unwrap()).await;
    assert!(known.iter().map(|(lsn, payload)| (*lsn, payload.clone())).eq(whole.iter().cloned()));
    let some = |random: &mut Random| Lsn::new(low.get() + 1 + random.below(high.get() - low.get()));
    if low == high {
        return;
    }
    for _ in 0..60 {
        let from = some(random);
        let mut stream = wal.read(from).await.unwrap();
        let first = within("read", stream.next()).await.map(|record| record.unwrap());
        let first = first.map(|record| (record.lsn, record.payload.to_vec()));
        assert_eq!(first.as_ref(), whole.iter().find(|(lsn, _)| *lsn >= from), "from {from}");
        let to = some(random).max(from);
        let range = LsnRange::new(from, to).unwrap();
        let found = all(wal.read_range(range).await.unwrap()).await;
        let wanted = whole.iter().filter(|(lsn, _)| range.contains(*lsn));
        assert!(found.iter().eq(wanted), "{range}");
    }
}

#[actix::test]
async fn p5_from_wherever_a_reader_begins_it_gives_what_a_walk_over_the_log_gives() {
    for seed in 0..12 {
        let mut random = Random::new(seed);
        let (world, mut known) = (World::new(), Records::new());
        for life in 0..3 {
            live(&world, &mut random, &mut known).await;
            let found = records_on(&world.disk);
            let live = found.iter().filter(|(lsn, _)| known.contains_key(lsn));
            assert!(live.eq(known.iter()), "seed {seed}, life {life}");
        }
        assert_eq!(world.touched_again(), 0, "P7");
    }
}

/// What a failed epoch has left behind the cut is as sound as any frame, and lies in the same file.
#[actix::test]
async fn p8_no_reader_finds_what_a_cut_has_taken_out_of_the_log() {
    let world = World::new();
    let mut config = large_segments();
    config.fault_policy = FaultPolicy::FailFast;
    let wal = world.open(config).await;
    for number in 0..40u8 {
        within("commit", wal.commit(vec![number; 300])).await.unwrap();
    }
    let fault = FaultRule::on(FaultOp::Sync, FaultEffect::FailAfter(errno::EIO));
    world.plan.add(on_segments(fault).times(1));
    let failed = within("commit", wal.commit(vec![200; 300])).await.unwrap_err();
    assert!(failed.is_not_durable(), "{failed}");
    until("it goes on", || wal.status().state.name() == "running").await;
    let next = within("commit", wal.commit(vec![41; 300])).await.unwrap();
    for from in 1..=next.get() {
        let found = all(wal.read(Lsn::new(from)).await.unwrap()).await;
        assert!(found.iter().all(|(_, payload)| payload[0] != 200), "from {from}");
        assert_eq!(found.last().map(|(lsn, _)| *lsn), Some(next), "from {from}");
        assert_eq!(found.len() as u64, if from <= 40 { 42 - from } else { 1 }, "from {from}");
    }
    wal.close().await.unwrap();
}

#[actix::test]
async fn a_range_that_is_not_all_there_is_refused_with_the_reason() {
    let world = World::new();
    let wal = world.open(config()).await;
    let range = |first, last| LsnRange::new(Lsn::new(first), Lsn::new(last)).unwrap();
    for number in 0..60u8 {
        wal.commit(vec![number; 200]).await.unwrap();
    }
    let error = wal.read_range(range(50, 61)).await.unwrap_err();
    assert!(matches!(error, ReadError::BeyondEnd { next, .. } if next.get() == 61), "{error}");
    // One that has an LSN, and stays where it is.
    let stuck = FaultRule::on(FaultOp::Sync, FaultEffect::Stuck);
    world.plan.add(on_segments(stuck).times(1));
    let on_its_way = wal.append("stuck").await.unwrap();
    assert!(world.plan.wait_until_stuck(SOON), "no sync was begun");
    let error = wal.read_range(range(50, 61)).await.unwrap_err();
    let is_open = |lsn: Lsn, durable: Lsn| (lsn.get(), durable.get()) == (61, 60);
    assert!(
        matches!(error, ReadError::NotDurable { lsn, durable } if is_open(lsn, durable)),
        "{error}"
    );
    world.plan.release();
    within("it becomes durable", wal.wait_for_lsn(on_its_way)).await.unwrap();
    assert_eq!(all(wal.read_range(range(50, 61)).await.unwrap()).await.len(), 12);
    wal.checkpoint(Lsn::new(30)).await.unwrap();
    assert_eq!(wal.status().low_water, Lsn::new(30));
    let error = wal.read_range(range(30, 40)).await.unwrap_err();
    assert!(matches!(error, ReadError::Released { released } if released.get() == 30), "{error}");
    let found = all(wal.read_range(range(31, 60)).await.unwrap().follow()).await;
    assert_eq!(found.len(), 30, "a range ends, whether anything follows or not");

    let mut cursor =
        wal.recipients().read_range.send(ReadRange(range(40, 41))).await.unwrap().unwrap();
    let batch = cursor.read().unwrap().unwrap();
    assert_eq!((batch.first_lsn(), batch.len()), (Some(Lsn::new(40)), 2));
    assert!(cursor.is_done() && cursor.read().unwrap().is_none());
    drop(cursor);
    wal.close().await.unwrap();
    let error = wal.read_range(range(31, 60)).await.unwrap_err();
    assert!(matches!(error, ReadError::Closed { .. }), "{error}");
}

/// What lies in the segments, by their own account, is what lies in the log.
#[actix::test]
async fn segments_are_listed_with_their_files_and_lsns_and_completed_on_request() {
    let world = World::new();
    let wal = world.open(large_segments()).await;
    let ear = Ear::on(&wal).await;
    assert_eq!(within("rotate", wal.rotate()).await.unwrap(), Lsn::NONE, "nothing is in it");
    assert_eq!(wal.segments().len(), 1);
    for number in 0..10u8 {
        wal.commit(vec![number; 100]).await.unwrap();
    }
    assert_eq!(within("rotate", wal.rotate()).await.unwrap(), Lsn::new(10));
    assert!(ear.heard(|event| {
        matches!(event, LogEvent::SegmentComplete { segment } if segment.live_end == Some(Lsn::new(10)))
    }));
    let again = wal.recipients().rotate.send(Rotate).await.unwrap();
    assert_eq!(again.unwrap(), Lsn::new(10), "the new one is empty");
    wal.commit("in the second").await.unwrap();

    let segments = wal.segments();
    assert_eq!(segments.len(), 2);
    assert_eq!(segments[0].lsns(), LsnRange::new(Lsn::FIRST, Lsn::new(10)));
    assert!(segments[0].is_complete() && !segments[1].is_complete());
    for segment in &segments {
        let file = world.disk.read_file(&segment.name).expect("it is there");
        assert_eq!(file.len() as u64, segment.size, "{}", segment.name);
    }
    // Appends that are on their way meanwhile lose nothing.
    let mut last = Lsn::NONE;
    for round in 0..20 {
        last = wal.append_with(vec![round; 900], Durability::Async).await.unwrap();
        if round % 4 == 0 {
            let through = within("rotate", wal.rotate()).await.unwrap();
            assert!(through <= wal.durable_lsn());
        }
    }
    wal.flush().await.unwrap();
    assert_eq!(wal.durable_lsn(), last);
    let lsns: u64 = wal.segments().iter().filter_map(|one| one.lsns()).map(LsnRange::count).sum();
    let left = all(wal.read(Lsn::new(lsns + 1)).await.unwrap()).await.len() as u64;
    assert_eq!(lsns + left, last.get());
    wal.close().await.unwrap();
    assert!(matches!(wal.rotate().await, Err(RotateError::Closed { .. })));
    assert_eq!(records_on(&world.disk).len() as u64, last.get());
}

/// The current segment has room: what can not be had is only the next one.
#[actix::test]
async fn p21_a_full_disk_refuses_to_complete_a_segment_and_no_append() {
    let world = World::new();
    let wal = world.open(large_segments()).await;
    wal.commit("before").await.unwrap();
    // One is kept back for a restart.
    while within("rotate", wal.rotate()).await.is_ok() {
        let full = on_prepared(FaultOp::Write, FaultEffect::Fail(errno::ENOSPC));
        world.plan.add(full);
        within("commit", wal.commit("one more")).await.unwrap();
    }
    let error = within("rotate", wal.rotate()).await.unwrap_err();
    assert!(matches!(&error, RotateError::NoSegment { .. }), "{error}");
    assert_eq!(wal.status().state.name(), "running");
    within("commit", wal.commit("in the same segment")).await.unwrap();
    world.plan.clear();
    until("there is space", || !wal.status().low_space).await;
    within("rotate", wal.rotate()).await.unwrap();
    wal.close().await.unwrap();
}

/// It has read ahead what was not written yet.
#[actix::test]
async fn p2_a_reader_that_stopped_within_a_frame_goes_on_with_what_was_written_since() {
    let world = World::new();
    let mut config = config();
    config.segment_size = 8 << 20;
    let wal = world.open(config).await;
    // The batch of a mebibyte ends in the second frame, behind which the same read reaches.
    for kib in [500, 800] {
        let group: Vec<_> = (0..kib).map(|_| vec![1; 1019]).collect();
        let range = within("append", wal.append_all(group)).await.unwrap();
        within("wait", wal.wait_for_lsn(range.last)).await.unwrap();
    }
    let mut stream = wal.read(Lsn::FIRST).await.unwrap();
    let first = within("read", stream.next_batch()).await.unwrap().unwrap();
    assert!((1000..1300).contains(&first.len()), "{}", first.len());
    let last = within("commit", wal.commit("written since")).await.unwrap();
    let rest = all(stream).await;
    assert_eq!(rest.len() + first.len(), 1301);
    assert_eq!(rest.last(), Some(&(last, b"written since".to_vec())));
    wal.close().await.unwrap();
}

/// A record that a crash has left in an old segment is found after it, too.
#[actix::test]
async fn a_gap_is_stepped_over_from_wherever_a_reader_begins() {
    let world = World::new();
    let mut config = large_segments();
    config.max_in_flight_entries = 100;
    config.flush_policy = FlushPolicy::Eager;
    let wal = world.open(config.clone()).await;
    for number in 0..20u8 {
        wal.commit(vec![number; 100]).await.unwrap();
    }
    let crashed: SimDisk = world.disk.crash(Persist::Dropped);
    wal.close().await.unwrap();
    let storage = crashed.mount().unwrap();
    let wal = within("open", Wal::open(config).on_storage(storage)).await.unwrap();
    let next = wal.commit("after the gap").await.unwrap();
    assert!(next.get() > 100, "{next}");
    for from in 1..=next.get() {
        let found = all(wal.read(Lsn::new(from)).await.unwrap()).await;
        assert_eq!(found.last().map(|(lsn, _)| *lsn), Some(next));
        assert_eq!(found.len() as u64, if from <= 20 { 22 - from } else { 1 }, "from {from}");
    }
    wal.close().await.unwrap();
}
