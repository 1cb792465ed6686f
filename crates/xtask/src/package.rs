//! `cargo xtask package`: what crates.io would get. Nothing is published.

use anyhow::{Context, Result, ensure};

use crate::shell::{self, Shell, read};

/// What a user of the package needs.
const MUST_HOLD: &[&str] =
    &["Cargo.toml", "README.md", "CHANGELOG.md", "LICENSE-MIT", "LICENSE-APACHE", "src/lib.rs"];

/// What only this repository needs.
const MUST_NOT_HOLD: &[&str] = &[
    ".ci/",
    ".github/",
    ".cargo/",
    "controls/",
    "crates/",
    "fuzz/",
    "benches/",
    "tests/",
    "target/",
];

/// What would be published, in this order: each builds on those before.
const PACKAGES: [&str; 4] = ["actix-wal", "actix-wal-txn", "actix-wal-demo", "walctl"];

/// Checks the list of files, makes the packages of exactly these, and tests and documents the log by itself. The other
/// packages are not built alone: that takes minutes. Before a release, the same `cargo package` without `--no-verify` does it.
pub(crate) fn run(shell: &Shell) -> Result<()> {
    // Work that is not committed yet is packaged too: a developer may run this before the commit.
    let package = ["package", "--locked", "--allow-dirty"];
    let list = read(shell.cargo(&package).args(["--package", PACKAGES[0], "--list"]))?;
    let faults = faults(&list);
    ensure!(faults.is_empty(), "{}; see `include` and `exclude` in Cargo.toml", faults.join(", "));
    println!("{} files", list.lines().count());
    let each = PACKAGES.iter().flat_map(|name| ["--package", name]);
    shell::run(shell.cargo(&package).arg("--no-verify").args(each))?;
    alone(shell)
}

/// The log as somebody has it who downloads it: without this repository, and without the crates of its tests.
fn alone(shell: &Shell) -> Result<()> {
    let manifest = read(&mut shell.cargo(&["pkgid", "--package", PACKAGES[0]]))?;
    let version = manifest.trim().rsplit(['@', '#']).next().context("a version")?;
    let (folder, name) = (shell.target().join("package"), format!("{}-{version}", PACKAGES[0]));
    // An earlier run may have left files that are in it no longer.
    let _ = std::fs::remove_dir_all(folder.join(&name));
    let mut unpack = shell.command("tar");
    shell::run(
        unpack.arg("-xzf").arg(folder.join(format!("{name}.crate"))).arg("-C").arg(&folder),
    )?;
    let unpacked = folder.join(name).join("Cargo.toml");
    for (command, what) in [("test", "--lib"), ("test", "--doc"), ("doc", "--no-deps")] {
        let mut cargo = shell.cargo(&[command, what, "--all-features"]);
        shell::run(cargo.arg("--manifest-path").arg(&unpacked))?;
    }
    let mut examples = shell.cargo(&["build", "--examples", "--all-features"]);
    shell::run(examples.arg("--manifest-path").arg(&unpacked))
}

fn faults(list: &str) -> Vec<String> {
    let is_there = |name: &&&str| list.lines().any(|line| line == **name);
    let missing = MUST_HOLD.iter().filter(|name| !is_there(name));
    let mut faults: Vec<_> = missing.map(|name| format!("{name} is missing")).collect();
    for line in list.lines() {
        if MUST_NOT_HOLD.iter().any(|folder| line.starts_with(folder)) {
            faults.push(format!("{line} is in it"));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_needs_its_readme_and_licences_and_nothing_of_the_repository() {
        let sound = MUST_HOLD.join("\n");
        assert!(faults(&sound).is_empty());
        assert_eq!(faults(&sound.replace("LICENSE-MIT\n", "")), ["LICENSE-MIT is missing"]);
        assert_eq!(faults(&format!("{sound}\n.ci/run")), [".ci/run is in it"]);
    }
}
