//! The program as an operator runs it, on copies of the fixtures of the format.

#![allow(dead_code, reason = "each test program uses a part of it")]

pub(crate) mod built;
pub(crate) mod participant;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use test_support::skips::leave_out;

/// A directory on a real disk.
pub(crate) fn folder() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the target directory can be written")
}

/// Where the fixtures are.
pub(crate) fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/v1")
}

/// A copy of a fixture in a directory of its own, with the name `log`.
pub(crate) fn fixture(name: &str) -> TempDir {
    let folder = folder();
    let to = folder.path().join("log");
    fs::create_dir(&to).expect("made");
    copy_files(&fixtures().join(name), &to);
    folder
}

pub(crate) fn copy_files(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).expect("a directory") {
        let path = entry.expect("an entry").path();
        fs::copy(&path, to.join(path.file_name().expect("a name"))).expect("copied");
    }
}

/// The program with these arguments.
pub(crate) fn walctl<S: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_walctl"));
    // The help is as wide as a terminal, whose width this says.
    command.args(arguments).stdin(Stdio::null()).env_remove("COLUMNS");
    command
}

/// How it ended.
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs it to its end. It never panics, and never dies of a signal.
pub(crate) fn run(mut command: Command) -> Ended {
    let Output { status, stdout, stderr } = command.output().expect("it starts");
    let stderr = String::from_utf8_lossy(&stderr).into_owned();
    assert!(!stderr.contains("panicked"), "{command:?}: {stderr}");
    let code = status.code().unwrap_or_else(|| panic!("{command:?} ended by {status}: {stderr}"));
    Ended { code, stdout: String::from_utf8_lossy(&stdout).into_owned(), stderr }
}

/// The one JSON object that it prints.
pub(crate) fn json(command: Command) -> (i32, Value) {
    let ended = run(command);
    let value = serde_json::from_str(&ended.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}{}", ended.stdout, ended.stderr));
    (ended.code, value)
}

/// Every name below a directory.
pub(crate) fn names(directory: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut folders = vec![directory.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("readable").map(|entry| entry.expect("readable")) {
            if entry.file_type().expect("readable").is_dir() {
                folders.push(entry.path());
            }
            found.insert(entry.path());
        }
    }
    found
}

/// The same, with what is in the files.
pub(crate) fn contents(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    names(directory)
        .into_iter()
        .map(|path| (path.clone(), fs::read(path).unwrap_or_default()))
        .collect()
}

/// The paths of all values: `device.devices[].name`. A `null` and an empty list are values; the elements of a list have one
/// path together.
pub(crate) fn paths(value: &Value, at: &str, found: &mut BTreeSet<String>) {
    let below = |name: &str| if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") };
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(name, value)| paths(value, &below(name), found));
        }
        Value::Array(elements) => {
            elements.iter().for_each(|value| paths(value, &format!("{at}[]"), found));
        }
        _ => drop(found.insert(at.to_owned())),
    }
}

/// The fields that the README documents in a section: the first cells of its table.
pub(crate) fn documented(heading: &str) -> BTreeSet<String> {
    let section =
        include_str!("../../README.md").split(heading).nth(1).expect("there is a section");
    let section = section.split("\n#").next().unwrap_or_default();
    let cells = section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    cells.map(str::to_owned).collect()
}

/// `/dev/shm`, if it is memory.
pub(crate) fn memory() -> Option<TempDir> {
    let is_memory = |name: String| name == "tmpfs" || name == "ramfs";
    let found = actix_wal::storage::filesystem_name("/dev/shm").is_ok_and(is_memory);
    let place = found.then(|| tempfile::tempdir_in("/dev/shm").ok()).flatten();
    if place.is_none() {
        leave_out("/dev/shm is no memory file system that can be written");
    }
    place
}
