//! What it costs the commits that thousands of segments are released at once: a log that was used with small
//! segments, or was not checkpointed for long.

use std::path::Path;
use std::time::{Duration, Instant};

use actix_wal::Wal;
use bytes::Bytes;
use clap::Args as ClapArgs;
use serde::{Deserialize, Serialize};

use super::Common;
use super::check::{Check, Target};
use super::figures::{COMMITS, Figures, P99};
use super::runner::{Case, Runner};
use crate::args::{committers, size};
use crate::engines::actix_coordinator;
use crate::engines::actix_wal::{Settings, settle, with_log};
use crate::error::{BenchError, EngineError};
use crate::load::Load;
use crate::syncs::Skipped;
use crate::zeros;

/// Two frames of a block fit into one.
const SMALL: u64 = 24 << 10;

#[derive(Debug, ClapArgs)]
pub struct ReleaseArgs {
    /// How many commit at once.
    #[arg(long, default_value_t = 16, value_parser = committers())]
    committers: usize,

    /// Bytes of a record.
    #[arg(long, default_value_t = 128, value_parser = size())]
    size: usize,

    /// How many segments of 24 KiB are released.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    segments: u64,

    #[command(flatten)]
    common: Common,
}

/// Commits in a log of many segments.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Step {
    segments: u64,
    /// Whether they are released, just before the commits are measured.
    releases: bool,
}

impl Step {
    pub fn run(self, place: &Path, load: &Load) -> Result<Figures, EngineError> {
        let small = Settings { segment_size: Some(SMALL), keeps_all: true, ..Settings::default() };
        let alone = Load { committers: 1, ..*load };
        with_log(place, &alone, &small, async |wal| fill(wal, self.segments).await)?;
        zeros::settle(place).map_err(EngineError::open)?;
        let settings = Settings { keeps_all: true, ..Settings::default() };
        let begun = Instant::now();
        with_log(place, load, &settings, async |wal| {
            let opened = begun.elapsed();
            settle(wal).await?;
            let before = files(place)?;
            let last = wal.durable_lsn();
            if self.releases {
                let (host, warmup) = (wal.clone(), load.warmup);
                actix::spawn(async move {
                    actix::clock::sleep(warmup).await;
                    // The measurement ends with an error if the log does.
                    let _ = host.checkpoint(last).await;
                });
            }
            let measured = actix_coordinator::run(wal, 1, load).await?;
            let removed = before.saturating_sub(files(place)?);
            Ok(Figures::from(measured)
                .and("open_ms", opened.as_secs_f64() * 1e3)
                .and(REMOVED, removed as f64))
        })
    }
}

/// So many segments. Nothing is measured yet, so the disk is not asked.
async fn fill(wal: &Wal, segments: u64) -> Result<(), EngineError> {
    const PATIENCE: Duration = Duration::from_secs(600);
    let _skipped = Skipped::begin();
    let begun = Instant::now();
    while (wal.status().segments as u64) < segments {
        if begun.elapsed() > PATIENCE {
            return Err(EngineError::Commit(format!("no {segments} segments in {PATIENCE:?}")));
        }
        let record = Bytes::from_static(&[7; 64]);
        wal.commit(record).await.map_err(EngineError::commit)?;
    }
    Ok(())
}

fn files(place: &Path) -> Result<usize, EngineError> {
    Ok(std::fs::read_dir(place.join("wal")).map_err(EngineError::open)?.count())
}

const REMOVED: &str = "files_removed";

pub fn run(args: &ReleaseArgs) -> Result<(), BenchError> {
    let Common { times, output, .. } = &args.common;
    let load = Runner::load(times, args.committers, args.size);
    let case = |name, releases| {
        let step = Step { segments: args.segments, releases };
        Case::new(name, load, super::Step::Release(step)).on(args.common.disk())
    };
    let cases = vec![case("before", false), case("release", true)];
    let mut runner = Runner::new("release", cases.len(), times, output)?;
    let rows = runner.group(cases)?;
    let (before, release) = (&rows[0], &rows[1]);
    runner.finish(&[
        Check::ratio(release, before, P99).aims(Target::AtMost(2.0)),
        Check::ratio(release, before, COMMITS),
        Check::figure(release, REMOVED),
    ])
}
