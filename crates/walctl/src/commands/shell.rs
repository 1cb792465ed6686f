//! `walctl man` and `walctl completions`: what a package of this program installs beside it, made of the command line itself.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::Cli;
use crate::exit::Exit;
use crate::output::{Failure, Output};

/// Prints the manual page of this program, or of one of its commands.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  walctl man > walctl.1\n  walctl man verify | man -l -")]
pub(crate) struct ManArguments {
    /// A command.
    command: Option<String>,
}

/// Prints what a shell needs to complete command lines of this program.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  walctl completions bash > /etc/bash_completion.d/walctl\n  walctl completions fish > ~/.config/fish/completions/walctl.fish"
)]
pub(crate) struct CompletionsArguments {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

pub(crate) fn man(arguments: &ManArguments, output: &mut Output) -> Result<Exit, Failure> {
    let mut program = Cli::command();
    program.build();
    let page = match &arguments.command {
        None => program,
        Some(name) => {
            let found = program.find_subcommand(name).cloned();
            let found = found.ok_or_else(|| {
                Failure::refused(format_args!("there is no command {name}: see walctl --help"))
            })?;
            found.name(format!("walctl-{name}"))
        }
    };
    clap_mangen::Man::new(page).render(&mut output.raw())?;
    Ok(Exit::Fine)
}

pub(crate) fn completions(
    arguments: &CompletionsArguments,
    output: &mut Output,
) -> Result<Exit, Failure> {
    // The generator panics where it can not write, so it writes into memory.
    let mut text = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "walctl", &mut text);
    output.raw().write_all(&text)?;
    Ok(Exit::Fine)
}
