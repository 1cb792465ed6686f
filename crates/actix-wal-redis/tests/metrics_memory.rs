//! Guards P16 for what stands on it: what is recorded takes a bounded amount of memory, though nobody scrapes.
//!
//! A program of its own, because it measures the memory of its process; its tests take turns.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on has failed")]

mod support;

use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use ::metrics::{Key, Level, Metadata, Recorder, histogram};
use actix_wal_redis::metrics::{Endpoint, Exporter};

use self::support::scrape::Scrape;

static TURN: Mutex<()> = Mutex::new(());

/// What this process has in memory, in MiB.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
    (pages * rustix::param::page_size()) >> 20
}

#[test]
fn p16_ten_million_values_without_a_scrape_take_no_memory_because_of_the_upkeep() {
    const VALUES: usize = 10_000_000;
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let grown = |upkeep: bool| {
        let (recorder, exporter) = Exporter::new().unwrap();
        let metadata = Metadata::new("", Level::INFO, None);
        let histogram = recorder.register_histogram(&Key::from("wal_commit_seconds"), &metadata);
        let before = resident();
        for at in 0..VALUES {
            histogram.record(at as f64 * 1e-9);
            // As often as a second passes on a machine that flushes 100,000 batches in one.
            if upkeep && at % 100_000 == 0 {
                exporter.upkeep();
            }
        }
        let grown = resident().saturating_sub(before);
        let scrape = Scrape::parse(&exporter.render());
        assert_eq!(scrape.sum("wal_commit_seconds_count", &[]), VALUES as f64);
        grown
    };
    let (with, without) = (grown(true), grown(false));
    println!("{VALUES} values: {with} MiB with upkeep, {without} MiB without");
    assert!(with <= 16, "{with} MiB");
    assert!(without >= 48, "{without} MiB: what is measured here would not show it");
}

#[test]
fn p16_the_endpoint_does_the_upkeep_by_itself() {
    /// About 40 MiB.
    const VALUES: usize = 2_500_000;
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let endpoint = Endpoint::start(0).unwrap();
    let histogram = histogram!("wal_sync_seconds");
    let round = || {
        (0..VALUES).for_each(|at| histogram.record(at as f64 * 1e-9));
        // Longer than from one upkeep to the next.
        thread::sleep(Duration::from_millis(2500));
        resident()
    };
    let first = round();
    let last = (0..4).fold(first, |_, _| round());
    let grown = last.saturating_sub(first);
    println!("{VALUES} values five times: {grown} MiB more at the end than after the first");
    assert!(grown < 60, "{grown} MiB");
    let scrape = Scrape::of(endpoint.address().port());
    assert_eq!(scrape.sum("wal_sync_seconds_count", &[]), 5.0 * VALUES as f64);
    actix::System::new().block_on(endpoint.stop());
}
