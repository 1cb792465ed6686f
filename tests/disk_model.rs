//! Guards P1, P2, P7, P8, P10: what a disk may do besides losing power. A bit of a closed log rots, the
//! directory is copied while the log runs, and a failed sync takes the new bytes out of the page cache.
//!
//! `DISK_MODEL_SEED` sets the seed.

#![allow(clippy::expect_used)] // Clippy knows a test by its attribute, not the helpers beside it.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use test_support::environment;
use test_support::history;
use test_support::logs;
use test_support::small_logs;

use actix_wal::storage::Storage;
use actix_wal::testkit::Random;
use actix_wal::testkit::{
    Copying, Cuts, FailedSync, FaultEffect, FaultOp, FaultPlan, FaultRule, FaultyStorage, OpLog,
    Persist, Recorder, SimDisk, errno,
};
use actix_wal::{CommitError, DamagePolicy, FaultPolicy, Lsn, OpenError, Wal};
use test_support::facts::Fact;
use test_support::history::{Life, live};
use test_support::oracle::Oracle;
use test_support::small_logs::{closed_log, commit, expected, recover, recover_from, run};
use test_support::witness::Witness;

const EIO: FaultEffect = FaultEffect::Fail(errno::EIO);

fn seed() -> u64 {
    let clock = || {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
        since.as_nanos() as u64
    };
    let seed = environment::number("DISK_MODEL_SEED").unwrap_or_else(clock);
    println!("DISK_MODEL_SEED={seed}");
    seed
}

/// Every byte of every file, with one bit of it in turn: what is not refused has cost nothing.
#[test]
fn p10_bit_rot_in_any_byte_of_a_closed_log_is_refused_or_harmless() {
    const RECORDS: u64 = 12;
    let disk = closed_log(RECORDS);
    let all = recover(&disk.fork(), DamagePolicy::Refuse).expect("it is sound").records;
    assert_eq!(all, expected(1..=RECORDS));
    let mut random = Random::new(seed());
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
    let mut random = Random::new(seed());
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

/// The histories of `tests/power_cut.rs`, on a disk that reverts what a failed sync did not write.
#[test]
fn p1_p2_p8_a_disk_that_reverts_failed_syncs_keeps_every_promise_through_any_power_cut() {
    let mut random = Random::new(seed());
    for policy in [FaultPolicy::Resend, FaultPolicy::FailFast] {
        let disk = SimDisk::new().with_failed_sync(FailedSync::RevertsPages);
        let (above, below) = (FaultPlan::new(), FaultPlan::new());
        let faulty = FaultyStorage::mount(&disk, below.clone()).expect("free");
        let recorder = Recorder::new(Arc::new(faulty)).expect("a recorder");
        let witness = Witness::new(recorder.log());
        let storage = Arc::new(FaultyStorage::new(Arc::new(recorder), above.clone()));
        let world = history::World { storage, above, below, witness };
        run(async {
            for (round, life) in (1..).zip([Life::Faulty(policy), Life::Doomed, Life::Calm]) {
                for after in [20, 30, 40] {
                    let rule = FaultRule::on(FaultOp::Sync, EIO).after(after).times(1);
                    world.below.add(logs::on_segments(rule));
                }
                live(&world, life, 20, round, &mut random).await;
            }
        });
        let failed = cut_everywhere(&world.witness.log, &world.witness.facts(), &mut random);
        assert!(failed > 0, "no sync has failed");
    }
}

/// Cuts the power after each operation. Returns how many syncs had failed.
fn cut_everywhere(log: &OpLog, facts: &[Fact], random: &mut Random) -> usize {
    let (mut oracle, mut learned) = (Oracle::new(facts), 0);
    let mut cuts = log.cuts().with_failed_sync(FailedSync::RevertsPages);
    while cuts.advance() {
        for mark in &cuts.marks()[learned..] {
            oracle.learn(facts[mark.value as usize]);
        }
        learned = cuts.marks().len();
        let torn = cuts.image(Persist::Torn { seed: random.number() });
        for disk in [cuts.image(Persist::Dropped), cuts.image(Persist::Kept), torn, cuts.killed()] {
            let found = recover_from(&disk, &history::config(), None);
            let checked =
                found.map_err(|error| error.to_string()).and_then(|found| oracle.check(&found));
            if let Err(broken) = checked {
                let lines = log.lines();
                let before = &lines[cuts.position().saturating_sub(60)..cuts.position()];
                panic!("{broken}, after\n{}", before.join("\n"));
            }
        }
    }
    log.lines().iter().filter(|line| line.starts_with("sync ") && line.ends_with("failed")).count()
}
