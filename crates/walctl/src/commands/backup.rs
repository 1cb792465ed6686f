//! `walctl backup` and `walctl restore`: a copy of a log, checked before it gets its name.

use std::path::{Path, PathBuf};

use actix_wal::Lsn;
use actix_wal::inspect::Copied;
use clap::Args;
use serde::Serialize;

use crate::exit::Exit;
use crate::output::{Failure, Output};
use crate::place::Place;
use crate::progress::Bar;
use crate::words;

/// Copies a log, also while it runs, into a new directory.
///
/// The copy is checked before it gets its name: a directory with the name DEST is a log that opens. Beside an owner it ends
/// at a moment of the call; what was acknowledged before the call is in it. Snapshots of transactions are not copied.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  walctl backup /var/lib/app/wal /backups/wal-monday\n  walctl backup /var/lib/app/wal /backups/before-the-accident --until 48213"
)]
pub(crate) struct BackupArguments {
    /// The directory of the log.
    dir: PathBuf,
    /// The new directory. It must not exist.
    dest: PathBuf,
    /// The last LSN that is copied. Of records that were appended as one group, name the last.
    #[arg(long, value_name = "LSN")]
    until: Option<u64>,
}

/// Makes a log of a backup, up to an LSN if one is given.
///
/// The backup is checked on the way and left as it is. The new log is the same log at an earlier point: start its host with
/// it, and never let two copies of a log be written to.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mv /var/lib/app/wal /var/lib/app/wal-broken\n  walctl restore /backups/wal-monday /var/lib/app/wal\n  walctl restore /backups/wal-monday /var/lib/app/wal --until 48213"
)]
pub(crate) struct RestoreArguments {
    /// The backup.
    backup: PathBuf,
    /// The new directory of the log. It must not exist.
    dest: PathBuf,
    /// The last LSN of the new log. Of records that were appended as one group, name the last.
    #[arg(long, value_name = "LSN")]
    until: Option<u64>,
}

/// The JSON of both.
#[derive(Serialize)]
struct Done {
    from: String,
    to: String,
    last_lsn: u64,
    records: u64,
    segments: u64,
    bytes: u64,
}

pub(crate) fn backup(arguments: &BackupArguments, output: &mut Output) -> Result<Exit, Failure> {
    let BackupArguments { dir, dest, until } = arguments;
    let done = copy(dir, dest, *until)?;
    output.json("backup", &done)?;
    output.say(format_args!("{}: {}", done.to, sum(&done)))?;
    Ok(Exit::Fine)
}

pub(crate) fn restore(arguments: &RestoreArguments, output: &mut Output) -> Result<Exit, Failure> {
    let RestoreArguments { backup, dest, until } = arguments;
    let (place, _) = Place::with_log(backup)?;
    if let Some(owner) = place.files.owner() {
        let owner = super::owner(owner);
        return Err(Failure::refused(format_args!(
            "{} is no backup: it is open in {owner}; to copy a log that runs: walctl backup",
            backup.display()
        )));
    }
    let done = copy(backup, dest, *until)?;
    output.json("restore", &done)?;
    output.say(format_args!("{}: {}", done.to, sum(&done)))?;
    output
        .say("start the host with it; keep the old directory until the host has been looked at")?;
    Ok(Exit::Fine)
}

fn sum(done: &Done) -> String {
    let (records, last) = (done.records, done.last_lsn);
    let (segments, bytes) = (done.segments, words::bytes(done.bytes));
    format!("{records} live records up to LSN {last}, {segments} segments, {bytes}; checked")
}

fn copy(from: &Path, to: &Path, until: Option<u64>) -> Result<Done, Failure> {
    let (place, _) = Place::with_log(from)?;
    let bar = Bar::bytes("copying");
    let copied = place.files.copy_to(to, until.map(Lsn::new), &mut |at| bar.at(at.done, at.total));
    bar.end();
    let Copied { last_lsn, records, bytes, segments, .. } =
        copied.map_err(|error| Failure::refused(format_args!("{}: {error}", from.display())))?;
    Ok(Done {
        from: place.log.display().to_string(),
        to: to.display().to_string(),
        last_lsn: last_lsn.get(),
        records,
        segments,
        bytes,
    })
}
