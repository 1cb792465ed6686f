//! What a test leaves out, because the machine does not let it. That has to be seen: a test that passes shows
//! nothing of what it prints, and one that did nothing looks like one that found nothing.

#![allow(dead_code)] // Every test that includes this file uses a part of it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on has failed")]

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

/// A part of the test is left out, and why. Where everything is expected to be there that is a failure.
pub(crate) fn skip(why: &str) {
    assert!(std::env::var_os("CI").is_none(), "can not be left out here: {why}");
    leave_out(why);
}

/// The same for what no machine can be expected to have: it is no failure anywhere.
pub(crate) fn leave_out(why: &str) {
    note(&file(), why);
}

/// What was left out so far, a line each. `.ci/run` begins it anew, and prints it at its end.
fn file() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("skipped.txt")
}

fn note(file: &Path, why: &str) {
    let test = thread::current().name().unwrap_or("a test").to_owned();
    let line = format!("skipped: {test}: {why}\n");
    // Not `eprint!`: what goes through that is captured, and thrown away if the test passes.
    io::stderr().write_all(line.as_bytes()).unwrap();
    let file = OpenOptions::new().create(true).append(true).open(file);
    file.and_then(|mut file| file.write_all(line.as_bytes())).unwrap();
}

/// Set where the next test is run by the one after it: the file.
const CHILD: &str = "WAL_SKIPS_CHILD";

#[test]
fn the_child_that_leaves_something_out() {
    if let Some(file) = std::env::var_os(CHILD) {
        note(Path::new(&file), "there is no moon");
    }
}

#[test]
fn what_is_left_out_is_seen_although_the_test_passes_and_its_output_is_captured() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let file = folder.path().join("skipped.txt");
    for _ in 0..2 {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "skips::the_child_that_leaves_something_out"]);
        child.env_remove("RUST_TEST_NOCAPTURE");
        let output = child.env(CHILD, &file).output().unwrap();
        assert!(output.status.success());
        let said = String::from_utf8_lossy(&output.stderr);
        let line = "skipped: skips::the_child_that_leaves_something_out: there is no moon";
        assert!(said.lines().any(|said| said == line), "{said}");
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap().lines().count(), 2);
}
