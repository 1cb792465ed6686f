//! fjall 3, a key-value store whose journal is synced by each commit under a lock: without group commit.
//! It keeps a memtable and flushes it, which a log alone does not need.

use std::path::Path;

use fjall::{CompressionType, Database, KeyspaceCreateOptions, PersistMode};

use super::Engine;
use crate::error::EngineError;
use crate::load::{self, Load};
use crate::meter::Measured;

pub struct Fjall;

impl Engine for Fjall {
    fn name(&self) -> &'static str {
        "fjall"
    }

    fn run(&self, place: &Path, load: &Load) -> Result<Measured, EngineError> {
        let database = Database::builder(place.join("fjall"))
            // The journal is what is measured; others do not compress either.
            .journal_compression(CompressionType::None)
            .open()
            .map_err(EngineError::open)?;
        let keyspace = database.keyspace("log", KeyspaceCreateOptions::default);
        let keyspace = keyspace.map_err(EngineError::open)?;
        load::on_threads(load, |index| {
            let (database, keyspace, record) = (database.clone(), keyspace.clone(), load.record());
            // One key per committer is written again and again, so that the memtable stays small.
            let key = (index as u64).to_be_bytes();
            Ok(move || {
                let mut batch = database.batch().durability(Some(PersistMode::SyncData));
                batch.insert(&keyspace, key, record.as_slice());
                batch.commit().map_err(EngineError::commit)
            })
        })
    }
}
