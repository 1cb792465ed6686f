//! What a rotation costs: segments so small that there is one about every second, against one segment that is
//! larger than a run.

use std::path::Path;

use clap::Args as ClapArgs;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Common;
use super::check::{Check, Target};
use super::figures::{COMMITS, Figures, P999};
use super::runner::{Case, Runner};
use crate::args::{committers, size};
use crate::engines::actix_coordinator;
use crate::engines::actix_wal::{FIRST_SEGMENT, Settings, fill, settle, with_log};
use crate::error::{BenchError, EngineError};
use crate::load::Load;

const BLOCK: u64 = 4096;
/// Room for a run, so that it is not full before the end; a row says how often it was.
const LARGE: u64 = 512 << 20;

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
            // Small ones are to be used again by now. A large one is not to be left any more; when half of it is used
            // up, the next one is ready, and nothing is prepared beside the commits.
            let size = self.segment_size;
            fill(wal, size, if size < LARGE { 2 * size } else { size / 2 + (8 << 20) }).await?;
            settle(wal).await?;
            let before = wal.stats();
            let measured = actix_coordinator::run(wal, 1, load).await?;
            let seconds = (load.warmup + load.measured).as_secs_f64();
            let rotations = (wal.stats().rotations - before.rotations) as f64;
            Ok(Figures::from(measured).and("rotations_per_second", rotations / seconds))
        })
    }
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
            (second.unwrap_or_default() as u64)
                .clamp(FIRST_SEGMENT, LARGE / 4)
                .next_multiple_of(BLOCK)
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
