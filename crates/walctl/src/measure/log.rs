//! A log of our own, as a host has one that has run for a while: its segments have their full size, and are recycled.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use actix_wal::{Bounds, FlushPolicy, Wal, WalConfig};
use bytes::Bytes;
use clap::ValueEnum;
use serde::Serialize;

use super::slow::Slow;
use crate::output::Failure;

/// The first segment of a log.
const FIRST_SEGMENT: u64 = 1 << 20;

/// The size of a segment, unless the commits in flight need more. Smaller than the default of the log, so that it is
/// soon reached and the disk needs less room.
const SEGMENT: u64 = 8 << 20;

/// Segments that lie on the disk at most: the current one, those prepared, and those not recycled yet.
const SEGMENTS_AT_ONCE: u64 = 6;

/// What a record takes in the log beside its bytes, with room to spare.
const OVERHEAD: usize = 64;

/// The bytes that clients may have in flight: a segment has room for twice as many, and is below 4 GiB.
const MOST_IN_FLIGHT: usize = 1 << 30;

const CHECKPOINT_EVERY: Duration = Duration::from_millis(50);

/// When a log flushes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Policy {
    /// At once when the disk is idle, with a short linger for clients that are expected back. The default.
    Adaptive,
    /// Never before the delay or the number of entries is reached.
    Window,
    /// At once, always.
    Eager,
}

/// The settings that are compared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Settings {
    pub(crate) policy: Policy,
    pub(crate) max_delay: Duration,
    pub(crate) max_entries: usize,
}

impl Default for Settings {
    fn default() -> Self {
        let Bounds { max_delay, max_entries, .. } = Bounds::default();
        Settings { policy: Policy::Adaptive, max_delay, max_entries }
    }
}

impl Settings {
    pub(crate) fn new(policy: Policy, delay_ms: u64, max_entries: usize) -> Self {
        Settings { policy, max_delay: Duration::from_millis(delay_ms), max_entries }
    }

    /// The bounds, for a policy that has any.
    pub(crate) fn bounds(&self) -> Option<(f64, usize)> {
        let has_bounds = self.policy != Policy::Eager;
        has_bounds.then_some((self.max_delay.as_secs_f64() * 1000.0, self.max_entries))
    }

    /// In words, as `window 10 ms / 100`.
    pub(crate) fn words(&self) -> String {
        let name = self.flush_policy().name();
        match self.bounds() {
            Some((delay_ms, entries)) => format!("{name} {delay_ms} ms / {entries}"),
            None => name.to_owned(),
        }
    }

    /// As it stands in a configuration file in TOML.
    pub(crate) fn toml(&self) -> String {
        let name = self.flush_policy().name();
        match self.bounds() {
            Some((delay_ms, entries)) => format!(
                "flush_policy = {{ {name} = {{ max_delay = \"{delay_ms} ms\", max_entries = {entries} }} }}"
            ),
            None => format!("flush_policy = \"{name}\""),
        }
    }

    fn flush_policy(&self) -> FlushPolicy {
        let bounds = Bounds {
            max_delay: self.max_delay,
            max_entries: self.max_entries,
            ..Bounds::default()
        };
        match self.policy {
            Policy::Adaptive => FlushPolicy::Adaptive(bounds),
            Policy::Window => FlushPolicy::Window(bounds),
            Policy::Eager => FlushPolicy::Eager,
        }
    }
}

/// Which log is measured.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) settings: Settings,
    /// Commits that are in flight at once, at most.
    pub(crate) in_flight: usize,
    pub(crate) record_bytes: usize,
    /// How long a sync takes on a simulated device.
    pub(crate) simulated_sync: Option<Duration>,
    /// The least time from flush to flush.
    pub(crate) min_sync_interval: Duration,
}

impl Plan {
    /// A log with these settings, and all others as they are.
    pub(crate) fn new(settings: Settings, in_flight: usize, record_bytes: usize) -> Self {
        Plan {
            settings,
            in_flight,
            record_bytes,
            simulated_sync: None,
            min_sync_interval: Duration::ZERO,
        }
    }

    /// The size of its segments. All commits in flight must fit into one.
    pub(crate) fn segment_bytes(&self) -> u64 {
        let wanted = 2 * self.bytes_in_flight() as u64;
        SEGMENT.max(wanted.next_power_of_two())
    }

    /// The room that the log needs on the disk.
    pub(crate) fn disk_bytes(&self) -> u64 {
        SEGMENTS_AT_ONCE * self.segment_bytes()
    }

    fn bytes_in_flight(&self) -> usize {
        self.in_flight.saturating_mul(self.record_bytes + OVERHEAD)
    }

    fn config(&self, path: PathBuf) -> WalConfig {
        let mut config = WalConfig::new(path);
        config.flush_policy = self.settings.flush_policy();
        config.min_sync_interval = self.min_sync_interval;
        config.segment_size = self.segment_bytes();
        config.max_in_flight_entries = config.max_in_flight_entries.max(self.in_flight);
        if self.bytes_in_flight() > config.in_flight_bytes() {
            config.max_in_flight_bytes = Some(self.bytes_in_flight());
        }
        config
    }

    /// Opens the log, and fills it until it works as one in use.
    ///
    /// # Errors
    /// What the log says.
    pub(crate) async fn open(&self, path: PathBuf) -> Result<Wal, Failure> {
        let opening = match self.simulated_sync {
            Some(sync) => {
                let storage = Slow::open(&path, sync).map_err(Failure::refused)?;
                Wal::open(self.config(path)).on_storage(storage)
            }
            None => Wal::open(self.config(path)),
        };
        let wal = opening.await.map_err(Failure::refused)?;
        let host = wal.clone();
        actix::spawn(async move {
            loop {
                actix::clock::sleep(CHECKPOINT_EVERY).await;
                if host.checkpoint(host.durable_lsn()).await.is_err() {
                    return;
                }
            }
        });
        fill(&wal, self.segment_bytes()).await?;
        settle(&wal).await;
        Ok(wal)
    }
}

/// Checks that a log can be had with these settings.
///
/// # Errors
/// Which setting can not be, and why.
pub(crate) fn check(plan: &Plan, below: &Path) -> Result<(), Failure> {
    if plan.bytes_in_flight() > MOST_IN_FLIGHT {
        return Err(Failure::refused(format_args!(
            "{} commits of {} are more than one log can have in flight; take fewer clients or smaller records",
            plan.in_flight,
            crate::words::bytes(plan.record_bytes as u64),
        )));
    }
    plan.config(below.to_owned()).validate().map_err(Failure::refused)
}

/// Writes until segments have their full size, and two of them more.
async fn fill(wal: &Wal, segment_bytes: u64) -> Result<(), Failure> {
    const PIECE: usize = 64 << 10;
    const PIECES: usize = 32;
    let grows = std::iter::successors(Some(FIRST_SEGMENT), |size| Some(size * 4));
    let small: u64 = grows.take_while(|size| *size < segment_bytes).sum();
    let piece = Bytes::from(vec![7; PIECE]);
    for _ in 0..=(small + 2 * segment_bytes) / (PIECES * PIECE) as u64 {
        let group = vec![piece.clone(); PIECES];
        let range = wal.append_all(group).await.map_err(Failure::refused)?;
        wal.wait_for_lsn(range.last).await.map_err(Failure::refused)?;
    }
    Ok(())
}

/// Waits until nothing is written any more: the next segment is ready.
async fn settle(wal: &Wal) {
    const QUIET: Duration = Duration::from_millis(60);
    const PATIENCE: Duration = Duration::from_secs(10);
    let started = Instant::now();
    let mut before = wal.stats().bytes_written;
    while started.elapsed() < PATIENCE {
        actix::clock::sleep(QUIET).await;
        let now = wal.stats().bytes_written;
        if now == before {
            return;
        }
        before = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_reads_in_a_configuration_file_as_it_was_measured() {
        for policy in [Policy::Adaptive, Policy::Window, Policy::Eager] {
            let settings = Settings::new(policy, 2, 1000);
            let file = format!("directory = \"x\"\n{}", settings.toml());
            let config: WalConfig = toml::from_str(&file).expect(&file);
            assert_eq!(config.flush_policy, settings.flush_policy());
        }
    }

    #[test]
    fn the_default_is_that_of_the_log() {
        assert_eq!(Settings::default().flush_policy(), FlushPolicy::default());
    }

    #[test]
    fn all_that_may_be_in_flight_fits_the_limits_of_the_log() {
        for (in_flight, record_bytes) in [(1, 1), (1, 16 << 20), (65_536, 1), (1024, 1 << 19)] {
            let plan = Plan::new(Settings::default(), in_flight, record_bytes);
            check(&plan, Path::new("x")).expect("it can be had");
            let config = plan.config("x".into());
            assert!(config.in_flight_bytes() >= in_flight * (record_bytes + 5), "{plan:?}");
            assert!(config.max_in_flight_entries >= in_flight);
        }
        let plan = Plan::new(Settings::default(), 65_536, 1 << 20);
        check(&plan, Path::new("x")).expect_err("64 GiB in flight");
    }
}
