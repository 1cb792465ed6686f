//! The other floor: group commit with a mutex, a condition variable and no format at all. A committer that
//! finds no leader becomes it, and writes and syncs the records of all that wait.

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use super::Engine;
use super::bare::Ring;
use crate::error::EngineError;
use crate::load::{self, Load};
use crate::meter::Measured;

pub struct LeaderFollower;

impl Engine for LeaderFollower {
    fn name(&self) -> &'static str {
        "leader-follower"
    }

    fn run(&self, place: &Path, load: &Load) -> Result<Measured, EngineError> {
        let file = Ring::create(&place.join("leader-follower"))?;
        let log = Arc::new(Log {
            state: Mutex::new(State { file: Some(file), ..State::default() }),
            synced: Condvar::new(),
        });
        load::on_threads(load, |_| {
            let (log, record) = (Arc::clone(&log), load.record());
            Ok(move || log.commit(&record))
        })
    }
}

struct Log {
    state: Mutex<State>,
    synced: Condvar,
}

#[derive(Default)]
struct State {
    /// `None` while a leader has it.
    file: Option<Ring>,
    pending: Vec<u8>,
    /// The buffer that the last leader wrote from.
    spare: Vec<u8>,
    accepted: u64,
    durable: u64,
    failed: Option<String>,
}

impl Log {
    fn commit(&self, record: &[u8]) -> Result<(), EngineError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.pending.extend_from_slice(record);
        state.accepted += 1;
        let mine = state.accepted;
        while state.durable < mine {
            if let Some(failed) = &state.failed {
                return Err(EngineError::commit(failed));
            }
            let Some(mut file) = state.file.take() else {
                state = self.synced.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let spare = std::mem::take(&mut state.spare);
            let mut batch = std::mem::replace(&mut state.pending, spare);
            let through = state.accepted;
            drop(state);
            let written = file.write_and_sync(&batch);
            batch.clear();
            state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.file = Some(file);
            state.spare = batch;
            match written {
                Ok(()) => state.durable = through,
                Err(error) => state.failed = Some(error.to_string()),
            }
            self.synced.notify_all();
        }
        Ok(())
    }
}
