//! What a test leaves out, because the machine does not let it. That has to be seen: a test that passes shows
//! nothing of what it prints, and one that did nothing looks like one that found nothing.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

/// A part of the test is left out, and why. Where everything is expected to be there that is a failure.
pub fn skip(why: &str) {
    assert!(std::env::var_os("CI").is_none(), "can not be left out here: {why}");
    leave_out(why);
}

/// Whether a program is there that tells its version; if not, what needs it is left out.
pub fn has(program: &str) -> bool {
    let mut command = Command::new(program);
    command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    let found = command.status().is_ok_and(|status| status.success());
    if !found {
        skip(&format!("{program} is not installed"));
    }
    found
}

/// The same for what no machine can be expected to have: it is no failure anywhere.
pub fn leave_out(why: &str) {
    note(&file(), why);
}

/// What was left out so far, a line each. `cargo xtask ci` begins a new one, and prints it at its end.
fn file() -> PathBuf {
    crate::scratch::place().join("skipped.txt")
}

/// Writes down in this file, and on the standard error, that the test of this thread leaves something out.
pub fn note(file: &Path, why: &str) {
    let test = thread::current().name().unwrap_or("a test").to_owned();
    let line = format!("skipped: {test}: {why}\n");
    // Not `eprint!`: what goes through that is captured, and thrown away if the test passes.
    io::stderr().write_all(line.as_bytes()).unwrap();
    let file = OpenOptions::new().create(true).append(true).open(file);
    file.and_then(|mut file| file.write_all(line.as_bytes())).unwrap();
}
