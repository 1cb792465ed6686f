//! What a process and a directory hold when nothing happens: the floor, which must not rise.

use std::path::Path;
use std::{fs, io};

use serde::Serialize;

/// The least periods that a verdict needs: a process warms up for a while.
pub const ENOUGH: usize = 8;

/// What was held at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Sample {
    /// Open file descriptors.
    pub fds: u64,
    /// Threads.
    pub threads: u64,
    /// Resident memory, in KiB.
    pub rss_kib: u64,
    /// Files in the directory.
    pub files: u64,
    /// Bytes in them.
    pub disk_bytes: u64,
}

/// A quantity, and how much more of it is no leak: noise of the allocator, a segment more or less.
type Quantity = (&'static str, fn(&Sample) -> u64, u64);

const QUANTITIES: [Quantity; 5] = [
    ("fds", |sample| sample.fds, 0),
    ("threads", |sample| sample.threads, 0),
    ("rss_kib", |sample| sample.rss_kib, 8 << 10),
    ("files", |sample| sample.files, 2),
    ("disk_bytes", |sample| sample.disk_bytes, 4 << 20),
];

impl Sample {
    /// What this process and the directory hold now.
    pub(crate) fn take(directory: &Path) -> io::Result<Sample> {
        let status = fs::read_to_string("/proc/self/status")?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse().ok()
        };
        let mut sample = Sample {
            // One of them is the directory that is being read.
            fds: (fs::read_dir("/proc/self/fd")?.count() as u64).saturating_sub(1),
            threads: field("Threads:").unwrap_or(0),
            rss_kib: field("VmRSS:").unwrap_or(0),
            ..Sample::default()
        };
        for entry in fs::read_dir(directory)? {
            sample.files += 1;
            sample.disk_bytes += entry?.metadata()?.len();
        }
        Ok(sample)
    }
}

/// What rises: the least of the last quarter of the periods lies above the most of the second quarter by
/// more than noise. Empty too if there are too few periods to tell.
pub fn rising(samples: &[Sample]) -> Vec<&'static str> {
    if samples.len() < ENOUGH {
        return Vec::new();
    }
    let quarter = samples.len() / 4;
    let (early, late) = (&samples[quarter..2 * quarter], &samples[samples.len() - quarter..]);
    let rises = |(_, of, noise): &&Quantity| {
        let most = early.iter().map(of).max();
        let least = late.iter().map(of).min();
        least > most.map(|most| most + noise)
    };
    QUANTITIES.iter().filter(rises).map(|(name, ..)| *name).collect()
}

/// The least of each quantity, over all samples.
pub(crate) fn floor(samples: &[Sample]) -> Sample {
    let least = |of: fn(&Sample) -> u64| samples.iter().map(of).min().unwrap_or(0);
    Sample {
        fds: least(|sample| sample.fds),
        threads: least(|sample| sample.threads),
        rss_kib: least(|sample| sample.rss_kib),
        files: least(|sample| sample.files),
        disk_bytes: least(|sample| sample.disk_bytes),
    }
}
