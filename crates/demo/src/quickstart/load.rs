//! Part one: many clients commit for a while.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use actix_wal::{LogState, Stats, Wal};
use hdrhistogram::Histogram;
use indicatif::ProgressBar;

use super::Settings;
use crate::DemoError;
use crate::clients::client::{self, Outcome};
use crate::voice::progress_bar;

/// How often the progress bar is drawn.
const TICK: Duration = Duration::from_millis(100);

/// Nobody needs the records of this part, so they are released when there are more segments than this:
/// a long run does not fill the disk.
const MAX_SEGMENTS: usize = 4;

/// What the clients came to.
pub(crate) struct Load {
    /// Commits that are durable.
    pub(crate) commits: u64,
    /// Commits that a fault kept out of the log.
    pub(crate) not_durable: u64,
    /// Commits of which nobody knows.
    pub(crate) unknown: u64,
    /// Commits that were refused before they had an LSN.
    pub(crate) refused: u64,
    /// One of the errors.
    pub(crate) first_error: Option<String>,
    /// From before a commit to its answer, in nanoseconds; durable ones only.
    latencies: Histogram<u64>,
    /// How long it took.
    pub(crate) time: Duration,
    /// What the log has counted from its opening to its closing.
    pub(crate) stats: Stats,
    /// Why the log gave up, if it did.
    pub(crate) poisoned: Option<String>,
    /// Why it did not close cleanly.
    pub(crate) close_error: Option<String>,
}

impl Load {
    #[allow(clippy::expect_used)] // Three digits are possible: it is a constant.
    fn new() -> Self {
        Load {
            commits: 0,
            not_durable: 0,
            unknown: 0,
            refused: 0,
            first_error: None,
            latencies: Histogram::new(3).expect("three digits are possible"),
            time: Duration::ZERO,
            stats: Stats::default(),
            poisoned: None,
            close_error: None,
        }
    }

    fn note(&mut self, outcome: &Outcome, took: Duration) {
        match outcome {
            Outcome::Durable(_) => {
                self.commits += 1;
                // It grows as it needs, so nothing is out of its range.
                let _ = self.latencies.record(took.as_nanos() as u64);
            }
            Outcome::NotDurable(_) => self.not_durable += 1,
            Outcome::Unknown(_) => self.unknown += 1,
            Outcome::Refused(_) => self.refused += 1,
        }
        if let (None, Some(error)) = (&self.first_error, outcome.error()) {
            self.first_error = Some(error.to_string());
        }
    }

    /// Commits per second.
    pub(crate) fn rate(&self) -> f64 {
        self.commits as f64 / self.time.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// The latency that this share of the commits did not exceed, in microseconds.
    pub(crate) fn latency_us(&self, quantile: f64) -> f64 {
        self.latencies.value_at_quantile(quantile) as f64 / 1000.0
    }
}

/// Runs part one on a log in `directory`.
pub(crate) fn run(settings: &Settings, directory: &Path) -> Result<Load, DemoError> {
    actix::System::new().block_on(commit(settings, directory))
}

async fn commit(settings: &Settings, directory: &Path) -> Result<Load, DemoError> {
    let wal = Wal::open(settings.config(directory)).await?;
    let load = Rc::new(RefCell::new(Load::new()));
    let started = Instant::now();
    let until = started + settings.seconds;
    let clients: Vec<_> = (0..settings.clients)
        .map(|client| {
            let (wal, load, size) = (wal.clone(), Rc::clone(&load), settings.size);
            actix::spawn(client::run(wal, client, size, Some(until), move |_, outcome, took| {
                load.borrow_mut().note(&outcome, took);
            }))
        })
        .collect();
    let bar = progress_bar(settings.seconds, "  [{bar:40}] {msg}");
    let ticker = actix::spawn(tick(wal.clone(), Rc::clone(&load), bar.clone(), started));
    for client in clients {
        // A client that panicked has said so on stderr.
        let _ = client.await;
    }
    let time = started.elapsed();
    ticker.abort();
    let _ = ticker.await;
    bar.finish_and_clear();

    let poisoned = match wal.status().state {
        LogState::Poisoned(cause) => Some(cause.to_string()),
        _ => None,
    };
    let closed = wal.close().await;
    let mut load = load.replace(Load::new());
    load.time = time;
    load.stats = wal.stats();
    load.poisoned = poisoned;
    load.close_error = closed.err().map(|error| error.to_string());
    Ok(load)
}

/// Draws the progress, and releases what nobody needs.
async fn tick(wal: Wal, load: Rc<RefCell<Load>>, bar: ProgressBar, started: Instant) {
    loop {
        actix::clock::sleep(TICK).await;
        bar.set_position(started.elapsed().as_millis() as u64);
        bar.set_message(format!("{} commits", load.borrow().commits));
        if wal.status().segments > MAX_SEGMENTS {
            // Refused while the log is poisoned or closing; the clients say so too.
            let _ = wal.checkpoint(wal.durable_lsn()).await;
        }
    }
}
