//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, RangedU64ValueParser, TypedValueParser};
use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};

use crate::engines;
use crate::scenarios::{self, Scenario};

/// Group-commit engines side by side: so many committers, each of which waits until its record is durable
/// before it commits the next one.
///
/// Every engine runs in a process and a directory of its own. Engines take turns round by round, and each
/// figure is the median of the rounds. In between, the disk itself is measured, so that each figure can be
/// held against what the disk allows.
#[derive(Debug, Parser)]
#[command(
    name = "peers",
    args_conflicts_with_subcommands = true,
    after_help = "Exit status: 0 if everything was measured, 1 if an engine failed or hung (the others have \
                  their figures all the same), 2 if nothing could be measured.\n\n\
                  Try:\n  \
                  --committers 1,16,256 --rounds 3 --seconds 2   a first look, some minutes\n  \
                  --engines bare,actix-wal-coordinator           only these\n  \
                  --size 128,1024,16384 --report peers.html      all sizes, with plots\n  \
                  --json | jq -c '[.engine, .committers, .commits_per_second]'\n  \
                  open-loop --rates 1000,10000,100000            latency at an offered rate\n  \
                  scenario --help                                ours in situations of its own\n  \
                  limit --dir /mnt/disk                          what this disk allows"
)]
pub struct Args {
    #[command(subcommand)]
    pub command: Option<Command>,

    #[command(flatten)]
    pub compare: CompareArgs,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Offers commits at a fixed rate to ours, and counts latency from the moment at which each should
    /// have been sent: a log that falls behind is seen to.
    OpenLoop(OpenLoopArgs),
    /// Measures one write and one sync of some sizes, and says what they allow.
    Limit(LimitArgs),
    /// Measures ours in one situation, and says how figures of one run compare.
    Scenario(ScenarioArgs),
    /// One measurement, in a process of its own.
    #[command(hide = true)]
    Child {
        /// What to measure, as JSON.
        job: String,
    },
}

/// Where, and in which form.
#[derive(Clone, Debug, ClapArgs)]
pub struct Output {
    /// The directory to work in, on the disk that is to be tried. What is made there is removed.
    #[arg(long, default_value = "target/peers")]
    pub dir: PathBuf,

    /// Leaves the files there.
    #[arg(long)]
    pub keep: bool,

    /// Prints one JSON object per line instead of a table.
    #[arg(long)]
    pub json: bool,
}

/// The same, and a page.
#[derive(Clone, Debug, ClapArgs)]
pub struct Common {
    #[command(flatten)]
    pub output: Output,

    /// Writes a page with plots to this file.
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,

    /// Writes each plot as an SVG file into this directory.
    #[arg(long, value_name = "DIR")]
    pub plots: Option<PathBuf>,
}

#[derive(Clone, Debug, ClapArgs)]
pub struct Times {
    /// Rounds; the figures are their medians.
    #[arg(long, default_value_t = 3, value_parser = RangedU64ValueParser::<usize>::new().range(1..=1000))]
    pub rounds: usize,

    /// How long each measurement lasts.
    #[arg(long, default_value = "2", value_parser = parse_seconds)]
    pub seconds: Duration,

    /// How long each engine runs before it is measured.
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = parse_seconds)]
    pub warmup: Duration,
}

#[derive(Debug, ClapArgs)]
pub struct CompareArgs {
    /// Which engines, with commas in between.
    #[arg(long, value_delimiter = ',', value_parser = PossibleValuesParser::new(engines::names()))]
    pub engines: Vec<String>,

    /// How many committers.
    #[arg(long, value_delimiter = ',', default_value = "1,4,16,64,256,1024,4096", value_parser = committers())]
    pub committers: Vec<usize>,

    /// Bytes of a record.
    #[arg(long, value_delimiter = ',', default_value = "128", value_parser = size())]
    pub size: Vec<usize>,

    #[command(flatten)]
    pub times: Times,

    #[command(flatten)]
    pub common: Common,
}

#[derive(Debug, ClapArgs)]
pub struct OpenLoopArgs {
    /// Commits per second.
    #[arg(long, value_delimiter = ',', default_value = "500,2000,8000,32000,128000,512000", value_parser = RangedU64ValueParser::<u64>::new().range(1..=20_000_000))]
    pub rates: Vec<u64>,

    /// Flush policies of ours.
    #[arg(long, value_delimiter = ',', value_enum, default_value = "adaptive,eager,window")]
    pub policies: Vec<Policy>,

    /// Bytes of a record.
    #[arg(long, value_delimiter = ',', default_value = "128", value_parser = size())]
    pub size: Vec<usize>,

    #[command(flatten)]
    pub times: Times,

    #[command(flatten)]
    pub common: Common,
}

#[derive(Debug, ClapArgs)]
pub struct LimitArgs {
    #[command(flatten)]
    pub common: Common,
}

#[derive(Debug, ClapArgs)]
#[command(after_help = scenarios::HELP)]
pub struct ScenarioArgs {
    #[command(subcommand)]
    pub scenario: Scenario,
}

/// When ours flushes.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// When the disk is idle, with a short wait for those who are expected back.
    #[default]
    Adaptive,
    /// At once, always.
    Eager,
    /// Every 10 ms or 100 records, never before.
    Window,
}

impl Policy {
    pub fn name(self) -> &'static str {
        match self {
            Policy::Adaptive => "adaptive",
            Policy::Eager => "eager",
            Policy::Window => "window",
        }
    }
}

pub fn committers() -> impl TypedValueParser<Value = usize> {
    RangedU64ValueParser::<usize>::new().range(1..=32_768)
}

pub fn size() -> impl TypedValueParser<Value = usize> {
    RangedU64ValueParser::<usize>::new().range(1..=1 << 20)
}

fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "it is not a number".to_owned())?;
    if !(0.01..=3_600.0).contains(&seconds) {
        return Err("it must be from 0.01 to 3600".to_owned());
    }
    Ok(Duration::from_secs_f64(seconds))
}
