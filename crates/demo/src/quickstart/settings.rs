//! The settings of a run, as the command line has them, and how a log is set up from them.

use std::path::Path;
use std::time::Duration;

use actix_wal::{Bounds, FaultPolicy, FlushPolicy, WalConfig};
use clap::builder::{RangedU64ValueParser, TypedValueParser};
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use crate::clients::payload;

/// The settings of one run.
#[derive(Args, Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Settings {
    /// Concurrent clients. Each waits for its commit to be durable before it begins the next one.
    #[arg(long, default_value_t = 256, value_parser = RangedU64ValueParser::<u64>::new().range(1..=100_000))]
    pub clients: u64,

    /// How long part one lasts.
    #[arg(long, default_value = "3", value_parser = parse_seconds)]
    pub seconds: Duration,

    /// Bytes of a record, at least 16: it carries the numbers that it is checked by.
    #[arg(long, default_value_t = 128, value_parser = RangedU64ValueParser::<u64>::new().range(payload::MIN_SIZE as u64..=1 << 30).map(|size| size as usize))]
    pub size: usize,

    /// How often part two kills a child. 0 leaves part two out.
    #[arg(long, default_value_t = 5, value_parser = RangedU64ValueParser::<u64>::new().range(..=10_000))]
    pub kills: u64,

    /// When a batch is flushed.
    #[arg(long, value_enum, default_value_t = Policy::Adaptive)]
    pub policy: Policy,

    /// What becomes of unacknowledged records when a write or a sync fails.
    #[arg(long, value_enum, default_value_t = OnFault::Resend)]
    pub on_fault: OnFault,
}

/// When a batch is flushed.
#[derive(Clone, Copy, Debug, Default, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// At once when the disk is idle, with a short wait when that lets more clients go together.
    #[default]
    Adaptive,
    /// Every 10 ms or 100 entries, never before.
    Window,
    /// At once, always.
    Eager,
}

/// What becomes of unacknowledged records at a fault.
#[derive(Clone, Copy, Debug, Default, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFault {
    /// They are written again: the clients only wait a little longer.
    #[default]
    Resend,
    /// The clients are told: not durable, or unknown.
    #[value(name = "failfast", alias = "fail-fast")]
    FailFast,
}

impl Policy {
    pub(crate) fn of_log(self) -> FlushPolicy {
        match self {
            Policy::Adaptive => FlushPolicy::Adaptive(Bounds::default()),
            Policy::Window => FlushPolicy::Window(Bounds::default()),
            Policy::Eager => FlushPolicy::Eager,
        }
    }
}

impl Settings {
    /// A log in this directory.
    pub(crate) fn config(&self, directory: &Path) -> WalConfig {
        let mut config = WalConfig::new(directory);
        config.flush_policy = self.policy.of_log();
        config.fault_policy = match self.on_fault {
            OnFault::Resend => FaultPolicy::Resend,
            OnFault::FailFast => FaultPolicy::FailFast,
        };
        config
    }
}

fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "it is not a number".to_owned())?;
    if !(0.001..=86_400.0).contains(&seconds) {
        return Err("it must be from 0.001 to 86400".to_owned());
    }
    Ok(Duration::from_secs_f64(seconds))
}
