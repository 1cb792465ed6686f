//! Where tests put files: below the target directory of cargo, which lies on a real disk as `/tmp` may not.

use std::path::PathBuf;

use tempfile::TempDir;

/// The `tmp` in the target directory: what `CARGO_TARGET_TMPDIR` is to an integration test, which cargo does not tell
/// a library. It is found from where the program lies: `target/<profile>/deps/<test>`, `target/<profile>/examples/..`.
pub fn place() -> PathBuf {
    let program = std::env::current_exe().expect("a program knows where it lies");
    let target = program.ancestors().nth(3).expect("it lies below a target directory");
    target.join("tmp")
}

/// A new empty directory there, removed when it is dropped.
pub fn folder() -> TempDir {
    let place = place();
    std::fs::create_dir_all(&place).expect("the target directory can be written");
    tempfile::tempdir_in(&place).expect("the target directory can be written")
}
