//! One file a command: its arguments, what it does, and what it prints.

mod backup;
mod bench;
mod dump;
mod probe;
mod repair;
mod shell;
mod stat;
mod top;
mod trial;
mod tune;
mod txn;
mod verify;

use actix_wal::error::Holder;
use clap::Subcommand;

use crate::exit::Exit;
use crate::output::{Failure, Output};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Stat(stat::Arguments),
    Verify(verify::Arguments),
    Dump(dump::Arguments),
    Repair(repair::Arguments),
    Backup(backup::BackupArguments),
    Restore(backup::RestoreArguments),
    Txn(txn::Arguments),
    Probe(probe::Arguments),
    Bench(bench::Arguments),
    Tune(tune::Arguments),
    Demo(trial::DemoArguments),
    Soak(trial::SoakArguments),
    Top(top::Arguments),
    Man(shell::ManArguments),
    Completions(shell::CompletionsArguments),
}

impl Command {
    /// Its name on the command line.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Command::Stat(_) => "stat",
            Command::Verify(_) => "verify",
            Command::Dump(_) => "dump",
            Command::Repair(_) => "repair",
            Command::Backup(_) => "backup",
            Command::Restore(_) => "restore",
            Command::Txn(_) => "txn",
            Command::Top(_) => "top",
            Command::Man(_) => "man",
            Command::Completions(_) => "completions",
            Command::Probe(_) => "probe",
            Command::Bench(_) => "bench",
            Command::Tune(_) => "tune",
            Command::Demo(_) => "demo",
            Command::Soak(_) => "soak",
        }
    }

    /// Does it.
    pub(crate) fn run(&self, output: &mut Output) -> Result<Exit, Failure> {
        match self {
            Command::Stat(arguments) => stat::run(arguments, output),
            Command::Verify(arguments) => verify::run(arguments, output),
            Command::Dump(arguments) => dump::run(arguments, output),
            Command::Repair(arguments) => repair::run(arguments, output),
            Command::Backup(arguments) => backup::backup(arguments, output),
            Command::Restore(arguments) => backup::restore(arguments, output),
            Command::Txn(arguments) => txn::run(arguments, output),
            Command::Top(arguments) => top::run(arguments, output),
            Command::Man(arguments) => shell::man(arguments, output),
            Command::Completions(arguments) => shell::completions(arguments, output),
            Command::Probe(arguments) => probe::run(arguments, output),
            Command::Bench(arguments) => bench::run(arguments, output),
            Command::Tune(arguments) => tune::run(arguments, output),
            Command::Demo(arguments) => trial::demo(arguments, output),
            Command::Soak(arguments) => trial::soak(arguments, output),
        }
    }
}

/// Who has a log open, in words.
fn owner(holder: Holder) -> String {
    match holder {
        Holder::Process(id) => format!("process {id}"),
        Holder::ThisProcess => "this process".to_owned(),
        _ => "a process that this one can not see".to_owned(),
    }
}

/// How long something is measured: a part of a second to an hour.
fn seconds(argument: &str) -> Result<f64, String> {
    let seconds: f64 = argument.parse().map_err(|_| "give a number of seconds".to_owned())?;
    let is_possible = (0.01..=3600.0).contains(&seconds);
    if is_possible { Ok(seconds) } else { Err("give 0.01 to 3600 seconds".to_owned()) }
}
