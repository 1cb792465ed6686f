//! `cargo xtask ci`: the steps of CI one after the other, and a table of what each took.

mod benches;
mod readings;
mod steps;
mod tools;

use std::fs;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Args;
use clap::builder::PossibleValuesParser;

use crate::shell::Shell;
use steps::{STEPS, Step};

const EXAMPLES: &str = "Examples:
  cargo xtask ci                              everything: most of an hour on two cores, from cold
  cargo xtask ci --list                       the names of the steps
  cargo xtask ci --only format --only clippy  before a commit
  cargo xtask ci --from quickstart            go on where a step has failed

The first step installs missing tools with apt-get, as root or by sudo. CI=true is set for all steps: there
a tool that a test needs and does not find is a failure, not a reason to leave the test out.";

/// What to run of CI.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// List the steps and end.
    #[arg(long)]
    list: bool,
    /// Run only this step. May be given several times.
    #[arg(long, value_name = "STEP", value_parser = names(), hide_possible_values = true)]
    only: Vec<String>,
    /// Begin with this step.
    #[arg(long, value_name = "STEP", value_parser = names(), hide_possible_values = true, conflicts_with = "only")]
    from: Option<String>,
}

fn names() -> PossibleValuesParser {
    PossibleValuesParser::new(STEPS.iter().map(|step| step.name))
}

/// What became of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Passed,
    Failed,
}

/// Runs the steps until one fails.
pub(crate) fn run(shell: &Shell, arguments: &Arguments) -> Result<()> {
    if arguments.list {
        STEPS.iter().for_each(|step| println!("{:15} {}", step.name, step.what));
        return Ok(());
    }
    let skipped = Skipped::begin(shell)?;
    let began = Instant::now();
    let (mut table, mut failure) = (Vec::new(), None);
    for step in chosen(arguments) {
        println!("\n=== [{:4} s] {}: {}", began.elapsed().as_secs(), step.name, step.what);
        let step_began = Instant::now();
        let done = (step.run)(shell);
        let end = if done.is_ok() { End::Passed } else { End::Failed };
        table.push((step.name, step_began.elapsed().as_secs(), end));
        if let Err(error) = done {
            failure = Some(error.context(format!("step {0} (again: --from {0})", step.name)));
            break;
        }
    }
    println!("\n{}", summary(&table));
    println!("\n{}", skipped.list());
    match failure {
        None => {
            println!("\nall is well");
            Ok(())
        }
        Some(failure) => Err(failure),
    }
}

fn chosen(arguments: &Arguments) -> impl Iterator<Item = &'static Step> {
    let is_first = |step: &Step| arguments.from.as_deref().is_none_or(|from| from == step.name);
    let first = STEPS.iter().position(is_first).unwrap_or_default();
    let only = |step: &&Step| {
        arguments.only.is_empty() || arguments.only.iter().any(|only| only == step.name)
    };
    STEPS[first..].iter().filter(only)
}

/// The steps with their seconds.
fn summary(table: &[(&str, u64, End)]) -> String {
    let row = |(name, seconds, end): &(&str, u64, End)| {
        let mark = if *end == End::Failed { "  FAILED" } else { "" };
        format!("{name:15} {seconds:5} s{mark}")
    };
    let sum: u64 = table.iter().map(|(_, seconds, _)| seconds).sum();
    let rows = table.iter().map(row).chain([format!("{:15} {sum:5} s", "all")]);
    rows.collect::<Vec<_>>().join("\n")
}

/// The list of what was left out. Tests note it in a file, since the harness hides the output of a test that
/// passes.
struct Skipped {
    file: std::path::PathBuf,
}

impl Skipped {
    fn begin(shell: &Shell) -> Result<Self> {
        let file = shell.target().join("tmp/skipped.txt");
        if file.exists() {
            fs::remove_file(&file).with_context(|| format!("removing {}", file.display()))?;
        }
        Ok(Skipped { file })
    }

    fn list(&self) -> String {
        let text = fs::read_to_string(&self.file).unwrap_or_default();
        let mut lines: Vec<_> = text.lines().collect();
        lines.sort_unstable();
        lines.dedup();
        match lines.is_empty() {
            true => "=== left out here: nothing".to_owned(),
            false => format!("=== left out here:\n{}", lines.join("\n")),
        }
    }
}

/// Notes that a step leaves something out, and why.
fn leave_out(shell: &Shell, what: &str) -> Result<()> {
    use std::io::Write;
    println!("skipped: {what}");
    let folder = shell.target().join("tmp");
    fs::create_dir_all(&folder)?;
    let file = fs::OpenOptions::new().create(true).append(true).open(folder.join("skipped.txt"));
    writeln!(file?, "skipped: {what}").context("noting what is left out")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn arguments(only: &[&str], from: Option<&str>) -> Arguments {
        let only = only.iter().map(|only| (*only).to_owned()).collect();
        Arguments { list: false, only, from: from.map(str::to_owned) }
    }

    fn chosen_names(arguments: &Arguments) -> Vec<&'static str> {
        chosen(arguments).map(|step| step.name).collect()
    }

    #[test]
    fn every_step_has_a_name_of_its_own_that_fits_the_table() {
        let names: BTreeSet<_> = STEPS.iter().map(|step| step.name).collect();
        assert_eq!(names.len(), STEPS.len());
        assert!(names.iter().all(|name| name.len() <= 15));
    }

    #[test]
    fn only_and_from_choose_steps_in_the_order_of_ci() {
        let all: Vec<_> = STEPS.iter().map(|step| step.name).collect();
        assert_eq!(chosen_names(&arguments(&[], None)), all);
        assert_eq!(chosen_names(&arguments(&["clippy", "format"], None)), ["format", "clippy"]);
        assert_eq!(chosen_names(&arguments(&[], Some("open-loop"))), ["open-loop"]);
    }

    #[test]
    fn the_summary_names_each_step_its_seconds_and_the_failure() {
        let text = summary(&[("format", 2, End::Passed), ("clippy", 71, End::Failed)]);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "format              2 s");
        assert_eq!(lines[1], "clippy             71 s  FAILED");
        assert_eq!(lines[2], "all                73 s");
    }

    #[test]
    fn what_was_left_out_is_listed_once() {
        let folder = tempfile::tempdir().unwrap();
        let skipped = Skipped { file: folder.path().join("skipped.txt") };
        assert_eq!(skipped.list(), "=== left out here: nothing");
        fs::write(&skipped.file, "skipped: b\nskipped: a\nskipped: b\n").unwrap();
        assert_eq!(skipped.list(), "=== left out here:\nskipped: a\nskipped: b");
    }
}
