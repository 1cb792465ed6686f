//! Guards P1 to P23 at one remove: what the other tests stand on. What they leave out is seen, what they are
//! asked for in the environment is read as it is meant, and their files lie where cargo puts them.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on has failed")]

use std::path::Path;
use std::process::Command;

use test_support::environment::{number, read};
use test_support::{pages, scratch, skips};

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

#[test]
fn blocks_of_a_page_are_found_with_their_heading_and_what_they_print() {
    let page = "# One\n```sh\na\n```\n\n```text\nb\n```\n## Two\n```rust\nx\n```\n```sh\nc\n```\nwords\n```text\nd\n```\n";
    let found = pages::blocks(page);
    let found: Vec<_> =
        found.iter().map(|it| (it.line, &*it.heading, &*it.commands, &*it.output)).collect();
    assert_eq!(found, [(2, "One", "a\n", "b\n"), (13, "Two", "c\n", "")]);
    assert_eq!(pages::filled("DIR/log DIRS $DIR", &[("DIR", "/x")]), "/x/log DIRS $/x");
}

#[test]
fn what_a_page_shows_agrees_but_for_numbers_and_what_is_left_out() {
    let agrees = |shown: &str, printed: &str| pages::difference(shown, printed).is_none();
    assert!(agrees("7 records, 1.50 KiB, 0.3 s ago", "1,200 records,  3 B, 1 min 2 s ago"));
    assert!(agrees("a ... d\n...\nz", "a b c d\nx\ny\nz") && agrees("...", ""));
    assert!(agrees("exit 2", "exit 2\n") && !agrees("exit 2", "exit 0"));
    assert!(agrees("LSN 1, and", "LSN 22, and") && !agrees("LSN 1, and", "LSN, and"));
    assert!(!agrees("1 record", "1 segment") && !agrees("a", "a\nb") && !agrees("a\nb", "a"));
    assert!(!agrees("a ... d", "a b c") && !agrees("lost ...", "kept") && !agrees("-7", "7"));
    let why = pages::difference("a\nb\nc", "a\nx\nc").expect("they differ");
    assert_eq!(why, "this line was not printed there: b");
}

#[test]
fn a_shell_keeps_variables_reads_no_script_as_input_and_ends_what_it_has_started() {
    let folder = scratch::folder();
    let mut shell = pages::Shell::new(folder.path(), &[("GREETING", "hello")]);
    let ran = shell.run("word=$GREETING; cat; echo oops >&2; sleep 600 & false").unwrap();
    assert_eq!(ran, ("oops\n".to_owned(), 1));
    let (said, status) = shell.run("echo $word $!").unwrap();
    let (word, process) = said.trim().split_once(' ').unwrap();
    assert_eq!((word, status), ("hello", 0));
    let process = format!("/proc/{process}/stat");
    assert!(Path::new(&process).exists());
    drop(shell);
    // What init has not reaped yet is a zombie.
    let is_gone = |stat: std::io::Result<String>| stat.map_or(true, |stat| stat.contains(") Z "));
    while !is_gone(std::fs::read_to_string(&process)) {
        std::thread::yield_now();
    }
    assert!(pages::Shell::new(folder.path(), &[]).run("exit").is_err());
}
