//! A control: a header of a few lines, and a diff of the sources.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

/// Where the controls are, from the root.
pub(super) const FOLDER: &str = "controls";

/// A deliberate bug.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Control {
    /// The patch.
    pub(super) file: PathBuf,
    /// What is wrong with the log if the patch is in it, in words.
    pub(super) name: String,
    /// The promise that it breaks, as `P7`.
    pub(super) breaks: String,
    /// What has to fail.
    pub(super) caught_by: TestCommand,
    /// The text before the diff, as it stands.
    pub(super) header: String,
}

/// A run of tests that a control has to make fail.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TestCommand {
    pub(super) environment: Vec<(String, String)>,
    /// The crate in `crates/`; `None` for the log itself.
    pub(super) package: Option<String>,
    /// The integration test; `None` for the tests of the library.
    pub(super) test: Option<String>,
    /// A part of the names of the tests.
    pub(super) filter: Option<String>,
}

/// Reads every patch in a folder, by name.
pub(super) fn read_all(folder: &Path) -> Result<Vec<Control>> {
    let mut controls = Vec::new();
    let entries = fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    for entry in entries {
        let file = entry?.path();
        if file.extension().is_some_and(|extension| extension == "patch") {
            let text = fs::read_to_string(&file);
            let control = text.context("reading it").and_then(|text| Control::parse(&file, &text));
            controls.push(control.with_context(|| format!("{}", file.display()))?);
        }
    }
    controls.sort_by(|one, other| one.file.cmp(&other.file));
    ensure!(!controls.is_empty(), "{} has no patches", folder.display());
    let mut names = BTreeSet::new();
    for control in &controls {
        let is_new = names.insert(control.name.as_str());
        ensure!(is_new, "{}: another control has this name too", control.file_name());
    }
    Ok(controls)
}

/// The control with this name.
pub(super) fn one<'a>(all: &'a [Control], name: &str) -> Result<&'a Control> {
    let exact = all.iter().find(|control| control.name == name || control.stem() == name);
    if let Some(control) = exact {
        return Ok(control);
    }
    let found: Vec<_> = all.iter().filter(|control| control.has_in_its_name(name)).collect();
    match found[..] {
        [control] => Ok(control),
        _ => bail!("{} controls have {name:?} in their names: see --list", found.len()),
    }
}

impl Control {
    fn parse(file: &Path, text: &str) -> Result<Self> {
        let at = text.find("diff --git ").context("there is no line `diff --git`")?;
        let header = &text[..at];
        let field = |name: &str| {
            let line = header.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            line.map(str::trim).with_context(|| format!("its header has no line `{name}: ...`"))
        };
        let breaks = field("Breaks")?;
        let number = breaks.strip_prefix('P').and_then(|number| number.parse::<u32>().ok());
        ensure!(number.is_some(), "`Breaks: {breaks}` is not the number of a promise, as P7");
        Ok(Control {
            file: file.to_owned(),
            name: field("Control")?.to_owned(),
            breaks: breaks.to_owned(),
            caught_by: TestCommand::parse(field("Caught by")?)?,
            header: header.to_owned(),
        })
    }

    /// The name of the file without its folder.
    pub(super) fn file_name(&self) -> String {
        format!("{FOLDER}/{}.patch", self.stem())
    }

    /// The name of the file without folder and ending.
    pub(super) fn stem(&self) -> &str {
        self.file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default()
    }

    pub(super) fn has_in_its_name(&self, part: &str) -> bool {
        self.name.contains(part) || self.stem().contains(part)
    }
}

impl TestCommand {
    /// `NAME=value cargo test -p package --test simulation a_part_of_a_name`. No other arguments: what is built and what
    /// is run are two commands, and each takes only its own.
    fn parse(text: &str) -> Result<Self> {
        let expected =
            || format!("`{text}` is not `[NAME=value] cargo test [-p NAME] --test NAME [FILTER]`");
        let mut words = text.split_whitespace().peekable();
        let mut environment = Vec::new();
        while let Some((name, value)) = words.peek().and_then(|word| word.split_once('=')) {
            environment.push((name.to_owned(), value.to_owned()));
            words.next();
        }
        ensure!(words.next() == Some("cargo") && words.next() == Some("test"), expected());
        let package = match words.next_if_eq(&"-p") {
            Some(_) => Some(words.next().with_context(expected)?.to_owned()),
            None => None,
        };
        let test = match words.next() {
            Some("--test") => Some(words.next().with_context(expected)?.to_owned()),
            Some("--lib") => None,
            _ => bail!(expected()),
        };
        let filter = words.next().map(str::to_owned);
        ensure!(words.next().is_none(), expected());
        ensure!(filter.iter().all(|filter| !filter.starts_with('-')), expected());
        Ok(TestCommand { environment, package, test, filter })
    }
}

impl fmt::Display for TestCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.environment.iter().try_for_each(|(name, value)| write!(f, "{name}={value} "))?;
        f.write_str("cargo test")?;
        self.package.iter().try_for_each(|package| write!(f, " -p {package}"))?;
        match &self.test {
            Some(test) => write!(f, " --test {test}")?,
            None => write!(f, " --lib")?,
        }
        self.filter.iter().try_for_each(|filter| write!(f, " {filter}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMAND: &str = "WAL_SIM_SEEDS=0..9 cargo test --test simulation whatever_happens";

    fn parse(text: &str) -> Result<Control> {
        Control::parse(Path::new("controls/skip-the-sync.patch"), text)
    }

    fn patch() -> String {
        format!("Control: skip the sync\nBreaks: P1\nCaught by: {COMMAND}\n\ndiff --git a/x b/x\n")
    }

    #[test]
    fn a_control_has_a_name_a_promise_and_a_command() {
        let control = parse(&patch()).unwrap();
        assert_eq!((control.name.as_str(), control.breaks.as_str()), ("skip the sync", "P1"));
        assert_eq!(control.caught_by.to_string(), COMMAND);
        assert_eq!(control.file_name(), "controls/skip-the-sync.patch");
        assert!(patch().starts_with(&control.header));
    }

    #[test]
    fn a_header_without_one_of_its_lines_is_refused_and_says_which() {
        for line in ["Control: ", "Breaks: ", "Caught by: "] {
            let error = parse(&patch().replace(line, "Other: ")).unwrap_err().to_string();
            assert!(error.contains(line.trim()), "{error}");
        }
        assert!(parse(&patch().replace("P1", "durability")).is_err());
        assert!(parse("Control: x\n").unwrap_err().to_string().contains("diff --git"));
    }

    #[test]
    fn a_command_is_one_test_with_a_filter_and_nothing_else() {
        for sound in [
            "cargo test --lib",
            "cargo test --lib engine",
            "A=b C=d cargo test --test x",
            "cargo test -p actix-wal-txn --lib store",
        ] {
            assert_eq!(TestCommand::parse(sound).unwrap().to_string(), sound);
        }
        let unsound = [
            "",
            "cargo build",
            "cargo test",
            "cargo test --test",
            "cargo test --test x -- y",
            "test x",
            "cargo test --test x y z",
        ];
        for unsound in unsound {
            assert!(TestCommand::parse(unsound).is_err(), "{unsound}");
        }
    }

    #[test]
    fn a_name_means_one_control_or_is_refused() {
        let control = parse(&patch()).unwrap();
        let other = Control { name: "skip the sync, twice".to_owned(), ..control.clone() };
        let all = [control, other];
        assert_eq!(one(&all, "skip the sync").unwrap().name, "skip the sync");
        assert_eq!(one(&all, "twice").unwrap().name, "skip the sync, twice");
        assert!(one(&all, "skip").is_err());
        assert!(one(&all, "watermark").is_err());
    }
}
