//! Commands: where they run, with which environment, and how they are shown.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

/// Runs commands in the root of the repository.
#[derive(Clone, Debug)]
pub(crate) struct Shell {
    root: PathBuf,
    target: PathBuf,
    environment: Vec<(&'static str, OsString)>,
}

impl Shell {
    pub(crate) fn new() -> Result<Self> {
        // What cargo says now, since clones that share a target directory may share this program.
        let manifest = env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = manifest.ancestors().nth(2).context("crates/xtask is not below a root")?;
        let here = env::current_dir().context("finding the current directory")?;
        let target = env::var_os("CARGO_TARGET_DIR");
        let target = target.map_or_else(|| root.join("target"), |target| here.join(target));
        Ok(Shell { root: root.to_owned(), target, environment: Vec::new() })
    }

    /// The same with the environment of CI.
    pub(crate) fn for_ci(&self) -> Self {
        let or = |name: &'static str, value: &str| {
            (name, env::var_os(name).unwrap_or_else(|| OsString::from(value)))
        };
        // `mkfs` lives in the last two, which a user's path does not always have.
        let mut path = env::var_os("PATH").unwrap_or_default();
        path.push(":/usr/sbin:/sbin");
        let environment = vec![
            or("CARGO_TERM_COLOR", "never"),
            or("RUST_BACKTRACE", "1"),
            // But for the controls nothing is built twice, and what is kept for that is a third of the disk.
            or("CARGO_INCREMENTAL", "0"),
            // With this set, a test fails if a tool is missing. Without it, the test is left out.
            or("CI", "true"),
            ("PATH", path),
        ];
        Shell { environment, ..self.clone() }
    }

    /// The root of the repository.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Where cargo puts what it builds.
    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    /// Any program, in the root.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.root);
        // Cargo describes this package in these. To the tests of another one they would be wrong.
        for (name, _) in env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
                command.env_remove(&name);
            }
        }
        if env::var_os("CARGO_TARGET_DIR").is_some() {
            command.env("CARGO_TARGET_DIR", &self.target);
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Cargo with these arguments.
    pub(crate) fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = self.command("cargo");
        command.args(arguments);
        command
    }

    /// Git with these arguments. A checkout that belongs to another user, as in a container, is fine.
    pub(crate) fn git(&self, arguments: &[&str]) -> Command {
        let mut command = self.command("git");
        command.args(["-c", "safe.directory=*"]).args(arguments);
        command
    }

    /// Where a program is, in the path that commands get.
    pub(crate) fn which(&self, program: &str) -> Option<PathBuf> {
        let path = self.environment.iter().find(|(name, _)| *name == "PATH");
        let path = path.map(|(_, path)| path.clone()).or_else(|| env::var_os("PATH"))?;
        env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
    }

    /// Empties a path below the target directory, and returns it.
    pub(crate) fn scratch(&self, name: &str) -> Result<PathBuf> {
        let path = self.target.join(name);
        if path.exists() {
            std::fs::remove_dir_all(&path)
                .with_context(|| format!("removing {}", path.display()))?;
        }
        std::fs::create_dir_all(&self.target)?;
        Ok(path)
    }
}

/// Shows a command, runs it, and fails if it does.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    println!("+ {}", show(command));
    let status = command.status().with_context(|| format!("starting {}", show(command)))?;
    ensure!(status.success(), "`{}` ended with {status}", show(command));
    Ok(())
}

/// The same; what the command writes to its standard output is shown and returned.
pub(crate) fn run_and_read(command: &mut Command) -> Result<String> {
    println!("+ {}", show(command));
    let started = command.stdout(Stdio::piped()).spawn();
    let mut child = started.with_context(|| format!("starting {}", show(command)))?;
    let mut output = String::new();
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines() {
            let line = line.with_context(|| format!("reading from {}", show(command)))?;
            println!("{line}");
            output.push_str(&line);
            output.push('\n');
        }
    }
    let status = child.wait()?;
    ensure!(status.success(), "`{}` ended with {status}", show(command));
    Ok(output)
}

/// Runs a command without a word, and returns its standard output.
pub(crate) fn read(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("starting {}", show(command)))?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        bail!("`{}` ended with {}: {}", show(command), output.status, errors.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A command as a shell would take it, without its environment.
fn show(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words = words.map(|word| {
        let word = word.to_string_lossy();
        if word.contains(' ') { format!("'{word}'") } else { word.into_owned() }
    });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_fails_is_an_error_that_names_it() {
        let error = run(&mut Command::new("false")).unwrap_err().to_string();
        assert!(error.contains("`false` ended with"), "{error}");
        let error = run(&mut Command::new("there-is-no-such-program")).unwrap_err().to_string();
        assert!(error.contains("starting there-is-no-such-program"), "{error}");
    }

    #[test]
    fn what_a_command_writes_is_returned_even_without_a_last_line_feed() {
        let text = run_and_read(Command::new("printf").arg("one\ntwo")).unwrap();
        assert_eq!(text, "one\ntwo\n");
        assert!(run_and_read(Command::new("sh").args(["-c", "echo; exit 3"])).is_err());
    }

    #[test]
    fn a_command_is_shown_as_it_would_be_typed() {
        let mut command = Command::new("cargo");
        assert_eq!(show(command.args(["test", "two words"])), "cargo test 'two words'");
    }

    #[test]
    fn the_root_is_the_one_with_the_log() {
        let shell = Shell::new().unwrap();
        assert!(shell.root().join("src/lib.rs").is_file());
        assert!(shell.which("sh").is_some());
        assert_eq!(shell.which("there-is-no-such-program"), None);
    }
}
