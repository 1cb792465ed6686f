//! Guards P1, P2, P3, P4, P5, P8, P9, P11, P12, P13, P19, P22: the real actors run on a storage that writes
//! down every write and sync; then the power is cut after each of them, with what was not synced dropped,
//! kept or torn, and everything that a client had been told by then must hold.
//!
//! What a thread does when is up to the system, so a seed repeats the choices, not the interleaving; every
//! failure prints the operations that led to it. `POWER_CUT_SEED` sets the seed, `POWER_CUT_APPENDS` how
//! many appends a client makes in each life (more is longer).

#![allow(clippy::expect_used)] // Clippy knows a test by its attribute, not the helpers beside it.

use std::sync::Arc;

use actix_wal::FaultPolicy::{FailFast, Resend};
use actix_wal::storage::{Directory, Storage};
use actix_wal::testkit::FailedSync::{self, KeepsNewPages, RevertsPages};
use actix_wal::testkit::{
    FaultEffect, FaultOp, FaultPlan, FaultRule, FaultyStorage, Op, OpLog, Persist, Random,
    Recorder, SimDisk, errno,
};
use test_support::counts::Counts;
use test_support::environment::{number, seed};
use test_support::facts::Fact;
use test_support::history::{Life, World, config, live};
use test_support::judge::Judge;
use test_support::logs::on_segments;
use test_support::witness::Witness;

/// Appends of each client in each life, where nothing else is asked for.
const APPENDS: u32 = 45;

/// In how many images recovery itself is cut: one of so many.
const CUT_RECOVERY_EVERY: u64 = 40;

#[test]
fn the_real_flusher_on_real_files_keeps_every_promise_through_any_power_cut() {
    let place = test_support::scratch::place().join("power-cut");
    let _ = std::fs::remove_dir_all(&place);
    let directory = Directory::open(&place).expect("a directory");
    let lives = [Life::Calm, Life::Faulty(Resend), Life::Calm];
    cut_everywhere("real files", Arc::new(directory), KeepsNewPages, &lives);
    let _ = std::fs::remove_dir_all(&place);
}

#[test]
fn faults_that_are_resent_lose_and_repeat_nothing_through_any_power_cut() {
    let lives = [Life::Faulty(Resend), Life::Doomed, Life::Faulty(Resend)];
    cut_everywhere("resend", SimDisk::new().mount().expect("free"), KeepsNewPages, &lives);
}

#[test]
fn what_fails_fast_never_comes_back_through_any_power_cut() {
    let lives = [Life::Faulty(FailFast), Life::Doomed, Life::Faulty(FailFast)];
    cut_everywhere("fail fast", SimDisk::new().mount().expect("free"), KeepsNewPages, &lives);
}

#[test]
fn p1_p2_p8_a_disk_that_reverts_failed_syncs_keeps_every_promise_through_any_power_cut() {
    let lives = [Life::Faulty(Resend), Life::Doomed, Life::Faulty(FailFast), Life::Calm];
    let disk = SimDisk::new().with_failed_sync(RevertsPages);
    let failed = cut_everywhere("reverts", disk.mount().expect("free"), RevertsPages, &lives);
    assert!(failed > 0, "no sync has failed");
}

/// Records a history and cuts the power after each operation of it. Returns how many syncs had failed.
fn cut_everywhere(
    name: &str,
    disk: Arc<dyn Storage>,
    failed_sync: FailedSync,
    lives: &[Life],
) -> usize {
    let seed = seed("POWER_CUT_SEED");
    let (log, facts) = record(disk, lives, seed);
    let seen = sweep(name, seed, &log, &facts, failed_sync);
    let failed = log.ops().iter().filter(|op| matches!(op, Op::Sync { ok: false, .. })).count();
    let operations = log.len();
    println!("{name}: the images of {operations} operations held, {failed} syncs failed; {seen:?}");
    let wanted = [
        "recoveries that were cut twice",
        "carried frames",
        "torn tails",
        "low-water marks",
        "logs of two segments",
    ];
    seen.assert_seen(1, wanted);
    failed
}

fn record(disk: Arc<dyn Storage>, lives: &[Life], seed: u64) -> (OpLog, Vec<Fact>) {
    let (above, below) = (FaultPlan::new(), FaultPlan::new());
    let faulty = Arc::new(FaultyStorage::new(disk, below.clone()));
    let recorder = Recorder::new(faulty).expect("a recorder");
    let witness = Witness::new(recorder.log());
    let storage: Arc<dyn Storage> = Arc::new(FaultyStorage::new(Arc::new(recorder), above.clone()));
    let world = World { storage, above, below, witness };
    let appends = number("POWER_CUT_APPENDS").unwrap_or(APPENDS);
    actix::System::new().block_on(async {
        let mut random = Random::new(seed);
        for (round, life) in (1..).zip(lives) {
            for after in [20, 30, 40] {
                let eio = FaultRule::on(FaultOp::Sync, FaultEffect::Fail(errno::EIO));
                world.below.add(on_segments(eio).after(after).times(1));
            }
            live(&world, *life, appends, round, &mut random).await;
        }
    });
    (world.witness.log.clone(), world.witness.facts())
}

/// Cuts the power after each operation. What was seen.
fn sweep(name: &str, seed: u64, log: &OpLog, facts: &[Fact], failed_sync: FailedSync) -> Counts {
    let mut judge = Judge::new(config(), facts, !seed, CUT_RECOVERY_EVERY);
    let ops = log.ops();
    let mut cuts = log.cuts().with_failed_sync(failed_sync);
    while cuts.advance() {
        judge.learn(&cuts, facts);
        let position = cuts.position();
        // Marks cost no power: the cut after the last of them is the strictest.
        if matches!(ops.get(position), Some(Op::Mark(_))) {
            continue;
        }
        let holds = |how: &str, checked: Result<(), String>| {
            let Err(broken) = checked else { return };
            for (at, op) in ops.iter().enumerate().take(position).skip(position.saturating_sub(60))
            {
                println!("{at:6} {op}");
            }
            panic!("{name}, cut after {position} operations, {how}, seed {seed}: {broken}");
        };
        let torn = Persist::Torn { seed: judge.random.number() };
        for persist in [Persist::Dropped, Persist::Kept, torn] {
            let checked = judge.check_image(&cuts.image(persist));
            holds(&format!("{persist:?}"), checked.map(drop));
        }
        holds("killed", judge.check_kill(&cuts.killed()));
    }
    judge.seen
}
