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

#[path = "simulation/mod.rs"]
mod simulation;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use simulation::world::Outcome;
use simulation::{INJECTED, SOUND, chaos, damage, run};

/// The seeds of every run of the tests.
const SEEDS: Range<u64> = 0..10_000;

/// Every kind of fault comes up at least as often in them.
const AT_LEAST: u64 = 100;

/// What else is done to the log.
const WEATHER: [&str; 24] = [
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
    "flood",
    "dropped future",
    "slow subscriber",
    "recovery fails",
    "no thread",
];

/// What comes of it: a simulation that sees none of this proves little.
const SEEN: [&str; 14] = [
    "recovered: carried",
    "recovered: torn tail",
    "recovered: gaps",
    "recovered: checkpoint",
    "recovered: segments",
    "recovered: clean",
    "heard: durable",
    "heard: not durable",
    "heard: ready",
    "heard: unavailable",
    "heard: stalled",
    "heard: given up",
    "heard: poisoned",
    "heard: segment complete",
];

fn asked_for() -> Option<Range<u64>> {
    let text = std::env::var("WAL_SIM_SEEDS").ok()?;
    let number = |text: &str| text.parse().expect("WAL_SIM_SEEDS is a seed, or <from>..<to>");
    Some(match text.split_once("..") {
        Some((from, to)) => number(from)..number(to),
        None => number(&text)..number(&text) + 1,
    })
}

#[test]
fn whatever_happens_to_a_log_it_keeps_what_it_promised() {
    silence_injected_panics();
    let asked = asked_for();
    let seeds = asked.clone().unwrap_or(SEEDS);
    let sum = run_all(seeds.clone());
    println!("seeds {seeds:?}: {} events at the least, {} in all", sum.fewest, sum.events);
    sum.counts.iter().for_each(|(what, times)| println!("{times:>9} {what}"));
    assert!(sum.fewest >= 500, "a run had {} events", sum.fewest);
    if asked.is_none() {
        for what in chaos::kinds().chain(damage::kinds()).chain(WEATHER).chain(SEEN) {
            let times = sum.counts.get(what).copied().unwrap_or_default();
            assert!(times >= AT_LEAST, "only {times} times: {what}");
        }
    }
}

#[test]
fn one_seed_replays_one_run() {
    silence_injected_panics();
    for seed in 0..40 {
        let (once, again) = (run(seed, SOUND, true), run(seed, SOUND, true));
        let differs = once.trace.iter().zip(&again.trace).position(|(one, other)| one != other);
        if let Some(at) = differs {
            panic!("seed {seed}: first {}\nthen {}", once.trace[at], again.trace[at]);
        }
        assert_eq!((once.digest, once.events), (again.digest, again.events), "seed {seed}");
        assert_eq!(run(seed, SOUND, false).digest, once.digest, "untraced, seed {seed}");
    }
}

#[derive(Debug)]
struct Sum {
    events: u64,
    fewest: u64,
    counts: BTreeMap<&'static str, u64>,
}

/// Runs all seeds, on as many threads as there are cores. A run has nothing to do with another.
fn run_all(seeds: Range<u64>) -> Sum {
    let next = AtomicU64::new(seeds.start);
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let mut sum = Sum { events: 0, fewest: u64::MAX, counts: BTreeMap::new() };
    let take = || {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        let ran = seeds.contains(&seed).then(|| (seed, run(seed, SOUND, false)));
        // The first failure is the one to look at.
        if ran.as_ref().is_some_and(|(_, outcome)| outcome.failure.is_some()) {
            next.fetch_max(seeds.end, Ordering::Relaxed);
        }
        ran
    };
    let ran: Vec<Vec<(u64, Outcome)>> = thread::scope(|scope| {
        let runners: Vec<_> =
            (0..cores).map(|_| scope.spawn(|| std::iter::from_fn(take).collect())).collect();
        runners.into_iter().map(|runner| runner.join().expect("a runner")).collect()
    });
    ran.into_iter().flatten().for_each(|(seed, outcome)| sum.add(seed, outcome));
    sum
}

impl Sum {
    fn add(&mut self, seed: u64, outcome: Outcome) {
        if let Some(failure) = outcome.failure {
            report(seed, &failure);
        }
        self.events += outcome.events;
        self.fewest = self.fewest.min(outcome.events);
        for (what, times) in outcome.counts {
            *self.counts.entry(what).or_default() += times;
        }
    }
}

/// Says what happened, from another run of the same seed.
fn report(seed: u64, failure: &str) -> ! {
    let again = run(seed, SOUND, true);
    let asked_for_it = asked_for().is_some_and(|asked| asked == (seed..seed + 1));
    let shown = if asked_for_it { usize::MAX } else { 120 };
    let from = again.trace.len().saturating_sub(shown);
    again.trace[from..].iter().for_each(|line| println!("{line}"));
    println!("replay it: WAL_SIM_SEEDS={seed} cargo test --test simulation -- --nocapture");
    panic!("seed {seed}: {failure}");
}

/// Panics of the storage are part of the weather.
fn silence_injected_panics() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let text = panic.payload().downcast_ref::<String>();
        if !text.is_some_and(|text| text.starts_with(INJECTED)) {
            usual(panic);
        }
    }));
}
