//! `cargo xtask controls`: deliberate bugs, of which the tests must catch each one. A control is a patch in
//! `controls/`, see `controls/README.md`.

mod control;
mod renew;
mod verdict;
mod workshop;

use std::collections::BTreeSet;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use crate::shell::{Shell, read, run_and_read};
use control::{Control, TestCommand};
use verdict::Verdict;
use workshop::Workshop;

/// Into how many parts `--rotate` splits the controls. One part takes six to ten minutes on two cores.
const PARTS: usize = 20;

const EXAMPLES: &str = "Examples:
  cargo xtask controls --check             every patch applies to the sources: a second
  cargo xtask controls watermark cut       the controls with one of these words in their names
  cargo xtask controls --rotate            a twentieth of them, chosen by the commit: what CI runs
  cargo xtask controls --all               before a release: hours
  cargo xtask controls --renew             after a change of the sources: rewrite what no longer applies
  cargo xtask controls --record NAME       keep what was edited by hand where --renew found a conflict";

/// Which controls, and what to do with them.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
#[group(required = true, multiple = true)]
pub(crate) struct Arguments {
    /// Parts of names. A control is chosen if its name or its file's name contains one of them.
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// All of them, and those in `tests/negative_controls.rs`.
    #[arg(long, conflicts_with_all = ["names", "rotate"])]
    all: bool,
    /// A part of them that is chosen by the hash of the commit.
    #[arg(long, conflicts_with = "names")]
    rotate: bool,
    /// Only check that each patch applies. Builds nothing.
    #[arg(long, conflicts_with_all = ["renew", "record"])]
    check: bool,
    /// List the controls with the promises that they break.
    #[arg(long)]
    list: bool,
    /// Rewrite the patches that no longer apply, by a three-way merge.
    #[arg(long, conflicts_with = "record")]
    renew: bool,
    /// Make a patch of what was edited by hand after a conflict.
    #[arg(long, value_name = "NAME", conflicts_with = "names")]
    record: Option<String>,
}

/// Does what was asked for.
pub(crate) fn run(shell: &Shell, arguments: &Arguments) -> Result<()> {
    let all = control::read_all(&shell.root().join(control::FOLDER))?;
    if let Some(name) = &arguments.record {
        return renew::record(shell, control::one(&all, name)?);
    }
    let chosen = chosen(shell, &all, arguments)?;
    if arguments.list {
        chosen.iter().for_each(|control| println!("{:4} {}", control.breaks, control.name));
        println!("{} controls", chosen.len());
        return Ok(());
    }
    if arguments.renew {
        return renew::renew(shell, &chosen, !arguments.names.is_empty());
    }
    check_chosen(shell, &chosen)?;
    if arguments.check {
        return Ok(());
    }
    try_all(shell, &chosen)?;
    if arguments.all {
        try_seams(shell)?;
    }
    Ok(())
}

/// The step of CI that finds patches which no longer apply.
pub(crate) fn check(shell: &Shell) -> Result<()> {
    let all = control::read_all(&shell.root().join(control::FOLDER))?;
    check_chosen(shell, &all.iter().collect::<Vec<_>>())
}

/// The step of CI that tries a part of them.
pub(crate) fn rotate(shell: &Shell) -> Result<()> {
    let all = control::read_all(&shell.root().join(control::FOLDER))?;
    try_all(shell, &rotated(shell, &all)?)
}

fn chosen<'a>(
    shell: &Shell,
    all: &'a [Control],
    arguments: &Arguments,
) -> Result<Vec<&'a Control>> {
    if arguments.rotate {
        return rotated(shell, all);
    }
    let names = &arguments.names;
    let is_chosen = |control: &&Control| {
        names.is_empty() || names.iter().any(|name| control.has_in_its_name(name))
    };
    let chosen: Vec<_> = all.iter().filter(is_chosen).collect();
    ensure!(!chosen.is_empty(), "no control has {names:?} in its name: see --list");
    Ok(chosen)
}

/// One control of every `PARTS`, so that each part has some of every kind.
fn rotated<'a>(shell: &Shell, all: &'a [Control]) -> Result<Vec<&'a Control>> {
    let commit = read(&mut shell.git(&["rev-parse", "HEAD"]))?;
    let part = part(commit.trim())?;
    println!("part {} of {PARTS}, chosen by the commit {}", part + 1, commit.trim());
    Ok(all.iter().skip(part).step_by(PARTS).collect())
}

fn part(commit: &str) -> Result<usize> {
    let head = commit.get(..8).context("the commit has no hash")?;
    let number = u32::from_str_radix(head, 16).with_context(|| format!("the hash {commit}"))?;
    Ok(number as usize % PARTS)
}

/// Fails if one of them does not apply, and says of each what to do.
fn check_chosen(shell: &Shell, controls: &[&Control]) -> Result<()> {
    let mut misfits = 0;
    for control in controls {
        if let Err(error) = read(shell.git(&["apply", "--check"]).arg(&control.file)) {
            println!("{} does not apply: {error:#}", control.file_name());
            misfits += 1;
        }
    }
    println!("{} of {} patches apply", controls.len() - misfits, controls.len());
    ensure!(
        misfits == 0,
        "the sources have changed under {misfits} patches in {}: run `cargo xtask controls --renew`, look at \
         the diff, and commit it",
        control::FOLDER
    );
    Ok(())
}

/// What came of the controls.
#[derive(Debug, Default)]
struct Tally {
    caught: usize,
    survived: Vec<String>,
    /// Neither caught nor survived: they do not build, or end without a verdict.
    broken: Vec<String>,
}

/// Tries the log without a bug, then with each, and prints the table as it goes. If the log fails without a bug, no
/// catch proves anything.
fn try_all(shell: &Shell, controls: &[&Control]) -> Result<()> {
    let workshop = Workshop::new(shell)?;
    let commands: BTreeSet<_> = controls.iter().map(|control| &control.caught_by).collect();
    for command in commands {
        let (began, verdict) = (Instant::now(), workshop.try_sound(command)?);
        must_be_sound(command, &verdict)?;
        println!("without a bug, `{command}` passes: {:.1} s", began.elapsed().as_secs_f64());
    }
    println!("\n| control | breaks | caught by | seed | seconds |\n|---|---|---|---|---|");
    let mut tally = Tally::default();
    for control in controls {
        let (began, tried) = (Instant::now(), workshop.try_control(control));
        let seconds = began.elapsed().as_secs_f64();
        tally.add(control, tried, seconds);
    }
    tally.end()
}

fn must_be_sound(command: &TestCommand, verdict: &Verdict) -> Result<()> {
    ensure!(
        *verdict == Verdict::Survived,
        "`{command}` fails without any bug (seed {}): {}; mend that first, until then every control would \
         look caught",
        verdict.seed(),
        verdict.text()
    );
    Ok(())
}

impl Tally {
    fn add(&mut self, control: &Control, tried: Result<Verdict>, seconds: f64) {
        let (name, breaks) = (&control.name, &control.breaks);
        match tried {
            Ok(verdict @ Verdict::Survived) => {
                println!("| **{name}** | {breaks} | {} | | {seconds:.1} |", verdict.text());
                self.survived.push(name.clone());
            }
            Ok(verdict) => {
                let seed = verdict.seed();
                println!("| {name} | {breaks} | {} | {seed} | {seconds:.1} |", verdict.text());
                self.caught += 1;
            }
            Err(error) => {
                println!("| **{name}** | {breaks} | BROKEN | | {seconds:.1} |");
                self.broken.push(format!("{name}: {error:#}"));
            }
        }
    }

    fn end(self) -> Result<()> {
        self.survived.iter().for_each(|name| println!("survived: {name}"));
        self.broken.iter().for_each(|what| println!("broken: {what}"));
        println!("\ncontrols caught: {}, survived: {}", self.caught, self.survived.len());
        if self.survived.is_empty() && self.broken.is_empty() {
            return Ok(());
        }
        bail!("{} controls survived, {} are broken", self.survived.len(), self.broken.len())
    }
}

/// The controls that break something at a seam are a test. Shows its table.
fn try_seams(shell: &Shell) -> Result<()> {
    let arguments = ["test", "--locked", "--test", "negative_controls", "--", "--nocapture"];
    run_and_read(&mut shell.cargo(&arguments)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_all_commits_are_all_controls() {
        let parts: BTreeSet<_> =
            (0..PARTS as u32).map(|number| part(&format!("{number:08x}ffff")).unwrap()).collect();
        assert_eq!(parts, (0..PARTS).collect());
        assert_eq!(part("346e8549").unwrap(), 0x346e_8549 % PARTS);
        assert!(part("main").is_err());
        assert!(part("not a hash").is_err());
    }

    #[test]
    fn a_log_that_fails_without_a_bug_proves_nothing_about_bugs() {
        let command =
            TestCommand { environment: Vec::new(), package: None, test: None, filter: None };
        assert!(must_be_sound(&command, &Verdict::Survived).is_ok());
        let seed = "1".to_owned();
        let error = must_be_sound(&command, &Verdict::Hung { seed }).unwrap_err().to_string();
        assert!(error.contains("`cargo test --lib` fails without any bug (seed 1)"), "{error}");
    }

    #[test]
    fn a_tally_is_sound_only_if_every_control_was_caught() {
        let caught = || Tally { caught: 1, ..Tally::default() };
        assert!(caught().end().is_ok());
        assert!(Tally { survived: vec!["a".to_owned()], ..caught() }.end().is_err());
        assert!(Tally { broken: vec!["a".to_owned()], ..caught() }.end().is_err());
    }
}
