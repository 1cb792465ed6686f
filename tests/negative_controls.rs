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
use test_support::simulation::watch::run_watched;

/// The seeds that have to catch a control.
const SEEDS: Range<u64> = 0..400;

/// Tries one control. Returns its row of the table, or `None` if no seed caught it.
fn try_seam((name, promise, seams): &Control) -> Option<String> {
    let (began, mut seeds) = (Instant::now(), SEEDS);
    let (seed, failure) = seeds.find_map(|seed| {
        let outcome = run_watched(seed, *seams, false, &format!("the control \"{name}\""));
        outcome.failure.map(|failure| (seed, failure))
    })?;
    let by: String = failure.replace('|', "/").chars().take(100).collect();
    Some(format!("| {name} | {promise} | {by} | {seed} | {:.1} |", began.elapsed().as_secs_f64()))
}

#[test]
fn the_simulation_catches_every_bug_at_a_seam() {
    // What breaks at a seam may panic in the log, which the simulation takes as a failure of the run.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    println!("\n| control | breaks | caught by | seed | seconds |\n|---|---|---|---|---|");
    let mut survived = Vec::new();
    for control in CONTROLS {
        match try_seam(control) {
            Some(row) => println!("{row}"),
            None => survived.push(control.0),
        }
    }
    std::panic::set_hook(hook);
    println!("controls at seams: {}, survived: {}", CONTROLS.len(), survived.len());
    assert!(survived.is_empty(), "survived: {}", survived.join("; "));
}
