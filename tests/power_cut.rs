//! Guards P1, P2, P3, P4, P5, P8, P9, P11, P12, P13, P19, P22: the real actors run on a storage that writes
//! down every write and sync; then the power is cut after each of them, with what was not synced dropped,
//! kept or torn, and everything that a client had been told by then must hold.
//!
//! What a thread does when is up to the system, so a seed repeats the choices, not the interleaving; every
//! failure prints the operations that led to it. `POWER_CUT_SEED` sets the seed, `POWER_CUT_APPENDS` how
//! many appends a client makes in each life (more is longer).

#![allow(clippy::expect_used)] // Clippy knows a test by its attribute, not the helpers beside it.

#[path = "common/facts.rs"]
mod facts;
#[path = "power_cut/history.rs"]
mod history;
#[path = "common/oracle.rs"]
mod oracle;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use actix_wal::FaultPolicy::{FailFast, Resend};
use actix_wal::storage::{Directory, Storage};
use actix_wal::testkit::{FaultPlan, FaultyStorage, Op, OpLog, Persist, Recorder, SimDisk};
use actix_wal::{Link, OpenError};
use facts::{Fact, Random};
use history::{Life, Witness, World, config, live};
use oracle::{Oracle, Recovered};

/// Appends of each client in each life, where nothing else is asked for.
const APPENDS: u32 = 45;

/// In how many images recovery itself is cut: one of so many.
const CUT_RECOVERY_EVERY: u64 = 40;

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().expect("a number"))
}

fn seed() -> u64 {
    let clock = || {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
        since.as_nanos() as u64
    };
    from_environment("POWER_CUT_SEED").unwrap_or_else(clock)
}

#[test]
fn the_real_flusher_on_real_files_keeps_every_promise_through_any_power_cut() {
    let place = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("power-cut");
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
    let Sweep { images, seen, .. } = &sweep;
    let failed =
        sweep.log.ops().iter().filter(|op| matches!(op, Op::Sync { ok: false, .. })).count();
    let operations = sweep.log.len();
    println!(
        "{name}: {images} images of {operations} operations held, {failed} syncs failed; {seen:?}"
    );
    assert!(
        seen.carried > 0 && seen.torn > 0 && seen.released > 0 && seen.segments > 1,
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
    let appends = from_environment("POWER_CUT_APPENDS").map_or(APPENDS, |number| number as u32);
    actix::System::new().block_on(async {
        let mut random = Random::new(seed);
        for (round, life) in (1..).zip(lives) {
            live(&world, *life, appends, round, &mut random).await;
        }
    });
    (world.witness.log.clone(), world.witness.facts())
}

/// What happened in a history or was seen in its images: a sweep that saw none of it proves little.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    carried: u64,
    torn: u64,
    gaps: u64,
    released: u64,
    segments: u64,
}

impl Seen {
    fn note(&mut self, report: &actix_wal::RecoveryReport) {
        self.carried += u64::from(report.carried > 0);
        self.torn += u64::from(report.torn_tail.is_some());
        self.gaps += u64::from(!report.gaps.is_empty());
        self.released += u64::from(!report.low_water.is_none());
        self.segments = self.segments.max(report.segments);
    }
}

/// A walk over all prefixes of a history.
struct Sweep<'a> {
    name: &'a str,
    seed: u64,
    log: OpLog,
    oracle: Oracle,
    random: Random,
    images: u64,
    seen: Seen,
}

impl<'a> Sweep<'a> {
    fn new(name: &'a str, seed: u64, log: OpLog, facts: &[Fact]) -> Self {
        Sweep {
            name,
            seed,
            log,
            oracle: Oracle::new(facts),
            random: Random::new(!seed),
            images: 0,
            seen: Seen::default(),
        }
    }

    fn run(&mut self, facts: &[Fact]) {
        let ops = self.log.ops();
        let mut cuts = self.log.cuts();
        let mut learned = 0;
        while cuts.advance() {
            for mark in &cuts.marks()[learned..] {
                self.oracle.learn(facts[mark.value as usize]);
            }
            learned = cuts.marks().len();
            // Marks cost no power: the cut after the last of them is the strictest.
            if matches!(ops.get(cuts.position()), Some(Op::Mark(_))) {
                continue;
            }
            let torn = Persist::Torn { seed: self.random.number() };
            for persist in [Persist::Dropped, Persist::Kept, torn] {
                let disk = cuts.image(persist);
                if let Err(broken) = self.check_image(&disk) {
                    self.report(&ops, cuts.position(), &format!("{persist:?}"), &broken);
                }
            }
            if let Err(broken) = self.check_kill(&cuts.killed()) {
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

    /// P12: a process is killed, the next one recovers from the page cache, then the power fails.
    fn check_kill(&mut self, disk: &SimDisk) -> Result<(), String> {
        self.images += 2;
        let first = self.recover_and_check(disk.mount().expect("free"))?;
        let seed = self.random.number();
        let persist =
            if seed.is_multiple_of(2) { Persist::Dropped } else { Persist::Torn { seed } };
        let later = disk.crash(persist);
        // A recovered log is not a closed one.
        let closed = std::mem::replace(&mut self.oracle.closed, false);
        let second = self.recover_and_check(later.mount().expect("free"))?;
        self.oracle.closed = closed;
        if second.records != first.records {
            return Err("P12: what was replayed was not durable".to_owned());
        }
        Ok(())
    }

    /// Recovers from an image, twice in a row, and now and then cuts the recovery itself.
    fn check_image(&mut self, disk: &SimDisk) -> Result<(), String> {
        let first = self.check_recovery(disk.mount().expect("free"))?;
        let again = recover(disk.mount().expect("free")).map_err(|e| format!("again: {e}"))?;
        if again.records != first.records {
            return Err("P11: the second recovery gives other records".to_owned());
        }
        if again.report.next_lsn < first.report.next_lsn {
            return Err("P9: the second recovery gives LSNs out again".to_owned());
        }
        Ok(())
    }

    fn check_recovery(&mut self, storage: Arc<dyn Storage>) -> Result<Recovered, String> {
        self.images += 1;
        if self.random.below(CUT_RECOVERY_EVERY) > 0 {
            return self.recover_and_check(storage);
        }
        let recorder = Recorder::new(storage).map_err(|error| error.to_string())?;
        let log = recorder.log();
        let recovered = self.recover_and_check(Arc::new(recorder))?;
        let closed = std::mem::replace(&mut self.oracle.closed, false);
        let mut cuts = log.cuts();
        while cuts.advance() {
            for persist in [Persist::Dropped, Persist::Torn { seed: self.random.number() }] {
                self.images += 1;
                let disk = cuts.image(persist);
                let again = self.recover_and_check(disk.mount().expect("free"));
                let op = cuts.last_op();
                let again =
                    again.map_err(|e| format!("recovery cut after {op:?}, {persist:?}: {e}"))?;
                if again.records != recovered.records {
                    return Err(format!("P11: recovery cut after {op:?} gives other records"));
                }
            }
        }
        self.oracle.closed = closed;
        Ok(recovered)
    }

    fn recover_and_check(&mut self, storage: Arc<dyn Storage>) -> Result<Recovered, String> {
        let recovered = recover(storage).map_err(|error| format!("it does not open: {error}"))?;
        self.oracle.check(&recovered)?;
        self.seen.note(&recovered.report);
        Ok(recovered)
    }
}

fn recover(storage: Arc<dyn Storage>) -> Result<Recovered, OpenError> {
    let config = config();
    let link = Link::new(&config);
    let mut records = Vec::new();
    let mut sink = |batch: actix_wal::RecordBatch, _| {
        records.extend(batch.iter().map(|(lsn, payload)| (lsn.get(), payload.to_vec())));
        Ok(())
    };
    let recovered =
        actix_wal::engine::recovery::recover(storage, &config, &link.shared, None, &mut sink)?;
    let report = recovered.report().clone();
    Ok(Recovered { records, report })
}
