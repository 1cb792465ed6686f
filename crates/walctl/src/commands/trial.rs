//! `walctl demo` and `walctl soak`: a log at work on a disk of the operator's, under load, kills and faults. The crate
//! `demo` runs them, and starts this program again for the processes that are killed.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use demo::{DemoError, Verdict, quickstart, soak};
use serde::Serialize;

use crate::exit::Exit;
use crate::output::{Failure, Output};

/// Shows a log at work: many clients commit at once, then it is killed in mid-flight, again and again.
///
/// Part one counts commits and syncs. Part two starts a child that commits, kills it with SIGKILL, opens the log again and
/// looks for every record that was acknowledged, byte by byte. DIR keeps the two logs until the next run.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  walctl demo /var/lib/app/try\n  walctl demo /var/lib/app/try --clients 1 --kills 0\n  walctl demo /var/lib/app/try --kills 50 --seconds 0.1 --json\n\nExit status: 0 every promise was kept, 1 DIR is in memory, the log did not end well, or a child was not killed, 2 a record was lost, is there twice or should not be there, 3 not carried out."
)]
pub(crate) struct DemoArguments {
    /// A directory on the disk: new, empty, or of an earlier demo. It is emptied first.
    dir: PathBuf,
    #[command(flatten)]
    settings: quickstart::Settings,
}

/// Runs a log for hours while everything around it fails, and looks for lost records and for leaks.
///
/// Clients commit, readers follow and checkpoints release, in one short life of the log after the other. Writes and syncs
/// fail, are slow or panic, the disk is full for a while, and children are killed with SIGKILL. After each life every record
/// is compared with what clients were told. What this process and DIR hold at the end of each period is the floor, and a
/// floor that rises is a leak. The faults are injected above the disk, which stays sound. DIR keeps the log until the next
/// run.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  walctl soak /var/lib/app/try --minutes 5\n  walctl soak /var/lib/app/try --hours 8 --json\n  walctl soak /var/lib/app/try --seed 7\n\nExit status: 0 every promise was kept and no floor rises, 1 a floor rises, DIR is in memory, or no child was killed, 2 a promise was broken, 3 not carried out."
)]
pub(crate) struct SoakArguments {
    /// A directory on the disk: new, empty, or of an earlier soak. It is emptied first.
    dir: PathBuf,
    #[command(flatten)]
    settings: soak::Settings,
}

pub(crate) fn demo(arguments: &DemoArguments, output: &mut Output) -> Result<Exit, Failure> {
    show("demo", output, |words| quickstart::run(&arguments.settings, &arguments.dir, words))
}

pub(crate) fn soak(arguments: &SoakArguments, output: &mut Output) -> Result<Exit, Failure> {
    show("soak", output, |words| soak::run(&arguments.settings, &arguments.dir, words))
}

/// Words go to standard error where JSON is wanted: a run takes long.
fn show<R: Serialize>(
    command: &str,
    output: &mut Output,
    run: impl FnOnce(&mut dyn Write) -> Result<(Verdict, R), DemoError>,
) -> Result<Exit, Failure> {
    let shown = if output.is_json() { run(&mut io::stderr()) } else { run(output.raw()) };
    let (verdict, report) = shown.map_err(|error| match error {
        DemoError::Words(error) => error.into(),
        error => Failure::refused(error),
    })?;
    output.json(command, &report)?;
    Ok(match verdict {
        Verdict::Kept => Exit::Fine,
        Verdict::Doubtful => Exit::Attention,
        Verdict::Broken => Exit::Damage,
    })
}
