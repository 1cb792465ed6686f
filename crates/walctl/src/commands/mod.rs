//! One file a command: its arguments, what it does, and what it prints.

mod backup;
mod dump;
mod repair;
mod shell;
mod stat;
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
            Command::Man(_) => "man",
            Command::Completions(_) => "completions",
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
            Command::Man(arguments) => shell::man(arguments, output),
            Command::Completions(arguments) => shell::completions(arguments, output),
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
