//! The copy of the repository in which controls are built: one patch is applied, tried, and taken back, then the
//! next. What the log depends on is shared with all other builds, so that only the log and its tests are built
//! again.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::control::{Control, TestCommand};
use super::verdict::Verdict;
use crate::shell::{Shell, read};

/// A run that takes longer hangs. The simulation ends itself long before, with the seed.
const PATIENCE: Duration = Duration::from_secs(240);

/// The copy.
#[derive(Debug)]
pub(super) struct Workshop<'a> {
    shell: &'a Shell,
    tree: PathBuf,
}

impl<'a> Workshop<'a> {
    /// Copies what git knows or would take up, as it stands in the working directory.
    pub(super) fn new(shell: &'a Shell) -> Result<Self> {
        let workshop = Self::as_left(shell);
        let list = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
        let files = read(&mut shell.git(&list))?;
        let files: BTreeSet<_> = files.split_terminator('\0').map(PathBuf::from).collect();
        for file in &files {
            workshop.copy(file).with_context(|| format!("copying {}", file.display()))?;
        }
        remove_others(&workshop.tree, Path::new(""), &files)?;
        workshop.begin_history()?;
        Ok(workshop)
    }

    /// The copy as the last task left it.
    pub(super) fn as_left(shell: &'a Shell) -> Self {
        Workshop { shell, tree: shell.target().join("tmp/controls") }
    }

    /// Where it is.
    pub(super) fn tree(&self) -> &Path {
        &self.tree
    }

    /// Copies a file if it is not what the copy has: cargo rebuilds what is newer than its last build.
    fn copy(&self, file: &Path) -> Result<()> {
        let from = self.shell.root().join(file);
        if !from.is_file() {
            return Ok(());
        }
        let mut bytes = fs::read(&from)?;
        if file.ends_with("Cargo.toml") || file == Path::new("Cargo.lock") {
            bytes = set_apart(&String::from_utf8(bytes)?).into_bytes();
        }
        let to = self.tree.join(file);
        if fs::read(&to).is_ok_and(|known| known == bytes) {
            return Ok(());
        }
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&to, bytes)?;
        fs::set_permissions(&to, fs::metadata(&from)?.permissions())?;
        Ok(())
    }

    /// Makes the copy a repository of its own. There `git apply` takes paths from the root of the copy, and a
    /// three-way merge finds the blobs that a patch was made from, in the objects of the real repository.
    fn begin_history(&self) -> Result<()> {
        let objects = read(&mut self.shell.git(&["rev-parse", "--git-path", "objects"]))?;
        let objects = self.shell.root().join(objects.trim()).canonicalize()?;
        let own = self.tree.join(".git");
        if own.exists() {
            fs::remove_dir_all(&own)?;
        }
        self.git(&["init", "--quiet"])?;
        let alternates = own.join("objects/info/alternates");
        fs::write(alternates, format!("{}\n", objects.display()))?;
        self.git(&["add", "--all"])?;
        self.git(&["commit", "--quiet", "--no-verify", "--message", "as it is"]).map(drop)
    }

    /// Git in the copy.
    pub(super) fn git(&self, arguments: &[&str]) -> Result<String> {
        let who = ["-c", "user.name=xtask", "-c", "user.email=xtask@localhost"];
        let signs = ["-c", "commit.gpgsign=false", "-c", "core.hooksPath=/dev/null"];
        let mut git = self.shell.git(&who);
        git.args(signs).args(arguments).current_dir(&self.tree);
        read(git.env_remove("GIT_DIR").env_remove("GIT_WORK_TREE").env_remove("GIT_INDEX_FILE"))
    }

    /// Applies a patch.
    pub(super) fn apply(&self, control: &Control, how: &[&str]) -> Result<()> {
        let file = control.file.to_str().context("a path that is no text")?;
        self.git(&[&["apply"], how, &[file]].concat()).map(drop)
    }

    /// Takes back what was done to the copy.
    pub(super) fn restore(&self) -> Result<()> {
        self.git(&["reset", "--quiet", "--hard"])?;
        self.git(&["clean", "--quiet", "-d", "--force"]).map(drop)
    }

    /// What the tests say of the log with this bug.
    pub(super) fn try_control(&self, control: &Control) -> Result<Verdict> {
        self.apply(control, &[])?;
        let program = self.build(&control.caught_by);
        // Before the run, so that a test cannot see the patch in the sources.
        self.restore()?;
        self.judge(&program?, &control.caught_by).map(|(verdict, _)| verdict)
    }

    /// What they say of the log as it is. They have to run at least one test, or nothing was tried.
    pub(super) fn try_sound(&self, command: &TestCommand) -> Result<Verdict> {
        let (verdict, output) = self.judge(&self.build(command)?, command)?;
        ensure!(!output.contains("running 0 tests"), "`{command}` runs no test");
        Ok(verdict)
    }

    /// The program with the tests.
    fn build(&self, command: &TestCommand) -> Result<PathBuf> {
        let mut cargo = self.shell.cargo(&["test", "--locked", "--offline", "--no-run"]);
        command.package.iter().for_each(|package| {
            cargo.args(["-p", package]);
        });
        match &command.test {
            Some(test) => cargo.args(["--test", test]),
            None => cargo.arg("--lib"),
        };
        cargo.current_dir(&self.tree).env("CARGO_TARGET_DIR", self.shell.target());
        // Each control is a build that differs from the one before in a few lines.
        cargo.env("CARGO_INCREMENTAL", "1");
        let built = cargo.arg("--message-format=json").output().context("starting cargo")?;
        let output = String::from_utf8_lossy(&built.stdout);
        let messages: Vec<Value> =
            output.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        // The programs that integration tests start are built too.
        let executable = |message: &Value| {
            let is_test = message["profile"]["test"] == true;
            message["executable"].as_str().filter(|_| is_test).map(PathBuf::from)
        };
        match messages.iter().rev().find_map(executable).filter(|_| built.status.success()) {
            Some(program) => Ok(program),
            None => {
                let errors = messages.iter().filter_map(error).collect::<Vec<_>>().join("");
                bail!("it does not compile: {errors}\n{}", String::from_utf8_lossy(&built.stderr))
            }
        }
    }

    /// Runs the program, and returns its output too.
    fn judge(&self, program: &Path, command: &TestCommand) -> Result<(Verdict, String)> {
        let mut tests = Command::new(program);
        let package = command.package.iter().map(|package| Path::new("crates").join(package));
        let root = package.fold(self.tree.clone(), |tree, package| tree.join(package));
        tests.current_dir(&root).args(&command.filter).env("RUST_BACKTRACE", "0");
        tests.env("CARGO_MANIFEST_DIR", &root);
        tests.envs(command.environment.iter().map(|(name, value)| (name, value)));
        let mut running = tests.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let (out, errors) = (reader(running.stdout.take()), reader(running.stderr.take()));
        if !ends(&mut running)? {
            running.kill()?;
            running.wait()?;
            bail!("it hangs, and does not say with which seed");
        }
        let status = running.wait()?;
        let output = out.join().unwrap_or_default() + &errors.join().unwrap_or_default();
        if status.success() {
            return Ok((Verdict::Survived, output));
        }
        let verdict = Verdict::of_failed(&output)
            .with_context(|| format!("it ended with {status} and no verdict: {output}"))?;
        Ok((verdict, output))
    }
}

/// The error in a message of cargo.
fn error(message: &Value) -> Option<String> {
    let is_error = message["message"]["level"] == "error";
    message["message"]["rendered"].as_str().filter(|_| is_error).map(str::to_owned)
}

fn reader(from: Option<impl Read + Send + 'static>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        from.map(|mut from| from.read_to_end(&mut bytes));
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn ends(running: &mut Child) -> Result<bool> {
    let began = Instant::now();
    while running.try_wait()?.is_none() {
        if began.elapsed() > PATIENCE {
            return Ok(false);
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(true)
}

/// What controls break.
const BROKEN: [&str; 2] = ["actix-wal", "actix-wal-txn"];

/// Gives what controls break a version of its own in the copy. To cargo, two packages with the same name and version are
/// one, and what is built of a log with a bug would be taken for what is built of the log. Dependents match it as
/// before: what follows on a `+` has no order.
fn set_apart(text: &str) -> String {
    BROKEN.iter().fold(text.to_owned(), |text, package| {
        let head = format!("name = \"{package}\"\nversion = \"");
        let Some((before, behind)) = text.split_once(&head) else { return text };
        match behind.split_once('"') {
            Some((version, rest)) => format!("{before}{head}{version}+control\"{rest}"),
            None => text,
        }
    })
}

/// Removes the files of the copy that are not among these.
fn remove_others(tree: &Path, folder: &Path, files: &BTreeSet<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(tree.join(folder))? {
        let entry = entry?;
        let path = folder.join(entry.file_name());
        if path == Path::new(".git") {
            continue;
        }
        if entry.file_type()?.is_dir() {
            remove_others(tree, &path, files)?;
        } else if !files.contains(&path) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_controls_break_gets_a_version_of_its_own() {
        let entry =
            |name: &str, version: &str| format!("name = \"{name}\"\nversion = \"{version}\"\n\n");
        let lock = |version: &str| {
            let own = BROKEN.map(|name| entry(name, version)).concat();
            entry("actix", "0.13.5") + &own + &entry("actix-wal-test-support", "0.1.0")
        };
        assert_eq!(set_apart(&lock("0.1.0")), lock("0.1.0+control"));
        // Those that it names are there.
        let real = include_str!("../../../../Cargo.lock");
        assert_eq!(set_apart(real).matches("+control").count(), BROKEN.len());
    }

    #[test]
    fn files_that_are_gone_are_removed_from_the_copy() {
        let tree = tempfile::tempdir().unwrap();
        let put = |name: &str| {
            let path = tree.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        };
        ["src/a.rs", "src/gone.rs", ".git/HEAD"].into_iter().for_each(put);
        let files = BTreeSet::from([PathBuf::from("src/a.rs")]);
        remove_others(tree.path(), Path::new(""), &files).unwrap();
        let is_there = |name: &str| tree.path().join(name).exists();
        assert!(is_there("src/a.rs") && is_there(".git/HEAD") && !is_there("src/gone.rs"));
    }
}
