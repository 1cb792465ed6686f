//! raft-engine 0.4.2, the log of TiKV. Its writers elect a leader, which writes and syncs for all of them.
//! It also keeps a memtable, which a log alone does not need; the one key of each committer is written
//! again and again, so that it stays small.

use std::path::Path;
use std::sync::Arc;

use raft_engine::{Config, Engine as RaftEngine, LogBatch, ReadableSize};

use super::Engine;
use crate::error::EngineError;
use crate::load::{self, Load};
use crate::meter::Measured;
use crate::zeros::{enough_mib, settle};

pub struct Raft;

impl Engine for Raft {
    fn name(&self) -> &'static str {
        "raft-engine"
    }

    fn run(&self, place: &Path, load: &Load) -> Result<Measured, EngineError> {
        let config = Config {
            dir: place.join("raft-engine").to_string_lossy().into_owned(),
            // Others do not compress either.
            batch_compression_threshold: ReadableSize(0),
            // Files that are there and written already, so that a sync has no metadata to write.
            enable_log_recycle: true,
            prefill_for_recycle: true,
            target_file_size: ReadableSize::mb(64),
            prefill_limit: Some(ReadableSize::mb(u64::from(enough_mib(load.size)))),
            ..Config::default()
        };
        let engine = Arc::new(RaftEngine::open(config).map_err(EngineError::open)?);
        settle(place).map_err(EngineError::open)?;
        load::on_threads(load, |index| {
            let (engine, record) = (Arc::clone(&engine), load.record());
            let mut batch = LogBatch::with_capacity(1);
            Ok(move || {
                let (region, key) = (index as u64 + 1, b"k".to_vec());
                batch.put(region, key, record.clone()).map_err(EngineError::commit)?;
                // With `true` it is durable when this returns. `Engine::sync` would not do that.
                engine.write(&mut batch, true).map(drop).map_err(EngineError::commit)
            })
        })
    }
}
