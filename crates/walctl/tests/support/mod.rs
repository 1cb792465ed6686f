//! The program as an operator runs it, on copies of the fixtures of the format.

#![allow(dead_code, reason = "each test program uses a part of it")]

pub(crate) mod built;
pub(crate) mod participant;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

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
    command.args(arguments).stdin(Stdio::null());
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
