//! From a log, and the snapshots of it, to the state that its transactions have left.
//!
//! The state is the newest good snapshot and the commits of the log since. A snapshot that is damaged is passed over: the
//! one before it and the log since that one hold the same. What is of another log, of a newer program, or newer than the
//! log is not passed over, but refused: to go on without it would lose commits that were acknowledged.

mod load;

use std::fmt;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use actix_wal::messages::{Progress, Replay, ReplayRefused};
use actix_wal::{Lsn, Open, Wal};

use self::load::{Loaded, load};
use crate::error::RecoverError;
use crate::record::TxnRecord;
use crate::snapshot_file::{SnapshotError, name_of};
use crate::snapshotting::kept::Kept;
use crate::snapshotting::{SnapshotFolder, SnapshotPlan};
use crate::store::{Limits, Store};
use crate::tokens::Tokens;
use crate::two_phase::participant::Branches;

/// How many tokens are remembered unless told otherwise.
const TOKENS: usize = 1_000_000;

/// What the transactions of a log have left: what a coordinator begins with.
#[derive(Debug)]
pub struct Recovered {
    /// The versions of all keys. Everything in it is durable.
    pub store: Store,
    /// The outcomes of commits whose clients may still ask.
    pub tokens: Tokens,
    /// What is prepared and not decided, and the decisions of operators.
    pub branches: Branches,
    /// Where snapshots are written, if anywhere.
    pub snapshots: Option<SnapshotFolder>,
    /// What the recovery found.
    pub report: Report,
}

/// What a recovery found. The log's own report is [`Wal::recovery_report`].
#[derive(Debug, Default)]
pub struct Report {
    /// The snapshot that it began with.
    pub snapshot: Option<LoadedSnapshot>,
    /// How many commits of the log have been replayed behind it.
    pub commits: u64,
    /// Newer snapshots that are bad, newest first. The next snapshot that is written removes them.
    pub bad: Vec<SnapshotError>,
}

/// A snapshot that has been read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadedSnapshot {
    /// Where it is.
    pub lsn: Lsn,
    /// How many keys it has.
    pub rows: u64,
    /// The size of its file.
    pub bytes: u64,
}

/// How far a recovery has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecoveryProgress {
    /// A snapshot is being loaded. If it turns out to be bad, the one before it follows.
    Loading {
        /// Where it is.
        lsn: Lsn,
        /// Rows done.
        rows: u64,
        /// Rows in all.
        of: u64,
    },
    /// The log is being replayed.
    Replaying {
        /// Commits behind the snapshot so far.
        commits: u64,
        /// How far the log has come, in bytes.
        log: Progress,
    },
}

/// Called on the recovery thread, which waits for it.
type OnProgress = Box<dyn FnMut(RecoveryProgress) + Send>;

impl Recovered {
    /// The state before the first transaction.
    pub fn empty(limits: Limits) -> Self {
        let (store, tokens) = (Store::new(limits), Tokens::new(TOKENS, true));
        let (branches, report) = (Branches::default(), Report::default());
        Recovered { store, tokens, branches, snapshots: None, report }
    }

    /// Takes a record of the log, in the order of the log. One that the snapshot shows already is passed over.
    ///
    /// # Errors
    /// It is not a record of ours, or does not fit into the store.
    pub fn take(&mut self, lsn: Lsn, record: &[u8]) -> Result<(), RecoverError> {
        if self.report.snapshot.is_some_and(|snapshot| lsn <= snapshot.lsn) {
            return Ok(());
        }
        let (token, writes) = match TxnRecord::decode(lsn, record)? {
            TxnRecord::Commit { token, writes } => (token, writes),
            TxnRecord::Decision { id, .. } | TxnRecord::Forgotten { id } => {
                return Err(RecoverError::OfDecider { lsn, id });
            }
            record => (None, self.branches.take(record)),
        };
        let store = |source| RecoverError::Store { lsn, source };
        self.store.install(writes).map_err(store)?;
        self.store.durable(lsn);
        // Nobody reads yet, so what is old can go at once.
        while self.store.collect(Default::default(), usize::MAX) {}
        token.into_iter().for_each(|token| self.tokens.committed(token, lsn));
        self.report.commits += 1;
        Ok(())
    }
}

/// Opens a log without snapshots and replays it.
///
/// # Errors
/// The log does not open; a record is not one of ours; or a checkpoint has released records, so that the log does not
/// have all of the state.
pub async fn open(opening: Open, limits: Limits) -> Result<(Wal, Recovered), RecoverError> {
    Recovery::new(opening).limits(limits).open().await
}

/// A recovery that is about to begin.
pub struct Recovery {
    opening: Open,
    limits: Limits,
    plan: Option<SnapshotPlan>,
    progress: OnProgress,
}

impl fmt::Debug for Recovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Recovery { opening, limits, plan, .. } = self;
        f.debug_struct("Recovery")
            .field("opening", opening)
            .field("limits", limits)
            .field("plan", plan)
            .finish_non_exhaustive()
    }
}

impl Recovery {
    /// That of the log which this opens. Where it is replayed to is set here.
    pub fn new(opening: Open) -> Self {
        let (limits, plan) = (Limits::default(), None);
        Recovery { opening, limits, plan, progress: Box::new(|_| {}) }
    }

    /// The bounds of the store.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Where the snapshots of the log are. The coordinator goes on with them.
    pub fn snapshots(mut self, plan: SnapshotPlan) -> Self {
        self.plan = Some(plan);
        self
    }

    /// Calls this with how far it has come. It is called on the recovery thread, which waits meanwhile.
    pub fn on_progress(mut self, progress: impl FnMut(RecoveryProgress) + Send + 'static) -> Self {
        self.progress = Box::new(progress);
        self
    }

    /// Opens the log, loads the newest good snapshot, and replays the log from there on. All of it blocks only the
    /// recovery thread of the log. Attempts at snapshots that a crash has cut short are removed.
    ///
    /// # Errors
    /// See [`RecoverError`]. The log is closed again then.
    pub async fn open(self) -> Result<(Wal, Recovered), RecoverError> {
        let Recovery { opening, limits, plan, progress } = self;
        let host = Host { limits, plan: plan.clone(), progress, loaded: None, failed: None };
        let host = Arc::new(Mutex::new(host));
        let replayed = Arc::clone(&host);
        // All of the log is asked for, and what the snapshot shows is passed over: so each way in which the two do not
        // fit is found here, when the name of the log is known, and has a name of its own.
        let opened = opening
            .replay_with(None, move |replay| {
                replayed.lock().unwrap_or_else(PoisonError::into_inner).take(&replay)
            })
            .await;
        let (loaded, failed) = {
            let mut host = host.lock().unwrap_or_else(PoisonError::into_inner);
            (mem::take(&mut host.loaded), mem::take(&mut host.failed))
        };
        if let Some(failed) = failed {
            return Err(failed);
        }
        let wal = opened?;
        // The log calls the host at least once.
        let loaded = loaded.unwrap_or_else(|| Loaded::nothing(limits));
        match finish(&wal, loaded, plan) {
            Ok(recovered) => Ok((wal, recovered)),
            Err(refused) => {
                // What it says against that counts less than why.
                let _ = wal.close().await;
                Err(refused)
            }
        }
    }
}

/// What the log is replayed to, on the recovery thread.
struct Host {
    limits: Limits,
    plan: Option<SnapshotPlan>,
    progress: OnProgress,
    loaded: Option<Loaded>,
    failed: Option<RecoverError>,
}

impl Host {
    fn take(&mut self, replay: &Replay) -> Result<(), ReplayRefused> {
        self.try_to_take(replay).map_err(|error| {
            let refused = ReplayRefused(error.to_string());
            self.failed = Some(error);
            refused
        })
    }

    fn try_to_take(&mut self, replay: &Replay) -> Result<(), RecoverError> {
        let mut loaded = match (self.loaded.take(), &self.plan) {
            (Some(loaded), _) => loaded,
            // The log is ours by now, and its last owner in this process has ended.
            (None, Some(plan)) => load(plan, self.limits, &mut self.progress)?,
            (None, None) => Loaded::nothing(self.limits),
        };
        for (lsn, record) in replay.records.iter() {
            loaded.take(lsn, record)?;
        }
        let commits = loaded.recovered.report.commits;
        (self.progress)(RecoveryProgress::Replaying { commits, log: replay.progress });
        self.loaded = Some(loaded);
        Ok(())
    }
}

/// Checks that log and snapshots belong together, before anything of them is handed out.
fn finish(
    wal: &Wal,
    loaded: Loaded,
    plan: Option<SnapshotPlan>,
) -> Result<Recovered, RecoverError> {
    let Loaded { mut recovered, storage, others, log_bytes } = loaded;
    let log = wal.log_id().0;
    others.iter().try_for_each(|reader| reader.check_log(log))?;
    let report = wal.recovery_report();
    if let Some(newest) = others.first().filter(|newest| newest.lsn() > report.last_lsn) {
        let (lsn, end) = (newest.lsn(), report.last_lsn);
        return Err(RecoverError::OlderLog { name: name_of(lsn), lsn, end });
    }
    let loaded = recovered.report.snapshot;
    let shown = loaded.map_or(Lsn::NONE, |snapshot| snapshot.lsn);
    if report.low_water > shown {
        let snapshots = say(&recovered.report, plan.as_ref());
        return Err(RecoverError::Released { through: report.low_water, snapshots });
    }
    recovered.snapshots = storage.zip(plan).map(|(storage, plan)| {
        let kept = Kept::recovered(loaded.map(|snapshot| snapshot.lsn));
        SnapshotFolder { storage, plan, log, kept, newest: loaded, log_bytes }
    });
    Ok(recovered)
}

/// Which snapshots there are, for somebody who has to find out why none of them will do.
fn say(report: &Report, plan: Option<&SnapshotPlan>) -> String {
    let Some(plan) = plan else {
        return "no folder for snapshots was given".to_owned();
    };
    let mut parts: Vec<_> = report.bad.iter().map(SnapshotError::to_string).collect();
    parts.extend(report.snapshot.map(|good| format!("the newest good one is at LSN {}", good.lsn)));
    if parts.is_empty() {
        return format!("there is none in {}", plan.location());
    }
    format!("in {}: {}", plan.location(), parts.join("; "))
}
