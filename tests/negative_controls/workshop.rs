//! Where controls are built that fit no seam: a copy of the tree, to which one patch after the other is applied.
//! What it is built from is shared with the tests that run now; only the log and its simulation are built
//! anew.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::patches::{Edit, Patch};
use test_support::sources::root;

/// What has to be there for the simulation to build.
const PARTS: &[&str] =
    &["Cargo.toml", "Cargo.lock", "README.md", "crates", "src", "tests", "benches", "examples"];

/// The seeds that a patch has to be caught by.
const SEEDS: &str = "0..3000";

/// A run that takes longer than this hangs.
const PATIENCE: Duration = Duration::from_secs(240);

/// What the simulation said.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// It found nothing.
    Survived,
    /// It failed with this seed, and said this.
    Caught { seed: String, message: String },
    /// It did not end, and said with which seed.
    Hung { seed: String },
}

/// The copy.
#[derive(Debug)]
pub(crate) struct Workshop {
    tree: PathBuf,
    target: PathBuf,
}

impl Workshop {
    /// Copies the tree.
    pub(crate) fn new() -> io::Result<Self> {
        let temporary = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let target = temporary.parent().unwrap_or(temporary).to_owned();
        let tree = temporary.join("negative-controls");
        if tree.exists() {
            fs::remove_dir_all(&tree)?;
        }
        fs::create_dir_all(&tree)?;
        PARTS.iter().try_for_each(|part| copy(&root().join(part), &tree.join(part)))?;
        ["Cargo.toml", "Cargo.lock"].iter().try_for_each(|file| set_apart(&tree.join(file)))?;
        Ok(Workshop { tree, target })
    }

    /// What the simulation says of the tree with this patch.
    pub(crate) fn try_patch(&self, patch: &Patch) -> io::Result<Verdict> {
        patch.edits.iter().try_for_each(|edit| self.apply(edit))?;
        let tried = self.build().and_then(|simulation| run(&simulation));
        for edit in patch.edits {
            copy(&root().join(edit.file), &self.tree.join(edit.file))?;
        }
        tried
    }

    /// What it says of the tree as it is.
    pub(crate) fn try_sound(&self) -> io::Result<Verdict> {
        self.build().and_then(|simulation| run(&simulation))
    }

    fn apply(&self, edit: &Edit) -> io::Result<()> {
        let file = self.tree.join(edit.file);
        let text = fs::read_to_string(&file)?;
        fs::write(&file, text.replacen(edit.find, edit.replace, 1))
    }

    /// The simulation's program.
    fn build(&self) -> io::Result<PathBuf> {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.current_dir(&self.tree).env("CARGO_TARGET_DIR", &self.target);
        // The variables of the package that is being tested are not those of the copy.
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("CARGO_PKG_")) {
            cargo.env_remove(name);
        }
        cargo.args(["test", "--locked", "--offline", "--test", "simulation", "--no-run"]);
        let built = cargo.arg("--message-format=json").output()?;
        let said = String::from_utf8_lossy(&built.stdout);
        let program = said.lines().rev().find_map(executable);
        match program.filter(|_| built.status.success()) {
            Some(program) => Ok(program),
            None => {
                let errors = said.lines().filter_map(rendered).collect::<Vec<_>>().join("");
                let cargo_said = String::from_utf8_lossy(&built.stderr).into_owned();
                Err(io::Error::other(format!("it does not compile: {errors}\n{cargo_said}")))
            }
        }
    }
}

/// The program that a message of cargo tells of.
fn executable(message: &str) -> Option<PathBuf> {
    let message: serde_json::Value = serde_json::from_str(message).ok()?;
    message["executable"].as_str().map(PathBuf::from)
}

/// The error that a message of cargo tells of.
fn rendered(message: &str) -> Option<String> {
    let message: serde_json::Value = serde_json::from_str(message).ok()?;
    let is_error = message["message"]["level"] == "error";
    message["message"]["rendered"].as_str().filter(|_| is_error).map(str::to_owned)
}

fn run(simulation: &Path) -> io::Result<Verdict> {
    let mut simulation = Command::new(simulation);
    simulation.arg("whatever_happens").env("WAL_SIM_SEEDS", SEEDS).env("RUST_BACKTRACE", "0");
    let mut running = simulation.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let (out, errors) = (reader(running.stdout.take()), reader(running.stderr.take()));
    if !ends(&mut running)? {
        running.kill()?;
        running.wait()?;
        return Err(io::Error::other("it hangs, and does not say with which seed"));
    }
    let succeeded = running.wait()?.success();
    let said = out.join().unwrap_or_default() + &errors.join().unwrap_or_default();
    if succeeded {
        return Ok(Verdict::Survived);
    }
    said.lines()
        .find_map(verdict)
        .ok_or_else(|| io::Error::other(format!("it ended without a verdict: {said}")))
}

/// What a line of the simulation says of the seed that it begins with.
fn verdict(line: &str) -> Option<Verdict> {
    let line = line.strip_prefix("seed ")?;
    let seed: String = line.chars().take_while(char::is_ascii_digit).collect();
    match line.strip_prefix(&seed)? {
        said if said.starts_with(" has run for ") => Some(Verdict::Hung { seed }),
        said => {
            let message = said.strip_prefix(": ")?.to_owned();
            Some(Verdict::Caught { seed, message })
        }
    }
}

fn reader(from: Option<impl Read + Send + 'static>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut said = Vec::new();
        from.map(|mut from| from.read_to_end(&mut said));
        String::from_utf8_lossy(&said).into_owned()
    })
}

fn ends(running: &mut Child) -> io::Result<bool> {
    let began = Instant::now();
    while running.try_wait()?.is_none() {
        if began.elapsed() > PATIENCE {
            return Ok(false);
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(true)
}

/// Gives the copy a version of its own. To cargo, two packages with the same name and version are one, and what
/// is built of a broken copy would be taken for what is built of the log.
fn set_apart(file: &Path) -> io::Result<()> {
    let text = fs::read_to_string(file)?;
    let name = "name = \"actix-wal\"\nversion = \"";
    assert_eq!(text.matches(name).count(), 1, "{}", file.display());
    fs::write(file, text.replace(name, &format!("{name}9")))
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    if !from.is_dir() {
        // Not `fs::copy`: the copy has to be newer than what was built from the text before.
        return fs::write(to, fs::read(from)?);
    }
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        copy(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}
