//! writeahead 0.4.1, the peer with the nearest design: one writer thread owns the file, committers await.
//! It takes at most 64 commands into one sync; that is a constant of it.

use std::path::Path;

use writeahead::{SimpleFile, WriteAhead, WriteAheadOptions};

use super::Engine;
use crate::error::EngineError;
use crate::load::{self, Load};
use crate::meter::Measured;

pub struct Writeahead;

impl Engine for Writeahead {
    fn name(&self) -> &'static str {
        "writeahead"
    }

    fn run(&self, place: &Path, load: &Load) -> Result<Measured, EngineError> {
        let mut log = WriteAhead::<SimpleFile>::with_options(WriteAheadOptions {
            log_dir: place.join("writeahead"),
            // It never has to rotate in a run.
            max_file_size: 8 << 30,
            // Everybody has room in the queue.
            queue_capacity: load.committers.max(4096),
            ..WriteAheadOptions::default()
        });
        log.start().map_err(EngineError::open)?;
        let writer = log.writer().map_err(EngineError::open)?;
        // Tasks on one thread: the same as our futures have, and faster than a thread per committer.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(EngineError::open)?;
        let measured = load::on_tasks(load, |_| {
            let (writer, record) = (writer.clone(), load.record());
            move || {
                let (writer, record) = (writer.clone(), record.clone());
                async move { writer.write(record).await.map(drop).map_err(EngineError::commit) }
            }
        });
        tokio::task::LocalSet::new().block_on(&runtime, measured)
    }
}
