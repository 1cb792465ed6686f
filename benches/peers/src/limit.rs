//! What the disk allows: the time F of one write and one sync, and what follows from it.

use std::fmt::Write as _;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

use serde::Serialize;

use crate::args::LimitArgs;
use crate::child::Workplace;
use crate::compare::say;
use crate::disk;
use crate::error::BenchError;
use crate::report;
use crate::results::{Line, median};
use crate::zeros::zero_filled;

/// Bytes of a write, and how often it is tried.
const SIZES: [(usize, usize); 5] =
    [(4 << 10, 200), (16 << 10, 100), (64 << 10, 50), (256 << 10, 20), (1 << 20, 10)];
const FILE_SIZE: usize = 16 << 20;
/// What our format adds to a record, and to a batch; it is padded to whole blocks.
const RECORD_OVERHEAD: f64 = 5.0;
const FRAME_OVERHEAD: f64 = 108.0;
const BLOCK: f64 = 4096.0;

/// F of some sizes, in microseconds.
#[derive(Clone, Debug)]
pub struct Limit {
    points: Vec<Point>,
}

/// F(k).
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Point {
    /// Bytes of the write: k.
    pub bytes: usize,
    /// The median time of the write and its `fdatasync`.
    pub write_and_sync_us: f64,
}

/// How many commits per second there can be at most, by what was measured in the same rounds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Bounds {
    /// F of a frame of N records, in microseconds.
    pub f_us: f64,
    /// N / F: everybody in every sync, nobody thinks (Z = 0).
    #[serde(rename = "bound_n_over_f")]
    pub syncs: f64,
    /// BW / (s + padding / B).
    #[serde(rename = "bound_bandwidth")]
    pub bandwidth: f64,
    /// Processors / c.
    #[serde(rename = "bound_cpu")]
    pub cpu: f64,
    /// What part of the least of them was reached.
    pub efficiency: f64,
}

/// The subcommand.
pub fn run(args: &LimitArgs) -> Result<(), BenchError> {
    let workplace = Workplace::new(&args.common.output)?;
    disk::warn_if_memory(workplace.path());
    let rounds = [(); 3].map(|()| Limit::measure(workplace.path()));
    let limit = Limit::median(&rounds.into_iter().collect::<Result<Vec<_>, _>>()?);
    if args.common.output.json {
        for point in &limit.points {
            say(&serde_json::to_string(point)?)?;
        }
    } else {
        say(&limit.text(&[]))?;
    }
    if let Some(file) = &args.common.report {
        let about = disk::describe(workplace.path());
        report::write(file, report::Kind::Closed, &[], &limit, &about)?;
    }
    Ok(())
}

impl Limit {
    /// Measures it, on a file that is zero-filled and large enough, as a log that prepares its segments has.
    pub fn measure(place: &Path) -> Result<Self, BenchError> {
        let path = place.join("limit");
        let failed = |source| BenchError::Directory {
            path: path.clone(),
            what: "the limit of the disk could not be measured",
            source,
        };
        let file = zero_filled(&path, FILE_SIZE as u64).map_err(failed)?;
        let mut points = Vec::new();
        for (bytes, tries) in SIZES {
            let block = vec![7; bytes];
            let mut times = Vec::with_capacity(tries);
            for index in 0..tries {
                let at = (index * bytes) % FILE_SIZE;
                let started = Instant::now();
                file.write_all_at(&block, at as u64).map_err(failed)?;
                file.sync_data().map_err(failed)?;
                times.push(started.elapsed().as_secs_f64() * 1e6);
            }
            let write_and_sync_us = median(times).unwrap_or_default();
            points.push(Point { bytes, write_and_sync_us });
        }
        std::fs::remove_file(&path).map_err(failed)?;
        Ok(Limit { points })
    }

    /// The medians of several.
    pub fn median(limits: &[Limit]) -> Self {
        let point = |(index, (bytes, _)): (usize, &(usize, usize))| {
            let times = limits.iter().map(|limit| limit.points[index].write_and_sync_us).collect();
            Point { bytes: *bytes, write_and_sync_us: median(times).unwrap_or_default() }
        };
        Limit { points: SIZES.iter().enumerate().map(point).collect() }
    }

    /// What was measured.
    pub fn points(&self) -> &[Point] {
        &self.points
    }

    /// F in seconds, for sizes in between too. Beyond the largest, bandwidth decides.
    fn seconds(&self, bytes: f64) -> f64 {
        let (first, last) = (self.points[0], self.points[self.points.len() - 1]);
        let us = if bytes <= first.bytes as f64 {
            first.write_and_sync_us
        } else if bytes >= last.bytes as f64 {
            last.write_and_sync_us * bytes / last.bytes as f64
        } else {
            let above =
                self.points.iter().position(|point| point.bytes as f64 >= bytes).unwrap_or(1);
            let (low, high) = (self.points[above - 1], self.points[above]);
            let part = (bytes - low.bytes as f64) / (high.bytes - low.bytes) as f64;
            low.write_and_sync_us + part * (high.write_and_sync_us - low.write_and_sync_us)
        };
        us / 1e6
    }

    /// Bytes per second, in writes of the largest size.
    fn bandwidth(&self) -> f64 {
        let last = self.points[self.points.len() - 1];
        last.bytes as f64 / self.seconds(last.bytes as f64)
    }

    /// The bounds for a line of a closed loop, if it has figures.
    pub fn bounds(&self, line: &Line) -> Option<Bounds> {
        if line.offered_per_second.is_some() {
            return None;
        }
        // The floor has one writer, whatever it is asked.
        let committers = if line.engine == "bare" { 1.0 } else { line.committers as f64 };
        let record = line.size as f64 + RECORD_OVERHEAD;
        let whole_blocks = |bytes: f64| (bytes / BLOCK).ceil() * BLOCK;
        let frame = whole_blocks(committers * record + FRAME_OVERHEAD);
        let batch = line.figures.commits_per_sync?.max(1.0);
        let padding = whole_blocks(batch * record + FRAME_OVERHEAD) - batch * record;
        let seconds = self.seconds(frame);
        let syncs = committers / seconds;
        let bandwidth = self.bandwidth() / (record + padding / batch);
        let cpu = disk::cores() as f64 * 1e6 / line.figures.cpu_us_per_commit?;
        let efficiency = line.figures.commits_per_second? / syncs.min(bandwidth).min(cpu);
        Some(Bounds { f_us: seconds * 1e6, syncs, bandwidth, cpu, efficiency })
    }

    /// In words, for ours among these lines.
    pub fn text(&self, lines: &[Line]) -> String {
        let mut text = String::from("F, one write and one fdatasync on a zero-filled file:");
        for point in &self.points {
            let _ = write!(text, "  {} KiB {:.0} µs", point.bytes >> 10, point.write_and_sync_us);
        }
        let _ = writeln!(
            text,
            "\nbandwidth {:.0} MB/s; a lone commit takes {:.0} µs at least",
            self.bandwidth() / 1e6,
            self.seconds(BLOCK) * 1e6
        );
        let ours = lines.iter().filter(|line| line.engine.starts_with("actix-wal"));
        for line in ours {
            let Some(bounds) = line.bounds else { continue };
            let _ = writeln!(
                text,
                "{:<26} N={:<5} {:>6} B: {:>3.0} % of the least of N/F {:.0}, bandwidth {:.0}, CPU {:.0}",
                line.engine,
                line.committers,
                line.size,
                bounds.efficiency * 100.0,
                bounds.syncs,
                bounds.bandwidth,
                bounds.cpu
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn between_two_sizes_it_is_in_between() {
        let points =
            SIZES.map(|(bytes, _)| Point { bytes, write_and_sync_us: bytes as f64 / 10.0 });
        let limit = Limit { points: points.to_vec() };
        let us = |bytes: f64| (limit.seconds(bytes) * 1e6).round();
        assert_eq!(us(1.0), 410.0);
        assert_eq!(us(8192.0), 819.0);
        assert_eq!(us((2 << 20) as f64), 209_715.0);
    }
}
