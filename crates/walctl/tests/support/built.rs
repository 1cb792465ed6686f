//! Programs of this workspace that cargo does not build for the tests of this one.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Where cargo puts programs in the profile of this test, once it has built these.
pub(crate) fn built(what: &[&str]) -> PathBuf {
    let profile = Path::new(env!("CARGO_BIN_EXE_walctl")).parent().expect("target/debug");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--locked"]).args(what).current_dir(root());
    cargo.args(profile.ends_with("release").then_some("--release"));
    cargo.arg("--target-dir").arg(profile.parent().expect("target"));
    assert!(cargo.status().expect("cargo runs").success(), "{what:?} does not compile");
    profile.to_owned()
}

/// The server, in the profile of this test.
pub(crate) fn server() -> PathBuf {
    built(&["-p", "actix-wal-redis", "--bins"]).join("actix-wal-redis")
}
