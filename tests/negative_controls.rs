//! Guards P1 to P17, P19 to P22 at one remove: deliberate bugs at a seam of the log (the disk, the clock, the queue).
//! The simulation has to catch each one. Where it does not, it is blind, and the test fails.
//!
//! Bugs in the sources of the log are patches in `controls/`; `cargo xtask controls` builds and tries them.
//!
//! ```text
//! cargo test --test negative_controls -- --nocapture    shows by what each was caught
//! ```

#![allow(clippy::expect_used, reason = "a test that can not go on has failed")]

mod negative_controls {
    pub(crate) mod seams;
}

use std::ops::Range;
use std::time::Instant;

use negative_controls::seams::{CONTROLS, Control};
use test_support::simulation::SOUND;
use test_support::simulation::watch::run_watched;

/// The seeds that have to catch a control.
const SEEDS: Range<u64> = 0..400;

/// A control that a seed has caught.
#[derive(Debug)]
struct Caught {
    /// Of the table.
    row: String,
    /// What fails with this seed where nothing is broken on purpose: nothing, or the catch proves nothing.
    unsound: Option<String>,
}

/// Tries one control. `None` if no seed catches it.
fn try_seam((name, promise, seams): &Control) -> Option<Caught> {
    let (began, mut seeds) = (Instant::now(), SEEDS);
    let (seed, failure) = seeds.find_map(|seed| {
        let outcome = run_watched(seed, *seams, false, &format!("the control \"{name}\""));
        outcome.failure.map(|failure| (seed, failure))
    })?;
    let seconds = began.elapsed().as_secs_f64();
    let by: String = failure.replace('|', "/").chars().take(100).collect();
    let row = format!("| {name} | {promise} | {by} | {seed} | {seconds:.1} |");
    let unsound = run_watched(seed, SOUND, false, "no control").failure;
    Some(Caught { row, unsound: unsound.map(|failure| format!("seed {seed}: {failure}")) })
}

#[test]
fn the_simulation_catches_every_bug_at_a_seam() {
    // What breaks at a seam may panic in the log, which the simulation takes as a failure of the run.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let tried: Vec<_> = CONTROLS.iter().map(|control| (control.0, try_seam(control))).collect();
    std::panic::set_hook(hook);
    println!("\n| control | breaks | caught by | seed | seconds |\n|---|---|---|---|---|");
    tried.iter().filter_map(|(_, caught)| caught.as_ref()).for_each(|caught| {
        println!("{}", caught.row);
    });
    let survived: Vec<_> = tried.iter().filter(|(_, caught)| caught.is_none()).collect();
    println!("controls at seams: {}, survived: {}", CONTROLS.len(), survived.len());
    assert!(survived.is_empty(), "survived: {survived:?}");
    // A seed that fails without any bug catches none.
    let unsound = tried.iter().filter_map(|(_, caught)| caught.as_ref()?.unsound.as_ref());
    let unsound: Vec<_> = unsound.collect();
    assert!(unsound.is_empty(), "the simulation fails without any bug: {unsound:?}");
}
