//! The models of protocols between threads: every interleaving of a small run, tried by loom.

use anyhow::{Result, ensure};

use crate::shell::{Shell, run_and_read};

/// Fewer than this many tests, and the models were not found.
const AT_LEAST: usize = 6;

pub(crate) fn run(shell: &Shell) -> Result<()> {
    let mut test = shell.cargo(&["test", "--locked", "--lib", "engine::state::races"]);
    // A folder of its own: the flag changes every package, and two builds would chase each other out.
    test.env("RUSTFLAGS", "--cfg wal_loom").env("CARGO_TARGET_DIR", shell.target().join("loom"));
    let output = run_and_read(&mut test)?;
    let passed = output.lines().filter(|line| line.ends_with("... ok")).count();
    ensure!(passed >= AT_LEAST, "{passed} models were tried, at least {AT_LEAST} are there");
    Ok(())
}
