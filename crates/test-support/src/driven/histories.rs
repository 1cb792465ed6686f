//! The histories: short lives of a log, one after the other, which together use every feature.

use std::sync::Arc;
use std::time::Duration;

use actix_wal::storage::{Medium, Storage};
use actix_wal::testkit::{
    Cuts, FailedSync, FaultEffect, FaultOp, FaultPlan, FaultRule, FaultyStorage, OpLog, Persist,
    Random, Recorder, SimDisk, errno,
};
use actix_wal::{
    Bounds, Durability, FaultPolicy, FlushPolicy, OpenError, RestartBudget, WalConfig,
};

use super::Log;
use super::meanwhile::{Turns, meanwhile};
use crate::counts::Counts;
use crate::facts::Fact;
use crate::settings::segments_of;
use crate::witness::Witness;

/// What a client or the world does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Do {
    /// One record that somebody waits for.
    Commit,
    /// One record that is flushed at once.
    Now,
    /// One record that nobody waits for.
    Async,
    /// An atomic group.
    Group,
    /// A record of several blocks.
    Large,
    /// The flush thread does one thing.
    Step,
    /// It does all it can do now.
    Settle,
    /// It does what is due after some time: a window, or a seal.
    Wait,
    /// The preparer makes a piece of a segment.
    Prepare,
    /// All but the last records are released.
    Checkpoint,
    /// Something fails above the disk, which then knows nothing of it.
    Fault,
    /// A write or sync fails in the disk, which then loses what it should have written.
    DiskFault,
    /// Something fails while a segment is prepared; a sync in the disk.
    PrepareFault,
    /// Nothing works any more.
    Doom,
    /// The disk is full, until the next `Space`.
    Fill,
    Space,
}

/// How a life ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Close,
    /// The process is killed; the next life finds what the page cache holds.
    Kill,
    /// The power fails at some operation; the next life finds what is left.
    PowerCut,
}

#[derive(Clone, Copy, Debug)]
pub struct Life {
    /// What happens, each with its weight.
    does: &'static [(Do, u64)],
    steps: u32,
    end: End,
}

#[derive(Clone, Copy, Debug)]
pub struct History {
    pub name: &'static str,
    policy: FaultPolicy,
    medium: Medium,
    /// How large the blocks of its log are; it has as many, whatever that is.
    pub block_size: u32,
    lives: &'static [Life],
}

const APPENDS: &[(Do, u64)] = &[
    (Do::Commit, 4),
    (Do::Now, 2),
    (Do::Async, 3),
    (Do::Group, 2),
    (Do::Large, 1),
    (Do::Settle, 5),
    (Do::Wait, 3),
];
const ROTATION: &[(Do, u64)] =
    &[(Do::Commit, 2), (Do::Group, 3), (Do::Large, 5), (Do::Settle, 5), (Do::Prepare, 1)];
const RECYCLING: &[(Do, u64)] = &[
    (Do::Commit, 2),
    (Do::Async, 1),
    (Do::Group, 2),
    (Do::Large, 5),
    (Do::Settle, 6),
    (Do::Checkpoint, 2),
    (Do::Prepare, 4),
    (Do::Wait, 1),
];
const FAULTS: &[(Do, u64)] = &[
    (Do::Commit, 4),
    (Do::Async, 2),
    (Do::Group, 3),
    (Do::Large, 2),
    (Do::Step, 2),
    (Do::Settle, 5),
    (Do::Wait, 1),
    (Do::Checkpoint, 1),
    (Do::Prepare, 2),
    (Do::Fault, 2),
    (Do::DiskFault, 2),
];
const FAILED_SYNCS: &[(Do, u64)] =
    &[(Do::Commit, 4), (Do::Group, 3), (Do::Large, 1), (Do::Settle, 5), (Do::DiskFault, 3)];
const PREPARE_FAULTS: &[(Do, u64)] = &[
    (Do::Commit, 2),
    (Do::Large, 5),
    (Do::Settle, 5),
    (Do::Checkpoint, 2),
    (Do::Prepare, 5),
    (Do::PrepareFault, 3),
];
const DOOM: &[(Do, u64)] =
    &[(Do::Commit, 4), (Do::Async, 3), (Do::Group, 3), (Do::Settle, 2), (Do::Doom, 1)];
const FULL: &[(Do, u64)] = &[
    (Do::Commit, 2),
    (Do::Large, 5),
    (Do::Settle, 5),
    (Do::Checkpoint, 2),
    (Do::Prepare, 3),
    (Do::Fill, 2),
    (Do::Space, 2),
];
const EVERYTHING: &[(Do, u64)] = &[
    (Do::Commit, 4),
    (Do::Now, 2),
    (Do::Async, 3),
    (Do::Group, 3),
    (Do::Large, 4),
    (Do::Step, 2),
    (Do::Settle, 7),
    (Do::Wait, 3),
    (Do::Prepare, 3),
    (Do::Checkpoint, 2),
    (Do::Fault, 1),
    (Do::DiskFault, 1),
    (Do::PrepareFault, 1),
];

const fn life(does: &'static [(Do, u64)], steps: u32, end: End) -> Life {
    Life { does, steps, end }
}

/// A life that ends as soon as the log is open: what fails is its recovery.
const fn stillborn(end: End) -> Life {
    Life { does: &[], steps: 0, end }
}

const fn history(name: &'static str, policy: FaultPolicy, lives: &'static [Life]) -> History {
    History { name, policy, medium: Medium::InPlace, block_size: 512, lives }
}

use End::{Close, Kill, PowerCut};
use FaultPolicy::{FailFast, Resend};

pub const HISTORIES: &[History] = &[
    history("modes", Resend, &[life(APPENDS, 60, Close)]),
    history("rotation", Resend, &[life(ROTATION, 50, Close)]),
    history("recycling", Resend, &[life(RECYCLING, 80, Close), life(RECYCLING, 50, Kill)]),
    history(
        "closed and opened",
        Resend,
        &[
            life(APPENDS, 15, Close),
            stillborn(Close),
            life(ROTATION, 20, Close),
            life(APPENDS, 15, Close),
        ],
    ),
    history("resend", Resend, &[life(FAULTS, 70, Close), life(FAULTS, 30, Close)]),
    history("fail fast", FailFast, &[life(FAULTS, 70, Close), life(FAULTS, 30, Close)]),
    history("failed syncs, resend", Resend, &[life(FAILED_SYNCS, 60, Close)]),
    history("failed syncs, fail fast", FailFast, &[life(FAILED_SYNCS, 60, Close)]),
    history(
        "failing preparation",
        Resend,
        &[life(PREPARE_FAULTS, 60, Kill), life(ROTATION, 20, Close)],
    ),
    history("poisoned", FailFast, &[life(DOOM, 40, Kill), life(APPENDS, 30, Close)]),
    history("poisoned, resend", Resend, &[life(DOOM, 40, Close), life(APPENDS, 30, Close)]),
    history("full disk", Resend, &[life(FULL, 60, Close), life(APPENDS, 15, Close)]),
    history(
        "killed",
        Resend,
        &[
            life(RECYCLING, 30, Kill),
            stillborn(Kill),
            life(APPENDS, 30, Kill),
            life(APPENDS, 20, Close),
        ],
    ),
    history("power cut", Resend, &[life(RECYCLING, 60, PowerCut), life(RECYCLING, 40, Close)]),
    history(
        "power cut, fail fast",
        FailFast,
        &[life(FAULTS, 60, PowerCut), life(FAULTS, 40, Close)],
    ),
    history(
        "power cut in recovery",
        Resend,
        &[life(RECYCLING, 50, PowerCut), stillborn(PowerCut), life(APPENDS, 30, Close)],
    ),
    history(
        "power cut in recovery, twice",
        Resend,
        &[
            life(FAULTS, 50, PowerCut),
            stillborn(PowerCut),
            stillborn(PowerCut),
            life(ROTATION, 30, PowerCut),
            life(APPENDS, 20, Close),
        ],
    ),
    History {
        medium: Medium::CopyOnWrite,
        ..history(
            "copy on write",
            Resend,
            &[life(RECYCLING, 50, PowerCut), life(FAULTS, 40, Close)],
        )
    },
    history("everything", Resend, &[life(EVERYTHING, 90, PowerCut), life(EVERYTHING, 60, Close)]),
    history(
        "everything, fail fast",
        FailFast,
        &[life(EVERYTHING, 90, Kill), life(EVERYTHING, 60, PowerCut), life(EVERYTHING, 30, Close)],
    ),
];

/// How many zeros are written at once into a segment with the smallest blocks, in bytes: a quarter, in whole ones.
pub const PIECE: usize = 4 * 512;

/// What was recorded between two power cuts.
pub struct Stage {
    pub log: OpLog,
    /// All that was ever known, also before the recording began.
    pub facts: Vec<Fact>,
    /// How much of that was known when the recording began.
    pub known: usize,
    /// What its lives did; one that did little proves little.
    pub done: Counts,
    /// What reads show after a failed sync.
    pub failed_sync: FailedSync,
}

impl Stage {
    /// A walk over its operations, on a disk like that on which they were done.
    pub fn cuts(&self) -> Cuts {
        self.log.cuts().with_failed_sync(self.failed_sync)
    }
}

impl History {
    pub fn config(&self) -> WalConfig {
        let mut config = segments_of(14 * u64::from(self.block_size));
        config.block_size = self.block_size;
        config.max_in_flight_entries = 24;
        config.flush_policy = FlushPolicy::Adaptive(Bounds::default());
        config.seal_after = Duration::from_millis(5);
        config.fault_policy = self.policy;
        config.restart_budget = RestartBudget { restarts: 4, ..RestartBudget::default() };
        config
    }

    /// Records the history that this seed gives: a stage ends with each power cut.
    pub fn record(&self, seed: u64) -> Vec<Stage> {
        let mut random = Random::new(seed);
        let failed_sync =
            if random.below(2) == 0 { FailedSync::KeepsNewPages } else { FailedSync::RevertsPages };
        let mut disk = SimDisk::with_medium(self.medium).with_failed_sync(failed_sync);
        let (mut known, mut stages, mut lives) = (Vec::new(), Vec::new(), self.lives);
        let mut number = 0;
        while !lives.is_empty() {
            let together = lives.iter().take_while(|life| life.end != PowerCut).count() + 1;
            let (stage, rest) = lives.split_at(together.min(lives.len()));
            lives = rest;
            let recorded =
                self.record_stage(&disk, failed_sync, stage, known, &mut number, &mut random);
            let recorded = recorded.unwrap_or_else(|error| {
                panic!("{} with seed {seed}: life {number} does not open: {error}", self.name)
            });
            if lives.is_empty() {
                stages.push(recorded);
                break;
            }
            (disk, known) = cut_somewhere(&recorded, stage, &mut random);
            stages.push(recorded);
        }
        stages
    }

    fn record_stage(
        &self,
        disk: &SimDisk,
        failed_sync: FailedSync,
        lives: &[Life],
        known: Vec<Fact>,
        number: &mut u32,
        random: &mut Random,
    ) -> Result<Stage, OpenError> {
        let [above, tearing, below] = [(); 3].map(|()| FaultPlan::new());
        let faulty = FaultyStorage::mount(disk, below.clone()).expect("free");
        let recorder = Recorder::new(Arc::new(faulty)).expect("a recorder");
        let log = recorder.log();
        let witness = Witness::with(log.clone(), known.clone());
        let storage = Arc::new(FaultyStorage::new(Arc::new(recorder), tearing.clone()));
        let storage = Arc::new(FaultyStorage::new(storage, above.clone()));
        let turns = Turns::new(random.number());
        let storage = meanwhile(storage, turns.clone());
        let disk = disk.clone();
        let world = World { disk, failed_sync, storage, turns, above, tearing, below, witness };
        let mut done = Counts::default();
        for life in lives {
            *number += 1;
            done.add(&world.live(self, life, *number, random)?);
        }
        let facts = world.witness.facts();
        Ok(Stage { log, facts, known: known.len(), done, failed_sync })
    }
}

/// The disk, and what was known, when the power failed at some operation. Of a life without steps that is
/// its recovery; of others not their first operations.
fn cut_somewhere(stage: &Stage, lives: &[Life], random: &mut Random) -> (SimDisk, Vec<Fact>) {
    let len = stage.log.len() as u64;
    let first = if lives.iter().all(|life| life.steps == 0) { 0 } else { len / 3 };
    let position = first + random.below(len - first);
    let mut cuts = stage.cuts();
    while (cuts.position() as u64) < position && cuts.advance() {}
    let seed = random.number();
    let persist =
        if seed.is_multiple_of(2) { Persist::Torn { seed } } else { Persist::Garbled { seed } };
    let known = cuts.marks().last().map_or(stage.known, |mark| mark.value as usize + 1);
    (cuts.image(persist), stage.facts[..known].to_vec())
}

/// Where a history takes place.
struct World {
    disk: SimDisk,
    failed_sync: FailedSync,
    storage: Arc<dyn Storage>,
    /// In some flushes the preparer does something between the write and the sync.
    turns: Turns,
    /// Faults that the disk knows nothing of.
    above: FaultPlan,
    /// Writes that fail after the disk has done a part of them.
    tearing: FaultPlan,
    /// Faults of the disk, which loses what a failed sync should have written.
    below: FaultPlan,
    witness: Witness,
}

impl World {
    fn live(
        &self,
        history: &History,
        life: &Life,
        number: u32,
        random: &mut Random,
    ) -> Result<Counts, OpenError> {
        let config = history.config();
        let (storage, witness) = (Arc::clone(&self.storage), self.witness.clone());
        let mut log = Log::open(storage, &config, witness, number, random)?;
        self.turns.give_to(Some(log.hand.clone()));
        let total = life.does.iter().map(|(_, weight)| weight).sum::<u64>();
        let (mut filled, torn) = (0, self.tearing.hits());
        for _ in 0..life.steps {
            let mut at = random.below(total);
            let what = life.does.iter().find(|(_, weight)| {
                let found = at < *weight;
                at = at.saturating_sub(*weight);
                found
            });
            let what = what.expect("a weight was drawn").0;
            filled += u64::from(what == Do::Fill);
            self.act(what, &mut log, random);
        }
        self.disk.set_capacity(1 << 40);
        let mut done = match life.end {
            Close => log.close(),
            Kill | PowerCut => log.kill(),
        };
        self.turns.give_to(None);
        [&self.above, &self.tearing, &self.below].into_iter().for_each(FaultPlan::clear);
        done.count("full disks", filled);
        done.count("writes that failed in the middle", self.tearing.hits() - torn);
        Ok(done)
    }

    fn act(&self, what: Do, log: &mut Log, random: &mut Random) {
        let mut len = |limit| random.below(limit) as u32;
        match what {
            Do::Commit => log.append(&[len(300)], Durability::GroupCommit),
            Do::Now => log.append(&[len(300)], Durability::Synchronous),
            Do::Async => log.append(&[len(300)], Durability::Async),
            Do::Large => log.append(&[900 + len(1800)], Durability::GroupCommit),
            Do::Group => {
                let lens: Vec<_> = (0..2 + len(4)).map(|_| len(400)).collect();
                log.append(&lens, Durability::GroupCommit);
            }
            Do::Step => drop(log.step()),
            Do::Settle => log.settle(),
            Do::Wait => log.wait(),
            Do::Prepare => drop(log.hand.step()),
            Do::Checkpoint => log.checkpoint(random.below(8)),
            Do::Fault => self.fail_above(random),
            Do::DiskFault => self.fail_below(random),
            Do::PrepareFault => self.fail_preparation(random),
            Do::Doom => {
                for op in [FaultOp::Write, FaultOp::Sync] {
                    let rule = FaultRule::on(op, FaultEffect::Fail(errno::EIO));
                    self.above.add(rule.after(random.below(6)));
                }
            }
            Do::Fill => self.disk.set_capacity(0),
            Do::Space => self.disk.set_capacity(1 << 40),
        }
    }

    /// A fault that the disk knows nothing of: what fails can be tried again.
    fn fail_above(&self, random: &mut Random) {
        let (plan, op, effect) = match random.below(8) {
            0 | 1 => (&self.above, FaultOp::Sync, FaultEffect::Fail(errno::EIO)),
            2 => (&self.above, FaultOp::Sync, FaultEffect::FailAfter(errno::EIO)),
            3 => (&self.above, FaultOp::Write, FaultEffect::Fail(errno::EIO)),
            4 => (&self.above, FaultOp::Write, FaultEffect::FailAfter(errno::EIO)),
            5 => (&self.above, FaultOp::Write, FaultEffect::Short(512)),
            _ => (&self.tearing, FaultOp::Write, fail_part(random)),
        };
        let rule = FaultRule::on(op, effect).after(random.below(3)).times(1 + random.below(2));
        plan.add(rule.file(|name| name.ends_with(".wal")));
    }

    fn fail_below(&self, random: &mut Random) {
        let (op, effect) = match random.below(4) {
            0 => (FaultOp::Write, FaultEffect::Fail(errno::EIO)),
            at => (FaultOp::Sync, self.failing_sync(at == 1)),
        };
        let rule = FaultRule::on(op, effect).after(random.below(3)).times(1 + random.below(2));
        self.below.add(rule.file(|name| name.ends_with(".wal")));
    }

    /// A sync that fails in the disk, perhaps after it was done. Not where pages revert: the recording knows
    /// only that it has failed, so its images would have lost what this disk shows to the next life.
    fn failing_sync(&self, after: bool) -> FaultEffect {
        if after && self.failed_sync == FailedSync::KeepsNewPages {
            FaultEffect::FailAfter(errno::EIO)
        } else {
            FaultEffect::Fail(errno::EIO)
        }
    }

    /// What changes names or bytes fails above the disk: the recording leaves out what fails below it, though
    /// it may have been done. A sync fails in the disk, where trying again proves nothing.
    fn fail_preparation(&self, random: &mut Random) {
        let op =
            [FaultOp::SyncDir, FaultOp::Rename, FaultOp::Sync, FaultOp::Write, FaultOp::Create]
                [random.below(5) as usize];
        let after = random.below(2) == 1;
        let (plan, effect) = match op {
            FaultOp::Sync => (&self.below, self.failing_sync(after)),
            FaultOp::Write if after => (&self.tearing, fail_part(random)),
            _ if after => (&self.above, FaultEffect::FailAfter(errno::EIO)),
            _ => (&self.above, FaultEffect::Fail(errno::EIO)),
        };
        let rule = FaultRule::on(op, effect).times(1 + random.below(2));
        plan.add(rule.file(|name| name.is_empty() || name.ends_with(".tmp")));
    }
}

/// A write that fails after a part of it, which need not end with a sector.
fn fail_part(random: &mut Random) -> FaultEffect {
    FaultEffect::FailPart { done: 1 + random.below(1500) as usize, errno: errno::EIO }
}
