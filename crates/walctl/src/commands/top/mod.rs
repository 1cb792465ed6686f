//! `walctl top`: what a log does right now.

mod files;
mod scrape;
mod screen;
mod view;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;

use self::files::FileSpan;
use self::scrape::Metrics;
use self::view::Span;
use crate::exit::Exit;
use crate::output::{Failure, Output};
use crate::place::Place;

/// Shows what a log does right now: rates, batches, latencies by stage, queue, epochs, faults.
///
/// Of a server that has metrics (ADDR, such as 127.0.0.1:9379) it shows all of that. Of a directory it shows what the files
/// tell: how fast LSNs, frames and bytes grow, and how much room they take.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  walctl top 127.0.0.1:9379\n  walctl top /var/lib/app/wal\n  walctl top 127.0.0.1:9379 --once\n\nKeys: q ends it. --once exits with 1 if a log does not run, or has failed commits or I/O errors."
)]
pub(crate) struct Arguments {
    /// The address of a server's metrics, or the directory of a log.
    #[arg(value_name = "ADDR|DIR")]
    target: String,
    /// Prints one frame as plain text, and ends.
    #[arg(long)]
    once: bool,
    /// Seconds between two frames.
    #[arg(long, default_value = "1", value_parser = super::seconds)]
    interval: f64,
}

/// The JSON of `top`, which is of one frame.
#[derive(Serialize)]
struct Frame {
    target: String,
    logs: Vec<Log>,
}

#[derive(Serialize)]
struct Log {
    log: String,
    lines: Vec<String>,
}

/// Where the figures come from.
enum Source {
    Server(String),
    Files(Place),
}

/// One look at it.
enum Look {
    Server(Metrics),
    Files(files::Look),
}

pub(crate) fn run(arguments: &Arguments, output: &mut Output) -> Result<Exit, Failure> {
    let source = Source::find(&arguments.target)?;
    let interval = Duration::from_secs_f64(arguments.interval);
    if !arguments.once && !output.is_json() && output.is_terminal() {
        screen::show(&source, interval)?;
        return Ok(Exit::Fine);
    }
    let before = source.look()?;
    let since = Instant::now();
    std::thread::sleep(interval);
    let now = source.look()?;
    let logs = logs(&before, &now, since.elapsed());
    for log in &logs {
        log.lines.iter().try_for_each(|line| output.say(line))?;
        output.say("")?;
    }
    let exit = now.exit();
    output.json("top", &Frame { target: arguments.target.clone(), logs })?;
    Ok(exit)
}

impl Source {
    /// What is there is a directory; what has a port at its end is an address.
    fn find(target: &str) -> Result<Self, Failure> {
        let has_port = target.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        if has_port && !Path::new(target).exists() {
            return Ok(Source::Server(target.to_owned()));
        }
        Ok(Source::Files(Place::with_log(&PathBuf::from(target))?.0))
    }

    fn look(&self) -> Result<Look, Failure> {
        match self {
            Source::Server(address) => {
                Metrics::fetch(address).map(Look::Server).map_err(Failure::refused)
            }
            Source::Files(place) => files::Look::at(place).map(Look::Files),
        }
    }
}

impl Look {
    fn exit(&self) -> Exit {
        let Look::Server(metrics) = self else { return Exit::Fine };
        let is_well = |log: &String| {
            let sum = |name: &str, labels: &[(&str, &str)]| metrics.sum(log, name, labels);
            let failed =
                sum("wal_commits_total", &[]) - sum("wal_commits_total", &[("outcome", "durable")]);
            sum("wal_state", &[("state", "running")]) > 0.5
                && failed + sum("wal_io_errors_total", &[]) + sum("wal_stalled", &[]) < 0.5
        };
        if metrics.logs().iter().all(is_well) { Exit::Fine } else { Exit::Attention }
    }
}

/// What both looks have.
fn logs(before: &Look, now: &Look, time: Duration) -> Vec<Log> {
    match (before, now) {
        (Look::Server(before), Look::Server(now)) => {
            let lines = |log: String| {
                let lines = Span { log: &log, before, now, time }.lines();
                Log { log, lines }
            };
            now.logs().into_iter().map(lines).collect()
        }
        (Look::Files(before), Look::Files(now)) => {
            vec![Log { log: now.name(), lines: FileSpan { before, now, time }.lines() }]
        }
        _ => Vec::new(),
    }
}
