//! okaywal 0.3.1. One entry is written at a time; committers then elect a leader, which syncs for all.

use std::path::Path;

use okaywal::{Configuration, LogVoid};

use super::Engine;
use crate::error::EngineError;
use crate::load::{self, Load};
use crate::meter::Measured;
use crate::zeros::{enough_mib, settle};

pub struct Okaywal;

impl Engine for Okaywal {
    fn name(&self) -> &'static str {
        "okaywal"
    }

    fn run(&self, place: &Path, load: &Load) -> Result<Measured, EngineError> {
        let log = Configuration::default_for(place.join("okaywal"))
            // One file, and it is not full at the end of a run.
            .preallocate_bytes(enough_mib(load.size) << 20)
            .checkpoint_after_bytes(u64::MAX)
            // The largest record goes through its buffer in one piece.
            .buffer_bytes((2 * load.size).max(16 << 10))
            .open(LogVoid)
            .map_err(EngineError::open)?;
        settle(place).map_err(EngineError::open)?;
        load::on_threads(load, |_| {
            let (log, record) = (log.clone(), load.record());
            Ok(move || {
                let mut entry = log.begin_entry().map_err(EngineError::commit)?;
                entry.write_chunk(&record).map_err(EngineError::commit)?;
                entry.commit().map(drop).map_err(EngineError::commit)
            })
        })
    }
}
