//! `cargo xtask semver`: does the public API keep what a released revision promised? A front for
//! `cargo-semver-checks`, which is no part of CI's set-up: to build it takes longer than most steps.

use anyhow::{Result, bail};
use clap::Args;

use crate::shell::{Shell, read, run as run_command};

const EXAMPLES: &str = "Examples:
  cargo install cargo-semver-checks --locked   once
  cargo xtask semver                           against the last tag `v*`
  cargo xtask semver --baseline main~20        against any revision";

/// Which revision to compare with.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The revision whose API has to be kept. Without it: the last tag `v*`, which a release sets.
    #[arg(long, value_name = "REVISION")]
    pub(crate) baseline: Option<String>,
}

/// Whether the check can run without being told more.
#[derive(Debug)]
pub(crate) enum Readiness {
    /// Yes, against this tag.
    Ready(String),
    /// No, and why.
    Missing(String),
}

const INSTALL: &str =
    "cargo-semver-checks is not installed: cargo install cargo-semver-checks --locked";

/// Looks for a baseline, then for the tool.
pub(crate) fn readiness(shell: &Shell) -> Result<Readiness> {
    Ok(match (last_release(shell), is_installed(shell)) {
        (None, _) => Readiness::Missing("nothing is released: there is no tag `v*`".to_owned()),
        (Some(_), false) => Readiness::Missing(INSTALL.to_owned()),
        (Some(tag), true) => Readiness::Ready(tag),
    })
}

fn last_release(shell: &Shell) -> Option<String> {
    // Without such a tag, git fails.
    let tag = read(&mut shell.git(&["describe", "--tags", "--abbrev=0", "--match", "v*"])).ok()?;
    Some(tag.trim().to_owned()).filter(|tag| !tag.is_empty())
}

fn is_installed(shell: &Shell) -> bool {
    read(&mut shell.cargo(&["semver-checks", "--version"])).is_ok()
}

/// Compares the API with the baseline.
pub(crate) fn run(shell: &Shell, baseline: Option<&str>) -> Result<()> {
    if !is_installed(shell) {
        bail!(INSTALL);
    }
    let Some(baseline) = baseline.map(str::to_owned).or_else(|| last_release(shell)) else {
        bail!("there is no tag `v*` to compare with: name a revision with --baseline");
    };
    let arguments = ["semver-checks", "--package", "actix-wal", "--all-features", "--baseline-rev"];
    run_command(shell.cargo(&arguments).arg(baseline))
}
