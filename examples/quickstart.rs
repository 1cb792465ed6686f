//! Many clients commit at once; then the process is killed in mid-flight, again and again, and every
//! acknowledged record is looked for. What runs is the crate in `crates/demo`, as with `walctl demo`.
//!
//! ```text
//! cargo run --release --example quickstart
//! cargo run --release --example quickstart -- --help
//! ```

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use demo::quickstart::{self, Settings};

/// Many clients commit to one log at once; then the process is killed in mid-flight, again and again,
/// and every acknowledged record is looked for.
///
/// Part one shows what group commit is for: each client waits for its record to be durable, and still
/// there are far fewer fsyncs than commits. Part two starts a child that reports every acknowledgement
/// through a pipe, kills it with SIGKILL after at least 1,000 of them, opens the log again and checks
/// every record byte by byte.
#[derive(Parser)]
#[command(
    name = "quickstart",
    after_help = "Exit status: 0 if every promise was kept, 1 if the run proves less than it should, 2 if a record was \
                  lost, is there twice, or was never submitted, 3 if the run could not be carried out.\n\n\
                  Try:\n  --clients 1            what a lone client gets: one fsync per commit\n  \
                  --policy window        a fixed window of 10 ms or 100 entries, for comparison\n  \
                  --kills 50 --seconds 0.1   nothing but kills\n  --json | tail -n 1 | jq ."
)]
struct Arguments {
    /// The directory to work in, on the disk that is to be tried. It must be new, empty, or of an
    /// earlier quickstart; it is emptied when the quickstart starts.
    #[arg(long, default_value = "target/quickstart")]
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
        demo::example::main(json, |words| quickstart::run(&settings, &dir, words))
    })
}
