//! The log runs for hours while the disk fails, processes are killed and logs are reopened; nothing that was
//! acknowledged may be lost, nothing that was refused may come back, and nothing may leak.
//!
//! * `run`: lives in this process, and lives of children that are killed.
//! * `life`: clients, readers, a subscriber, checkpoints and faults.
//! * `floors`: what is held when nothing happens, and whether that rises.

pub mod floors;
mod life;
pub mod run;

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::Args;
use serde::Serialize;

use self::floors::{Sample, floor, rising};
use self::run::Soak;
use crate::clients::ledger;
use crate::panics::silence_injected_panics;
use crate::place::{Kind, Place};
use crate::voice::{Voice, progress_bar};
use crate::{DemoError, Verdict, child};

/// Periods of a run, as long as they come to between these.
const PERIODS: u32 = 60;
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(300);

const KIND: Kind = Kind { name: "soak", marker: "ACTIX-WAL-SOAK", logs: &["log"] };

/// The settings of one run, as the command line has them.
#[derive(Args, Clone, Copy, Debug)]
pub struct Settings {
    /// How long, in hours; minutes and seconds are added. One minute if none of them is given.
    #[arg(long, default_value_t = 0.0, value_parser = parse_time)]
    pub hours: f64,

    /// Minutes.
    #[arg(long, default_value_t = 0.0, value_parser = parse_time)]
    pub minutes: f64,

    /// Seconds.
    #[arg(long, default_value_t = 0.0, value_parser = parse_time)]
    pub seconds: f64,

    /// What chance is made of. Default: the clock. It is printed.
    #[arg(long)]
    pub seed: Option<u64>,
}

impl Settings {
    fn time(&self) -> Duration {
        let seconds = (self.hours * 60.0 + self.minutes) * 60.0 + self.seconds;
        Duration::from_secs_f64(if seconds == 0.0 { 60.0 } else { seconds })
    }
}

fn parse_time(text: &str) -> Result<f64, String> {
    let time: f64 = text.parse().map_err(|_| "it is not a number".to_owned())?;
    let is_possible = (0.0..=1_000_000.0).contains(&time);
    if is_possible { Ok(time) } else { Err("it must be from 0 to 1000000".to_owned()) }
}

/// A seed that no run before this one had.
pub(crate) fn new_seed() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64
}

/// Everything, for programs.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    directory: String,
    filesystem: String,
    /// Whether the medium can keep anything through power loss.
    durable_medium: bool,
    seed: u64,
    seconds: f64,
    periods: usize,
    kills: u64,
    #[serde(flatten)]
    counts: ledger::Counts,
    /// What was held after the first period and after the last one, and the least ever.
    first: Sample,
    last: Sample,
    floor: Sample,
    /// The quantities whose floor rises.
    rising: Vec<&'static str>,
    /// Whether there were enough periods to tell.
    floors_judged: bool,
}

/// Runs in a directory, which is new, empty or of an earlier run, and says in `words` how it goes. A program that calls
/// this begins with [`be_one_if_asked`](child::be_one_if_asked), as the children are this program, started again.
///
/// # Errors
/// The run can not be carried out; the log is not judged then.
pub fn run(
    settings: &Settings,
    directory: &Path,
    words: &mut dyn Write,
) -> Result<(Verdict, Report), DemoError> {
    silence_injected_panics();
    let (place, mut voice) = (Place::prepare(directory, &KIND)?, Voice::new(words));
    place.introduce(&mut voice)?;
    let (time, seed) = (settings.time(), settings.seed.unwrap_or_else(new_seed));
    let period = (time / PERIODS).clamp(SHORTEST, LONGEST);
    voice.say(format_args!("soak for {time:?}, a floor every {period:?}, --seed {seed}"))?;
    let mut soak = Soak::new(&place.log(KIND.logs[0]), child::this_program()?, seed);
    let bar = progress_bar(time, "  [{bar:40}] {elapsed_precise}, {eta_precise} to go");
    let began = Instant::now();
    while began.elapsed() < time && soak.is_sound() {
        soak.period(period.min(time - began.elapsed().min(time)))?;
        bar.set_position(began.elapsed().as_millis() as u64);
        let line = describe(&soak);
        bar.suspend(|| voice.say(line))?;
    }
    bar.finish_and_clear();
    let report = Report::new(&place, &soak, seed, began.elapsed());
    tell(&report, &soak, &mut voice)?;
    Ok((report.verdict(), report))
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

impl Report {
    fn new(place: &Place, soak: &Soak, seed: u64, time: Duration) -> Self {
        let samples = &soak.samples;
        Report {
            directory: place.name(),
            filesystem: place.filesystem.clone(),
            durable_medium: place.can_be_durable(),
            seed,
            seconds: time.as_secs_f64(),
            periods: samples.len(),
            kills: soak.kills,
            counts: soak.ledger().counts.clone(),
            first: samples.first().copied().unwrap_or_default(),
            last: samples.last().copied().unwrap_or_default(),
            floor: floor(samples),
            rising: rising(samples),
            floors_judged: samples.len() >= floors::ENOUGH,
        }
    }

    fn verdict(&self) -> Verdict {
        let is_doubtful = !self.rising.is_empty() || self.kills == 0 || !self.durable_medium;
        Verdict::of(self.counts.are_sound(), is_doubtful)
    }
}

fn tell(report: &Report, soak: &Soak, voice: &mut Voice<'_>) -> Result<(), DemoError> {
    let (counts, kills) = (&report.counts, report.kills);
    voice.say(format_args!(
        "\n  {} acknowledged, {} compared in {} opens after {} faults and {kills} kills",
        counts.acknowledged, counts.compared, counts.opens, counts.faults
    ))?;
    voice.say(format_args!(
        "  {} lost, {} duplicated, {} resurrected, {} other promises broken",
        counts.lost, counts.duplicated, counts.resurrected, counts.broken
    ))?;
    for what in &soak.ledger().examples {
        voice.say(format_args!("    {what}"))?;
    }
    match (&report.rising[..], report.floors_judged) {
        ([], true) => voice.say("  no floor rises")?,
        ([], false) => {
            let enough = floors::ENOUGH;
            voice.say(format_args!("  less than {enough} periods: too short to judge floors"))?;
        }
        (rising, _) => {
            voice.say(format_args!("  a leak: the floor rises of {}", rising.join(", ")))?;
        }
    }
    if kills == 0 {
        voice.say("  no child was killed, so this run proves less than it should")?;
    }
    if !counts.are_sound() || !report.rising.is_empty() {
        voice.say(format_args!("  the log is left in {} as it is", report.directory))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clients::ledger::{Ledger, Replayed};
    use crate::clients::told::Told;
    use actix_wal::Lsn;

    fn verdict(change: impl FnOnce(&mut Report)) -> Verdict {
        let mut report = Report { durable_medium: true, kills: 1, ..Report::default() };
        change(&mut report);
        report.verdict()
    }

    #[test]
    fn a_record_that_is_lost_ends_the_run_as_broken() {
        let mut ledger = Ledger::default();
        ledger.admit([0]);
        ledger.note(Told::Durable { client: 0, sequence: 0, lsn: Lsn::FIRST });
        assert_eq!(verdict(|it| it.counts = ledger.counts.clone()), Verdict::Kept);
        ledger.compare(Replayed::default(), Lsn::NONE);
        assert_eq!(verdict(|it| it.counts = ledger.counts.clone()), Verdict::Broken);
        let leaks = |it: &mut Report| (it.counts.lost, it.rising) = (1, vec!["fds"]);
        assert_eq!(verdict(leaks), Verdict::Broken, "a loss counts more than a leak");
    }

    #[test]
    fn a_leak_a_memory_file_system_and_a_run_without_a_kill_are_doubtful() {
        let doubts: [fn(&mut Report); 3] =
            [|it| it.rising = vec!["fds"], |it| it.durable_medium = false, |it| it.kills = 0];
        for doubt in doubts {
            assert_eq!(verdict(doubt), Verdict::Doubtful);
        }
    }
}
