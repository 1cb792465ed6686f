//! Reading what is durable: how fast, what it costs the committers, and how far behind a follower is.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use actix::Arbiter;
use actix_wal::{Lsn, RecordBatch, Wal};
use bytes::Bytes;
use clap::Args as ClapArgs;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::Common;
use super::check::{Check, Target};
use super::figures::{COMMITS, Figures, P99};
use super::runner::{Case, Runner};
use crate::args::{committers, size};
use crate::engines::actix_coordinator;
use crate::engines::actix_wal::{Settings, settle, with_log};
use crate::error::{BenchError, EngineError};
use crate::load::Load;
use crate::meter::Window;
use crate::syncs::Skipped;
use crate::zeros;

#[derive(Debug, ClapArgs)]
pub struct ReadsArgs {
    /// How many commit at once, where somebody does.
    #[arg(long, default_value_t = 64, value_parser = committers())]
    committers: usize,

    /// Bytes of a record.
    #[arg(long, default_value_t = 128, value_parser = size())]
    size: usize,

    /// MiB of records that are there before. They are read from the page cache.
    #[arg(long, value_name = "MIB", default_value_t = 256, value_parser = clap::value_parser!(u64).range(1..=65_536))]
    mib: u64,

    #[command(flatten)]
    common: Common,
}

/// Who reads, and beside whom.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Step {
    mib: u64,
    reader: Reader,
    commits: bool,
}

/// What a reader does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reader {
    None,
    /// From the first record to the tail, again and again.
    Scan,
    /// From the tail on.
    Follow,
}

impl Step {
    pub fn run(self, place: &Path, load: &Load) -> Result<Figures, EngineError> {
        let settings = Settings { keeps_all: true, ..Settings::default() };
        with_log(place, load, &settings, async |wal| {
            fill(wal, load, self.mib << 20).await?;
            settle(wal).await?;
            zeros::settle(place).map_err(EngineError::open)?;
            let window = load.window();
            let reading = self.start_reading(wal, window);
            let lag = Lag::watch(wal, window, &reading.through)?;
            let committed = if self.commits {
                Figures::from(actix_coordinator::run(wal, 1, load).await?)
            } else {
                Figures::default()
            };
            let read = reading.ended.await.map_err(|_| EngineError::Panicked)??;
            let lags = lag.join().map_err(|_| EngineError::Panicked)?;
            Ok(match self.reader {
                Reader::None => committed,
                Reader::Scan => read.figures(committed, window),
                Reader::Follow => lags.figures(read.figures(committed, window)),
            })
        })
    }

    /// The reader is in an Arbiter of its own.
    fn start_reading(self, wal: &Wal, window: Window) -> Reading {
        let through = Arc::new(AtomicU64::new(wal.durable_lsn().get()));
        let (done, ended) = oneshot::channel();
        let (wal, follower) = (wal.clone(), Arc::clone(&through));
        Arbiter::new().spawn_fn(move || {
            actix::spawn(async move {
                let read = match self.reader {
                    Reader::None => Ok(Read::default()),
                    Reader::Scan => scan(&wal, window).await,
                    Reader::Follow => follow(&wal, window, &follower).await,
                };
                // The receiver is there: the measurement waits for it.
                let _ = done.send(read);
            });
        });
        Reading { through, ended }
    }
}

struct Reading {
    /// How far a follower has come.
    through: Arc<AtomicU64>,
    ended: oneshot::Receiver<Result<Read, EngineError>>,
}

/// What was read in the window.
#[derive(Clone, Copy, Debug, Default)]
struct Read {
    bytes: u64,
    records: u64,
}

impl Read {
    /// Looks at each record of a batch. Returns the LSN of the last one.
    fn look(&mut self, batch: &RecordBatch, window: Window) -> Option<Lsn> {
        let counts = window.begin <= Instant::now();
        let mut last = None;
        for (lsn, payload) in batch.iter() {
            self.bytes += if counts { payload.len() as u64 } else { 0 };
            self.records += u64::from(counts);
            last = Some(lsn);
        }
        last
    }

    fn figures(self, figures: Figures, window: Window) -> Figures {
        let seconds = (window.end - window.begin).as_secs_f64();
        figures
            .and(READ, self.bytes as f64 / seconds / 1e9)
            .and("records_read_per_second", self.records as f64 / seconds)
    }
}

async fn scan(wal: &Wal, window: Window) -> Result<Read, EngineError> {
    let mut read = Read::default();
    while Instant::now() < window.end {
        let mut stream = wal.read(Lsn::new(1)).await.map_err(EngineError::commit)?;
        while let Some(batch) = stream.next_batch().await {
            if Instant::now() >= window.end {
                break;
            }
            read.look(&batch.map_err(EngineError::commit)?, window);
        }
    }
    Ok(read)
}

async fn follow(wal: &Wal, window: Window, through: &AtomicU64) -> Result<Read, EngineError> {
    let mut read = Read::default();
    let first = wal.durable_lsn().next();
    let mut stream = wal.read(first).await.map_err(EngineError::commit)?.follow();
    loop {
        let left = window.end.saturating_duration_since(Instant::now());
        // At the end nobody commits any more, and no batch comes.
        match actix::clock::timeout(left, stream.next_batch()).await {
            Ok(Some(batch)) => {
                if let Some(last) = read.look(&batch.map_err(EngineError::commit)?, window) {
                    through.store(last.get(), Ordering::Relaxed);
                }
            }
            Ok(None) | Err(_) => return Ok(read),
        }
    }
}

/// How far a follower is behind the watermark, in LSNs, looked at so often.
struct Lag(Histogram<u64>);

impl Lag {
    const EVERY: Duration = Duration::from_millis(1);

    /// At moments of its own: who is asked only when a batch arrives has always just caught up.
    fn watch(
        wal: &Wal,
        window: Window,
        through: &Arc<AtomicU64>,
    ) -> Result<JoinHandle<Lag>, EngineError> {
        let (wal, through) = (wal.clone(), Arc::clone(through));
        let watch = move || {
            let mut lags = match Histogram::new(3) {
                Ok(histogram) => histogram,
                Err(_) => unreachable!("three digits are allowed"),
            };
            thread::sleep(window.begin.saturating_duration_since(Instant::now()));
            while Instant::now() < window.end {
                // In this order it may seem to be nearer than it is only by what it reads in between.
                let (durable, through) = (wal.durable_lsn(), through.load(Ordering::Relaxed));
                // It grows with what it is given, which `saturating_record` would not let it do.
                let _ = lags.record(durable.get().saturating_sub(through));
                thread::sleep(Lag::EVERY);
            }
            Lag(lags)
        };
        thread::Builder::new().name("lag".into()).spawn(watch).map_err(EngineError::Thread)
    }

    fn figures(&self, figures: Figures) -> Figures {
        let batch = figures.get("commits_per_sync").unwrap_or(1.0);
        let lag = |q| self.0.value_at_quantile(q) as f64;
        figures
            .and("lag_p50_lsns", lag(0.5))
            .and("lag_p99_lsns", lag(0.99))
            .and("lag_p50_batches", lag(0.5) / batch)
            .and("lag_p99_batches", lag(0.99) / batch)
    }
}

/// So many bytes of records. Nothing is measured yet, so the disk is not asked.
async fn fill(wal: &Wal, load: &Load, bytes: u64) -> Result<(), EngineError> {
    const GROUP: usize = 256 << 10;
    let (record, per_group) = (Bytes::from(load.record()), (GROUP / load.size).max(1));
    let _skipped = Skipped::begin();
    for _ in 0..bytes / (per_group * load.size) as u64 {
        let group = (0..per_group).map(|_| record.clone());
        let range = wal.append_all(group).await.map_err(EngineError::commit)?;
        wal.wait_for_lsn(range.last).await.map_err(EngineError::commit)?;
    }
    Ok(())
}

const READ: &str = "read_gb_per_second";

pub fn run(args: &ReadsArgs) -> Result<(), BenchError> {
    let Common { times, output, .. } = &args.common;
    let load = Runner::load(times, args.committers, args.size);
    let case = |name, reader, commits| {
        Case::new(name, load, super::Step::Reads(Step { mib: args.mib, reader, commits }))
            .on(args.common.disk())
    };
    let cases = vec![
        case("scan", Reader::Scan, false),
        case("commits", Reader::None, true),
        case("commits and scan", Reader::Scan, true),
        case("commits and follow", Reader::Follow, true),
    ];
    let mut runner = Runner::new("reads", cases.len(), times, output)?;
    let rows = runner.group(cases)?;
    let [scan, commits, with_scan, with_follow] = &rows[..] else { return runner.finish(&[]) };
    runner.finish(&[
        Check::figure(scan, READ).aims(Target::AtLeast(1.0)),
        Check::ratio(with_scan, scan, READ),
        Check::ratio(with_scan, commits, COMMITS),
        Check::ratio(with_scan, commits, P99),
        Check::ratio(with_follow, commits, COMMITS),
        Check::ratio(with_follow, commits, P99),
        Check::figure(with_follow, "lag_p99_batches"),
    ])
}
