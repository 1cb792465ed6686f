//! One record from anywhere in a segment of full size: how long until it is there, from the page cache.

use std::path::Path;
use std::time::Instant;

use actix_wal::{Lsn, LsnRange, Wal};
use bytes::Bytes;
use clap::Args as ClapArgs;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::Common;
use super::check::{Check, Target};
use super::figures::{Figures, P99};
use super::runner::{Case, Runner};
use crate::args::size;
use crate::engines::actix_wal::{Settings, fill, settle, with_log};
use crate::error::{BenchError, EngineError};
use crate::load::Load;
use crate::syncs::Skipped;

const SEGMENT: u64 = 64 << 20;
const BLOCK: u64 = 4096;

#[derive(Debug, ClapArgs)]
pub struct AnywhereArgs {
    /// Bytes of a record.
    #[arg(long, default_value_t = 128, value_parser = size())]
    size: usize,

    #[command(flatten)]
    common: Common,
}

/// Reads of single records.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Step {
    /// How many records each frame holds.
    per_frame: u64,
    /// Whether the log is opened anew before it is read.
    reopens: bool,
}

impl Step {
    pub fn run(self, place: &Path, load: &Load) -> Result<Figures, EngineError> {
        let settings =
            Settings { keeps_all: true, segment_size: Some(SEGMENT), ..Settings::default() };
        let work = async |wal: &Wal| {
            let range = write(wal, self.per_frame, load.size).await?;
            if self.reopens {
                Ok((range, None))
            } else {
                Ok((range, Some(read(wal, range, load).await?)))
            }
        };
        let (range, figures) = with_log(place, load, &settings, work)?;
        match figures {
            Some(figures) => Ok(figures),
            None => with_log(place, load, &settings, async |wal| {
                settle(wal).await?;
                read(wal, range, load).await
            }),
        }
    }
}

/// Fills one segment of full size. The LSNs in it.
async fn write(wal: &Wal, per_frame: u64, size: usize) -> Result<LsnRange, EngineError> {
    let _skipped = Skipped::begin();
    fill(wal, SEGMENT, 0).await?;
    let first = wal.rotate().await.map_err(EngineError::commit)?.next();
    let frame = (per_frame * (size as u64 + 5) + 108).next_multiple_of(BLOCK);
    let mut last = first;
    for _ in 0..(SEGMENT - (1 << 20)) / frame {
        let group = (0..per_frame).map(|_| Bytes::from(vec![7; size]));
        let range = wal.append_all(group).await.map_err(EngineError::commit)?;
        wal.wait_for_lsn(range.last).await.map_err(EngineError::commit)?;
        last = range.last;
    }
    let range = LsnRange { first, last };
    let holds = wal.segments().into_iter().any(|one| one.cut < first && one.size == SEGMENT);
    let one = || EngineError::Commit("the segment is not of full size".to_owned());
    holds.then_some(range).ok_or_else(one)
}

async fn read(wal: &Wal, range: LsnRange, load: &Load) -> Result<Figures, EngineError> {
    let mut times =
        Histogram::<u64>::new(3).map_err(|error| EngineError::Commit(error.to_string()))?;
    let (window, mut chance) = (load.window(), 7u64);
    while Instant::now() < window.end {
        chance = chance.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        let lsn = range.first.plus((chance >> 33) % range.count());
        let begun = Instant::now();
        let found = one(wal, lsn).await?;
        if begun >= window.begin {
            // `saturating_record` would not let it grow: it begins with room for 2 ns.
            let took = times.record(begun.elapsed().as_nanos() as u64);
            took.map_err(|error| EngineError::Commit(error.to_string()))?;
        }
        if found != lsn {
            return Err(EngineError::Commit(format!("LSN {found} instead of {lsn}")));
        }
    }
    let at = |quantile| times.value_at_quantile(quantile) as f64 / 1e3;
    Ok(Figures::default()
        .and("reads_per_second", times.len() as f64 / load.measured.as_secs_f64())
        .and(P50, at(0.5))
        .and(P99, at(0.99))
        .and("max_us", at(1.0)))
}

async fn one(wal: &Wal, lsn: Lsn) -> Result<Lsn, EngineError> {
    let range = LsnRange { first: lsn, last: lsn };
    let mut stream = wal.read_range(range).await.map_err(EngineError::commit)?;
    let missing = || EngineError::Commit(format!("LSN {lsn} is not there"));
    let record = stream.next().await.ok_or_else(missing)?;
    Ok(record.map_err(EngineError::commit)?.lsn)
}

const P50: &str = "p50_us";

pub fn run(args: &AnywhereArgs) -> Result<(), BenchError> {
    let Common { times, output, .. } = &args.common;
    let load = Runner::load(times, 1, args.size);
    let case = |name, per_frame, reopens| {
        let step = Step { per_frame, reopens };
        Case::new(name, load, super::Step::Anywhere(step)).on(args.common.disk())
    };
    let cases = vec![
        case("lone commits", 1, false),
        case("lone commits, opened anew", 1, true),
        case("frames of 4,096", 4096, false),
        case("frames of 4,096, opened anew", 4096, true),
    ];
    let mut runner = Runner::new("anywhere", cases.len(), times, output)?;
    let rows = runner.group(cases)?;
    let checks: Vec<_> =
        rows.iter().map(|row| Check::figure(row, P50).aims(Target::AtMost(1000.0))).collect();
    runner.finish(&checks)
}
