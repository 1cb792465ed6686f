//! The log runs for hours while the disk fails, processes are killed and logs are reopened; nothing that was
//! acknowledged may be lost, nothing that was refused may come back, and nothing may leak. What runs is the crate in
//! `crates/demo`, as with `walctl soak`.
//!
//! ```text
//! cargo run --release --example soak -- --hours 8 --dir /a/disk
//! cargo run --release --example soak -- --help
//! ```

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use demo::soak::{self, Settings};

/// The log runs for as long as you like while everything around it fails.
///
/// Clients commit, readers follow, checkpoints release, in one short life of the log after the other. Writes
/// and syncs fail, are slow or panic, the disk is full for a while, logs are closed, dropped and reopened,
/// and children are killed with SIGKILL in mid-flight. After each life the log is opened and every record
/// compared with what clients were told. At the end of each period everything is released and closed: what
/// the process and the directory hold then is the floor, and a floor that rises is a leak.
#[derive(Parser)]
#[command(
    name = "soak",
    after_help = "Exit status: 0 if every promise was kept, 1 if a floor rises or the run proves less than it should, 2 \
                  if a promise was broken, 3 if the run could not be carried out.\n\n\
                  Try:\n  --minutes 5            a coffee\n  --hours 8 --json | tail -n 1 | jq .   a night\n  \
                  --seed 7               the same faults and moments again, as far as threads allow"
)]
struct Arguments {
    /// The directory to work in, on the disk that is to be tried. It must be new, empty, or of an earlier
    /// soak; it is emptied when the soak starts.
    #[arg(long, default_value = "target/soak")]
    dir: PathBuf,

    #[command(flatten)]
    settings: Settings,

    /// Prints one JSON object to stdout as the last line; words go to stderr then.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    demo::child::be_one_if_asked().unwrap_or_else(|| {
        let Arguments { dir, settings, json } = Arguments::parse();
        demo::example::main(json, |words| soak::run(&settings, &dir, words))
    })
}
