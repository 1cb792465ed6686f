//! The cells of the matrix, and how they are measured.

use std::path::Path;
use std::time::Duration;

use actix::System;
use actix_wal::Wal;

use super::advice::{Advice, Point, Rival, advise, confirm};
use crate::measure::figures::{Quantiles, per};
use crate::measure::load::{self, Measured, Times};
use crate::measure::log::{Plan, Policy, Settings};
use crate::measure::median;
use crate::measure::scratch::Scratch;
use crate::output::Failure;
use crate::progress::Bar;

/// A disk: the one below the directory, or one on which a sync sleeps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Disk {
    Real,
    Simulated(Duration),
}

impl Disk {
    /// A turn of a disk with 7,200 of them per minute, and an SSD that writes before it answers.
    pub(super) const ALL: [Disk; 3] = [
        Disk::Real,
        Disk::Simulated(Duration::from_micros(1000)),
        Disk::Simulated(Duration::from_micros(8300)),
    ];

    pub(super) fn name(self) -> String {
        match self {
            Disk::Real => "real".to_owned(),
            Disk::Simulated(sync) => format!("simulated-{}ms", sync.as_secs_f64() * 1000.0),
        }
    }

    pub(super) fn simulated_sync(self) -> Option<Duration> {
        match self {
            Disk::Real => None,
            Disk::Simulated(sync) => Some(sync),
        }
    }
}

/// What is measured, and for how long.
#[derive(Clone, Debug)]
pub(super) struct Effort {
    /// Other than the default.
    pub(super) rivals: Vec<Settings>,
    pub(super) clients: Vec<usize>,
    pub(super) rounds: usize,
    pub(super) cell: Duration,
    pub(super) record_bytes: usize,
}

/// How long it takes to fill a log before it is measured.
const FILL: Duration = Duration::from_millis(400);

impl Effort {
    /// A few cells, in less than a minute.
    pub(super) fn quick(record_bytes: usize) -> Self {
        let rivals = vec![
            Settings::new(Policy::Eager, 10, 100),
            Settings::new(Policy::Adaptive, 2, 1000),
            Settings::new(Policy::Window, 2, 100),
            Settings::new(Policy::Window, 10, 100),
        ];
        // Below a minute also if every group has a winner, which is measured again.
        let cell = Duration::from_millis(160);
        Effort { rivals, clients: vec![1, 16, 256], rounds: 3, cell, record_bytes }
    }

    /// All cells, in some minutes.
    pub(super) fn full(record_bytes: usize) -> Self {
        let mut rivals = vec![Settings::new(Policy::Eager, 10, 100)];
        for policy in [Policy::Adaptive, Policy::Window] {
            for (delay_ms, entries) in [(2, 100), (10, 100), (2, 1000), (10, 1000)] {
                rivals.push(Settings::new(policy, delay_ms, entries));
            }
        }
        rivals.retain(|settings| *settings != Settings::default());
        let cell = Duration::from_millis(250);
        Effort { rivals, clients: vec![1, 16, 64, 256, 1024], rounds: 5, cell, record_bytes }
    }

    fn times(&self) -> Times {
        Times { warm_up: self.cell / 5, measured: self.cell }
    }

    /// The default comes first; in a round it is measured twice.
    fn settings(&self) -> impl Iterator<Item = Settings> + '_ {
        std::iter::once(Settings::default()).chain(self.rivals.iter().copied())
    }

    /// How many measurements it takes.
    pub(super) fn steps(&self) -> u64 {
        (Disk::ALL.len() * self.clients.len() * self.rounds * (self.rivals.len() + 2)) as u64
    }

    /// About how long all of it takes.
    pub(super) fn estimate(&self) -> Duration {
        let logs = (Disk::ALL.len() * self.settings().count()) as u32;
        (self.cell + self.cell / 5) * self.steps() as u32 + FILL * logs
    }

    /// What the log with most in flight is.
    pub(super) fn plan(&self, settings: Settings, disk: Disk) -> Plan {
        let in_flight = self.clients.iter().copied().max().unwrap_or(1);
        let plan = Plan::new(settings, in_flight, self.record_bytes);
        Plan { simulated_sync: disk.simulated_sync(), ..plan }
    }

    /// The room that all logs of one disk need.
    pub(super) fn disk_bytes(&self) -> u64 {
        let of_one = self.plan(Settings::default(), Disk::Real).disk_bytes();
        of_one * self.settings().count() as u64
    }
}

/// The figures of one measurement.
#[derive(Clone, Copy, Debug)]
pub(super) struct Figures {
    pub(super) commits: u64,
    pub(super) commits_per_second: f64,
    pub(super) latency: Quantiles,
    pub(super) syncs_per_second: f64,
    pub(super) commits_per_sync: f64,
    pub(super) cpu_us_per_commit: f64,
}

impl Figures {
    fn of(measured: &Measured) -> Self {
        let commits = measured.commits as f64;
        Figures {
            commits: measured.commits,
            commits_per_second: per(commits, measured.seconds),
            latency: measured.latencies.quantiles(),
            syncs_per_second: per(measured.syncs, measured.seconds),
            commits_per_sync: per(commits, measured.syncs),
            cpu_us_per_commit: per(measured.cpu_us, commits),
        }
    }

    /// The median of each figure over rounds, and the longest latency.
    fn median(rounds: &[Figures]) -> Self {
        let of = |figure: fn(&Figures) -> f64| median(rounds.iter().map(figure));
        Figures {
            commits: rounds.iter().map(|it| it.commits).sum(),
            commits_per_second: of(|it| it.commits_per_second),
            latency: Quantiles {
                p50_us: of(|it| it.latency.p50_us),
                p99_us: of(|it| it.latency.p99_us),
                p999_us: of(|it| it.latency.p999_us),
                max_us: rounds.iter().map(|it| it.latency.max_us).fold(0.0, f64::max),
            },
            syncs_per_second: of(|it| it.syncs_per_second),
            commits_per_sync: of(|it| it.commits_per_sync),
            cpu_us_per_commit: of(|it| it.cpu_us_per_commit),
        }
    }

    fn point(&self) -> Point {
        Point {
            commits: self.commits,
            commits_per_second: self.commits_per_second,
            p99_us: self.latency.p99_us,
        }
    }
}

/// A setting on a disk with a number of clients.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    pub(super) settings: Settings,
    pub(super) figures: Figures,
}

/// The cells of one disk and number of clients, the default first, and which of them to take.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) disk: Disk,
    pub(super) clients: usize,
    pub(super) cells: Vec<Cell>,
    pub(super) advice: Advice,
}

/// Measures all cells.
///
/// # Errors
/// A log could not be opened, or a commit has failed.
pub(super) fn measure(effort: &Effort, scratch: &Scratch) -> Result<Vec<Group>, Failure> {
    let bar = Bar::steps("tuning", effort.steps());
    let mut groups = Vec::new();
    for disk in Disk::ALL {
        let measured = System::new().block_on(on_disk(effort, disk, scratch, &bar));
        if measured.is_err() {
            bar.end();
        }
        groups.extend(measured?);
        scratch.remove_logs()?;
    }
    bar.end();
    Ok(groups)
}

async fn on_disk(
    effort: &Effort,
    disk: Disk,
    scratch: &Scratch,
    bar: &Bar,
) -> Result<Vec<Group>, Failure> {
    let mut logs = Vec::new();
    for (index, settings) in effort.settings().enumerate() {
        let at = scratch.log(&format!("log-{index}"));
        logs.push(effort.plan(settings, disk).open(at).await?);
    }
    let mut groups = Vec::new();
    for clients in &effort.clients {
        groups.push(group(effort, disk, *clients, &logs, bar).await?);
    }
    for log in logs {
        log.close().await.map_err(Failure::refused)?;
    }
    Ok(groups)
}

/// Round by round, so that what changes on the machine changes all settings. The default comes first and last in each, and
/// the others take turns in being next to it.
async fn group(
    effort: &Effort,
    disk: Disk,
    clients: usize,
    logs: &[Wal],
    bar: &Bar,
) -> Result<Group, Failure> {
    let (default, others) = logs.split_first().ok_or_else(|| Failure::refused("no settings"))?;
    let (defaults, rounds) = rounds(effort, clients, default, others, Some(bar)).await?;
    let points = |rounds: &[Figures]| rounds.iter().map(Figures::point).collect();
    let rivals = effort.rivals.iter().zip(&rounds);
    let rivals: Vec<_> = rivals
        .map(|(settings, rounds)| Rival { settings: *settings, rounds: points(rounds) })
        .collect();
    let default_points: Vec<_> = defaults.iter().map(|pair| pair.map(|it| it.point())).collect();
    let mut advice = advise(&default_points, &rivals);
    if let Some(at) = effort.rivals.iter().position(|it| *it == advice.settings) {
        // How many there will be is not known before, so the bar does not count these.
        let again = rounds_again(effort, clients, default, &others[at], advice.settings).await?;
        advice = confirm(&advice, again);
    }
    let of_default =
        Cell { settings: Settings::default(), figures: Figures::median(&defaults.concat()) };
    let of_others = effort
        .rivals
        .iter()
        .zip(&rounds)
        .map(|(settings, rounds)| Cell { settings: *settings, figures: Figures::median(rounds) });
    let cells = std::iter::once(of_default).chain(of_others).collect();
    Ok(Group { disk, clients, cells, advice })
}

/// The figures of the default, twice in each round, and those of the others, round by round.
type Rounds = (Vec<[Figures; 2]>, Vec<Vec<Figures>>);

async fn rounds(
    effort: &Effort,
    clients: usize,
    default: &Wal,
    others: &[Wal],
    bar: Option<&Bar>,
) -> Result<Rounds, Failure> {
    let measure = async |log: &Wal| {
        let measured = load::closed(log, clients, effort.record_bytes, effort.times()).await?;
        if let Some(bar) = bar {
            bar.step();
        }
        Ok::<_, Failure>(Figures::of(&measured))
    };
    let mut defaults: Vec<[Figures; 2]> = Vec::new();
    let mut rounds: Vec<Vec<Figures>> = vec![Vec::new(); others.len()];
    for round in 0..effort.rounds {
        let first = measure(default).await?;
        for at in 0..others.len() {
            let index = (at + round) % others.len();
            rounds[index].push(measure(&others[index]).await?);
        }
        defaults.push([first, measure(default).await?]);
    }
    Ok((defaults, rounds))
}

/// Measures the setting that has won once more, alone against the default.
async fn rounds_again(
    effort: &Effort,
    clients: usize,
    default: &Wal,
    winner: &Wal,
    settings: Settings,
) -> Result<Advice, Failure> {
    let winner = std::slice::from_ref(winner);
    let (defaults, rounds) = rounds(effort, clients, default, winner, None).await?;
    let defaults: Vec<_> = defaults.iter().map(|pair| pair.map(|it| it.point())).collect();
    let rounds = rounds.concat().iter().map(Figures::point).collect();
    Ok(advise(&defaults, &[Rival { settings, rounds }]))
}

/// Checks that a report can be written to this file, before anything is measured.
///
/// # Errors
/// Its folder is not there, or it is no file.
pub(super) fn check_report(file: &Path) -> Result<(), Failure> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let refused = |what: &str| Failure::refused(format_args!("--html {}: {what}", file.display()));
    if !folder.is_dir() {
        return Err(refused("its folder is not there"));
    }
    if file.exists() && !file.is_file() {
        return Err(refused("it is no file that can be replaced"));
    }
    Ok(())
}
