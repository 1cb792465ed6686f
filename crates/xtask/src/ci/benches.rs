//! The steps that run the comparison with the peers: so short that they measure nothing, and long enough to see
//! that every engine and every scenario works.

use std::process::Command;

use anyhow::{Context, Result};

use super::readings;
use crate::shell::{Shell, run, run_and_read};

/// The manifest of the comparison, which is no member of the workspace.
pub(super) const PEERS: &str = "benches/peers/Cargo.toml";

/// A scenario, and the figures that each of its rows must have.
struct Scenario {
    arguments: &'static str,
    figures: &'static [&'static str],
}

const SCENARIOS: &[Scenario] = &[
    Scenario {
        arguments: "simulated --committers 16 --policies adaptive,window --simulate-sync-ms 1 --seconds 0.3",
        figures: &["commits_per_second", "p99_us", "commits_per_sync"],
    },
    Scenario {
        arguments: "recovery --mib 1 --per-frame 1,256 --seconds 0.1",
        figures: &["ready_ms", "records_per_second", "peak_memory_mib"],
    },
    Scenario {
        arguments: "idle --seconds 1",
        figures: &["wal_flush_switches", "wal_prepare_switches"],
    },
    Scenario { arguments: "baseline --seconds 0.2", figures: &["commits_per_second", "p99_us"] },
    Scenario { arguments: "rotation --seconds 0.3", figures: &["commits_per_second", "p999_us"] },
    Scenario { arguments: "fan-out --seconds 0.2", figures: &["commits_per_second"] },
    Scenario { arguments: "reads --seconds 0.2", figures: &[] },
    Scenario { arguments: "anywhere --seconds 0.2", figures: &["p50_us", "p99_us"] },
    Scenario {
        arguments: "release --segments 200 --seconds 0.3",
        figures: &["commits_per_second", "p99_us"],
    },
    Scenario { arguments: "large --committers 1 --seconds 0.2", figures: &["commits_per_second"] },
];

/// The program of the comparison, with its working directory.
fn program(shell: &Shell, arguments: &str) -> Command {
    let mut command = shell.cargo(&["run", "--release", "--locked", "--manifest-path", PEERS]);
    command.arg("--").args(arguments.split_whitespace());
    command.arg("--dir").arg(shell.target().join("ci-peers"));
    command
}

pub(super) fn peers(shell: &Shell) -> Result<()> {
    let scope = ["clippy", "--all-targets", "--locked", "--release", "--manifest-path", PEERS];
    run(shell.cargo(&scope).args(["--", "-D", "warnings"]))?;
    let arguments = "--committers 1,16 --seconds 0.3 --warmup 0.1 --rounds 1 --json --report";
    let mut compare = program(shell, "");
    compare.args(arguments.split_whitespace()).arg(shell.target().join("ci-peers.html"));
    println!("{}", readings::peers(&run_and_read(&mut compare)?)?);
    Ok(())
}

pub(super) fn scenarios(shell: &Shell) -> Result<()> {
    for Scenario { arguments, figures } in SCENARIOS {
        let mut scenario =
            program(shell, &format!("scenario {arguments} --rounds 1 --warmup 0.1 --json"));
        let output = run_and_read(&mut scenario)?;
        let checked = readings::scenario(&output, figures);
        println!("{}", checked.with_context(|| format!("scenario {arguments}"))?);
    }
    Ok(())
}

pub(super) fn open_loop(shell: &Shell) -> Result<()> {
    let arguments = "open-loop --rates 1000 --rounds 1 --seconds 0.3 --warmup 0.1 --json";
    readings::open_loop(&run_and_read(&mut program(shell, arguments))?)?;
    run(&mut program(shell, "limit"))
}
