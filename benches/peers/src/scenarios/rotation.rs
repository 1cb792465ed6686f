//! What a rotation costs: segments so small that there is one about every second, against one segment that is
//! larger than a run.

use std::path::Path;
use std::time::{Duration, Instant};

use actix_wal::Wal;
use bytes::Bytes;
use clap::Args as ClapArgs;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Common;
use super::check::{Check, Target};
use super::figures::{COMMITS, Figures, P999};
use super::runner::{Case, Runner};
use crate::args::{committers, size};
use crate::engines::actix_coordinator;
use crate::engines::actix_wal::{Settings, with_log};
use crate::error::{BenchError, EngineError};
use crate::load::Load;

const BLOCK: u64 = 4096;
/// The first segment that an open has to make; the next ones are four times as large each, up to the size
/// that is configured.
const FIRST: u64 = 1 << 20;
/// Room for a run, so that it is not full before the end; a row says how often it was.
const LARGE: u64 = 256 << 20;

#[derive(Debug, ClapArgs)]
pub struct RotationArgs {
    /// How many commit at once.
    #[arg(long, default_value_t = 64, value_parser = committers())]
    committers: usize,

    /// Bytes of a record.
    #[arg(long, default_value_t = 128, value_parser = size())]
    size: usize,

    /// MiB of the small segments. By default, what the log writes in a second, which is tried first.
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u64).range(1..=64))]
    segment_mib: Option<u64>,

    #[command(flatten)]
    common: Common,
}

/// Commits in segments of this size.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Step {
    segment_size: u64,
}

impl Step {
    pub fn run(self, place: &Path, load: &Load) -> Result<Figures, EngineError> {
        let settings = Settings { segment_size: Some(self.segment_size), ..Settings::default() };
        with_log(place, load, &settings, async |wal| {
            fill(wal, self.segment_size).await?;
            settle(wal).await?;
            let before = wal.stats();
            let measured = actix_coordinator::run(wal, 1, load).await?;
            let seconds = (load.warmup + load.measured).as_secs_f64();
            let rotations = (wal.stats().rotations - before.rotations) as f64;
            Ok(Figures::from(measured).and("rotations_per_second", rotations / seconds))
        })
    }
}

/// Writes until the segments have the size that is configured.
pub async fn fill(wal: &Wal, segment_size: u64) -> Result<(), EngineError> {
    const PIECE: usize = 64 << 10;
    let grows = std::iter::successors(Some(FIRST), |size| Some(size * 4));
    let bytes: u64 = grows.take_while(|size| *size < segment_size).sum();
    for _ in 0..=bytes / (4 * PIECE as u64) {
        let group = (0..4).map(|_| Bytes::from(vec![7; PIECE]));
        let range = wal.append_all(group).await.map_err(EngineError::commit)?;
        wal.wait_for_lsn(range.last).await.map_err(EngineError::commit)?;
    }
    Ok(())
}

/// Waits until nothing is written any more: the next segment is ready.
pub async fn settle(wal: &Wal) -> Result<(), EngineError> {
    const QUIET: Duration = Duration::from_millis(500);
    const PATIENCE: Duration = Duration::from_secs(30);
    let started = Instant::now();
    let mut before = wal.stats().bytes_written;
    while started.elapsed() < PATIENCE {
        actix::clock::sleep(QUIET).await;
        let now = wal.stats().bytes_written;
        if now == before {
            return Ok(());
        }
        before = now;
    }
    Err(EngineError::Open(format!("it is still preparing a segment after {PATIENCE:?}")))
}

pub fn run(args: &RotationArgs) -> Result<(), BenchError> {
    let Common { times, output, .. } = &args.common;
    let load = Runner::load(times, args.committers, args.size);
    let case = |name: &str, segment_size| {
        let mut case = Case::new(name, load, super::Step::Rotation(Step { segment_size }))
            .on(args.common.disk());
        case.labels = vec![("segment_size", json!(segment_size))];
        case
    };
    let mut runner = Runner::new("rotation", 2, times, output)?;
    let small = match args.segment_mib {
        Some(mib) => mib << 20,
        None => {
            let tried = runner.once(&case("how fast it is", LARGE));
            let second = tried.as_ref().and_then(|figures| bytes_per_second(figures, args.size));
            (second.unwrap_or_default() as u64).clamp(FIRST, LARGE / 4).next_multiple_of(BLOCK)
        }
    };
    let rows = runner.group(vec![case("small", small), case("large", LARGE)])?;
    let (small, large) = (&rows[0], &rows[1]);
    runner.finish(&[
        Check::ratio(small, large, P999).aims(Target::AtMost(1.5)),
        Check::ratio(small, large, COMMITS).aims(Target::AtLeast(1.0 / 1.5)),
        Check::figure(small, "rotations_per_second"),
        Check::figure(large, "rotations_per_second").aims(Target::AtMost(0.0)),
    ])
}

/// What frames take, padded to whole blocks as they are.
fn bytes_per_second(figures: &Figures, size: usize) -> Option<f64> {
    let (commits, batch) = (figures.get(COMMITS)?, figures.get("commits_per_sync")?);
    let frame = (batch * (size + 5) as f64 + 108.0) / BLOCK as f64;
    Some(commits / batch * frame.ceil() * BLOCK as f64)
}
