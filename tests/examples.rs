//! Guards P1 and P22 at one remove: each example runs, says what it is there to say, and ends by itself.

#![allow(clippy::expect_used, reason = "a test that can not go on has failed")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;
use test_support::scratch::folder;
use test_support::sources::root;

/// An example, its arguments, and what it prints, in this order.
type Example = (&'static str, &'static [&'static str], &'static [&'static str]);

const EXAMPLES: &[Example] = &[
    ("hello", &[], &["LSN 1 is durable", "LSN 2 is durable", "1  hello", "2  both phases at once"]),
    ("coordinator", &[], &["1000 clients have their answers", "1000 records in"]),
    ("actix_web", &[], &["20 clients have their answers", "1 from client", "20 from client"]),
    ("compose", &[], &["put a      is durable at LSN 1", "delete a   is durable at LSN 3"]),
    ("compose", &["--mock"], &["delete a   is durable at LSN 3", "0 syncs"]),
    (
        "commit_life",
        &[],
        &["wal.recover", "wal.flush{what=\"flush\" entries=", "commit{client=1 lsn=1}"],
    ),
    ("plain_tokio", &[], &["durable: 800,"]),
    ("plain_threads", &[], &["0 changes from earlier runs"]),
    ("sum", &[], &["earlier runs have left 0", "3 is durable, and the sum is 6"]),
    ("replay", &[], &["first open:  0 keys", "second open: 2 keys out of 3 records"]),
];

/// They take so long that only CI runs them.
const IN_CI: &[&str] = &["quickstart", "soak"];

/// Where cargo puts the examples, beside the directory of this test, once it has built those that have changed.
fn build() -> PathBuf {
    let test = std::env::current_exe().expect("it runs");
    let profile = test.ancestors().nth(2).expect("target/debug/deps").to_owned();
    let target = profile.parent().expect("target/debug");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--examples", "--quiet"]).current_dir(root());
    cargo.args(profile.ends_with("release").then_some("--release"));
    let built = cargo.arg("--target-dir").arg(target).status().expect("cargo runs");
    assert!(built.success(), "the examples do not compile");
    profile.join("examples")
}

fn run(examples: &Path, folder: &TempDir, name: &str, arguments: &[&str]) -> Output {
    let mut example = Command::new(examples.join(name));
    example.args(arguments).current_dir(folder.path()).output().expect("it starts")
}

#[test]
fn each_example_runs_says_what_it_shows_and_ends() {
    let examples = build();
    for (name, arguments, expected) in EXAMPLES {
        let Output { status, stdout, stderr } = run(&examples, &folder(), name, arguments);
        let said = String::from_utf8_lossy(&stdout);
        let errors = String::from_utf8_lossy(&stderr);
        assert!(status.success(), "{name} {arguments:?}: {status}\n{said}\n{errors}");
        let mut rest = &*said;
        for line in *expected {
            let at = rest.find(line);
            let at = at.unwrap_or_else(|| panic!("{name} does not say {line:?} there:\n{said}"));
            rest = &rest[at + line.len()..];
        }
    }
}

#[test]
fn p1_a_plain_program_finds_what_its_last_run_has_left() {
    let examples = build();
    for name in ["plain_threads", "plain_tokio"] {
        let folder = folder();
        let [first, second] = [(); 2].map(|()| run(&examples, &folder, name, &[]));
        assert!(first.status.success() && second.status.success(), "{name}: {first:?}\n{second:?}");
        // The other one checks by itself what it finds.
        let found_nothing = |run: &Output| run.stdout.starts_with(b"0 changes from earlier runs");
        assert!(name != "plain_threads" || found_nothing(&first) && !found_nothing(&second));
    }
}

#[test]
fn there_is_no_example_that_nothing_runs() {
    let entries = fs::read_dir(root().join("examples")).expect("there are examples");
    let there: BTreeSet<_> = entries
        .map(|entry| entry.expect("readable").path().file_stem().expect("a name").to_owned())
        .map(|name| name.into_string().expect("plain"))
        .collect();
    let run = EXAMPLES.iter().map(|(name, ..)| name).chain(IN_CI);
    assert_eq!(there, run.map(|name| (*name).to_owned()).collect());
}

#[test]
fn what_takes_long_is_run_in_ci() {
    // A package that is published has no task runner.
    let Ok(ci) = fs::read_to_string(root().join("crates/xtask/src/ci/steps.rs")) else { return };
    for name in IN_CI {
        assert!(ci.contains(&format!("example(shell, \"{name}\",")), "{name} is run by nothing");
    }
}
