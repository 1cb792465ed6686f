//! `walctl tune`: which settings suit a disk.

mod advice;
mod matrix;
mod page;

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use clap::Args;
use serde::Serialize;

use self::advice::Advice;
use self::matrix::{Cell, Disk, Effort, Group, check_report};
use super::probe::Worth;
use crate::exit::Exit;
use crate::measure::bare::{BareFiles, FILE_BYTES};
use crate::measure::device::Device;
use crate::measure::figures::Quantiles;
use crate::measure::log::{self, Policy, Settings};
use crate::measure::scratch::Scratch;
use crate::output::{Failure, Output};
use crate::words;

/// How long the bare disk is looked at.
const GLANCE: Duration = Duration::from_millis(300);

/// Measures flush policies, delays and batch sizes against numbers of clients, and recommends settings.
///
/// It measures the disk of DIR, and two simulated ones on which a sync takes 1 ms and 8.3 ms. The default settings are
/// recommended unless others beat them clearly in the same run. The logs lie in DIR/walctl-scratch, which is removed at
/// the end; after an interruption the next run removes it.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  walctl tune /var/lib/app --quick\n  walctl tune /var/lib/app --html report.html\n  walctl tune /var/lib/app --json | jq '.recommendations[] | select(.is_default | not)'\n\nExit status: 0 measured, 1 measured, but syncs of this disk are worthless or may be, 3 not measured."
)]
pub(crate) struct Arguments {
    /// A directory on the disk.
    dir: PathBuf,
    /// Measures a few cells in less than a minute, instead of all of them in a few.
    #[arg(long)]
    quick: bool,
    /// Writes a report with plots into this file, which opens offline. A file of this name is replaced.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Bytes of a record.
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    size: u32,
    /// The measured time of each cell in a round.
    #[arg(long, hide = true, value_parser = super::seconds)]
    cell_seconds: Option<f64>,
}

/// The JSON of `tune`.
#[derive(Serialize)]
struct Tune {
    directory: String,
    device: Device,
    sync_verdict: &'static str,
    warning: Option<String>,
    measured: String,
    seconds: f64,
    record_bytes: usize,
    rounds: usize,
    cell_seconds: f64,
    disks: Vec<DiskLine>,
    recommendations: Vec<Recommendation>,
    cells: Vec<CellLine>,
    html: Option<String>,
}

#[derive(Serialize)]
struct DiskLine {
    name: String,
    is_simulated: bool,
    sync_us: f64,
}

#[derive(Serialize)]
struct Recommendation {
    disk: String,
    clients: usize,
    policy: Policy,
    max_delay_ms: Option<f64>,
    max_entries: Option<usize>,
    is_default: bool,
    setting: String,
    throughput_ratio: f64,
    p99_ratio: f64,
    throughput_noise: f64,
    p99_noise: f64,
    reason: String,
}

#[derive(Serialize)]
struct CellLine {
    disk: String,
    clients: usize,
    policy: Policy,
    max_delay_ms: Option<f64>,
    max_entries: Option<usize>,
    is_default: bool,
    is_recommended: bool,
    commits: u64,
    commits_per_second: f64,
    latency: Quantiles,
    syncs_per_second: f64,
    commits_per_sync: f64,
    cpu_us_per_commit: f64,
}

pub(crate) fn run(arguments: &Arguments, output: &mut Output) -> Result<Exit, Failure> {
    let since = Instant::now();
    let effort = arguments.effort();
    if let Some(file) = &arguments.html {
        check_report(file)?;
    }
    let device = Device::below(&arguments.dir)?;
    log::check(&effort.plan(Settings::default(), Disk::Real), &arguments.dir)?;
    // As much again: a disk is not to be filled up by a measurement.
    device.needs_room(2 * (effort.disk_bytes() + 2 * FILE_BYTES))?;
    let scratch = Scratch::below(&arguments.dir)?;
    eprintln!(
        "measuring for about {} in {}; if this is interrupted, the next run removes it",
        words::duration(effort.estimate()),
        scratch.path().display()
    );
    let measured = BareFiles::create(scratch.path())
        .and_then(|mut files| Worth::measure(&device, &mut files, GLANCE))
        .and_then(|worth| Ok((worth, matrix::measure(&effort, &scratch)?)));
    // The first error is the one to report.
    let removed = scratch.remove();
    let (worth, groups) = measured?;
    removed?;
    let tune = Tune::of(arguments, &effort, device, &worth, &groups, since.elapsed());
    if let Some(file) = &arguments.html {
        let page = page::page(&tune, &groups, &tune.device.words())?;
        fs::write(file, page).map_err(|error| {
            Failure::refused(format_args!("--html {}: {error}", file.display()))
        })?;
    }
    output.json("tune", &tune)?;
    print(&tune, &groups, output)?;
    Ok(worth.exit())
}

impl Arguments {
    fn effort(&self) -> Effort {
        let size = self.size as usize;
        let effort = if self.quick { Effort::quick(size) } else { Effort::full(size) };
        let cell = self.cell_seconds.map_or(effort.cell, Duration::from_secs_f64);
        Effort { cell, ..effort }
    }
}

/// Whether this cell is the one that is recommended.
fn takes(group: &Group, cell: &Cell) -> bool {
    cell.settings == group.advice.settings
}

impl Tune {
    fn of(
        arguments: &Arguments,
        effort: &Effort,
        device: Device,
        worth: &Worth,
        groups: &[Group],
        taken: Duration,
    ) -> Self {
        let disk = |disk: Disk| DiskLine {
            name: disk.name(),
            is_simulated: disk != Disk::Real,
            sync_us: disk.simulated_sync().map_or(worth.sync_us, |it| it.as_secs_f64() * 1e6),
        };
        let cells = groups
            .iter()
            .flat_map(|group| group.cells.iter().map(move |cell| CellLine::of(group, cell)));
        Tune {
            directory: arguments.dir.display().to_string(),
            device,
            sync_verdict: worth.verdict,
            warning: worth.warning(),
            measured: httpdate::fmt_http_date(SystemTime::now()),
            seconds: taken.as_secs_f64(),
            record_bytes: effort.record_bytes,
            rounds: effort.rounds,
            cell_seconds: effort.cell.as_secs_f64(),
            disks: Disk::ALL.map(disk).into(),
            recommendations: groups.iter().map(Recommendation::of).collect(),
            cells: cells.collect(),
            html: arguments.html.as_ref().map(|file| file.display().to_string()),
        }
    }
}

impl Recommendation {
    fn of(group: &Group) -> Self {
        let Advice { settings, is_default, throughput_ratio, p99_ratio, .. } = group.advice;
        let Advice { throughput_noise, p99_noise, .. } = group.advice;
        let bounds = settings.bounds();
        Recommendation {
            disk: group.disk.name(),
            clients: group.clients,
            policy: settings.policy,
            max_delay_ms: bounds.map(|(delay_ms, _)| delay_ms),
            max_entries: bounds.map(|(_, entries)| entries),
            is_default,
            setting: settings.toml(),
            throughput_ratio,
            p99_ratio,
            throughput_noise,
            p99_noise,
            reason: group.advice.reason.clone(),
        }
    }
}

impl CellLine {
    fn of(group: &Group, cell: &Cell) -> Self {
        let (settings, figures) = (cell.settings, &cell.figures);
        let bounds = settings.bounds();
        CellLine {
            disk: group.disk.name(),
            clients: group.clients,
            policy: settings.policy,
            max_delay_ms: bounds.map(|(delay_ms, _)| delay_ms),
            max_entries: bounds.map(|(_, entries)| entries),
            is_default: settings == Settings::default(),
            is_recommended: takes(group, cell),
            commits: figures.commits,
            commits_per_second: figures.commits_per_second,
            latency: figures.latency,
            syncs_per_second: figures.syncs_per_second,
            commits_per_sync: figures.commits_per_sync,
            cpu_us_per_commit: figures.cpu_us_per_commit,
        }
    }
}

fn print(tune: &Tune, groups: &[Group], output: &mut Output) -> Result<(), Failure> {
    output.say(format_args!("{}: {}", tune.directory, tune.device.words()))?;
    output.say(format_args!(
        "records of {} bytes, {} rounds of {} s, {:.0} s in all; * is recommended",
        tune.record_bytes, tune.rounds, tune.cell_seconds, tune.seconds
    ))?;
    for disk in &tune.disks {
        output.say(format_args!("\n{}: a sync takes {:.0} us", disk.name, disk.sync_us))?;
        let of_disk = groups.iter().filter(|group| group.disk.name() == disk.name);
        let rows: Vec<_> =
            of_disk.flat_map(|group| group.cells.iter().map(move |it| row(group, it))).collect();
        let heads = [
            "",
            "clients",
            "setting",
            "commits/s",
            "p50 us",
            "p99 us",
            "p99.9 us",
            "syncs/s",
            "CPU us",
        ];
        words::table(heads, &rows).iter().try_for_each(|line| output.say(line))?;
    }
    output.say("\nrecommended:")?;
    for advice in &tune.recommendations {
        let Recommendation { disk, clients, setting, reason, is_default, .. } = advice;
        let setting = if *is_default { "the default" } else { setting };
        let clients =
            if *clients == 1 { "1 client".to_owned() } else { format!("{clients} clients") };
        output.say(format_args!("  {disk}, {clients}: {setting}\n    {reason}"))?;
    }
    if let Some(file) = &tune.html {
        output.say(format_args!("\nreport: {file}"))?;
    }
    if let Some(warning) = &tune.warning {
        output.say(format_args!("\n{warning}"))?;
    }
    Ok(())
}

fn row(group: &Group, cell: &Cell) -> [String; 9] {
    let it = &cell.figures;
    [
        if takes(group, cell) { "*" } else { "" }.to_owned(),
        group.clients.to_string(),
        cell.settings.words(),
        format!("{:.0}", it.commits_per_second),
        format!("{:.0}", it.latency.p50_us),
        format!("{:.0}", it.latency.p99_us),
        format!("{:.0}", it.latency.p999_us),
        format!("{:.0}", it.syncs_per_second),
        format!("{:.2}", it.cpu_us_per_commit),
    ]
}
