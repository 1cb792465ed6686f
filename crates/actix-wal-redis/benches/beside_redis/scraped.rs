//! SETs alone, and beside a thousand scrapers of `/metrics` that come once a second each.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::Settings;
use super::load::{Figures, Scenario};
use super::servers::Server;

const SCRAPERS: usize = 1_000;
const THREADS: usize = 8;

/// Each round in the other order; prints the medians, and the ratio of the 99th percentiles.
pub(crate) fn compare(settings: &Settings, scenario: &Scenario, requests: usize) {
    let (mut alone, mut scraped, mut scrapes) = (Vec::new(), Vec::new(), 0.0);
    for round in 0..settings.rounds {
        for is_scraped in [round % 2 == 1, round % 2 == 0] {
            let server = Server::start_with_metrics(&settings.directory);
            if is_scraped {
                let (figures, per_second) =
                    beside_scrapers(&server, || scenario.run(&server, requests));
                scraped.push(figures);
                scrapes = per_second;
            } else {
                alone.push(scenario.run(&server, requests));
            }
        }
    }
    let (alone, scraped) = (Figures::median(&alone), Figures::median(&scraped));
    let ratio = scraped.p99 / alone.p99;
    println!(
        "| {}, {scrapes:.0} scrapes a second | {scraped} | ours without: {alone} | p99 {ratio:.2} |",
        scenario.name
    );
}

/// What it measures, and how many scrapes were answered in a second meanwhile.
fn beside_scrapers(server: &Server, measure: impl FnOnce() -> Figures) -> (Figures, f64) {
    let (stop, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for first in 0..THREADS {
            let (stop, answered) = (&stop, &answered);
            scope.spawn(move || scrape(server.metrics_port, first, stop, answered));
        }
        let began = Instant::now();
        let figures = measure();
        let per_second = answered.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64();
        stop.store(true, Ordering::Relaxed);
        (figures, per_second)
    })
}

/// One thread for many scrapers, each of which has its moment in every second.
fn scrape(port: u16, first: usize, stop: &AtomicBool, answered: &AtomicUsize) {
    // They stand for other machines, and are not to take the processors of this one first.
    let _ = rustix::process::nice(19);
    let began = Instant::now();
    for turn in (first..).step_by(THREADS) {
        let due = Duration::from_secs(1) * turn as u32 / SCRAPERS as u32;
        thread::sleep(due.saturating_sub(began.elapsed()));
        if stop.load(Ordering::Relaxed) {
            return;
        }
        if once(port).is_ok_and(|bytes| bytes > 1000) {
            answered.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn once(port: u16) -> std::io::Result<usize> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")?;
    stream.read_to_end(&mut Vec::new())
}
