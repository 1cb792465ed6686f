//! Guards P1, P24 and P25 in three processes: the example `two_phase`, whose coordinator and participants are killed at
//! random. `WAL_KILLS` says how often.

#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]

use std::path::PathBuf;
use std::process::Command;

/// Where cargo puts the example, once it has built it if it has changed.
fn build() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.ancestors().nth(2).unwrap().to_owned();
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--example", "two_phase"]);
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    cargo.args(profile.ends_with("release").then_some("--release"));
    assert!(cargo.arg("--target-dir").arg(profile.parent().unwrap()).status().unwrap().success());
    profile.join("examples/two_phase")
}

#[test]
fn p24_transfers_over_two_logs_are_whole_whichever_of_three_processes_is_killed() {
    let kills = std::env::var("WAL_KILLS").unwrap_or_else(|_| "9".to_owned());
    let folder = tempfile::tempdir().unwrap();
    let mut example = Command::new(build());
    let output = example.arg(&kills).current_dir(folder.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains(&format!("killed {kills}; lost 0; sum 2000000")), "{said}");
}
