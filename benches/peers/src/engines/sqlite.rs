//! SQLite with a write-ahead log that is synced by each transaction.
//!
//! One connection behind a mutex. SQLite lets one connection write at a time, and one that finds it locked
//! sleeps and tries again; committers with a connection each mostly sleep, so this is faster and fairer.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;

use super::Engine;
use crate::error::EngineError;
use crate::load::{self, Load};
use crate::meter::Measured;

pub struct Sqlite;

impl Engine for Sqlite {
    fn name(&self) -> &'static str {
        "sqlite"
    }

    fn run(&self, place: &Path, load: &Load) -> Result<Measured, EngineError> {
        let database = Connection::open(place.join("sqlite")).map_err(EngineError::open)?;
        let mode: String = database
            .query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))
            .map_err(EngineError::open)?;
        if mode != "wal" {
            return Err(EngineError::Open(format!("its journal mode is {mode}, not wal")));
        }
        // Checkpoints are rarer than by default, and the log is overwritten after each of them.
        let settings = "PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 10000;
                        CREATE TABLE log (lsn INTEGER PRIMARY KEY, record BLOB NOT NULL);";
        database.execute_batch(settings).map_err(EngineError::open)?;
        let database = Arc::new(Mutex::new(database));
        load::on_threads(load, |_| {
            let (database, record) = (Arc::clone(&database), load.record());
            Ok(move || {
                let database = database.lock().unwrap_or_else(PoisonError::into_inner);
                let mut insert = database
                    .prepare_cached("INSERT INTO log (record) VALUES (?1)")
                    .map_err(EngineError::commit)?;
                insert.execute([&record]).map(drop).map_err(EngineError::commit)
            })
        })
    }
}
