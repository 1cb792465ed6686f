//! Guards P1, P2, P8, P9, P11, P20: real processes on a real file system are killed at random moments, under
//! load and while they open the log, and are denied the directory. Whatever they had told anybody holds.
//!
//! `WAL_KILLS=200 cargo test --test real_processes` kills so often; by default it is a handful.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on has failed")]

#[path = "common/child.rs"]
mod child;
#[path = "common/facts.rs"]
mod facts;
#[path = "common/kills.rs"]
mod kills;
#[path = "common/lives.rs"]
mod lives;
#[path = "common/oracle.rs"]
mod oracle;

use kills::{kill_again_and_again, wanted};

/// Does nothing unless it is run as the child of another test.
#[test]
fn the_child_of_these_tests() {
    child::run();
}

#[test]
fn p1_p2_p9_p11_a_log_that_is_killed_at_any_moment_again_and_again_keeps_what_it_acknowledged() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    kill_again_and_again(folder.path(), wanted(20));
}
