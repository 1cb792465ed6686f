//! Group-commit engines side by side. See README.md beside this package for what is measured and how.

mod args;
mod child;
mod compare;
mod disk;
mod engines;
mod error;
mod in_flight;
mod limit;
mod load;
mod meter;
mod open_loop;
mod report;
mod results;
mod scenarios;
mod syncs;
mod zeros;

use std::process::ExitCode;

use clap::Parser;

use args::{Args, Command};
use error::BenchError;

fn main() -> ExitCode {
    let args = Args::parse();
    let result = match &args.command {
        None => compare::run(&args.compare),
        Some(Command::OpenLoop(args)) => compare::open_loop(args),
        Some(Command::Limit(args)) => limit::run(args),
        Some(Command::Scenario(args)) => scenarios::run(&args.scenario),
        Some(Command::Child { job }) => child::run(job),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("peers: {error}");
            ExitCode::from(if matches!(error, BenchError::Failed(_)) { 1 } else { 2 })
        }
    }
}
