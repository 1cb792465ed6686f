//! Guards P1, P2, P3, P4, P5, P6, P7, P8, P9, P10, P11, P12, P13, P14, P15, P16, P17, P19, P20, P21, P22: the
//! whole log, simulated. Its actors, engine and recovery run as they are, with clients, coordinators and
//! readers, on a disk where everything fails, and die again and again; what comes back is held against what
//! its clients knew.
//!
//! One seed is one run, on one thread and in a time of its own. A failing seed is printed with what happened
//! in it. To replay it, or to run others:
//!
//! ```text
//! WAL_SIM_SEEDS=<seed> cargo test --test simulation -- --nocapture
//! WAL_SIM_SEEDS=<from>..<to> cargo test --release --test simulation -- --nocapture
//! ```

#![allow(clippy::expect_used, reason = "a test that can not go on has failed")]

use std::io::Write;
use std::ops::RangeInclusive;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use demo::panics::silence_injected_panics;
use test_support::counts::Counts;
use test_support::environment::from_environment;
use test_support::simulation::watch::run_watched;
use test_support::simulation::world::Outcome;
use test_support::simulation::{SOUND, chaos, damage};

/// The seeds of every run of the tests.
const SEEDS: RangeInclusive<u64> = 0..=9_999;

/// Every kind of fault comes up at least as often in them.
const AT_LEAST: u64 = 100;

/// How often a long run says how far it is.
const PROGRESS: Duration = Duration::from_secs(30);

/// What else is done to the log.
const WEATHER: [&str; 26] = [
    "rides along",
    "close",
    "kill",
    "power: looked at",
    "power: dropped",
    "power: kept",
    "power: torn",
    "power: garbled",
    "a failed sync reverts",
    "a failed sync forgets",
    "slow",
    "stuck",
    "disk full",
    "disk full: no write",
    "one fault at a time",
    "ends: at once",
    "ends: after a fault",
    "ends: after a checkpoint",
    "ends: any time",
    "ends: in a sync",
    "ends: half filled",
    "flood",
    "dropped future",
    "slow subscriber",
    "recovery fails",
    "no thread",
];

/// What comes of it: a simulation that sees none of this proves little.
const SEEN: [&str; 17] = [
    "token out",
    "token in doubt",
    "a copy that opens",
    "recovered: carried",
    "recovered: torn tail",
    "recovered: gaps",
    "recovered: checkpoint",
    "recovered: segments",
    "recovered: clean",
    "got: durable",
    "got: not durable",
    "got: ready",
    "got: unavailable",
    "got: stalled",
    "got: given up",
    "got: poisoned",
    "got: segment complete",
];

const ASKED: &str = "WAL_SIM_SEEDS";

fn asked_for() -> Option<RangeInclusive<u64>> {
    from_environment(ASKED, "a seed, or <from>..<to> with <from> less than <to>", seeds)
}

fn seeds(text: &str) -> Option<RangeInclusive<u64>> {
    let Some((from, to)) = text.split_once("..") else {
        let seed = text.parse().ok()?;
        return Some(seed..=seed);
    };
    let (from, to): (u64, u64) = (from.parse().ok()?, to.parse().ok()?);
    (from < to).then(|| from..=to - 1)
}

#[test]
fn a_seed_or_a_range_that_holds_one_is_what_can_be_asked_for() {
    assert_eq!(seeds("5"), Some(5..=5));
    assert_eq!(seeds("18446744073709551615"), Some(u64::MAX..=u64::MAX));
    assert_eq!(seeds("5..7"), Some(5..=6));
    for nothing in ["5..5", "9..3", "", "..", "5..", "5..=7", "18446744073709551616", "-1"] {
        assert_eq!(seeds(nothing), None, "{nothing}");
    }
}

#[test]
fn whatever_happens_to_a_log_it_keeps_what_it_promised() {
    silence_injected_panics();
    let asked = asked_for();
    let seeds = asked.clone().unwrap_or(SEEDS);
    if seeds.start() == seeds.end() {
        return show(*seeds.start());
    }
    let sum = run_all(seeds.clone());
    let Sum { events, fewest_events, crashes, fewest_crashes, power_cuts, .. } = sum;
    println!("seeds {seeds:?}: {fewest_events} events at the least, {events} in all");
    println!(
        "{crashes} crashes, {fewest_crashes} at the least; the power was cut {power_cuts} times"
    );
    sum.counts.iter().for_each(|(what, times)| println!("{times:>9} {what}"));
    assert!(fewest_events >= 500, "a run had {fewest_events} events");
    assert!(fewest_crashes >= 1, "a run had no crash");
    if asked.is_none() {
        assert!(power_cuts >= AT_LEAST, "the power was cut {power_cuts} times");
        let all = chaos::kinds().chain(damage::kinds()).chain(WEATHER).chain(SEEN);
        sum.counts.assert_seen(AT_LEAST, all);
    }
}

#[test]
fn one_seed_replays_one_run() {
    silence_injected_panics();
    for seed in 0..40 {
        let (once, again) = (watched(seed, true), watched(seed, true));
        let differs = once.trace.iter().zip(&again.trace).position(|(one, other)| one != other);
        if let Some(at) = differs {
            panic!("seed {seed}: first {}\nthen {}", once.trace[at], again.trace[at]);
        }
        assert_eq!((once.digest, once.events), (again.digest, again.events), "seed {seed}");
        assert_eq!(watched(seed, false).digest, once.digest, "untraced, seed {seed}");
    }
}

fn watched(seed: u64, traced: bool) -> Outcome {
    run_watched(seed, SOUND, traced, &replay(seed))
}

fn replay(seed: u64) -> String {
    format!("{ASKED}={seed} cargo test --test simulation -- --nocapture")
}

/// What came of many runs.
#[derive(Debug, Default)]
struct Sum {
    events: u64,
    fewest_events: u64,
    crashes: u64,
    fewest_crashes: u64,
    power_cuts: u64,
    counts: Counts,
    /// The first run that failed.
    failed: Option<(u64, String)>,
}

/// Runs all seeds, on as many threads as there are cores. A run has nothing to do with another.
fn run_all(seeds: RangeInclusive<u64>) -> Sum {
    let (last, began) = (*seeds.end(), Instant::now());
    let (left, said) = (Mutex::new(seeds), Mutex::new(began));
    let left = || left.lock().unwrap_or_else(PoisonError::into_inner);
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let sum = Sum { fewest_events: u64::MAX, fewest_crashes: u64::MAX, ..Sum::default() };
    let sum = Mutex::new(sum);
    let run_some = || {
        loop {
            let Some(seed) = left().next() else { return };
            let outcome = watched(seed, false);
            // The first failure is the one to look at.
            if outcome.failure.is_some() {
                left().by_ref().for_each(drop);
            }
            sum.lock().unwrap_or_else(PoisonError::into_inner).add(seed, outcome);
            let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
            if said.elapsed() > PROGRESS {
                *said = Instant::now();
                let line = format!("seed {seed} of {last} after {:.0?}\n", began.elapsed());
                // Not by a macro, whose output the harness would keep to itself.
                let _ = std::io::stderr().write_all(line.as_bytes());
            }
        }
    };
    thread::scope(|scope| (0..cores).for_each(|_| drop(scope.spawn(run_some))));
    let sum = sum.into_inner().expect("no runner panicked");
    if let Some((seed, failure)) = &sum.failed {
        fail(*seed, failure);
    }
    sum
}

impl Sum {
    fn add(&mut self, seed: u64, outcome: Outcome) {
        let Outcome { events, crashes, power_cuts, counts, failure, .. } = outcome;
        self.events += events;
        self.fewest_events = self.fewest_events.min(events);
        self.crashes += crashes;
        self.fewest_crashes = self.fewest_crashes.min(crashes);
        self.power_cuts += power_cuts;
        self.counts.add(&counts);
        let failed = failure.map(|failure| (seed, failure));
        self.failed = self.failed.take().into_iter().chain(failed).min();
    }
}

/// The whole story of one run.
fn show(seed: u64) {
    let Outcome { trace, failure, crashes, power_cuts, .. } = watched(seed, true);
    trace.iter().for_each(|line| println!("{line}"));
    println!("{crashes} crashes; the power was cut {power_cuts} times");
    if let Some(failure) = failure {
        panic!("seed {seed}: {failure}");
    }
}

/// Says what happened last, from another run of the same seed.
fn fail(seed: u64, failure: &str) -> ! {
    let again = watched(seed, true);
    let from = again.trace.len().saturating_sub(120);
    again.trace[from..].iter().for_each(|line| println!("{line}"));
    println!("replay it: {}", replay(seed));
    panic!("seed {seed}: {failure}");
}
