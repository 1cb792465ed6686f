//! Ours: futures that are awaited on one thread, and plain threads that block.

use std::path::Path;
use std::time::Duration;

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

/// How often a host says that it needs nothing of what is durable: segments are used again then.
const CHECKPOINT_EVERY: Duration = Duration::from_millis(100);

/// `commit().await` in a task per committer. The tasks and the actors of the log share one thread.
pub struct Futures;

impl Engine for Futures {
    fn name(&self) -> &'static str {
        "actix-wal-futures"
    }

    fn run(&self, place: &Path, load: &Load) -> Result<Measured, EngineError> {
        with_log(place, load, &Settings::default(), async |wal| {
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
        with_log(place, load, &Settings::default(), async |wal| on_threads(wal, load).await)
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
    let mut config = WalConfig::new(place.join("wal"));
    config.flush_policy = settings.flush_policy();
    config.segment_size = settings.segment_size.unwrap_or(config.segment_size);
    // What everybody commits at once must fit into the limit, and that into a segment.
    let wanted = load.committers * (load.size + 64);
    if wanted > config.in_flight_bytes() {
        config.max_in_flight_bytes = Some(wanted);
        config.segment_size = config.segment_size.max((2 * wanted as u64).next_power_of_two());
    }
    let wal = Wal::open(config).await.map_err(EngineError::open)?;
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
