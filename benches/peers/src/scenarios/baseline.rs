//! What group commit is good for: the same load with one record per sync, and with the log.

use std::path::Path;
use std::sync::Arc;

use clap::Args as ClapArgs;
use parking_lot::{Mutex, MutexGuard};
use serde::{Deserialize, Serialize};

use super::check::{Check, Target};
use super::figures::{COMMITS, Figures, P99};
use super::parse_sync_ms;
use super::runner::{Case, Disk, Runner};
use crate::args::{Output, Times, committers, size};
use crate::engines::actix_wal::{self, Settings, with_used_log};
use crate::engines::{actix_coordinator, bare::Ring};
use crate::error::{BenchError, EngineError};
use crate::load::{self, Load};
use crate::meter::Measured;

#[derive(Debug, ClapArgs)]
pub struct BaselineArgs {
    /// How many commit at once.
    #[arg(long, default_value_t = 100, value_parser = committers())]
    committers: usize,

    /// Bytes of a record.
    #[arg(long, default_value_t = 128, value_parser = size())]
    size: usize,

    /// Beside the disk of --dir, also disks that are simulated: milliseconds of a sync.
    #[arg(long, value_name = "MS", value_delimiter = ',', default_value = "8.3,1", value_parser = parse_sync_ms)]
    simulate_sync_ms: Vec<f64>,

    #[command(flatten)]
    times: Times,

    #[command(flatten)]
    output: Output,
}

/// Who commits, and how.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub enum Step {
    /// What a server without group commit does: under a lock, one write and one sync per record.
    OneByOne,
    /// The same threads, and the log.
    LogThreads,
    /// An actor that keeps as many commits in flight.
    LogActor,
}

impl Step {
    pub fn run(self, place: &Path, load: &Load) -> Result<Figures, EngineError> {
        let settings = Settings::default();
        let measured = match self {
            Step::OneByOne => one_by_one(place, load)?,
            Step::LogThreads => with_used_log(place, load, &settings, async |wal| {
                actix_wal::on_threads(wal, load).await
            })?,
            Step::LogActor => with_used_log(place, load, &settings, async |wal| {
                actix_coordinator::run(wal, 1, load).await
            })?,
        };
        Ok(measured.into())
    }
}

fn one_by_one(place: &Path, load: &Load) -> Result<Measured, EngineError> {
    let file = Arc::new(Mutex::new(Ring::create(&place.join("one-by-one"))?));
    load::on_threads(load, |_| {
        let (file, record) = (Arc::clone(&file), load.record());
        Ok(move || {
            let mut turn = file.lock();
            let written = turn.write_and_sync(&record);
            // An unfair lock goes back to the thread that had it, and the others have no part in the load.
            MutexGuard::unlock_fair(turn);
            written
        })
    })
}

pub fn run(args: &BaselineArgs) -> Result<(), BenchError> {
    let load = Runner::load(&args.times, args.committers, args.size);
    let disks: Vec<Disk> = [Disk::Real]
        .into_iter()
        .chain(args.simulate_sync_ms.iter().map(|ms| Disk::Simulated(*ms)))
        .collect();
    let steps = [
        ("one-by-one", Step::OneByOne),
        ("log, threads", Step::LogThreads),
        ("log, actor", Step::LogActor),
    ];
    let mut runner = Runner::new("baseline", disks.len() * steps.len(), &args.times, &args.output)?;
    let mut checks = Vec::new();
    for disk in disks {
        let case = |(name, step)| Case::new(name, load, super::Step::Baseline(step)).on(disk);
        let rows = runner.group(steps.into_iter().map(case).collect())?;
        let (before, after) = (&rows[0], &rows[1..]);
        for row in after {
            checks.push(Check::ratio(row, before, COMMITS).aims(Target::AtLeast(10.0)));
            checks.push(Check::figure(row, COMMITS).aims(Target::AtLeast(10_000.0)));
            checks.push(Check::figure(row, "commits_per_sync").aims(Target::AtLeast(10.0)));
            checks.push(Check::figure(row, P99).aims(Target::AtMost(20_000.0)));
        }
    }
    runner.finish(&checks)
}
