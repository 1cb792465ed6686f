//! The log runs for hours while the disk fails, processes are killed and logs are reopened; nothing that was
//! acknowledged may be lost, nothing that was refused may come back, and nothing may leak.
//!
//! ```text
//! cargo run --release --example soak -- --hours 8 --dir /a/disk
//! cargo run --release --example soak -- --help
//! ```
//!
//! * `run`: lives in this process, and lives of children that are killed.
//! * `life`: clients, readers, a subscriber, checkpoints and faults.
//! * `floors`: what is held when nothing happens, and whether that rises.
//!
//! Beside it lies `clients`: what clients write and were told, held against what each open replays.

pub mod floors;
pub mod life;
pub mod run;

use std::io::{IsTerminal, stderr, stdout};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use std::{env, fs, io};

use self::floors::{Sample, floor, rising};
use self::run::Soak;
use crate::clients::ledger;
use crate::panics::silence_injected_panics;
use clap::Parser;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

/// The log runs for as long as you like while everything around it fails.
///
/// Clients commit, readers follow, checkpoints release, in one short life of the log after the other. Writes
/// and syncs fail, are slow or panic, the disk is full for a while, logs are closed, dropped and reopened,
/// and children are killed with SIGKILL in mid-flight. After each life the log is opened and every record
/// compared with what clients were told. At the end of each period everything is released and closed: what
/// the process and the directory hold then is the floor, and a floor that rises is a leak.
#[derive(Debug, Parser)]
#[command(
    name = "soak",
    after_help = "Exit status: 0 if every promise was kept and no floor rises, 1 if not, 2 if the run could not \
                  be carried out.\n\n\
                  Try:\n  --minutes 5            a coffee\n  --hours 8 --json | tail -n 1 | jq .   a night\n  \
                  --seed 7               the same faults and moments again, as far as threads allow"
)]
struct Args {
    /// The directory to work in, on the disk that is to be tried. It must be new, empty, or of an earlier
    /// soak; it is emptied when the soak starts.
    #[arg(long, default_value = "target/soak")]
    dir: PathBuf,

    /// How long, in hours; minutes and seconds are added. One minute if none of them is given.
    #[arg(long, default_value_t = 0.0)]
    hours: f64,

    /// Minutes.
    #[arg(long, default_value_t = 0.0)]
    minutes: f64,

    /// Seconds.
    #[arg(long, default_value_t = 0.0)]
    seconds: f64,

    /// What chance is made of. Default: the clock. It is printed.
    #[arg(long)]
    seed: Option<u64>,

    /// Prints one JSON object to stdout as the last line; words go to stderr then.
    #[arg(long)]
    json: bool,
}

/// Periods of a run, as long as they come to between these.
const PERIODS: u32 = 60;
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(300);

/// A promise was broken, or a floor rises.
const BROKEN_PROMISE: u8 = 1;
/// The run could not be carried out, so nothing is known.
const NO_RESULT: u8 = 2;

/// The example.
pub fn main() -> ExitCode {
    silence_injected_panics();
    if run::be_a_child_if_told() {
        return ExitCode::SUCCESS;
    }
    let args = Args::parse();
    soak(&args).unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::from(NO_RESULT)
    })
}

impl Args {
    fn time(&self) -> io::Result<Duration> {
        let seconds = (self.hours * 60.0 + self.minutes) * 60.0 + self.seconds;
        let seconds = if seconds == 0.0 { 60.0 } else { seconds };
        Duration::try_from_secs_f64(seconds)
            .map_err(|error| io::Error::other(format!("a time of {seconds} s: {error}")))
    }

    fn say(&self, line: impl AsRef<str>) {
        if self.json { eprintln!("{}", line.as_ref()) } else { println!("{}", line.as_ref()) }
    }
}

/// Everything, for programs.
#[derive(Serialize)]
struct Report<'a> {
    seed: u64,
    seconds: f64,
    periods: usize,
    kills: u64,
    #[serde(flatten)]
    counts: &'a ledger::Counts,
    /// What was held after the first period and after the last one, and the least ever.
    first: Sample,
    last: Sample,
    floor: Sample,
    /// The quantities whose floor rises.
    rising: Vec<&'static str>,
    /// Whether there were enough periods to tell.
    floors_judged: bool,
}

fn soak(args: &Args) -> io::Result<ExitCode> {
    let time = args.time()?;
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seed = args.seed.unwrap_or(clock.as_nanos() as u64);
    let log = prepare(&args.dir)?;
    let period = (time / PERIODS).clamp(SHORTEST, LONGEST);
    args.say(format!(
        "soak in {} for {time:?}, a floor every {period:?}, --seed {seed}",
        log.display()
    ));
    let mut soak = Soak::new(&log, Command::new(env::current_exe()?), seed);
    let bar = progress_bar(time, stdout().is_terminal() && stderr().is_terminal());
    let began = Instant::now();
    while began.elapsed() < time && soak.is_sound() {
        soak.period(period.min(time - began.elapsed().min(time)))?;
        bar.set_position(began.elapsed().as_millis() as u64);
        let line = describe(&soak);
        bar.suspend(|| args.say(line));
    }
    bar.finish_and_clear();
    Ok(report(args, &soak, seed, began.elapsed()))
}

fn describe(soak: &Soak) -> String {
    let (ledger, kills) = (soak.ledger(), soak.kills);
    let counts = &ledger.counts;
    let Sample { fds, threads, rss_kib, files, disk_bytes } =
        soak.samples.last().copied().unwrap_or_default();
    format!(
        "  {:4}: {} acknowledged, {} faults, {} restarts, {kills} kills; floor: {fds} fds, {threads} threads, \
         {rss_kib} KiB, {files} files of {} KiB",
        soak.samples.len(),
        counts.acknowledged,
        counts.faults,
        counts.restarts,
        disk_bytes / 1024,
    )
}

fn report(args: &Args, soak: &Soak, seed: u64, time: Duration) -> ExitCode {
    let (ledger, samples) = (soak.ledger(), &soak.samples);
    let counts = &ledger.counts;
    let report = Report {
        seed,
        seconds: time.as_secs_f64(),
        periods: samples.len(),
        kills: soak.kills,
        counts,
        first: samples.first().copied().unwrap_or_default(),
        last: samples.last().copied().unwrap_or_default(),
        floor: floor(samples),
        rising: rising(samples),
        floors_judged: samples.len() >= floors::ENOUGH,
    };
    args.say(format!(
        "\n  {} acknowledged, {} compared in {} opens after {} faults and {} kills",
        counts.acknowledged, counts.compared, counts.opens, counts.faults, soak.kills
    ));
    args.say(format!(
        "  {} lost, {} duplicated, {} resurrected, {} other promises broken",
        counts.lost, counts.duplicated, counts.resurrected, counts.broken
    ));
    ledger.examples.iter().for_each(|what| args.say(format!("    {what}")));
    args.say(match (&report.rising[..], report.floors_judged) {
        ([], true) => "  no floor rises".to_owned(),
        ([], false) => format!("  less than {} periods: too short to judge floors", floors::ENOUGH),
        (rising, _) => format!("  a leak: the floor rises of {}", rising.join(", ")),
    });
    if let (true, Ok(line)) = (args.json, serde_json::to_string(&report)) {
        println!("{line}");
    }
    if counts.are_sound() && report.rising.is_empty() {
        ExitCode::SUCCESS
    } else {
        args.say(format!("  the log is left in {} as it is", args.dir.display()));
        ExitCode::from(BROKEN_PROMISE)
    }
}

/// Marks a directory that a soak may empty.
const MARKER: &str = "ACTIX-WAL-SOAK";

/// Makes sure that the directory is new, empty, or of an earlier soak, and empties it. Returns where the
/// log is to lie.
fn prepare(directory: &Path) -> io::Result<PathBuf> {
    let (marker, log) = (directory.join(MARKER), directory.join("log"));
    fs::create_dir_all(directory)?;
    if !marker.is_file() && fs::read_dir(directory)?.next().is_some() {
        let place = directory.display();
        return Err(io::Error::other(format!(
            "{place} is neither empty nor the directory of an earlier soak; choose a new --dir"
        )));
    }
    fs::write(
        marker,
        "The soak of actix-wal works here. It empties this directory when it starts.\n",
    )?;
    match fs::remove_dir_all(&log) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(log),
    }
}

fn progress_bar(time: Duration, show: bool) -> ProgressBar {
    let target = if show { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(Some(time.as_millis() as u64), target);
    match ProgressStyle::with_template("  [{bar:40}] {elapsed_precise}, {eta_precise} to go") {
        Ok(style) => bar.with_style(style.progress_chars("=> ")),
        Err(_) => bar,
    }
}
