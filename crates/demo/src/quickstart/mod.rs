//! Many clients commit at once; then the process is killed in mid-flight, again and again, and every
//! acknowledged record is looked for.
//!
//! ```text
//! cargo run --release --example quickstart
//! cargo run --release --example quickstart -- --help
//! ```
//!
//! * `settings`: the command line; `config`: what the parts have to know of it.
//! * `load`: part one, how fast.
//! * `kill`: part two, `kill -9`.
//! * `verify`: what the clients were told, held against what recovery finds.
//! * `report`: words and JSON.
//! * `child`: what is killed.

pub mod child;
pub mod config;
mod kill;
mod load;
mod report;
mod settings;
mod verify;

use std::io::{IsTerminal, stderr, stdout};
use std::process::ExitCode;

use actix_wal::WalConfig;
use clap::Parser;

use self::kill::Kills;
use self::report::{Report, Voice};
use self::settings::Args;
use crate::error::QuickstartError;
use crate::place::Workplace;

/// An acknowledged record was lost, or one is there twice, or one was never submitted.
const BROKEN_PROMISE: u8 = 1;
/// The run could not be carried out, so nothing is known.
const NO_RESULT: u8 = 2;

/// The example.
pub fn main() -> ExitCode {
    let args = Args::parse();
    let result = match args.child {
        Some(first_client) => child::run(&args.settings(), &args.dir, first_client)
            .map(|()| ExitCode::SUCCESS)
            .map_err(QuickstartError::from),
        None => run(&args),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::from(NO_RESULT)
    })
}

fn run(args: &Args) -> Result<ExitCode, QuickstartError> {
    let settings = args.settings();
    let voice = Voice { json: args.json };
    let limit = WalConfig::new(&args.dir).in_flight_bytes() - actix_wal::messages::RECORD_OVERHEAD;
    if settings.size > limit {
        return Err(QuickstartError::TooLarge { size: settings.size, limit });
    }
    let workplace = Workplace::prepare(&args.dir)?;

    voice.introduce(&settings, &workplace);
    let show = stdout().is_terminal() && stderr().is_terminal();
    let load = load::run(&settings, &workplace.load(), show)?;
    voice.tell_load(&load);

    let (clients, rounds) = (settings.clients, settings.kills);
    let mut kills = Kills::default();
    if rounds > 0 {
        voice.say(format!("\n2. kill -9, {rounds} times, while {clients} clients commit"));
        kills = kill::run(&settings, &workplace.kill(), &voice)?;
        voice.tell_kills(&kills);
    }
    voice.print_json(&Report::new(&settings, &workplace, &load, &kills));
    Ok(verdict(&voice, kills.ledger.counts.are_sound(), rounds - kills.kills))
}

fn verdict(voice: &Voice, sound: bool, missed: u64) -> ExitCode {
    if !sound {
        voice.say("\nThe log has broken its promises.");
        ExitCode::from(BROKEN_PROMISE)
    } else if missed > 0 {
        voice.say(format!(
            "\n{missed} children ended before they were killed, so this run proves less than it should."
        ));
        ExitCode::from(NO_RESULT)
    } else {
        ExitCode::SUCCESS
    }
}
