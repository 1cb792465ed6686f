//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use actix_wal::{Bounds, FaultPolicy, FlushPolicy};
use clap::builder::{RangedU64ValueParser, TypedValueParser};
use clap::{Parser, ValueEnum};

use super::config::Settings;
use crate::clients::payload;

/// Many clients commit to one log at once; then the process is killed in mid-flight, again and again,
/// and every acknowledged record is looked for.
///
/// Part one shows what group commit is for: each client waits for its record to be durable, and still
/// there are far fewer fsyncs than commits. Part two starts a child that reports every acknowledgement
/// through a pipe, kills it with SIGKILL after at least 1,000 of them, opens the log again and checks
/// every record byte by byte.
#[derive(Debug, Parser)]
#[command(
    name = "quickstart",
    after_help = "Exit status: 0 if every promise was kept, 1 if a record was lost, is there twice, or was \
                  never submitted, 2 if the run could not be carried out.\n\n\
                  Try:\n  --clients 1            what a lone client gets: one fsync per commit\n  \
                  --policy window        a fixed window of 10 ms or 100 entries, for comparison\n  \
                  --kills 50 --seconds 0.1   nothing but kills\n  --json | tail -n 1 | jq ."
)]
pub(crate) struct Args {
    /// The directory to work in, on the disk that is to be tried. It must be new, empty, or of an
    /// earlier quickstart; it is emptied when the quickstart starts.
    #[arg(long, default_value = "target/quickstart")]
    pub(crate) dir: PathBuf,

    /// Concurrent clients. Each waits for its commit to be durable before it begins the next one.
    #[arg(long, default_value_t = 256, value_parser = RangedU64ValueParser::<u64>::new().range(1..=100_000))]
    clients: u64,

    /// How long part one lasts.
    #[arg(long, default_value = "3", value_parser = parse_seconds)]
    seconds: Duration,

    /// Bytes of a record, at least 16: it carries the numbers that it is checked by.
    #[arg(long, default_value_t = 128, value_parser = RangedU64ValueParser::<u64>::new().range(payload::MIN_SIZE as u64..=1 << 30).map(|size| size as usize))]
    size: usize,

    /// How often part two kills a child. 0 leaves part two out.
    #[arg(long, default_value_t = 5, value_parser = RangedU64ValueParser::<u64>::new().range(..=10_000))]
    kills: u64,

    /// When a batch is flushed.
    #[arg(long, value_enum, default_value_t = Policy::Adaptive)]
    policy: Policy,

    /// What becomes of unacknowledged records when a write or a sync fails.
    #[arg(long, value_enum, default_value_t = OnFault::Resend)]
    on_fault: OnFault,

    /// Prints one JSON object to stdout as the last line; words go to stderr then.
    #[arg(long)]
    pub(crate) json: bool,

    /// For the children of part two: commit in --dir itself until killed, with clients of these numbers.
    #[arg(long, hide = true)]
    pub(crate) child: Option<u64>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Policy {
    /// At once when the disk is idle, with a short wait when that lets more clients go together.
    Adaptive,
    /// Every 10 ms or 100 entries, never before.
    Window,
    /// At once, always.
    Eager,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum OnFault {
    /// They are written again: the clients only wait a little longer.
    Resend,
    /// The clients are told: not durable, or unknown.
    #[value(name = "failfast", alias = "fail-fast")]
    FailFast,
}

impl Args {
    /// The settings of the run.
    pub(crate) fn settings(&self) -> Settings {
        Settings {
            clients: self.clients,
            size: self.size,
            time: self.seconds,
            kills: self.kills,
            policy: match self.policy {
                Policy::Adaptive => FlushPolicy::Adaptive(Bounds::default()),
                Policy::Window => FlushPolicy::Window(Bounds::default()),
                Policy::Eager => FlushPolicy::Eager,
            },
            on_fault: match self.on_fault {
                OnFault::Resend => FaultPolicy::Resend,
                OnFault::FailFast => FaultPolicy::FailFast,
            },
        }
    }
}

fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "it is not a number".to_owned())?;
    if !(0.001..=86_400.0).contains(&seconds) {
        return Err("it must be from 0.001 to 86400".to_owned());
    }
    Ok(Duration::from_secs_f64(seconds))
}
