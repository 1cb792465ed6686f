//! Guards P1, P2, P3, P4, P5, P8, P9, P11, P12, P13, P19, P22: the real actors run on a storage that writes
//! down every write and sync; then the power is cut after each of them, with what was not synced dropped,
//! kept or torn, and everything that a client had been told by then must hold.
//!
//! What a thread does when is up to the system, so a seed repeats the choices, not the interleaving; every
//! failure prints the operations that led to it. `POWER_CUT_SEED` sets the seed, `POWER_CUT_APPENDS` how
//! many appends a client makes in each life (more is longer).

#![allow(clippy::expect_used)] // Clippy knows a test by its attribute, not the helpers beside it.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use actix_wal::FaultPolicy::{FailFast, Resend};
use actix_wal::storage::{Directory, Storage};
use actix_wal::testkit::Random;
use actix_wal::testkit::{FaultPlan, FaultyStorage, Op, OpLog, Persist, Recorder, SimDisk};
use test_support::environment::number;
use test_support::facts::Fact;
use test_support::history::{Life, World, config, live};
use test_support::judge::Judge;
use test_support::witness::Witness;

/// Appends of each client in each life, where nothing else is asked for.
const APPENDS: u32 = 45;

/// In how many images recovery itself is cut: one of so many.
const CUT_RECOVERY_EVERY: u64 = 40;

fn seed() -> u64 {
    let clock = || {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
        since.as_nanos() as u64
    };
    number("POWER_CUT_SEED").unwrap_or_else(clock)
}

#[test]
fn the_real_flusher_on_real_files_keeps_every_promise_through_any_power_cut() {
    let place = test_support::scratch::place().join("power-cut");
    let _ = std::fs::remove_dir_all(&place);
    let directory = Directory::open(&place).expect("a directory");
    let lives = [Life::Calm, Life::Faulty(Resend), Life::Calm];
    cut_everywhere("real files", Arc::new(directory), &lives);
    let _ = std::fs::remove_dir_all(&place);
}

#[test]
fn faults_that_are_resent_lose_and_repeat_nothing_through_any_power_cut() {
    let lives = [Life::Faulty(Resend), Life::Doomed, Life::Faulty(Resend)];
    cut_everywhere("resend", SimDisk::new().mount().expect("free"), &lives);
}

#[test]
fn what_fails_fast_never_comes_back_through_any_power_cut() {
    let lives = [Life::Faulty(FailFast), Life::Doomed, Life::Faulty(FailFast)];
    cut_everywhere("fail fast", SimDisk::new().mount().expect("free"), &lives);
}

/// Records a history and cuts the power after each operation of it.
fn cut_everywhere(name: &str, disk: Arc<dyn Storage>, lives: &[Life]) {
    let seed = seed();
    println!("{name}: POWER_CUT_SEED={seed}");
    let (log, facts) = record(disk, lives, seed);
    let mut sweep = Sweep::new(name, seed, log, &facts);
    sweep.run(&facts);
    let seen = sweep.judge.seen;
    let failed =
        sweep.log.ops().iter().filter(|op| matches!(op, Op::Sync { ok: false, .. })).count();
    let operations = sweep.log.len();
    println!("{name}: the images of {operations} operations held, {failed} syncs failed; {seen:?}");
    assert!(
        seen.cut_twice > 0
            && seen.carried > 0
            && seen.torn > 0
            && seen.released > 0
            && seen.segments > 1,
        "{seen:?}"
    );
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
            live(&world, *life, appends, round, &mut random).await;
        }
    });
    (world.witness.log.clone(), world.witness.facts())
}

/// A walk over all prefixes of a history.
struct Sweep<'a> {
    name: &'a str,
    seed: u64,
    log: OpLog,
    judge: Judge,
}

impl<'a> Sweep<'a> {
    fn new(name: &'a str, seed: u64, log: OpLog, facts: &[Fact]) -> Self {
        let judge = Judge::new(config(), facts, !seed, CUT_RECOVERY_EVERY);
        Sweep { name, seed, log, judge }
    }

    fn run(&mut self, facts: &[Fact]) {
        let ops = self.log.ops();
        let mut cuts = self.log.cuts();
        let mut learned = 0;
        while cuts.advance() {
            for mark in &cuts.marks()[learned..] {
                self.judge.oracle.learn(facts[mark.value as usize]);
            }
            learned = cuts.marks().len();
            // Marks cost no power: the cut after the last of them is the strictest.
            if matches!(ops.get(cuts.position()), Some(Op::Mark(_))) {
                continue;
            }
            let torn = Persist::Torn { seed: self.judge.random.number() };
            for persist in [Persist::Dropped, Persist::Kept, torn] {
                let disk = cuts.image(persist);
                if let Err(broken) = self.judge.check_image(&disk) {
                    self.report(&ops, cuts.position(), &format!("{persist:?}"), &broken);
                }
            }
            if let Err(broken) = self.judge.check_kill(&cuts.killed()) {
                self.report(&ops, cuts.position(), "killed", &broken);
            }
        }
    }

    fn report(&self, ops: &[Op], position: usize, how: &str, broken: &str) -> ! {
        for (at, op) in ops.iter().enumerate().take(position).skip(position.saturating_sub(60)) {
            println!("{at:6} {op}");
        }
        let Sweep { name, seed, .. } = self;
        panic!("{name}, cut after {position} operations, {how}, seed {seed}: {broken}");
    }
}
