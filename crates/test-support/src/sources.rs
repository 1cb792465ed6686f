//! The files of this repository, for tests that hold its architecture and its pages to what they say.

use std::fs;
use std::path::{Path, PathBuf};

/// The root of the repository. The one that cargo says now: two clones that share a target directory may
/// share a compiled test too.
pub fn root() -> PathBuf {
    let now = std::env::var_os("CARGO_MANIFEST_DIR");
    now.map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."), PathBuf::from)
}

/// A text file of the repository, by its path from the root.
pub fn read(path: &str) -> String {
    let full = root().join(path);
    fs::read_to_string(&full).unwrap_or_else(|error| panic!("{}: {error}", full.display()))
}

/// Fails the test that has found these faults, each on its line.
#[track_caller]
pub fn assert_none(faults: Vec<String>) {
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

/// All files below a folder that end like this, as paths from the root, in order. A folder that is not
/// there has none, and what was built does not count.
pub fn files(folder: &str, ending: &str) -> Vec<String> {
    let mut found = Vec::new();
    collect(&root().join(folder), ending, &mut found);
    found.sort();
    found
}

fn collect(folder: &Path, ending: &str, found: &mut Vec<String>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries {
        let path: PathBuf = entry.expect("a readable folder").path();
        if path.is_dir() && path.file_name().is_some_and(|name| name == "target") {
            continue;
        }
        if path.is_dir() {
            collect(&path, ending, found);
        } else if path.to_string_lossy().ends_with(ending) {
            let from_root = path.strip_prefix(root()).expect("below the root");
            found.push(from_root.to_string_lossy().replace('\\', "/"));
        }
    }
}

/// The file without its comments, and without its inline tests: what architecture rules are about.
/// Lines keep their numbers.
pub fn code(text: &str) -> String {
    let is_test_module = |at: &usize| {
        let next = text[*at..].lines().nth(1).unwrap_or_default();
        next.contains("mod ") && next.contains('{')
    };
    let mut marked = text.match_indices("#[cfg(test)]\n").map(|(at, _)| at);
    let tests = marked.find(is_test_module).unwrap_or(text.len());
    let uncommented = text[..tests].lines().map(|line| match line.find("//") {
        // A `//` behind a colon is an address in a string.
        Some(at) if !line[..at].ends_with(':') => &line[..at],
        _ => line,
    });
    uncommented.collect::<Vec<_>>().join("\n")
}

/// The names of the tests in a source file, in order.
pub fn tests_in(text: &str) -> Vec<String> {
    let (mut found, mut marked) = (Vec::new(), false);
    for line in text.lines().map(str::trim) {
        if line.starts_with("#[") && (line.contains("test]") || line.contains("test(")) {
            marked = !line.contains("cfg(");
        } else if marked && line.contains("fn ") && !line.starts_with("//") {
            let name = line.split("fn ").nth(1).unwrap_or_default();
            let is_name = |c: &char| c.is_alphanumeric() || *c == '_';
            found.push(name.chars().take_while(is_name).collect());
            marked = false;
        }
    }
    found
}

/// The comment that a file opens with, on one line.
pub fn head(text: &str) -> String {
    let lines = text.lines().take_while(|line| line.starts_with("//!"));
    lines.map(|line| line.trim_start_matches("//!").trim()).collect::<Vec<_>>().join(" ")
}

/// The rows of the first table of a page, without its header: cells, trimmed.
pub fn table(page: &str) -> Vec<Vec<String>> {
    let lines = page.lines().skip_while(|line| !line.starts_with('|'));
    let rows = lines.take_while(|line| line.starts_with('|')).skip(2);
    rows.map(|row| cells(row).collect()).collect()
}

fn cells(row: &str) -> impl Iterator<Item = String> {
    row.trim().trim_matches('|').split('|').map(|cell| cell.trim().to_owned())
}

/// What stands between backticks.
pub fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}
