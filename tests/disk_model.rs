//! Guards P1, P2, P7, P8, P10: what a disk may do besides losing power. A bit of a closed log rots, the
//! directory is copied while the log runs, and a failed sync takes the new bytes out of the page cache.
//!
//! `DISK_MODEL_SEED` sets the seed.

#![allow(clippy::expect_used)] // Clippy knows a test by its attribute, not the helpers beside it.

use std::sync::Arc;

use test_support::environment::seed;
use test_support::logs;
use test_support::small_logs;

use actix_wal::storage::Storage;
use actix_wal::testkit::Random;
use actix_wal::testkit::{
    Copying, Cuts, FailedSync, FaultEffect, FaultOp, FaultPlan, FaultRule, FaultyStorage, OpLog,
    Persist, Recorder, SimDisk, errno,
};
use actix_wal::{CommitError, DamagePolicy, FaultPolicy, Lsn, OpenError, Wal};
use test_support::small_logs::{closed_log, commit, expected, recover, run};

const EIO: FaultEffect = FaultEffect::Fail(errno::EIO);

/// Every byte of every file, with one bit of it in turn: what is not refused has cost nothing.
#[test]
fn p10_bit_rot_in_any_byte_of_a_closed_log_is_refused_or_harmless() {
    const RECORDS: u64 = 12;
    let disk = closed_log(RECORDS);
    let all = recover(&disk.fork(), DamagePolicy::Refuse).expect("it is sound").records;
    assert_eq!(all, expected(1..=RECORDS));
    let mut random = Random::new(seed("DISK_MODEL_SEED"));
    let (mut refused, mut harmless) = (0, 0);
    for name in disk.names() {
        let size = disk.read_file(&name).map_or(0, |content| content.len());
        for offset in 0..size as u64 {
            let bit = random.below(8) as u8;
            let rotten = disk.fork();
            assert!(rotten.rot(&name, offset, bit));
            match recover(&rotten, DamagePolicy::Refuse) {
                Ok(found) => {
                    assert_eq!(found.records, all, "bit {bit} of byte {offset} of {name}");
                    harmless += 1;
                }
                Err(OpenError::Damaged(_) | OpenError::NewerVersion { .. }) => refused += 1,
                Err(other) => panic!("bit {bit} of byte {offset} of {name}: {other}"),
            }
        }
    }
    println!("{refused} rotten bits were refused, {harmless} were harmless");
    assert!(refused > 3000 && harmless > 1000, "{refused}, {harmless}");
}

/// What became of the copies of a directory that were made while the log ran.
#[derive(Debug, Default)]
struct Copies {
    refused: u64,
    opened: u64,
    /// Opened, and not the whole log.
    shorter: u64,
}

#[test]
fn p2_p10_a_directory_copied_while_the_log_runs_is_refused_or_a_prefix() {
    let mut random = Random::new(seed("DISK_MODEL_SEED"));
    let log = written_while_copied();
    let mut cuts = log.cuts();
    let (mut under_way, mut copies): (Vec<(Copying, u64)>, _) = (Vec::new(), Copies::default());
    while cuts.advance() {
        under_way.extend((0..3).map(|_| {
            let pace = 1 << (6 + random.below(9));
            (cuts.begin_copy(random.number()), pace)
        }));
        under_way.retain_mut(|(copying, pace)| {
            let goes_on = copying.advance(random.below(2 * *pace) as usize);
            if !goes_on || random.below(30) == 0 {
                check_copy(&copying.copied(), &cuts, &mut copies);
            }
            goes_on
        });
    }
    println!("{copies:?}");
    assert!(copies.refused > 100 && copies.opened > 100 && copies.shorter > 100, "{copies:?}");
}

/// A log with rotations, a checkpoint, recycled segments, a fault, a close and a second life.
fn written_while_copied() -> OpLog {
    let recorder = Recorder::new(SimDisk::new().mount().expect("free")).expect("a recorder");
    let (log, plan) = (recorder.log(), FaultPlan::new());
    let storage: Arc<dyn Storage> = Arc::new(FaultyStorage::new(Arc::new(recorder), plan.clone()));
    run(async {
        for round in 0..2 {
            let mut config = small_logs::config();
            config.restart_budget = logs::config().restart_budget;
            let opened = Wal::open(config).on_storage(Arc::clone(&storage)).await;
            let wal = opened.expect("it opens");
            commit(&wal, 25).await;
            plan.add(logs::on_segments(FaultRule::on(FaultOp::Sync, EIO)).times(1));
            commit(&wal, 5).await;
            wal.checkpoint(Lsn::new(15 + 30 * round)).await.expect("released");
            commit(&wal, 15).await;
            wal.close().await.expect("closes");
        }
    });
    log
}

/// Records that were written, in order, without holes, from the low-water mark on; or a refusal.
fn check_copy(copy: &SimDisk, cuts: &Cuts, copies: &mut Copies) {
    let found = match recover(copy, DamagePolicy::Refuse) {
        Ok(found) => found,
        Err(OpenError::Damaged(_) | OpenError::SignsOfLog { .. }) => return copies.refused += 1,
        Err(other) => panic!("after {} operations: {other}", cuts.position()),
    };
    let report = &found.report;
    let is_gap = |lsn: u64| report.gaps.iter().any(|gap| gap.contains(Lsn::new(lsn)));
    let lsns = (report.low_water.get() + 1..=report.last_lsn.get()).filter(|lsn| !is_gap(*lsn));
    let at = format!("after {} operations: {:?} {report:?}", cuts.position(), copy.names());
    assert_eq!(found.records, expected(lsns), "{at}");
    let whole = recover(&cuts.killed(), DamagePolicy::Refuse).expect("the log itself opens");
    assert!(report.low_water <= whole.report.low_water, "{at}");
    assert!(report.last_lsn <= whole.report.last_lsn, "{at}");
    copies.opened += 1;
    copies.shorter += u64::from(report.last_lsn < whole.report.last_lsn);
}

const KINDS: [FailedSync; 2] = [FailedSync::KeepsNewPages, FailedSync::RevertsPages];

/// Each sync fails once, before or after its effect, while one client commits. Whatever the page cache
/// shows afterwards, readers of the running log and every later open see what was acknowledged.
#[test]
fn p1_p7_p8_a_failed_sync_is_final_whatever_reads_show_after_it() {
    for kind in KINDS {
        for policy in [FaultPolicy::Resend, FaultPolicy::FailFast] {
            for effect in [EIO, FaultEffect::FailAfter(errno::EIO)] {
                let mut hits = 0;
                while run(fail_one_sync(kind, policy, effect, hits)) {
                    hits += 1;
                }
                assert!(hits > 10, "the run is too short to prove anything: {hits}");
            }
        }
    }
}

/// Whether there was a sync to fail after so many others.
async fn fail_one_sync(
    kind: FailedSync,
    policy: FaultPolicy,
    effect: FaultEffect,
    after: u64,
) -> bool {
    let case = format!("{kind:?}, {policy:?}, {effect:?} after {after}");
    let disk = SimDisk::new().with_failed_sync(kind);
    let world = logs::World { disk, ..logs::World::new() };
    let mut config = logs::config();
    config.fault_policy = policy;
    let wal = world.open(config).await;
    let rule = FaultRule::on(FaultOp::Sync, effect).after(after).times(1);
    world.plan.add(logs::on_segments(rule));
    let (mut kept, mut refused) = (Vec::new(), Vec::new());
    for number in 0..14 {
        let payload = vec![number; 600];
        match wal.commit(payload.clone()).await {
            Ok(lsn) => kept.push((lsn, payload)),
            Err(CommitError::NotDurable { .. }) => refused.push(payload),
            Err(other) => panic!("{case}: {other}"),
        }
    }
    let hit = world.plan.hits() > 0;
    assert!(refused.len() <= usize::from(hit && policy == FaultPolicy::FailFast), "{case}");
    let mut reader = wal.read(Lsn::FIRST).await.expect("open");
    for (lsn, payload) in &kept {
        let record = reader.next().await.expect("a record").expect("it can be read");
        assert_eq!((record.lsn, &record.payload[..]), (*lsn, &payload[..]), "{case}");
    }
    drop(reader);
    let images = [Persist::Dropped, Persist::Kept, Persist::Torn { seed: after }];
    for persist in images {
        let found: Vec<_> = logs::records_on(&world.disk.crash(persist)).into_iter().collect();
        assert_eq!(found, kept, "{case}, {persist:?}");
    }
    assert_eq!(world.touched_again(), 0, "{case}: P7");
    wal.close().await.unwrap_or_else(|error| panic!("{case}: {error}"));
    hit
}
