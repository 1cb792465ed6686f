//! `walctl bench`: commits of a real log on a disk, beside the bare disk.

use std::path::{Path, PathBuf};
use std::time::Duration;

use actix::System;
use clap::Args;
use serde::Serialize;

use super::probe::Worth;
use crate::exit::Exit;
use crate::measure::bare::{self, BareFiles, FILE_BYTES, Method};
use crate::measure::device::Device;
use crate::measure::figures::{Latencies, Quantiles, per};
use crate::measure::load::{self, Measured, Times};
use crate::measure::log::{self, Plan, Policy, Settings};
use crate::measure::scratch::Scratch;
use crate::output::{Failure, Output};
use crate::progress::Bar;

/// The bare disk is measured before the log and after it, for this part of the time of the log each.
const BARE_PART: u32 = 4;

/// How long it is looked at whether syncs of the disk are worth anything.
const GLANCE: Duration = Duration::from_millis(100);

/// It keeps up with a rate if so much of what was due was done in time.
const KEEPS_UP: f64 = 0.99;

/// Measures commits of a log in a new directory below DIR, and the bare disk in the same run.
///
/// Without --rate each client commits, waits until that is durable, and commits again (closed loop). With --rate commits
/// come at that rate, whether the log keeps up or not, and a latency counts from the moment at which a commit was due
/// (open loop). The directory, DIR/walctl-scratch, is removed at the end; after an interruption the next run removes it.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  walctl bench /var/lib/app --clients 64\n  walctl bench /var/lib/app --rate 20000 --seconds 30\n  walctl bench /var/lib/app --policy window --max-delay-ms 5 --json\n\nExit status: 0 measured, 1 syncs of this disk are worthless or may be, or the log did not keep up with the rate, 3 not measured."
)]
pub(crate) struct Arguments {
    /// A directory on the disk.
    dir: PathBuf,
    /// How many clients commit at once.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    clients: u32,
    /// Bytes of a record.
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=16 << 20))]
    size: u32,
    /// How long the log is measured.
    #[arg(long, default_value_t = 5.0, value_parser = super::seconds)]
    seconds: f64,
    /// When the log flushes.
    #[arg(long, value_enum, default_value = "adaptive")]
    policy: Policy,
    /// The longest time that a record waits for its flush, for policies that wait. [default: 10]
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(..=10_000))]
    max_delay_ms: Option<u64>,
    /// How many records start a flush, for policies that wait. [default: 100]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_entries: Option<u32>,
    /// The least time from flush to flush, for devices that are paid by the operation.
    #[arg(long, value_name = "MS", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=10_000))]
    min_sync_interval_ms: u64,
    /// Commits per second that are due, instead of clients that wait.
    #[arg(long, value_name = "PER_SECOND", conflicts_with = "clients", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    rate: Option<u32>,
}

/// The JSON of `bench`.
#[derive(Serialize)]
struct Bench {
    directory: String,
    device: Device,
    sync_verdict: &'static str,
    warning: Option<String>,
    /// "closed" or "open".
    #[serde(rename = "loop")]
    kind: &'static str,
    clients: Option<u32>,
    rate: Option<u32>,
    keeps_up: Option<bool>,
    record_bytes: u32,
    policy: Policy,
    max_delay_ms: Option<f64>,
    max_entries: Option<usize>,
    min_sync_interval_ms: u64,
    segment_bytes: u64,
    seconds: f64,
    offered: u64,
    commits: u64,
    commits_per_second: f64,
    syncs: f64,
    commits_per_sync: f64,
    cpu_us_per_commit: f64,
    latency: Quantiles,
    bare: Bare,
    ratio_to_bare: f64,
}

/// The bare disk: one write and sync at a time.
#[derive(Serialize)]
struct Bare {
    writes: u64,
    writes_per_second: f64,
    latency: Quantiles,
}

pub(crate) fn run(arguments: &Arguments, output: &mut Output) -> Result<Exit, Failure> {
    let plan = arguments.plan();
    let device = Device::below(&arguments.dir)?;
    log::check(&plan, &arguments.dir)?;
    // As much again: a disk is not to be filled up by a measurement.
    device.needs_room(2 * (plan.disk_bytes() + 2 * FILE_BYTES))?;
    let scratch = Scratch::below(&arguments.dir)?;
    eprintln!(
        "measuring in {}; if this is interrupted, the next run removes it",
        scratch.path().display()
    );
    let measured = measure(arguments, &plan, &device, &scratch);
    // The first error is the one to report.
    let removed = scratch.remove();
    let (worth, bare, measured) = measured?;
    removed?;
    let bench = Bench::of(arguments, &plan, device, &worth, &bare, &measured);
    output.json("bench", &bench)?;
    print(&bench, &plan, output)?;
    Ok(if bench.keeps_up == Some(false) { Exit::Attention } else { worth.exit() })
}

/// The bare disk, the log, and the bare disk again: what changes meanwhile changes both.
fn measure(
    arguments: &Arguments,
    plan: &Plan,
    device: &Device,
    scratch: &Scratch,
) -> Result<(Worth, Latencies, Measured), Failure> {
    let time = Duration::from_secs_f64(arguments.seconds);
    let bar = Bar::steps("measuring", 3);
    let record = bare::payload(plan.record_bytes);
    let bare = |files: &mut BareFiles| {
        let measured = files.write_for(Method::Sync, &record, time / BARE_PART, 3);
        bar.step();
        measured
    };
    let mut files = BareFiles::create(scratch.path())?;
    let worth = Worth::measure(device, &mut files, GLANCE)?;
    let mut before = bare(&mut files)?;
    let measured = with_log(plan, &scratch.log("log-0"), arguments.rate, Times::of(time))?;
    bar.step();
    before.merge(&bare(&mut files)?);
    bar.end();
    Ok((worth, before, measured))
}

fn with_log(plan: &Plan, at: &Path, rate: Option<u32>, times: Times) -> Result<Measured, Failure> {
    System::new().block_on(async {
        let wal = plan.open(at.to_owned()).await?;
        let measured = match rate {
            Some(rate) => load::open(&wal, f64::from(rate), plan.record_bytes, times).await,
            None => load::closed(&wal, plan.in_flight, plan.record_bytes, times).await,
        };
        let closed = wal.close().await.map_err(Failure::refused);
        let measured = measured?;
        closed.map(|()| measured)
    })
}

impl Arguments {
    fn plan(&self) -> Plan {
        let default = Settings::default();
        let settings = Settings {
            policy: self.policy,
            max_delay: self.max_delay_ms.map_or(default.max_delay, Duration::from_millis),
            max_entries: self.max_entries.map_or(default.max_entries, |entries| entries as usize),
        };
        // Of an open loop nobody knows how many are in flight: the log has its default limit, and commits wait there.
        let in_flight = self.rate.map_or(self.clients as usize, |_| 1);
        let record_bytes = self.size as usize;
        let min_sync_interval = Duration::from_millis(self.min_sync_interval_ms);
        Plan { min_sync_interval, ..Plan::new(settings, in_flight, record_bytes) }
    }
}

impl Bench {
    fn of(
        arguments: &Arguments,
        plan: &Plan,
        device: Device,
        worth: &Worth,
        bare: &Latencies,
        measured: &Measured,
    ) -> Self {
        let commits = measured.commits as f64;
        let commits_per_second = per(commits, measured.seconds);
        let bare_latency = bare.quantiles();
        let writes_per_second = bare.per_second();
        let bounds = plan.settings.bounds();
        Bench {
            directory: arguments.dir.display().to_string(),
            device,
            sync_verdict: worth.verdict,
            warning: worth.warning(),
            kind: if arguments.rate.is_some() { "open" } else { "closed" },
            clients: arguments.rate.is_none().then_some(arguments.clients),
            rate: arguments.rate,
            keeps_up: arguments.rate.map(|_| commits >= KEEPS_UP * measured.offered as f64),
            record_bytes: arguments.size,
            policy: arguments.policy,
            max_delay_ms: bounds.map(|(delay_ms, _)| delay_ms),
            max_entries: bounds.map(|(_, entries)| entries),
            min_sync_interval_ms: arguments.min_sync_interval_ms,
            segment_bytes: plan.segment_bytes(),
            seconds: measured.seconds,
            offered: measured.offered,
            commits: measured.commits,
            commits_per_second,
            syncs: measured.syncs,
            commits_per_sync: per(commits, measured.syncs),
            cpu_us_per_commit: per(measured.cpu_us, commits),
            latency: measured.latencies.quantiles(),
            bare: Bare { writes: bare.count(), writes_per_second, latency: bare_latency },
            ratio_to_bare: per(commits_per_second, writes_per_second),
        }
    }
}

fn print(bench: &Bench, plan: &Plan, output: &mut Output) -> Result<(), Failure> {
    let load = match (bench.rate, bench.clients) {
        (Some(rate), _) => format!("{rate} commits/s due"),
        (None, clients) => format!("{} clients", clients.unwrap_or_default()),
    };
    output.say(format_args!(
        "{}: {}\n{load}, records of {} bytes, {}, {} loop, {:.1} s\n",
        bench.directory,
        bench.device.words(),
        bench.record_bytes,
        plan.settings.words(),
        bench.kind,
        bench.seconds,
    ))?;
    let latencies = |it: &Quantiles| {
        let Quantiles { p50_us, p99_us, p999_us, max_us } = it;
        format!("p50 {p50_us:.0}, p99 {p99_us:.0}, p99.9 {p999_us:.0}, max {max_us:.0} us")
    };
    output.say(format_args!("commits/s         {:.0}", bench.commits_per_second))?;
    output.say(format_args!("latency           {}", latencies(&bench.latency)))?;
    output.say(format_args!("syncs/s           {:.0}", per(bench.syncs, bench.seconds)))?;
    output.say(format_args!("commits per sync  {:.1}", bench.commits_per_sync))?;
    output.say(format_args!("CPU per commit    {:.2} us", bench.cpu_us_per_commit))?;
    output.say(format_args!("bare disk         {:.0} writes/s", bench.bare.writes_per_second))?;
    output.say(format_args!("  its latency     {}", latencies(&bench.bare.latency)))?;
    output
        .say(format_args!("ratio             {:.2} commits per bare write", bench.ratio_to_bare))?;
    if bench.keeps_up == Some(false) {
        output.say(format_args!(
            "\nit did not keep up: {} of {} commits that were due became durable in time",
            bench.commits, bench.offered
        ))?;
    }
    if let Some(warning) = &bench.warning {
        output.say(format_args!("\n{warning}"))?;
    }
    Ok(())
}
