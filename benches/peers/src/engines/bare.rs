//! The floor: one thread, one write and one `fdatasync` per record. More committers change nothing.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::Engine;
use crate::error::EngineError;
use crate::load::{self, Load};
use crate::meter::Measured;
use crate::zeros::{zero_filled, zero_filled_in};

/// As large as a segment of ours. It is written round and round, so it never grows.
pub(super) const FILE_SIZE: u64 = 64 << 20;

pub struct Bare;

impl Engine for Bare {
    fn name(&self) -> &'static str {
        "bare"
    }

    fn run(&self, place: &Path, load: &Load) -> Result<Measured, EngineError> {
        let mut file = Ring::create(&place.join("bare")).map(Some)?;
        let lone = Load { committers: 1, ..*load };
        load::on_threads(&lone, |_| {
            let (mut file, record) = (file.take(), load.record());
            Ok(move || match &mut file {
                Some(file) => file.write_and_sync(&record),
                None => Err(EngineError::Panicked),
            })
        })
    }
}

/// A zero-filled file that is overwritten from the front when it is full.
pub struct Ring {
    file: File,
    at: u64,
}

impl Ring {
    pub fn create(path: &Path) -> Result<Self, EngineError> {
        Ok(Ring { file: zero_filled(path, FILE_SIZE).map_err(EngineError::open)?, at: 0 })
    }

    /// For large writes.
    pub fn create_for(piece: usize, path: &Path) -> Result<Self, EngineError> {
        let file = zero_filled_in(piece, path, FILE_SIZE).map_err(EngineError::open)?;
        Ok(Ring { file, at: 0 })
    }

    pub fn write_and_sync(&mut self, bytes: &[u8]) -> Result<(), EngineError> {
        if self.at + bytes.len() as u64 > FILE_SIZE {
            self.at = 0;
        }
        self.file.write_all_at(bytes, self.at).map_err(EngineError::commit)?;
        self.at += bytes.len() as u64;
        self.file.sync_data().map_err(EngineError::commit)
    }
}
