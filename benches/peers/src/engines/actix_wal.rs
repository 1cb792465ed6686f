//! Ours: futures that are awaited on one thread, and plain threads that block.

use std::path::Path;
use std::time::{Duration, Instant};

use actix::System;
use actix_wal::{Bounds, FlushPolicy, Wal, WalConfig};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::Engine;
use crate::args::Policy;
use crate::error::EngineError;
use crate::load::{self, Load};
use crate::meter::Measured;

/// The first segment of a life; each next one is four times as large.
pub const FIRST_SEGMENT: u64 = 1 << 20;

/// How often a host says that it needs nothing of what is durable: segments are used again then.
const CHECKPOINT_EVERY: Duration = Duration::from_millis(100);

/// `commit().await` in a task per committer. The tasks and the actors of the log share one thread.
pub struct Futures;

impl Engine for Futures {
    fn name(&self) -> &'static str {
        "actix-wal-futures"
    }

    fn run(&self, place: &Path, load: &Load) -> Result<Measured, EngineError> {
        with_used_log(place, load, &Settings::default(), async |wal| {
            let measured = load::on_tasks(load, |_| {
                let (wal, record) = (wal.clone(), load.record());
                move || {
                    let (wal, record) = (wal.clone(), Bytes::copy_from_slice(&record));
                    async move { wal.commit(record).await.map(drop).map_err(EngineError::commit) }
                }
            });
            measured.await
        })
    }
}

/// `commit_blocking` in a thread per committer. The actors of the log have a thread to themselves.
pub struct Threads;

impl Engine for Threads {
    fn name(&self) -> &'static str {
        "actix-wal-threads"
    }

    fn run(&self, place: &Path, load: &Load) -> Result<Measured, EngineError> {
        with_used_log(place, load, &Settings::default(), async |wal| on_threads(wal, load).await)
    }
}

/// A thread per committer, none of which is that of the log's actors.
pub async fn on_threads(wal: &Wal, load: &Load) -> Result<Measured, EngineError> {
    let (done, measured) = oneshot::channel();
    let (handle, load) = (wal.clone(), *load);
    std::thread::spawn(move || {
        let result = load::on_threads(&load, |_| {
            let (wal, record) = (handle.clone(), load.record());
            Ok(move || {
                let record = Bytes::copy_from_slice(&record);
                wal.commit_blocking(record).map(drop).map_err(EngineError::commit)
            })
        });
        // The receiver is there: the System waits for it.
        let _ = done.send(result);
    });
    measured.await.map_err(|_| EngineError::Panicked)?
}

/// What is not as by default.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Settings {
    pub policy: Policy,
    /// The bounds of the policy: the longest delay, and the number of records.
    pub bounds: Option<(Duration, usize)>,
    pub segment_size: Option<u64>,
    /// The host never checkpoints: everything stays to be read.
    pub keeps_all: bool,
}

impl Settings {
    fn config(&self, place: &Path, load: &Load) -> WalConfig {
        let mut config = WalConfig::new(place.join("wal"));
        config.flush_policy = self.flush_policy();
        config.segment_size = self.segment_size.unwrap_or(config.segment_size);
        // What everybody commits at once must fit into the limit, and that into a segment.
        let wanted = load.committers * (load.size + 64);
        if wanted > config.in_flight_bytes() {
            config.max_in_flight_bytes = Some(wanted);
            config.segment_size = config.segment_size.max((2 * wanted as u64).next_power_of_two());
        }
        config
    }

    fn flush_policy(&self) -> FlushPolicy {
        let mut bounds = Bounds::default();
        if let Some((max_delay, max_entries)) = self.bounds {
            (bounds.max_delay, bounds.max_entries) = (max_delay, max_entries);
        }
        match self.policy {
            Policy::Adaptive => FlushPolicy::Adaptive(bounds),
            Policy::Eager => FlushPolicy::Eager,
            Policy::Window => FlushPolicy::Window(bounds),
        }
    }
}

/// The same, in a log that has been in use for a while: its segments have their full size, and are recycled. The
/// peers that can prepare their files have done so as well before they are measured.
pub fn with_used_log<T>(
    place: &Path,
    load: &Load,
    settings: &Settings,
    work: impl AsyncFnOnce(&Wal) -> Result<T, EngineError>,
) -> Result<T, EngineError> {
    with_log(place, load, settings, async |wal| {
        let segment_size = settings.config(place, load).segment_size;
        fill(wal, segment_size, 2 * segment_size).await?;
        settle(wal).await?;
        work(wal).await
    })
}

/// Writes until the segments have the size that is configured, and then so many bytes more.
pub async fn fill(wal: &Wal, segment_size: u64, more: u64) -> Result<(), EngineError> {
    const PIECE: usize = 64 << 10;
    const PIECES: u64 = 32;
    let grows = std::iter::successors(Some(FIRST_SEGMENT), |size| Some(size * 4));
    let bytes: u64 = grows.take_while(|size| *size < segment_size).sum();
    for _ in 0..=(bytes + more) / (PIECES * PIECE as u64) {
        let group = (0..PIECES).map(|_| Bytes::from(vec![7; PIECE]));
        let range = wal.append_all(group).await.map_err(EngineError::commit)?;
        wal.wait_for_lsn(range.last).await.map_err(EngineError::commit)?;
    }
    Ok(())
}

/// Waits until nothing is written any more: the next segment is ready, or there is time for it.
pub async fn settle(wal: &Wal) -> Result<(), EngineError> {
    const QUIET: Duration = Duration::from_millis(250);
    const PATIENCE: Duration = Duration::from_secs(30);
    let started = Instant::now();
    let mut before = wal.stats().bytes_written;
    while started.elapsed() < PATIENCE {
        actix::clock::sleep(QUIET).await;
        let now = wal.stats().bytes_written;
        if now == before {
            return Ok(());
        }
        before = now;
    }
    Err(EngineError::Open(format!("it is still preparing a segment after {PATIENCE:?}")))
}

/// Opens a log in a System of its own, has something done with it, and closes it.
pub fn with_log<T>(
    place: &Path,
    load: &Load,
    settings: &Settings,
    work: impl AsyncFnOnce(&Wal) -> Result<T, EngineError>,
) -> Result<T, EngineError> {
    System::new().block_on(async {
        let wal = open(place, load, settings).await?;
        let result = work(&wal).await?;
        wal.close().await.map_err(EngineError::commit)?;
        Ok(result)
    })
}

/// A log for so much in flight, of which a host keeps nothing.
async fn open(place: &Path, load: &Load, settings: &Settings) -> Result<Wal, EngineError> {
    let wal = Wal::open(settings.config(place, load)).await.map_err(EngineError::open)?;
    if settings.keeps_all {
        return Ok(wal);
    }
    let host = wal.clone();
    actix::spawn(async move {
        loop {
            actix::clock::sleep(CHECKPOINT_EVERY).await;
            if host.checkpoint(host.durable_lsn()).await.is_err() {
                return;
            }
        }
    });
    Ok(wal)
}
