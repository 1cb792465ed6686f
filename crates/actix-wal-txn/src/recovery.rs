//! From a log to the state that its transactions have left.

use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use actix_wal::messages::ReplayRefused;
use actix_wal::{Lsn, Open, Wal};

use crate::error::RecoverError;
use crate::record::TxnRecord;
use crate::store::{Limits, Store};
use crate::tokens::Tokens;

/// How many tokens are remembered unless told otherwise.
const TOKENS: usize = 1_000_000;

/// What the transactions of a log have left: what a coordinator begins with.
#[derive(Debug)]
pub struct Recovered {
    /// The versions of all keys. Everything in it is durable.
    pub store: Store,
    /// The outcomes of commits whose clients may still ask.
    pub tokens: Tokens,
}

impl Recovered {
    /// The state before the first transaction.
    pub fn empty(limits: Limits) -> Self {
        Recovered { store: Store::new(limits), tokens: Tokens::new(TOKENS, true) }
    }

    /// Takes a record of the log, in the order of the log.
    ///
    /// # Errors
    /// It is not a record of ours, or does not fit into the store.
    pub fn take(&mut self, lsn: Lsn, record: &[u8]) -> Result<(), RecoverError> {
        let TxnRecord::Commit { token, writes } = TxnRecord::decode(lsn, record)?;
        let store = |source| RecoverError::Store { lsn, source };
        self.store.install(&writes).map_err(store)?;
        self.store.durable(lsn);
        // Nobody reads yet, so what is old can go at once.
        while self.store.collect(Default::default(), usize::MAX) {}
        token.into_iter().for_each(|token| self.tokens.committed(token, lsn));
        Ok(())
    }
}

/// Opens a log and replays it.
///
/// # Errors
/// The log does not open; a record is not one of ours; or a checkpoint has released records, so that the log does not
/// have all of the state.
pub async fn open(opening: Open, limits: Limits) -> Result<(Wal, Recovered), RecoverError> {
    let state = Arc::new(Mutex::new((Recovered::empty(limits), None)));
    let taken = Arc::clone(&state);
    let opened = opening
        .replay_with(None, move |replay| {
            let (recovered, failed) = &mut *taken.lock().unwrap_or_else(PoisonError::into_inner);
            for (lsn, record) in replay.records.iter() {
                if let Err(error) = recovered.take(lsn, record) {
                    let refused = ReplayRefused(error.to_string());
                    *failed = Some(error);
                    return Err(refused);
                }
            }
            Ok(())
        })
        .await;
    let empty = (Recovered::empty(limits), None);
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    let (recovered, failed) = mem::replace(&mut *state, empty);
    if let Some(failed) = failed {
        return Err(failed);
    }
    let wal = opened?;
    let report = wal.recovery_report();
    if !report.low_water.is_none() {
        return Err(RecoverError::Released { through: report.low_water });
    }
    Ok((wal, recovered))
}
