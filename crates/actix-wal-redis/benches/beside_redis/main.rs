//! The server beside `redis-server` with `appendfsync always`: the same `redis-benchmark`, in turn, in the same run.
//!
//! ```text
//! cargo bench -p actix-wal-redis --bench beside_redis -- [rounds=3] [dir=DIRECTORY] [only=WORD] [keys=1000000]
//! ```
//!
//! `dir` has to be on a real disk. Each round begins both servers with empty directories, and changes who goes first. The
//! table has medians, and in brackets ours divided by Redis's. The processor time is that of the server alone, by its
//! process: it says more than the clock on a machine where the load shares the processors.

#![allow(clippy::expect_used, reason = "a benchmark that can not go on has failed")]

mod load;
mod memory;
mod mixed;
mod scraped;
mod servers;

use std::env;
use std::path::PathBuf;

use self::load::{Figures, Scenario};
use self::servers::{Kind, Server};

/// What is asked of `redis-benchmark`, and how many requests a round has: some seconds of them, or the start of a server with an
/// empty directory would be most of what is measured.
const SCENARIOS: &[Scenario] = &[
    Scenario::new("SET 128 B, 1 connection", "-t set -c 1", 20_000),
    Scenario::new("SET 128 B, 16 connections", "-t set -c 16", 200_000),
    Scenario::new("SET 128 B, 64 connections", "-t set -c 64", 400_000),
    Scenario::new("SET 128 B, 256 connections", "-t set -c 256", 600_000),
    Scenario::new("SET 128 B, 1,000 connections", "-t set -c 1000", 600_000),
    Scenario::new("SET, 64 connections, pipelines of 16", "-t set -c 64 -P 16", 2_000_000),
    Scenario::new("GET, 64 connections", "-t get -c 64", 500_000),
    Scenario::new("GET, 64 connections, pipelines of 16", "-t get -c 64 -P 16", 3_000_000),
    Scenario::new("INCR of one key, 64 connections", "-t incr -c 64", 400_000),
];

struct Settings {
    rounds: usize,
    directory: PathBuf,
    only: String,
    keys: usize,
    is_tiny: bool,
}

impl Settings {
    fn read() -> Self {
        let value = |name: &str| {
            env::args().find_map(|it| Some(it.strip_prefix(name)?.strip_prefix('=')?.to_owned()))
        };
        let number = |name, usual| value(name).and_then(|it| it.parse().ok()).unwrap_or(usual);
        // So CI runs each benchmark once.
        let is_tiny = env::args().any(|it| it == "--test");
        Settings {
            rounds: if is_tiny { 1 } else { number("rounds", 3) },
            directory: value("dir")
                .map_or_else(|| env!("CARGO_TARGET_TMPDIR").into(), PathBuf::from),
            only: value("only").unwrap_or_default(),
            keys: if is_tiny { 1_000 } else { number("keys", 1_000_000) },
            is_tiny,
        }
    }
}

fn main() {
    let settings = Settings::read();
    for program in ["redis-server", "redis-benchmark"] {
        if !servers::is_there(program) {
            test_support::skips::skip(&format!("{program} is not installed"));
            return;
        }
    }
    let wanted = |name: &str| name.contains(&settings.only);
    println!(
        "| what | ours: requests/s (p99 ms, µs of CPU each) | Redis | ours / Redis |\n|---|---|---|---|"
    );
    for scenario in SCENARIOS.iter().filter(|scenario| wanted(scenario.name)) {
        let requests = if settings.is_tiny { 500 } else { scenario.requests };
        compare(&settings, scenario.name, |server| scenario.run(server, requests));
    }
    let name = "9 GET to 1 SET, 64 connections";
    if wanted(name) {
        let requests = if settings.is_tiny { 500 } else { 200_000 };
        compare(&settings, name, |server| mixed::run(server, requests));
    }
    let scraped = Scenario::new("SET 128 B, 64 connections", "-t set -c 64", 400_000);
    if wanted("scrapes") {
        scraped::compare(
            &settings,
            &scraped,
            if settings.is_tiny { 500 } else { scraped.requests },
        );
    }
    if wanted("memory") {
        memory::compare(&settings.directory, settings.keys);
    }
}

/// Runs it on both, each round in the other order, and prints the medians.
fn compare(settings: &Settings, name: &str, run: impl Fn(&Server) -> Figures) {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..settings.rounds {
        let mut order = [Kind::Ours, Kind::Redis];
        if round % 2 == 1 {
            order.reverse();
        }
        for kind in order {
            let server = Server::start(kind, &settings.directory);
            let figures = run(&server);
            match kind {
                Kind::Ours => ours.push(figures),
                Kind::Redis => theirs.push(figures),
            }
        }
    }
    let (ours, theirs) = (Figures::median(&ours), Figures::median(&theirs));
    let ratio = ours.per_second / theirs.per_second;
    println!("| {name} | {ours} | {theirs} | {ratio:.2} |");
}
