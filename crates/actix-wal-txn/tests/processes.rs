//! Guards P1, P24 and P25 in three processes: the example `two_phase`, whose coordinator and participants are killed at
//! random. `WAL_KILLS` says how often.

#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]

mod programs;

use std::process::Command;

#[test]
fn p24_transfers_over_two_logs_are_whole_whichever_of_three_processes_is_killed() {
    let kills = std::env::var("WAL_KILLS").unwrap_or_else(|_| "9".to_owned());
    let folder = tempfile::tempdir().unwrap();
    let mut example = Command::new(programs::build("two_phase"));
    let output = example.arg(&kills).current_dir(folder.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains(&format!("killed {kills}; lost 0; sum 2000000")), "{said}");
}
