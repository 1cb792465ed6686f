//! Guards P1 to P17, P19 to P22 at one remove: deliberate bugs, of which the simulation has to catch each one. A simulation that
//! does not is blind there, and the test fails.
//!
//! Bugs that fit a seam (the disk, the clock, the queue) are tried at every run. The others are small patches to
//! the sources; that each still fits is checked at every run, and they are built and tried with
//!
//! ```text
//! WAL_CONTROLS=all cargo test --test negative_controls -- --nocapture
//! WAL_CONTROLS=all cargo test --test negative_controls -- <part of a name>
//! ```

#![allow(clippy::expect_used, reason = "a test that can not go on has failed")]

#[path = "negative_controls/patches.rs"]
mod patches;
#[path = "negative_controls/seams.rs"]
mod seams;
#[path = "negative_controls/workshop.rs"]
mod workshop;

use std::ops::Range;
use std::time::Instant;
use test_support::environment;
use test_support::sources;

use patches::Patch;
use seams::Control;
use test_support::simulation::watch::run_watched;
use workshop::{Verdict, Workshop};

/// The seeds that a control in a seam has to be caught by.
const SEEDS: Range<u64> = 0..400;

/// What came of the controls.
#[derive(Debug, Default)]
struct Tally {
    caught: usize,
    survived: Vec<&'static str>,
}

/// There is no harness around it, so that the last line is the sum.
fn main() {
    let wanted: Vec<_> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|part| name.contains(part));
    if std::env::args().any(|word| word == "--list") {
        return;
    }
    let is_all = environment::asks_for_all("WAL_CONTROLS");
    std::panic::set_hook(Box::new(|_| {}));
    let mut tally = Tally::default();
    println!("\n| control | promise | caught by | seed | seconds |\n|---|---|---|---|---|");
    let seams = seams::CONTROLS.iter().filter(|(name, ..)| is_wanted(name));
    seams.for_each(|control| tally.try_seam(control));
    let all: Vec<_> = patches::all().filter(|patch| is_wanted(patch.name)).collect();
    let misfits: Vec<_> = all.iter().filter_map(|patch| misfit(patch)).collect();
    let mut broken = misfits.clone();
    if misfits.is_empty() && is_all {
        broken.extend(tally.try_patches(&all, wanted.is_empty()));
    }
    tally.survived.iter().for_each(|name| println!("survived: {name}"));
    broken.iter().for_each(|what| println!("broken: {what}"));
    println!("controls caught: {}, survived: {}", tally.caught, tally.survived.len());
    if !tally.survived.is_empty() || !broken.is_empty() {
        std::process::exit(1);
    }
}

/// Why a patch does not fit the sources, if so.
fn misfit(patch: &Patch) -> Option<String> {
    patch.edits.iter().find_map(|edit| {
        let times = sources::read(edit.file).matches(edit.find).count();
        let what = format!("{}: its text is there {times} times in {}", patch.name, edit.file);
        (times != 1).then_some(what)
    })
}

impl Tally {
    fn try_seam(&mut self, (name, promise, seams): &Control) {
        let began = Instant::now();
        let mut seeds = SEEDS;
        let failed = seeds.find_map(|seed| {
            let outcome = run_watched(seed, *seams, false, &format!("the control \"{name}\""));
            outcome.failure.map(|failure| (seed, failure))
        });
        match failed {
            Some((seed, failure)) => self.caught(name, promise, &failure, &seed.to_string(), began),
            None => self.survived.push(name),
        }
    }

    fn caught(&mut self, name: &str, promise: &str, by: &str, seed: &str, began: Instant) {
        self.caught += 1;
        // A cell of the table, and not all that was in the log.
        let by: String = by.replace('|', "/").chars().take(100).collect();
        println!("| {name} | {promise} | {by} | {seed} | {:.1} |", began.elapsed().as_secs_f64());
    }

    /// What is wrong with the controls themselves comes back.
    fn try_patches(&mut self, all: &[&'static Patch], is_all: bool) -> Vec<String> {
        let workshop = Workshop::new().expect("a copy of the sources");
        // Who asks for some of them knows that it passes without a patch.
        let is_sound = !is_all || matches!(workshop.try_sound(), Ok(Verdict::Survived));
        if !is_sound {
            return vec!["the log as it is does not pass".to_owned()];
        }
        all.iter().filter_map(|patch| self.try_patch(&workshop, patch)).collect()
    }

    fn try_patch(&mut self, workshop: &Workshop, patch: &'static Patch) -> Option<String> {
        let (began, Patch { name, promise, .. }) = (Instant::now(), patch);
        match workshop.try_patch(patch) {
            Ok(Verdict::Caught { seed, message }) => {
                self.caught(name, promise, &message, &seed, began);
            }
            Ok(Verdict::Hung { seed }) => self.caught(name, promise, "it hangs", &seed, began),
            Ok(Verdict::Survived) => {
                println!(
                    "| **{name}** | {promise} | SURVIVED | | {:.1} |",
                    began.elapsed().as_secs_f64()
                );
                self.survived.push(name);
            }
            Err(error) => return Some(format!("{name}: {error}")),
        }
        None
    }
}
