//! The steps of CI: cheap ones first, so that most failures show within minutes.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::{benches, readings, tools};
use crate::shell::{Shell, run, run_and_read};
use crate::{controls, loom, package, public_api, semver};

/// A part of CI with a name.
pub(super) struct Step {
    pub(super) name: &'static str,
    /// What it checks, in half a line.
    pub(super) what: &'static str,
    pub(super) run: fn(&Shell) -> Result<()>,
}

const fn step(name: &'static str, what: &'static str, run: fn(&Shell) -> Result<()>) -> Step {
    Step { name, what, run }
}

/// In the order in which they run.
pub(super) const STEPS: &[Step] = &[
    step("tools", "install the tools that tests need", tools::install),
    step("versions", "show the versions of the toolchain", versions),
    step("format", "every package is formatted", format),
    step("controls-apply", "every negative control applies to the sources", controls::check),
    step("clippy", "all targets and features of every member", clippy),
    step("features", "the log builds with its features off and on", features),
    step("documents", "rustdoc without a warning", documents),
    step("public-api", "the public API is the one that is checked in", |shell| {
        public_api::run(shell, false)
    }),
    step("semver", "the API keeps what the last release promised", semver_if_released),
    step("package", "what crates.io would get is whole, and builds", package::run),
    step("tests", "the test command of the README", readme_tests),
    step("members", "the tests of the other members of the workspace", member_tests),
    step("loom", "the models of protocols between threads", loom::run),
    step("kills", "kill -9 at 200 random moments; each system call of a run fails once", kills),
    step("controls", "a part of the negative controls, chosen by the commit", controls::rotate),
    step("fuzz", "half a minute for each target", fuzz),
    step("examples", "they build in release", examples),
    step("quickstart", "a short one, and its JSON", quickstart),
    step("soak", "a short one", soak),
    step("benches", "each once", each_bench),
    step("instructions", "instructions and allocations, against the baseline", instructions),
    step("peers", "the comparison with the peers, short", benches::peers),
    step("scenarios", "each scenario of the comparison, tiny", benches::scenarios),
    step("open-loop", "open loop and limit, tiny", benches::open_loop),
];

fn versions(shell: &Shell) -> Result<()> {
    run(shell.command("rustc").arg("--version"))?;
    run(&mut shell.cargo(&["--version"]))?;
    run(&mut shell.cargo(&["fmt", "--version"]))?;
    run(&mut shell.cargo(&["clippy", "--version"]))
}

fn format(shell: &Shell) -> Result<()> {
    run(&mut shell.cargo(&["fmt", "--all", "--check"]))?;
    for manifest in ["fuzz/Cargo.toml", benches::PEERS] {
        run(&mut shell.cargo(&["fmt", "--check", "--manifest-path", manifest]))?;
    }
    Ok(())
}

fn clippy(shell: &Shell) -> Result<()> {
    let scope = ["clippy", "--workspace", "--all-targets", "--all-features", "--locked"];
    run(shell.cargo(&scope).args(["--", "-D", "warnings"]))
}

fn features(shell: &Shell) -> Result<()> {
    // Each by itself, and no warning: what one feature needs must not be there only because of another.
    for features in
        [&["--no-default-features"][..], &["--features", "metrics"], &["--all-features"]]
    {
        let mut clippy = shell.cargo(&["clippy", "--lib", "--locked"]);
        run(clippy.args(features).args(["--", "-D", "warnings"]))?;
    }
    Ok(())
}

fn documents(shell: &Shell) -> Result<()> {
    let mut doc = shell.cargo(&["doc", "--workspace", "--no-deps", "--all-features", "--locked"]);
    run(doc.env("RUSTDOCFLAGS", "-D warnings"))
}

fn semver_if_released(shell: &Shell) -> Result<()> {
    match semver::readiness(shell)? {
        semver::Readiness::Ready(baseline) => semver::run(shell, Some(&baseline)),
        semver::Readiness::Missing(why) => super::leave_out(shell, &format!("semver: {why}")),
    }
}

fn readme_tests(shell: &Shell) -> Result<()> {
    let readme = std::fs::read_to_string(shell.root().join("README.md"))?;
    let command = test_command(&readme)
        .context("the first `sh` block of README.md has no command, which should run the tests")?;
    let mut words = command.split_whitespace();
    let program = words.next().context("an empty command")?;
    run(shell.command(program).args(words))
}

/// The last command of the first `sh` block: what a newcomer is told to run.
fn test_command(readme: &str) -> Option<&str> {
    let block = readme.lines().skip_while(|line| *line != "```sh").skip(1);
    block.take_while(|line| *line != "```").last()
}

fn member_tests(shell: &Shell) -> Result<()> {
    run(&mut shell.cargo(&["test", "--workspace", "--exclude", "actix-wal", "--locked"]))
}

fn kills(shell: &Shell) -> Result<()> {
    let mut test =
        shell.cargo(&["test", "--locked", "--test", "real_processes", "--test", "real_faults"]);
    run(test.env("WAL_KILLS", "200").env("WAL_STRACE", "all"))
}

fn fuzz(shell: &Shell) -> Result<()> {
    for target in ["scan", "recovery", "resp"] {
        run(shell.command(shell.root().join("fuzz/run")).args([target, "30"]))?;
    }
    Ok(())
}

fn examples(shell: &Shell) -> Result<()> {
    run(&mut shell.cargo(&["build", "--release", "--examples", "--locked"]))
}

/// An example with its own directory, which is removed at the end.
fn example(shell: &Shell, name: &str, arguments: &[&str]) -> Result<String> {
    let directory = shell.scratch(&format!("ci-{name}"))?;
    let mut example = shell.cargo(&["run", "--release", "--locked", "--example", name, "--"]);
    let output = run_and_read(example.arg("--dir").arg(&directory).args(arguments))?;
    shell.scratch(&format!("ci-{name}"))?;
    Ok(output)
}

fn quickstart(shell: &Shell) -> Result<()> {
    let arguments = ["--clients", "16", "--seconds", "1", "--kills", "2", "--json"];
    let output = example(shell, "quickstart", &arguments)?;
    println!("{}", readings::quickstart(&output)?);
    Ok(())
}

fn soak(shell: &Shell) -> Result<()> {
    example(shell, "soak", &["--seconds", "20", "--json"]).map(drop)
}

/// The packages with benches, and where they are.
const BENCHES: [(&str, &str); 4] = [
    ("actix-wal", "benches"),
    ("actix-wal-txn", "crates/actix-wal-txn/benches"),
    ("actix-wal-redis", "crates/actix-wal-redis/benches"),
    ("walctl", "crates/walctl/benches"),
];

fn each_bench(shell: &Shell) -> Result<()> {
    BENCHES.iter().try_for_each(|(package, folder)| benches_of(shell, package, folder))
}

fn benches_of(shell: &Shell, package: &str, folder: &str) -> Result<()> {
    let mut bench: Command = shell.cargo(&["bench", "--locked", "--package", package]);
    let mut count = 0;
    for entry in std::fs::read_dir(shell.root().join(folder))? {
        let path = entry?.path();
        let is_bench = path.extension().is_some_and(|extension| extension == "rs")
            || path.join("main.rs").exists();
        if is_bench && let Some(stem) = path.file_stem() {
            bench.arg("--bench").arg(stem);
            count += 1;
        }
    }
    ensure!(count > 0, "there are no benches in {folder}");
    run(bench.args(["--", "--test"]))
}

fn instructions(shell: &Shell) -> Result<()> {
    // The baseline is of the log without metrics, which tests have. A folder of its own, as the flag changes every package.
    let mut bench = shell.cargo(&["bench", "--locked", "--bench", "instructions"]);
    let target = shell.target().join("plain");
    run(bench.env("RUSTFLAGS", "--cfg wal_plain").env("CARGO_TARGET_DIR", target))
}

#[cfg(test)]
mod tests {
    use super::test_command;

    #[test]
    fn the_test_command_is_the_last_one_of_the_first_shell_block() {
        let readme = "# x\n\n```sh\ncargo run\ncargo test\n```\n\n```sh\nother\n```\n";
        assert_eq!(test_command(readme), Some("cargo test"));
        assert_eq!(test_command("# x\n\n```rust\nfn main() {}\n```\n"), None);
        assert_eq!(test_command("```sh\n```\n"), None);
    }
}
