//! Ours: futures that are awaited on one thread, and plain threads that block.

use std::path::Path;
use std::time::Duration;

use actix::System;
use actix_wal::{FlushPolicy, Wal, WalConfig};
use bytes::Bytes;
use tokio::sync::oneshot;

use super::Engine;
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
        System::new().block_on(async {
            let wal = open(place, load.committers, load.size, FlushPolicy::default()).await?;
            let measured = load::on_tasks(load, |_| {
                let (wal, record) = (wal.clone(), load.record());
                move || {
                    let (wal, record) = (wal.clone(), Bytes::copy_from_slice(&record));
                    async move { wal.commit(record).await.map(drop).map_err(EngineError::commit) }
                }
            });
            let measured = measured.await?;
            wal.close().await.map_err(EngineError::commit)?;
            Ok(measured)
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
        System::new().block_on(async {
            let wal = open(place, load.committers, load.size, FlushPolicy::default()).await?;
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
            let measured = measured.await.map_err(|_| EngineError::Panicked)??;
            wal.close().await.map_err(EngineError::commit)?;
            Ok(measured)
        })
    }
}

/// A log for so much in flight, of which a host keeps nothing.
pub async fn open(
    place: &Path,
    in_flight: usize,
    size: usize,
    policy: FlushPolicy,
) -> Result<Wal, EngineError> {
    let mut config = WalConfig::new(place.join("wal"));
    config.flush_policy = policy;
    // What everybody commits at once must fit into the limit, and that into a segment.
    let wanted = in_flight * (size + 64);
    if wanted > config.in_flight_bytes() {
        config.max_in_flight_bytes = Some(wanted);
        config.segment_size = config.segment_size.max((2 * wanted as u64).next_power_of_two());
    }
    let wal = Wal::open(config).await.map_err(EngineError::open)?;
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
