//! Disks that this machine does not have: each sync takes a given time, and nothing reaches the disk.

use std::path::Path;

use clap::Args as ClapArgs;
use serde::{Deserialize, Serialize};

use super::check::{Check, Target};
use super::figures::{COMMITS, Figures, P99};
use super::parse_sync_ms;
use super::runner::{Case, Disk, Row, Runner};
use crate::args::{Output, Policy, Times, committers, size};
use crate::engines::actix_coordinator;
use crate::engines::actix_wal::{Settings, with_used_log};
use crate::error::{BenchError, EngineError};
use crate::load::Load;

/// A turn of a disk with 7,200 of them per minute.
const ROTATIONAL_MS: f64 = 8.3;
/// An SSD that really writes before it says so.
const SSD_MS: f64 = 1.0;

#[derive(Debug, ClapArgs)]
pub struct SimulatedArgs {
    /// How many commit at once.
    #[arg(long, value_delimiter = ',', default_value = "16,64,128,256", value_parser = committers())]
    committers: Vec<usize>,

    /// Flush policies.
    #[arg(long, value_delimiter = ',', value_enum, default_value = "adaptive,eager,window")]
    policies: Vec<Policy>,

    /// Milliseconds of a sync: 8.3 is a rotational disk, 1 an SSD without protection against power loss.
    #[arg(long, value_name = "MS", value_delimiter = ',', default_value = "8.3,1", value_parser = parse_sync_ms)]
    simulate_sync_ms: Vec<f64>,

    /// Bytes of a record.
    #[arg(long, default_value_t = 128, value_parser = size())]
    size: usize,

    #[command(flatten)]
    times: Times,

    #[command(flatten)]
    output: Output,
}

/// Commits of one actor, with these settings.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Step(pub Settings);

impl Step {
    pub fn run(&self, place: &Path, load: &Load) -> Result<Figures, EngineError> {
        with_used_log(place, load, &self.0, async |wal| {
            Ok(actix_coordinator::run(wal, 1, load).await?.into())
        })
    }
}

pub fn run(args: &SimulatedArgs) -> Result<(), BenchError> {
    let groups = args.simulate_sync_ms.len() * args.committers.len();
    let mut runner =
        Runner::new("simulated", groups * args.policies.len(), &args.times, &args.output)?;
    let mut checks = Vec::new();
    for ms in &args.simulate_sync_ms {
        for committers in &args.committers {
            let load = Runner::load(&args.times, *committers, args.size);
            let case = |policy: &Policy| {
                let settings = Settings { policy: *policy, ..Settings::default() };
                let step = super::Step::Commits(Step(settings));
                Case::new(policy.name(), load, step).on(Disk::Simulated(*ms))
            };
            let rows = runner.group(args.policies.iter().map(case).collect())?;
            rows.iter().for_each(|row| checks.extend(aims(row, *ms)));
        }
    }
    runner.finish(&checks)
}

/// What is aimed at for this load.
fn aims(row: &Row, ms: f64) -> Vec<Check> {
    let n = row.case.load.committers;
    let mut checks = Vec::new();
    if ms == ROTATIONAL_MS && n == 256 {
        checks.push(Check::figure(row, COMMITS).aims(Target::AtLeast(10_000.0)));
        checks.push(Check::figure(row, P99).aims(Target::AtMost(20_000.0)));
    }
    if ms == SSD_MS && n == 128 {
        checks.push(Check::figure(row, COMMITS).aims(Target::AtLeast(50_000.0)));
    }
    let saved = row.median("commits_per_sync").map(|batch| 1.0 - 1.0 / batch);
    let saved = Check::new(
        format!("{}, N = {n}: part of the syncs that is saved", row.case.name),
        saved,
        row.case.disk,
    );
    checks.push(if n >= 16 { saved.aims(Target::AtLeast(0.9)) } else { saved });
    checks
}
