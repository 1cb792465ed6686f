//! Settings: plain data, and the check that they go together.

mod file;
mod units;

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::ConfigError;
use crate::format::DEFAULT_BLOCK_SIZE;
use crate::format::frame::{FRAME_HEADER_LEN, FRAME_TRAILER_LEN};

/// When an append counts as done. It changes only who waits, never what is written: all records go the
/// same way, in LSN order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// Flushed at once, together with whatever is pending; waits for the sync.
    Synchronous,
    /// Flushed with the next batch; waits for the sync.
    #[default]
    GroupCommit,
    /// Nobody waits. Durable within `max_delay` and two syncs, or with any later durable record.
    Async,
}

/// When pending records are flushed. Whenever a flush starts, it takes everything that is pending: the
/// numbers below are triggers, never caps.
///
/// In every policy a flush starts for a [`Durability::Synchronous`] append, an explicit flush, and close.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FlushPolicy {
    /// At once when the device is idle and somebody waits, except for a short linger in which the
    /// committers of the last batch are expected back; at the latest at the bounds of [`Bounds`].
    Adaptive(Bounds),
    /// Never before one of the bounds is reached: ADR-001 to the letter, 10 ms or 100 entries.
    Window(Bounds),
    /// At once, always.
    Eager,
}

/// The bounds of a batching window: whichever is reached first starts a flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Since the oldest pending record was appended. Default: 10 ms.
    pub max_delay: Duration,
    /// Pending records. Default: 100.
    pub max_entries: usize,
    /// Pending bytes. Default: 1 MiB.
    pub max_bytes: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Bounds { max_delay: Duration::from_millis(10), max_entries: 100, max_bytes: 1 << 20 }
    }
}

impl Default for FlushPolicy {
    fn default() -> Self {
        FlushPolicy::Adaptive(Bounds::default())
    }
}

impl FlushPolicy {
    /// The bounds of the policy, if it has any.
    pub fn bounds(&self) -> Option<Bounds> {
        match self {
            FlushPolicy::Adaptive(bounds) | FlushPolicy::Window(bounds) => Some(*bounds),
            FlushPolicy::Eager => None,
        }
    }

    /// The name of the policy, for reports.
    pub fn name(&self) -> &'static str {
        match self {
            FlushPolicy::Adaptive(_) => "adaptive",
            FlushPolicy::Window(_) => "window",
            FlushPolicy::Eager => "eager",
        }
    }
}

/// What happens to records that were appended but not acknowledged when a write or sync fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultPolicy {
    /// They are written again in a new segment, under the same LSNs: a passing fault costs latency only.
    #[default]
    Resend,
    /// They are answered `NotDurable`, and the log goes on without them.
    FailFast,
}

/// What an append does when as much is in flight as is allowed, or while the log recovers from a fault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OverloadPolicy {
    /// It waits for its turn; at the longest until the log gives up (`give_up_after`), then it is refused
    /// as below. A full disk refuses it at once.
    #[default]
    Wait,
    /// It is refused: `Overloaded`, or `Unavailable`.
    Refuse,
}

/// What recovery does about damage to acknowledged records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DamagePolicy {
    /// The open fails and says where.
    #[default]
    Refuse,
    /// The log is cut at the damage. What lay beyond is lost; files that held it are kept aside. A process that ends between
    /// the cut and the renaming loses these files at a later open: copy the directory first, as `walctl repair` does.
    Salvage,
}

/// Whether a log must be there already when it is opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Existence {
    /// Where there is no log, one begins; the directory is created if need be.
    #[default]
    MayBegin,
    /// Where there is no log the open fails with [`OpenError::NoLog`](crate::OpenError), and creates nothing, not
    /// even the directory. For services, which would take a file system that is not mounted for an empty log.
    MustExist,
}

/// How often a failed Flusher is restarted before the log is poisoned. What passes by itself (a full disk, a
/// process that is short of threads, descriptors or memory) is not charged; what only an operator changes (a
/// read-only directory) poisons the log without a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestartBudget {
    /// This many restarts, ... Default: 5.
    pub restarts: u32,
    /// ... within this time. Default: 60 s.
    pub within: Duration,
    /// The wait before the first restart; it doubles with every further one. Default: 10 ms.
    pub backoff: Duration,
    /// The longest wait. Default: 1 s.
    pub max_backoff: Duration,
}

impl Default for RestartBudget {
    fn default() -> Self {
        RestartBudget {
            restarts: 5,
            within: Duration::from_secs(60),
            backoff: Duration::from_millis(10),
            max_backoff: Duration::from_secs(1),
        }
    }
}

/// The settings of a log.
///
/// ```
/// use actix_wal::{FlushPolicy, WalConfig};
///
/// let mut config = WalConfig::new("data/wal");
/// config.flush_policy = FlushPolicy::Eager;
/// config.validate().expect("these go together");
/// ```
///
/// A service can have them in its own configuration file, in any format that `serde` reads. Each setting has the name
/// of its field, and its default where it is left out; only `directory` is required. Sizes are written as
/// `"64 MiB"` or as a number of bytes, durations as `"10 ms"`. Unknown names are refused, and so is what
/// [`validate`](Self::validate) refuses. An error names the setting.
///
/// ```
/// use std::time::Duration;
///
/// #[derive(serde::Deserialize)]
/// struct Service {
///     listen: String,
///     wal: actix_wal::WalConfig,
/// }
/// let service: Service = toml::from_str(
///     r#"
///     listen = "127.0.0.1:8080"
///     [wal]
///     directory = "/var/lib/service/wal"
///     segment_size = "128 MiB"
///     min_sync_interval = "2 ms"
///     overload = "refuse"
///     flush_policy = { window = { max_delay = "5 ms", max_entries = 200 } }
///     restart_budget = { restarts = 3, within = "2 min" }
///     "#,
/// )
/// .expect("valid");
/// assert_eq!(service.wal.min_sync_interval, Duration::from_millis(2));
/// # assert_eq!(service.listen, "127.0.0.1:8080");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WalConfig {
    /// The directory. It is created, unless `existence` says otherwise, and belongs to one log alone.
    pub directory: PathBuf,
    /// Whether there must be a log already. Default: one may begin.
    pub existence: Existence,
    /// When pending records are flushed. Default: [`FlushPolicy::Adaptive`].
    pub flush_policy: FlushPolicy,
    /// The least time from the start of one flush to the next, for devices that are paid by the
    /// operation. Default: zero.
    pub min_sync_interval: Duration,
    /// After this long without an append, a synced empty frame vouches for the last batch.
    /// Default: 100 ms.
    pub seal_after: Duration,
    /// The size of a full segment in bytes. The first segment that an open has to make is smaller
    /// (from 1 MiB); the next ones grow fourfold up to this. Default: 64 MiB.
    pub segment_size: u64,
    /// The size of a block in bytes: what a torn write may destroy at once. Default: 4096.
    pub block_size: u32,
    /// How many records may be in flight. Default: 65,536.
    pub max_in_flight_entries: usize,
    /// How many bytes may be in flight; also the largest group. `None` is 16 MiB, or less where
    /// segments are smaller.
    pub max_in_flight_bytes: Option<usize>,
    /// What an append does past those limits. Default: wait.
    pub overload: OverloadPolicy,
    /// What happens to unacknowledged records at a fault. Default: resend.
    pub fault_policy: FaultPolicy,
    /// How often the Flusher is restarted.
    pub restart_budget: RestartBudget,
    /// A sync that runs longer than this is warned of. Default: 1 s.
    pub slow_sync: Duration,
    /// A sync that runs longer than this makes the log `Stalled`. Time in which the process is stopped does
    /// not count, here and in the next setting. Default: 10 s.
    pub stalled_after: Duration,
    /// After being stalled or unavailable for this long, waiters are answered `Unknown`. An open waits as
    /// long for a log of the same process that is ending. Default: 30 s.
    pub give_up_after: Duration,
    /// What recovery does about damage. Default: refuse.
    pub damage_policy: DamagePolicy,
    /// How long a reader that makes no progress may keep segments from being removed, by the clock: also time
    /// in which the process is stopped counts. Default: 60 s.
    pub reader_lease: Duration,
    /// What the log is called among those of its process: the label `log` of its metrics. The host names its logs,
    /// never a client. Default: `None`, which stands for the place where the log lies, such as its directory.
    pub name: Option<String>,
}

/// In-flight bytes where nothing is configured and segments are large enough.
const DEFAULT_IN_FLIGHT_BYTES: u64 = 16 << 20;

impl WalConfig {
    /// The default settings for a log in this directory.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        WalConfig {
            directory: directory.into(),
            existence: Existence::default(),
            flush_policy: FlushPolicy::default(),
            min_sync_interval: Duration::ZERO,
            seal_after: Duration::from_millis(100),
            segment_size: 64 << 20,
            block_size: DEFAULT_BLOCK_SIZE,
            max_in_flight_entries: 65_536,
            max_in_flight_bytes: None,
            overload: OverloadPolicy::default(),
            fault_policy: FaultPolicy::default(),
            restart_budget: RestartBudget::default(),
            slow_sync: Duration::from_secs(1),
            stalled_after: Duration::from_secs(10),
            give_up_after: Duration::from_secs(30),
            damage_policy: DamagePolicy::default(),
            reader_lease: Duration::from_secs(60),
            name: None,
        }
    }

    /// The in-flight limit in bytes, counted as records on disk; also the largest record or group.
    pub fn in_flight_bytes(&self) -> usize {
        let room = self.segment_room();
        let wanted = self.max_in_flight_bytes.map_or(DEFAULT_IN_FLIGHT_BYTES, |bytes| bytes as u64);
        wanted.min(room) as usize
    }

    /// How many bytes of records fit into one segment.
    fn segment_room(&self) -> u64 {
        let block = u64::from(self.block_size);
        let overhead = block * (1 + Self::RESERVED_BLOCKS) + Self::FRAME_OVERHEAD;
        self.segment_size.saturating_sub(overhead)
    }

    /// Blocks at the end of a segment that only empty frames may use: a seal, a low-water mark, and
    /// the close frame.
    pub(crate) const RESERVED_BLOCKS: u64 = 3;
    /// Header and checksum of a frame, in bytes.
    pub(crate) const FRAME_OVERHEAD: u64 = (FRAME_HEADER_LEN + FRAME_TRAILER_LEN) as u64;

    /// Checks that a directory is named; a log on another storage has none.
    pub(crate) fn check_directory(&self) -> Result<(), ConfigError> {
        if !self.directory.as_os_str().is_empty() {
            return Ok(());
        }
        let rule = "it must name the directory of the log".to_owned();
        Err(ConfigError { setting: "directory", value: "empty".to_owned(), rule })
    }

    /// Checks that the settings go together.
    ///
    /// # Errors
    /// Names the first setting that can not be, and what it must be.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let block = u64::from(self.block_size);
        let delay = self.flush_policy.bounds().map_or(Duration::MAX, |bounds| bounds.max_delay);
        let rules: [(bool, &'static str, String, &str); 9] = [
            (
                self.block_size.is_power_of_two() && (512..=65_536).contains(&self.block_size),
                "block_size",
                self.block_size.to_string(),
                "it must be a power of two from 512 to 65536",
            ),
            (
                self.segment_size >= 6 * block && self.segment_size.is_multiple_of(block),
                "segment_size",
                self.segment_size.to_string(),
                "it must be a multiple of the block size, and at least six blocks",
            ),
            (
                self.segment_size < u64::from(u32::MAX),
                "segment_size",
                self.segment_size.to_string(),
                "it must be below 4 GiB",
            ),
            (
                (1..=1 << 24).contains(&self.max_in_flight_entries),
                "max_in_flight_entries",
                self.max_in_flight_entries.to_string(),
                "it must be from 1 to 16777216",
            ),
            (
                self.max_in_flight_bytes
                    .is_none_or(|bytes| bytes > 0 && bytes as u64 <= self.segment_room()),
                "max_in_flight_bytes",
                format!("{:?}", self.max_in_flight_bytes),
                "it must be positive, and less than what fits into one segment",
            ),
            (
                self.min_sync_interval <= delay,
                "min_sync_interval",
                format!("{:?}", self.min_sync_interval),
                "it may not exceed max_delay",
            ),
            (
                self.flush_policy
                    .bounds()
                    .is_none_or(|bounds| bounds.max_entries > 0 && bounds.max_bytes > 0),
                "flush_policy",
                format!("{:?}", self.flush_policy),
                "max_entries and max_bytes must be positive",
            ),
            (
                self.slow_sync <= self.stalled_after,
                "stalled_after",
                format!("{:?}", self.stalled_after),
                "it may not be shorter than slow_sync",
            ),
            (
                !self.seal_after.is_zero(),
                "seal_after",
                format!("{:?}", self.seal_after),
                "it must be positive",
            ),
        ];
        match rules.into_iter().find(|(holds, ..)| !holds) {
            None => Ok(()),
            Some((_, setting, value, rule)) => {
                Err(ConfigError { setting, value, rule: rule.to_owned() })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_go_together() {
        WalConfig::new("x").validate().expect("valid");
    }

    #[test]
    fn each_impossible_setting_is_named() {
        type Spoil = fn(&mut WalConfig);
        let cases: [(&str, Spoil); 8] = [
            ("block_size", |config| config.block_size = 1000),
            ("segment_size", |config| config.segment_size = 4096),
            ("segment_size", |config| config.segment_size = 8 << 30),
            ("max_in_flight_entries", |config| config.max_in_flight_entries = 0),
            ("max_in_flight_bytes", |config| config.max_in_flight_bytes = Some(64 << 20)),
            ("min_sync_interval", |config| config.min_sync_interval = Duration::from_secs(1)),
            ("stalled_after", |config| config.stalled_after = Duration::ZERO),
            ("seal_after", |config| config.seal_after = Duration::ZERO),
        ];
        for (setting, spoil) in cases {
            let mut config = WalConfig::new("x");
            spoil(&mut config);
            assert_eq!(config.validate().expect_err(setting).setting, setting);
        }
    }
}
