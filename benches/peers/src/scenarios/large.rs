//! Large records: what part of the bandwidth of bare writes the log reaches.

use std::path::Path;
use std::time::Instant;

use clap::Args as ClapArgs;
use serde::{Deserialize, Serialize};

use super::Common;
use super::check::Check;
use super::figures::{COMMITS, Figures};
use super::runner::{Case, Runner};
use crate::args::{committers, size};
use crate::engines::actix_coordinator;
use crate::engines::actix_wal::{Settings, with_used_log};
use crate::engines::bare::Ring;
use crate::error::{BenchError, EngineError};
use crate::load::Load;

/// A bare file is filled in such pieces.
const PIECE: usize = 1 << 20;

#[derive(Debug, ClapArgs)]
pub struct LargeArgs {
    /// How many commit at once.
    #[arg(long, value_delimiter = ',', default_value = "1,16,64", value_parser = committers())]
    committers: Vec<usize>,

    /// Bytes of a record.
    #[arg(long, default_value_t = 65_536, value_parser = size())]
    size: usize,

    #[command(flatten)]
    common: Common,
}

/// First the log, then bare writes of as many bytes per sync as it had.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Step;

impl Step {
    pub fn run(self, place: &Path, load: &Load) -> Result<Figures, EngineError> {
        let measured = with_used_log(place, load, &Settings::default(), async |wal| {
            actix_coordinator::run(wal, 1, load).await
        })?;
        let figures = Figures::from(measured);
        let per_sync = figures.get("commits_per_sync").unwrap_or(1.0).max(1.0);
        let commits = figures.get(COMMITS).unwrap_or_default();
        let (log, bare) = (commits * load.size as f64, bare(place, load, per_sync)?);
        let figures = figures.and("log_mb_per_second", log / 1e6);
        Ok(figures.and("bare_mb_per_second", bare / 1e6).and("log_to_bare", log / bare))
    }
}

/// Bytes per second.
fn bare(place: &Path, load: &Load, per_sync: f64) -> Result<f64, EngineError> {
    let bytes = vec![7; (per_sync * load.size as f64) as usize];
    let mut file = Ring::create_for(PIECE, &place.join("bare"))?;
    let (started, mut written) = (Instant::now(), 0);
    while started.elapsed() < load.measured {
        file.write_and_sync(&bytes)?;
        written += bytes.len();
    }
    Ok(written as f64 / started.elapsed().as_secs_f64())
}

pub fn run(args: &LargeArgs) -> Result<(), BenchError> {
    let Common { times, output, .. } = &args.common;
    let case = |committers: &usize| {
        let load = Runner::load(times, *committers, args.size);
        Case::new("large", load, super::Step::Large(Step)).on(args.common.disk())
    };
    let mut runner = Runner::new("large", args.committers.len(), times, output)?;
    let rows = runner.group(args.committers.iter().map(case).collect())?;
    let checks = rows.iter().map(|row| Check::figure(row, "log_to_bare"));
    runner.finish(&checks.collect::<Vec<_>>())
}
