//! The operator's tool. `walctl --help` says what it does; each file of `commands` is one command.

mod branches;
mod commands;
mod exit;
mod held;
mod measure;
mod output;
mod place;
mod progress;
mod records;
mod snapshots;
mod words;

use std::process::ExitCode;

use clap::Parser;

use crate::commands::Command;
use crate::output::Output;

/// Looks at logs of actix-wal, checks them, copies them, mends them, and measures the disk they lie on.
#[derive(Debug, Parser)]
#[command(name = "walctl", version, after_help = exit::TABLE, arg_required_else_help = true)]
struct Cli {
    /// Prints JSON: one object, or one a line. Its fields are listed in the README of this program.
    #[arg(long, global = true)]
    json: bool,

    #[command(subcommand)]
    command: Command,
}

fn main() -> ExitCode {
    // The processes that `demo` and `soak` kill are this program too.
    if let Some(ended) = demo::child::be_one_if_asked() {
        return ended;
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Nobody may be there to read it.
            let _ = error.print();
            return if error.use_stderr() { exit::USAGE.into() } else { ExitCode::SUCCESS };
        }
    };
    let mut output = Output::stdout(cli.json);
    let result = cli.command.run(&mut output);
    output.end(cli.command.name(), result).into()
}
