//! Loading the newest good snapshot of a folder.

use std::fmt;
use std::io;
use std::sync::Arc;

use actix_wal::Lsn;
use actix_wal::storage::Storage;

use super::{LoadedSnapshot, Recovered, RecoveryProgress, TOKENS};
use crate::error::RecoverError;
use crate::snapshot_file::{Section, SnapshotError, SnapshotReader, list, remove_unfinished};
use crate::snapshotting::SnapshotPlan;
use crate::store::{Limits, Loading, StoreError};
use crate::tokens::Tokens;
use crate::two_phase::participant::Branches;

/// After how many blocks the host is told how far it has come: a few megabytes.
const BLOCKS_A_STEP: usize = 64;

/// The state of a snapshot, or the empty one, with what has been replayed since.
pub(super) struct Loaded {
    pub(super) recovered: Recovered,
    /// The folder, if there is one.
    pub(super) storage: Option<Arc<dyn Storage>>,
    /// All snapshots that begin and end as such, newest first: they have to belong to the log.
    pub(super) others: Vec<SnapshotReader>,
    /// How much has been replayed.
    pub(super) log_bytes: u64,
}

impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loaded").field("report", &self.recovered.report).finish_non_exhaustive()
    }
}

impl Loaded {
    pub(super) fn nothing(limits: Limits) -> Self {
        let recovered = Recovered::empty(limits);
        Loaded { recovered, storage: None, others: Vec::new(), log_bytes: 0 }
    }

    pub(super) fn take(&mut self, lsn: Lsn, record: &[u8]) -> Result<(), RecoverError> {
        let before = self.recovered.report.commits;
        self.recovered.take(lsn, record)?;
        if self.recovered.report.commits > before {
            self.log_bytes += record.len() as u64;
        }
        Ok(())
    }
}

/// Loads the newest snapshot that is good, and removes attempts at others.
pub(super) fn load(
    plan: &SnapshotPlan,
    limits: Limits,
    progress: &mut dyn FnMut(RecoveryProgress),
) -> Result<Loaded, RecoverError> {
    let folder = |source| RecoverError::Folder { folder: plan.location(), source };
    let storage = plan.open().map_err(folder)?;
    remove_unfinished(&*storage).map_err(folder)?;
    let (mut others, mut bad) = read_heads(&*storage).map_err(folder)??;
    let mut recovered = Recovered::empty(limits);
    for reader in &mut others {
        match load_one(reader, limits, progress) {
            Ok(loaded) => {
                recovered = loaded;
                break;
            }
            Err(LoadError::File(error)) if error.fault.is_refusal() => return Err(error.into()),
            Err(LoadError::File(error)) => bad.push(error),
            Err(LoadError::Store(source)) => {
                return Err(RecoverError::DoesNotFit { lsn: reader.lsn(), source });
            }
        }
    }
    bad.sort_by(|one, other| other.name.cmp(&one.name));
    if let Some(snapshot) = recovered.report.snapshot {
        // Older ones are none of its business.
        bad.retain(|error| error.name > crate::snapshot_file::name_of(snapshot.lsn));
    }
    recovered.report.bad = bad;
    Ok(Loaded { recovered, storage: Some(storage), others, log_bytes: 0 })
}

/// Snapshots, newest first, and what is wrong with others.
type Heads = (Vec<SnapshotReader>, Vec<SnapshotError>);

/// Reads where each snapshot begins and ends. One that a newer program wrote refuses all: what it shows would be lost.
fn read_heads(storage: &dyn Storage) -> io::Result<Result<Heads, SnapshotError>> {
    let (mut good, mut bad) = Heads::default();
    for lsn in list(storage)? {
        match SnapshotReader::open(storage, lsn) {
            Ok(reader) => good.push(reader),
            Err(error) if error.fault.is_refusal() => return Ok(Err(error)),
            Err(error) => bad.push(error),
        }
    }
    Ok(Ok((good, bad)))
}

enum LoadError {
    File(SnapshotError),
    Store(StoreError),
}

impl From<SnapshotError> for LoadError {
    fn from(error: SnapshotError) -> Self {
        LoadError::File(error)
    }
}

impl From<StoreError> for LoadError {
    fn from(error: StoreError) -> Self {
        LoadError::Store(error)
    }
}

/// All of one snapshot, or nothing.
fn load_one(
    reader: &mut SnapshotReader,
    limits: Limits,
    progress: &mut dyn FnMut(RecoveryProgress),
) -> Result<Recovered, LoadError> {
    let (lsn, of) = (reader.lsn(), reader.rows());
    // A hint for the memory: on a machine with 32 bits the rows would not fit anyway.
    let mut store = Loading::new(limits, lsn, usize::try_from(of).unwrap_or(0));
    let (mut tokens, mut is_complete) = (Vec::new(), false);
    let mut branches = Branches::default();
    let (mut rows, mut blocks) = (0, 0);
    while let Some(section) = reader.next_block()? {
        match section {
            Section::Rows(more) => {
                rows += more.len() as u64;
                store.add(more)?;
            }
            Section::Tokens { tokens: more, complete } => {
                tokens.extend(more);
                is_complete = complete;
            }
            Section::Branches(kept) => branches = kept,
        }
        blocks += 1;
        if blocks % BLOCKS_A_STEP == 0 {
            progress(RecoveryProgress::Loading { lsn, rows, of });
        }
    }
    progress(RecoveryProgress::Loading { lsn, rows, of });
    let mut remembered = Tokens::new(TOKENS, is_complete);
    tokens.into_iter().for_each(|(token, lsn)| remembered.committed(token, lsn));
    let mut recovered = Recovered::empty(limits);
    (recovered.store, recovered.tokens) = (store.finish(), remembered);
    recovered.branches = branches;
    let bytes = reader.size();
    recovered.report.snapshot = Some(LoadedSnapshot { lsn, rows, bytes });
    Ok(recovered)
}
