//! Ours in situations of its own. Each file is one: what it asks, one measurement, and what follows from it.
//!
//! A figure says little about a machine that nobody knows; so what counts is how figures of one run compare,
//! taken in turns, round by round.

mod anywhere;
mod baseline;
mod check;
mod fan_out;
mod figures;
mod idle;
mod large;
mod reads;
mod recovery;
mod recovery_peers;
mod release;
mod rotation;
mod runner;
mod simulated;
mod sweep;

use std::path::Path;

use clap::{Args as ClapArgs, Subcommand};
use serde::{Deserialize, Serialize};

use crate::args::{Output, Times};
use crate::error::{BenchError, EngineError};
use crate::load::Load;
use figures::Figures;
use runner::Disk;

/// What to try.
pub const HELP: &str = "Each row is the median of its rounds; each line with an aim compares figures of \
one run, round by round. An aim that is missed does not fail the program: look at the machine first.\n\n\
Exit status: 0 if everything was measured, 1 if a measurement failed or hung, 2 if nothing could be measured.\n\n\
Try:\n  \
scenario baseline --rounds 1 --seconds 1       what group commit is good for, in half a minute\n  \
scenario simulated --committers 256            a disk that this machine does not have\n  \
scenario sweep --committers 16 --delays 0,10 --entries 100,none\n  \
scenario recovery --mib 64                     how fast a log is ready again\n  \
scenario idle --json | jq .wal_flush_switches  what an idle log costs";

/// A situation.
#[derive(Debug, Subcommand)]
pub enum Scenario {
    /// The same load with a sync per record, and with the log: before and after.
    Baseline(baseline::BaselineArgs),
    /// Disks that this machine does not have: a sync takes a given time, and nothing reaches the disk.
    Simulated(simulated::SimulatedArgs),
    /// Delay by entries by policy: what the settings of a batch do.
    #[command(mut_arg("seconds", |arg| arg.default_value("0.5")))]
    #[command(mut_arg("warmup", |arg| arg.default_value("0.2")))]
    #[command(mut_arg("rounds", |arg| arg.default_value("1")))]
    Sweep(sweep::SweepArgs),
    /// Small segments that rotate about every second, against a large one that does not.
    #[command(mut_arg("seconds", |arg| arg.default_value("3")))]
    Rotation(rotation::RotationArgs),
    /// Committers with none, one, a hundred and a thousand subscribers, and with one that is slow.
    FanOut(fan_out::FanOutArgs),
    /// Reading what is durable, alone and beside committers, and how far a follower is behind.
    Reads(reads::ReadsArgs),
    /// One record from anywhere in a segment of 64 MiB: how long until it is there.
    #[command(mut_arg("seconds", |arg| arg.default_value("2")))]
    Anywhere(anywhere::AnywhereArgs),
    /// Commits while ten thousand segments are released, against commits before that.
    #[command(mut_arg("seconds", |arg| arg.default_value("3")))]
    Release(release::ReleaseArgs),
    /// From open to ready with all records replayed, ours and peers.
    Recovery(recovery::RecoveryArgs),
    /// Large records: bandwidth, against bare writes with as many bytes per sync.
    Large(large::LargeArgs),
    /// How often threads wake up while nothing is asked of the log.
    #[command(mut_arg("seconds", |arg| arg.default_value("5")))]
    Idle(idle::IdleArgs),
}

/// What most scenarios take.
#[derive(Debug, ClapArgs)]
pub struct Common {
    #[command(flatten)]
    pub times: Times,

    #[command(flatten)]
    pub output: Output,

    /// A simulated disk instead of that of --dir: milliseconds of a sync. 0 leaves the disk out of it.
    #[arg(long, value_name = "MS", value_parser = parse_sync_ms)]
    simulate_sync_ms: Option<f64>,
}

impl Common {
    fn disk(&self) -> Disk {
        self.simulate_sync_ms.map_or(Disk::Real, Disk::Simulated)
    }
}

/// One measurement, in a process of its own.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Step {
    Baseline(baseline::Step),
    Commits(simulated::Step),
    Rotation(rotation::Step),
    FanOut(fan_out::Step),
    Reads(reads::Step),
    Anywhere(anywhere::Step),
    Release(release::Step),
    Recovery(recovery::Step),
    Large(large::Step),
    Idle(idle::Step),
}

impl Step {
    /// In the child: does it in a new directory.
    pub fn run(&self, place: &Path, load: &Load) -> Result<Figures, EngineError> {
        match self {
            Step::Baseline(step) => step.run(place, load),
            Step::Commits(step) => step.run(place, load),
            Step::Rotation(step) => step.run(place, load),
            Step::FanOut(step) => step.run(place, load),
            Step::Reads(step) => step.run(place, load),
            Step::Anywhere(step) => step.run(place, load),
            Step::Release(step) => step.run(place, load),
            Step::Recovery(step) => step.run(place, load),
            Step::Large(step) => step.run(place, load),
            Step::Idle(step) => step.run(place, load),
        }
    }
}

/// The subcommand.
pub fn run(scenario: &Scenario) -> Result<(), BenchError> {
    match scenario {
        Scenario::Baseline(args) => baseline::run(args),
        Scenario::Simulated(args) => simulated::run(args),
        Scenario::Sweep(args) => sweep::run(args),
        Scenario::Rotation(args) => rotation::run(args),
        Scenario::FanOut(args) => fan_out::run(args),
        Scenario::Reads(args) => reads::run(args),
        Scenario::Anywhere(args) => anywhere::run(args),
        Scenario::Release(args) => release::run(args),
        Scenario::Recovery(args) => recovery::run(args),
        Scenario::Large(args) => large::run(args),
        Scenario::Idle(args) => idle::run(args),
    }
}

/// The length of a simulated sync, for the command line.
fn parse_sync_ms(text: &str) -> Result<f64, String> {
    let ms: f64 = text.parse().map_err(|_| "it is not a number".to_owned())?;
    let fits = (0.0..=1_000.0).contains(&ms);
    fits.then_some(ms).ok_or_else(|| "it must be from 0 to 1000".to_owned())
}
