//! The examples, as programs that tests start.

use std::path::PathBuf;
use std::process::Command;

/// Where cargo puts the example, once it has built it if it has changed.
pub(crate) fn build(example: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.ancestors().nth(2).unwrap().to_owned();
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--example", example]);
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    cargo.args(profile.ends_with("release").then_some("--release"));
    assert!(cargo.arg("--target-dir").arg(profile.parent().unwrap()).status().unwrap().success());
    profile.join("examples").join(example)
}
