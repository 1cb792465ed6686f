//! wal-db 1.1.0. Each append is a write of its own; committers elect a leader, which syncs for all. It can
//! not preallocate.

use std::path::Path;
use std::sync::Arc;

use wal_db::Wal;

use super::Engine;
use crate::error::EngineError;
use crate::load::{self, Load};
use crate::meter::Measured;

pub struct WalDb;

impl Engine for WalDb {
    fn name(&self) -> &'static str {
        "wal-db"
    }

    fn run(&self, place: &Path, load: &Load) -> Result<Measured, EngineError> {
        let log = Arc::new(Wal::open(place.join("wal-db")).map_err(EngineError::open)?);
        load::on_threads(load, |_| {
            let (log, record) = (Arc::clone(&log), load.record());
            Ok(move || log.append_and_sync(&record).map(drop).map_err(EngineError::commit))
        })
    }
}
