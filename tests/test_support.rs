//! Guards P1 to P23 at one remove: what the other tests stand on. What they leave out is seen, what they are
//! asked for in the environment is read as it is meant, and their files lie where cargo puts them.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on has failed")]

use std::path::Path;
use std::process::Command;

use test_support::environment::{number, read};
use test_support::{scratch, skips};

/// Set where the next test is run by the one after it: the file.
const CHILD: &str = "WAL_SKIPS_CHILD";

#[test]
fn the_child_that_leaves_something_out() {
    if let Some(file) = std::env::var_os(CHILD) {
        skips::note(Path::new(&file), "there is no moon");
    }
}

#[test]
fn what_is_left_out_is_seen_although_the_test_passes_and_its_output_is_captured() {
    let folder = scratch::folder();
    let file = folder.path().join("skipped.txt");
    for _ in 0..2 {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "the_child_that_leaves_something_out"]);
        child.env_remove("RUST_TEST_NOCAPTURE");
        let output = child.env(CHILD, &file).output().unwrap();
        assert!(output.status.success());
        let said = String::from_utf8_lossy(&output.stderr);
        let line = "skipped: the_child_that_leaves_something_out: there is no moon";
        assert!(said.lines().any(|said| said == line), "{said}");
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap().lines().count(), 2);
}

#[test]
fn what_a_variable_does_not_take_is_named_with_its_value_and_what_it_takes() {
    let digits = |value: &str| read("N", &value.into(), "a digit", |text| text.parse::<u8>().ok());
    assert_eq!(digits("7"), Ok(7));
    assert_eq!(digits("many"), Err("N=many: expected a digit".to_owned()));
    assert_eq!(digits(""), Err("N=: expected a digit".to_owned()));
    assert_eq!(number::<u64>("THIS_IS_NOT_SET"), None);
}

/// `.ci/run` looks for the list of what was left out there.
#[test]
fn a_library_finds_the_folder_for_files_of_tests_that_cargo_gives_to_tests() {
    assert_eq!(scratch::place(), Path::new(env!("CARGO_TARGET_TMPDIR")));
}
