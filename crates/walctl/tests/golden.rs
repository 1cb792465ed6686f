//! Guards P10 at one remove: what the program says of the fixtures of the format is what it has always said, word by word.
//!
//! ```text
//! UPDATE_GOLDEN=1 cargo test -p walctl --test golden    writes the files of tests/golden again
//! ```

#![allow(clippy::expect_used, reason = "a test that can not go on has failed")]

mod support;

use std::fs;
use std::path::Path;

use support::{Ended, fixture, run, walctl};

/// A fixture, what is done with it, and how that ends.
type Case = (&'static str, &'static [&'static str], i32);

const CASES: &[Case] = &[
    ("closed", &["stat", "LOG"], 0),
    ("closed", &["stat", "LOG", "--frames"], 0),
    ("closed", &["stat", "LOG", "--json"], 0),
    ("recycled", &["stat", "LOG"], 0),
    ("closed", &["verify", "LOG"], 0),
    ("closed", &["verify", "LOG", "--json"], 0),
    ("cut", &["verify", "LOG"], 0),
    ("torn_tail", &["verify", "LOG"], 1),
    ("torn_tail", &["verify", "LOG", "--json"], 1),
    ("recycled_torn", &["verify", "LOG"], 1),
    ("damaged", &["verify", "LOG"], 2),
    ("damaged", &["verify", "LOG", "--json"], 2),
    ("closed", &["dump", "LOG", "--to", "4"], 0),
    ("closed", &["dump", "LOG", "--to", "2", "--format", "hex"], 0),
    ("closed", &["dump", "LOG", "--to", "2", "--json"], 0),
    ("closed", &["dump", "LOG", "--to", "2", "--decode", "txn"], 0),
    ("damaged", &["dump", "LOG"], 2),
    ("closed", &["repair", "LOG", "--dry-run"], 0),
    ("damaged", &["repair", "LOG", "--dry-run"], 2),
    ("damaged", &["repair", "LOG", "--dry-run", "--json"], 2),
    ("damaged", &["repair", "LOG", "--yes"], 0),
    ("damaged", &["repair", "LOG", "--yes", "--json"], 0),
    ("damaged", &["backup", "LOG", "COPY"], 3),
    ("closed", &["backup", "LOG", "COPY"], 0),
    ("closed", &["backup", "LOG", "COPY", "--until", "3", "--json"], 0),
    ("closed", &["restore", "LOG", "COPY", "--until", "3"], 0),
    ("closed", &["restore", "LOG", "COPY", "--until", "300", "--json"], 3),
    ("closed", &["demo", "--help"], 0),
    ("closed", &["soak", "--help"], 0),
];

/// What differs from machine to machine.
fn normal(text: &str, folder: &Path) -> String {
    let text = text.replace(&folder.display().to_string(), "DIR");
    let mut lines = Vec::new();
    for line in text.lines() {
        let line = between(line, "free on the disk: ", "", "FREE");
        let line = between(&line, "\"free_bytes\":", ",", "FREE");
        let line = between(&line, "\"file_system\":\"", "\"", "FS");
        let line = between(&line, "DIR/log (", ")", "FS");
        lines.push(age(&line));
    }
    lines.join("\n") + "\n"
}

/// The fixtures grow older.
fn age(line: &str) -> String {
    match line.strip_suffix(" ago").and_then(|line| line.rsplit_once("  ")) {
        Some((rest, _)) => format!("{rest}  AGE"),
        None => line.to_owned(),
    }
}

/// Replaces what stands between the two; to the end of the line if `after` is empty.
fn between(line: &str, before: &str, after: &str, with: &str) -> String {
    let Some((head, rest)) = line.split_once(before) else { return line.to_owned() };
    let end = if after.is_empty() { Some(rest.len()) } else { rest.find(after) };
    let Some(end) = end else { return line.to_owned() };
    format!("{head}{before}{with}{}", &rest[end..])
}

fn name(case: &Case) -> String {
    let (fixture, arguments, _) = case;
    let words = arguments.iter().filter(|word| **word != "LOG" && **word != "COPY");
    let words: Vec<_> = words.map(|word| word.trim_start_matches('-')).collect();
    format!("{}-{fixture}.txt", words.join("-"))
}

fn answer(case: &Case) -> String {
    let (fixture_name, arguments, code) = case;
    let folder = fixture(fixture_name);
    let (log, copy) = (folder.path().join("log"), folder.path().join("copy"));
    let arguments = arguments.iter().map(|word| match *word {
        "LOG" => log.clone().into_os_string(),
        "COPY" => copy.clone().into_os_string(),
        word => word.into(),
    });
    let Ended { code: found, stdout, stderr } = run(walctl(arguments));
    assert_eq!(found, *code, "{case:?}: {stdout}{stderr}");
    let mut text = format!("exit {found}\n{}", normal(&stdout, folder.path()));
    if !stderr.is_empty() {
        text += &format!("--- standard error\n{}", normal(&stderr, folder.path()));
    }
    text
}

#[test]
fn p10_every_command_says_of_the_fixtures_what_it_has_always_said() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let is_update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut faults = Vec::new();
    for case in CASES {
        let (path, text) = (golden.join(name(case)), answer(case));
        if is_update {
            fs::write(&path, &text).expect("written");
        }
        let known = fs::read_to_string(&path).unwrap_or_default();
        if known != text {
            faults.push(format!("{}:\n{text}\nbut it was:\n{known}", path.display()));
        }
    }
    let names: Vec<_> = CASES.iter().map(name).collect();
    for entry in fs::read_dir(&golden).expect("there") {
        let found = entry.expect("an entry").file_name().into_string().expect("plain");
        if !names.contains(&found) {
            faults.push(format!("{found} is of no case"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
