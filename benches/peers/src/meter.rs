//! What is measured in one process, and between which two moments.

use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use serde::{Deserialize, Serialize};

use crate::error::EngineError;
use crate::syncs;

/// The measured time. What is acknowledged before is warm-up.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// Measured from here.
    pub begin: Instant,
    /// To here; then nobody begins another commit.
    pub end: Instant,
}

impl Window {
    /// From now on: first warm-up, then what counts.
    pub fn from_now(warmup: Duration, measured: Duration) -> Self {
        let begin = Instant::now() + warmup;
        Window { begin, end: begin + measured }
    }
}

/// The latencies that one committer saw. Committers share nothing while they run.
#[derive(Debug)]
pub struct Tally {
    window: Window,
    latencies: Histogram<u32>,
    commits: u64,
}

/// Nobody waits longer; what does, counts as this much.
const LONGEST: Duration = Duration::from_secs(60);

impl Tally {
    /// An empty one. Two digits: one per cent of each latency, and 4,096 of them fit into 64 MiB.
    pub fn new(window: Window) -> Self {
        let latencies = match Histogram::new_with_bounds(1, LONGEST.as_nanos() as u64, 2) {
            Ok(histogram) => histogram,
            Err(_) => unreachable!("constant bounds that are right"),
        };
        Tally { window, latencies, commits: 0 }
    }

    /// A commit that was acknowledged at `now`. Whether there should be another one.
    pub fn acknowledged(&mut self, since: Instant, now: Instant) -> bool {
        if now >= self.window.end {
            return false;
        }
        if now >= self.window.begin {
            self.commits += 1;
            self.count(now - since);
        }
        true
    }

    /// A commit that became durable at `now`, and whose latency is counted or not on its own.
    pub fn durable_at(&mut self, now: Instant) {
        self.commits += u64::from(self.window.begin <= now && now < self.window.end);
    }

    /// A latency that counts.
    pub fn count(&mut self, latency: Duration) {
        self.latencies.saturating_record(latency.as_nanos() as u64);
    }

    /// Takes over what another committer saw.
    pub fn merge(&mut self, other: &Tally) {
        // Same bounds, so there is no value that does not fit.
        let _ = self.latencies.add(&other.latencies);
        self.commits += other.commits;
    }
}

/// What the kernel has counted about this process, and the syncs that we have.
#[derive(Clone, Copy, Debug)]
struct Counters {
    at: Instant,
    cpu_us: u64,
    bytes_written: u64,
    syncs: u64,
}

impl Counters {
    fn now() -> Result<Self, EngineError> {
        let failed = |error: &dyn ToString| EngineError::Counters(error.to_string());
        let usage = getrusage(UsageWho::RUSAGE_SELF).map_err(|error| failed(&error))?;
        let cpu = usage.user_time() + usage.system_time();
        let io = std::fs::read_to_string("/proc/self/io").map_err(|error| failed(&error))?;
        let written = io.lines().find_map(|line| line.strip_prefix("wchar: "));
        Ok(Counters {
            at: Instant::now(),
            cpu_us: cpu.num_microseconds().unsigned_abs(),
            bytes_written: written.and_then(|bytes| bytes.parse().ok()).unwrap_or_default(),
            syncs: syncs::count(),
        })
    }
}

/// Reads the counters at both ends of a window, on a thread of its own.
pub struct Meter {
    window: Window,
    thread: JoinHandle<Result<(Counters, Counters), EngineError>>,
}

impl Meter {
    /// Waits for the window to begin.
    pub fn start(window: Window) -> Result<Self, EngineError> {
        let watch = move || {
            sleep_until(window.begin);
            let before = Counters::now()?;
            sleep_until(window.end);
            Ok((before, Counters::now()?))
        };
        let thread = thread::Builder::new().name("meter".into()).spawn(watch);
        Ok(Meter { window, thread: thread.map_err(EngineError::Thread)? })
    }

    /// What there is to say, once all committers have ended.
    pub fn finish(self, tally: &Tally) -> Result<Measured, EngineError> {
        let (before, after) = self.thread.join().map_err(|_| EngineError::Panicked)??;
        let seconds = (self.window.end - self.window.begin).as_secs_f64();
        // On a busy machine the thread wakes up late, and not equally so at both ends.
        let scale = seconds / (after.at - before.at).as_secs_f64();
        let counted = |before: u64, after: u64| ((after - before) as f64 * scale).round() as u64;
        let latency_us = |q| tally.latencies.value_at_quantile(q) as f64 / 1000.0;
        Ok(Measured {
            seconds,
            commits: tally.commits,
            p50_us: latency_us(0.5),
            p99_us: latency_us(0.99),
            p999_us: latency_us(0.999),
            syncs: counted(before.syncs, after.syncs),
            bytes_written: counted(before.bytes_written, after.bytes_written),
            cpu_us: counted(before.cpu_us, after.cpu_us),
        })
    }
}

fn sleep_until(moment: Instant) {
    thread::sleep(moment.saturating_duration_since(Instant::now()));
}

/// The figures of one engine in one round.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Measured {
    /// The length of the window.
    pub seconds: f64,
    /// Acknowledged in it.
    pub commits: u64,
    /// Half of them took at most so long.
    pub p50_us: f64,
    /// 99 % of them.
    pub p99_us: f64,
    /// 99.9 % of them.
    pub p999_us: f64,
    /// Calls of fsync and fdatasync.
    pub syncs: u64,
    /// What was handed to write calls (`wchar` of /proc/self/io). Not `write_bytes`: that counts whole folios of
    /// the page cache, which may be a MiB each, however little of one is written.
    pub bytes_written: u64,
    /// CPU time of the process, user and system.
    pub cpu_us: u64,
}
