//! Guards P1, P2, P3, P4, P5, P8, P9, P10, P11, P12, P13, P15, P19, P22: small histories of the engine
//! itself, driven step by step on one thread; the power is cut after each operation, and every state in
//! which the disk may be found then is recovered from, where there are few, and samples where there are many.
//!
//! One seed gives one run. `WAL_SIM_IMAGES_SEED` sets it, `WAL_SIM_IMAGES` how many distinct images there
//! shall be at least, garbled ones not counted, which are distinct almost by themselves; a failure prints the
//! command that repeats one image alone (`WAL_SIM_IMAGES_ONLY`). A second reader looks at a sample of them.
//! No crash makes a segment missing, swapped, foreign or shortened (P14): an image that is refused fails.

#![allow(clippy::expect_used)] // Clippy knows a test by its attribute, not the helpers beside it.

mod crash_images {
    pub(crate) mod sweep;
}

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use actix_wal::testkit::Random;
use crash_images::sweep::{How, Place, Sweep, check_that_it_saw_enough};
use test_support::counts::Counts;
use test_support::driven::histories::HISTORIES;
use test_support::environment::number;

/// Distinct images that are not garbled, unless more are asked for.
const IMAGES: usize = 110_000;

const SEED: u64 = 1;

/// What all threads have found together.
#[derive(Default)]
struct Found {
    distinct: HashSet<u64>,
    garbled: HashSet<u64>,
    tally: Counts,
}

#[test]
fn every_promise_holds_in_every_state_in_which_a_crash_may_leave_the_disk() {
    if let Ok(only) = std::env::var("WAL_SIM_IMAGES_ONLY") {
        let repeated = repeat(&only);
        repeated.unwrap_or_else(|wrong| panic!("WAL_SIM_IMAGES_ONLY={only}: {wrong}"));
        return println!("{only} holds");
    }
    let seed = number("WAL_SIM_IMAGES_SEED").unwrap_or(SEED);
    let wanted = number("WAL_SIM_IMAGES").unwrap_or(IMAGES);
    let (next, enough) = (AtomicU64::new(0), AtomicBool::new(false));
    let found = Mutex::new(Found::default());
    // Each history once, and then all over again with other seeds, until there are enough images.
    let work = || {
        while !enough.load(Ordering::Relaxed)
            || next.load(Ordering::Relaxed) < HISTORIES.len() as u64
        {
            let job = next.fetch_add(1, Ordering::Relaxed);
            let number = job as usize % HISTORIES.len();
            let one = sweep_history(number, Random::new(seed ^ job << 32).number());
            let mut found = found.lock().expect("no thread panicked");
            found.distinct.extend(one.distinct);
            found.garbled.extend(one.garbled);
            found.tally.add(&one.tally);
            enough.store(found.distinct.len() >= wanted, Ordering::Relaxed);
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(work);
        work();
    });
    let Found { distinct, garbled, tally } = found.into_inner().expect("no thread panicked");
    let garbled = garbled.difference(&distinct).count();
    let (distinct, histories) = (distinct.len(), next.into_inner());
    println!(
        "seed {seed}: {distinct} distinct images of {histories} histories held, and {garbled} \
         garbled ones; {tally:?}"
    );
    assert!(distinct >= wanted);
    check_that_it_saw_enough(&tally);
}

/// Records a history, and looks at all its images.
fn sweep_history(number: usize, seed: u64) -> Found {
    let history = &HISTORIES[number];
    let mut found = Found::default();
    for (stage, recorded) in history.record(seed).iter().enumerate() {
        let place = Place { history: number, seed, stage };
        let mut sweep = Sweep::new(place, history, recorded);
        sweep.run();
        found.distinct.extend(&sweep.distinct);
        found.garbled.extend(&sweep.garbled);
        found.tally.add(&sweep.tally());
    }
    found
}

/// Looks at one image again: `history/seed/stage/position/how`. What is wrong if there is no such image.
fn repeat(only: &str) -> Result<(), String> {
    let parts: Vec<_> = only.split('/').collect();
    let [history, seed, stage, position, how] = parts[..] else {
        return Err("expected history/seed/stage/position/how".to_owned());
    };
    let number = |what: &str, text: &str| {
        text.parse::<u64>().map_err(|_| format!("the {what} is a number, and not `{text}`"))
    };
    let below = |what: &str, text: &str, count: usize| {
        let number = number(what, text)? as usize;
        let wrong = || format!("there is no {what} {number}, they are 0 to {}", count - 1);
        (number < count).then_some(number).ok_or_else(wrong)
    };
    let history = below("history", history, HISTORIES.len())?;
    let seed = number("seed", seed)?;
    let how = How::parse(how).ok_or_else(|| {
        format!("`{how}` is none of killed, dropped, kept, torn-N, garbled-N and chosen-N")
    })?;
    let stages = HISTORIES[history].record(seed);
    let stage = below("stage", stage, stages.len())?;
    let position = below("position", position, stages[stage].log.len() + 1)?;
    let place = Place { history, seed, stage };
    Sweep::new(place, &HISTORIES[history], &stages[stage]).only(position, how)
}

#[test]
fn an_image_that_does_not_exist_is_refused_and_does_not_hold() {
    for (only, wrong) in [
        ("0/1/0/3", "expected history/seed/stage/position/how"),
        ("99/1/0/3/dropped", "there is no history 99, they are 0 to 19"),
        ("0/x/0/3/dropped", "the seed is a number, and not `x`"),
        ("0/1/1/3/dropped", "there is no stage 1, they are 0 to 0"),
        ("0/1/0/999999/dropped", "there is no position 999999, they are 0 to "),
        ("0/1/0/3/lost", "`lost` is none of killed, dropped, "),
        ("0/1/0/3/torn", "`torn` is none of killed, dropped, "),
        ("0/1/0/3/kept-1", "`kept-1` is none of killed, dropped, "),
        ("0/1/0/3/chosen-999999", "there is no image 999999 there, they are 0 to "),
    ] {
        let refused = repeat(only).expect_err(only);
        assert!(refused.starts_with(wrong), "{only}: {refused}");
    }
    assert_eq!(repeat("0/1/0/3/dropped"), Ok(()));
    assert_eq!(repeat("0/1/0/3/chosen-0"), Ok(()));
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
