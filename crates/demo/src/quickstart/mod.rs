//! Many clients commit at once; then a process is killed in mid-flight, again and again, and every
//! acknowledged record is looked for.
//!
//! * `settings`: of a run, as the command line has them.
//! * `load`: part one, how fast.
//! * `kill`: part two, `kill -9`, and what recovery finds; `child`: what is killed.
//! * `report`: words and JSON.

pub mod child;
mod kill;
mod load;
mod report;
mod settings;

use std::io::Write;
use std::path::Path;

use actix_wal::WalConfig;
use actix_wal::messages::RECORD_OVERHEAD;

pub use self::report::Report;
pub use self::settings::{OnFault, Policy, Settings};

use self::kill::Kills;
use crate::place::{Kind, Place};
use crate::voice::Voice;
use crate::{DemoError, Verdict};

/// The logs of the two parts.
const LOGS: [&str; 2] = ["load", "kill"];

const KIND: Kind = Kind { name: "quickstart", marker: "ACTIX-WAL-QUICKSTART", logs: &LOGS };

/// Runs both parts in a directory, which is new, empty or of an earlier run, and says in `words` how they go. A program
/// that calls this begins with [`be_one_if_asked`](crate::child::be_one_if_asked), as part two starts it again.
///
/// # Errors
/// The run can not be carried out; the log is not judged then.
pub fn run(
    settings: &Settings,
    directory: &Path,
    words: &mut dyn Write,
) -> Result<(Verdict, Report), DemoError> {
    let limit = WalConfig::new(directory).in_flight_bytes() - RECORD_OVERHEAD;
    if settings.size > limit {
        return Err(DemoError::TooLarge { size: settings.size, limit });
    }
    let (place, mut voice) = (Place::prepare(directory, &KIND)?, Voice::new(words));
    place.introduce(&mut voice)?;
    report::introduce(settings, &mut voice)?;
    let load = load::run(settings, &place.log(LOGS[0]))?;
    report::tell_load(&load, &mut voice)?;

    let (clients, rounds) = (settings.clients, settings.kills);
    let mut kills = Kills::default();
    if rounds > 0 {
        voice.say(format_args!("\n2. kill -9, {rounds} times, while {clients} clients commit"))?;
        kills = kill::run(settings, &place.log(LOGS[1]), &mut voice)?;
        report::tell_kills(&kills, &mut voice)?;
    }
    let report = Report::new(settings, &place, &load, &kills);
    let missed = rounds - kills.kills;
    let verdict = report.verdict(rounds);
    if verdict == Verdict::Broken {
        voice.say("\nThe log has broken its promises.")?;
    } else if missed > 0 {
        voice.say(format_args!(
            "\n{missed} children ended before they were killed, so this run proves less than it should."
        ))?;
    }
    Ok((verdict, report))
}
