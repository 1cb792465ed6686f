//! Guards P1, P2, P3, P4, P5, P8, P9, P10, P11, P12, P13, P15, P19, P22: small histories of the engine
//! itself, driven step by step on one thread; the power is cut after each operation, and every state in
//! which the disk may be found then is recovered from, where there are few, and samples where there are many.
//!
//! One seed gives one run. `WAL_SIM_IMAGES_SEED` sets it, `WAL_SIM_IMAGES` how many distinct images there
//! shall be at least; a failure prints the command that repeats one image alone (`WAL_SIM_IMAGES_ONLY`).
//! No crash makes a segment missing, swapped, foreign or shortened (P14): an image that is refused fails.

#![allow(clippy::expect_used)] // Clippy knows a test by its attribute, not the helpers beside it.

#[path = "common/facts.rs"]
mod facts;
#[path = "crash_images/histories.rs"]
mod histories;
#[path = "common/judge.rs"]
mod judge;
#[path = "crash_images/meanwhile.rs"]
mod meanwhile;
#[path = "common/oracle.rs"]
mod oracle;
#[path = "crash_images/sweep.rs"]
mod sweep;
#[path = "common/witness.rs"]
mod witness;
#[path = "crash_images/world.rs"]
mod world;

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use facts::Random;
use histories::HISTORIES;
use sweep::{How, Place, Sweep, Tally};

/// Distinct images, unless more are asked for.
const IMAGES: usize = 110_000;

const SEED: u64 = 1;

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().expect("a number"))
}

/// What all threads have found together.
#[derive(Default)]
struct Found {
    distinct: HashSet<u64>,
    tally: Tally,
}

#[test]
fn every_promise_holds_in_every_state_in_which_a_crash_may_leave_the_disk() {
    if let Ok(only) = std::env::var("WAL_SIM_IMAGES_ONLY") {
        return repeat(&only);
    }
    let seed = from_environment("WAL_SIM_IMAGES_SEED").unwrap_or(SEED);
    let wanted = from_environment("WAL_SIM_IMAGES").map_or(IMAGES, |images| images as usize);
    let (next, enough) = (AtomicU64::new(0), AtomicBool::new(false));
    let found = Mutex::new(Found::default());
    // Each history once, and then all over again with other seeds, until there are enough images.
    let work = || {
        while !enough.load(Ordering::Relaxed)
            || next.load(Ordering::Relaxed) < HISTORIES.len() as u64
        {
            let job = next.fetch_add(1, Ordering::Relaxed);
            let number = job as usize % HISTORIES.len();
            let (distinct, tally) = sweep_history(number, Random::new(seed ^ job << 32).number());
            let mut found = found.lock().expect("no thread panicked");
            found.distinct.extend(distinct);
            found.tally.add(&tally);
            enough.store(found.distinct.len() >= wanted, Ordering::Relaxed);
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(work);
        work();
    });
    let Found { distinct, tally } = found.into_inner().expect("no thread panicked");
    let (distinct, histories) = (distinct.len(), next.into_inner());
    println!("seed {seed}: {distinct} distinct images of {histories} histories held; {tally:?}");
    assert!(distinct >= wanted);
    tally.check_that_it_saw_enough();
}

/// Records a history, and looks at all its images.
fn sweep_history(number: usize, seed: u64) -> (HashSet<u64>, Tally) {
    let history = &HISTORIES[number];
    let (mut distinct, mut tally) = (HashSet::new(), Tally::default());
    for (stage, recorded) in history.record(seed).iter().enumerate() {
        let place = Place { history: number, seed, stage };
        let mut sweep = Sweep::new(place, history, recorded);
        sweep.run();
        distinct.extend(&sweep.distinct);
        tally.add(&sweep.tally());
    }
    (distinct, tally)
}

/// Looks at one image again: `history/seed/stage/position/how`.
fn repeat(only: &str) {
    let parts: Vec<_> = only.split('/').collect();
    let [history, seed, stage, position, how] = parts[..] else {
        panic!("history/seed/stage/position/how, not {only}");
    };
    let number = |text: &str| text.parse::<u64>().expect("a number");
    let place = Place {
        history: number(history) as usize,
        seed: number(seed),
        stage: number(stage) as usize,
    };
    let history = &HISTORIES[place.history];
    let stages = history.record(place.seed);
    let how = How::parse(how).expect("a way to lose power");
    let mut sweep = Sweep::new(place, history, &stages[place.stage]);
    sweep.only(number(position) as usize, how);
    println!("{only} holds");
}

#[test]
fn one_seed_gives_one_history() {
    for history in HISTORIES {
        let [once, again] = [7, 7].map(|seed| {
            let stages = history.record(seed);
            stages.iter().flat_map(|stage| stage.log.ops()).collect::<Vec<_>>()
        });
        assert!(once == again, "{}", history.name);
        assert!(!once.is_empty());
    }
}
