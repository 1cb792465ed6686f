//! The tasks of this repository. `cargo xtask help` lists them.

mod ci;
mod controls;
mod loom;
mod package;
mod public_api;
mod semver;
mod shell;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use shell::Shell;

const EXAMPLES: &str = "Examples:
  cargo xtask ci                      everything that CI checks, in the same order
  cargo xtask ci --only clippy        one step of it
  cargo xtask controls --check        every deliberate bug still applies to the sources
  cargo xtask public-api --update     accept the public API as it is now";

/// The tasks of this repository.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", after_help = EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Run what CI runs, in named steps.
    Ci(ci::Arguments),
    /// Build the log with deliberate bugs in it, and see that the tests catch each.
    Controls(controls::Arguments),
    /// Try every interleaving of the protocols between threads, with loom.
    Loom,
    /// Compare the public API with `docs/public-api.txt`.
    PublicApi(public_api::Arguments),
    /// Compare the public API with a released revision, by the rules of semantic versioning.
    Semver(semver::Arguments),
    /// Build the package as crates.io would get it, and check what is in it.
    Package,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments.task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nFAILED: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: &Task) -> anyhow::Result<()> {
    let shell = Shell::new()?;
    match task {
        Task::Ci(arguments) => ci::run(&shell.for_ci(), arguments),
        Task::Controls(arguments) => controls::run(&shell, arguments),
        Task::Loom => loom::run(&shell),
        Task::PublicApi(arguments) => public_api::run(&shell, arguments.update),
        Task::Semver(arguments) => semver::run(&shell, arguments.baseline.as_deref()),
        Task::Package => package::run(&shell),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }
}
