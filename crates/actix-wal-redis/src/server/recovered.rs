//! From a directory to a coordinator that runs transactions.

use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use actix::Addr;
use actix_wal::{RestartBudget, Wal, WalConfig};
use actix_wal_txn::coordinator::{CoordinatorLimits, TransactionCoordinator};
use actix_wal_txn::recovery::{Recovery, RecoveryProgress, Report};
use actix_wal_txn::snapshotting::SnapshotPlan;
use actix_wal_txn::store::Limits;
use actix_wal_txn::workspace::WorkLimits;
use indicatif::{ProgressBar, ProgressStyle};

use super::{ServerError, Settings};
use crate::keyspace::PREFIX;

/// What recovery has found.
#[derive(Debug)]
pub struct Recovered {
    /// Its snapshot, and the commits behind it.
    pub report: Report,
    /// How many keys there are in the store, those of times and flushed ones included.
    pub keys: usize,
    /// How long it took.
    pub took: Duration,
    /// Whether the log was closed cleanly before.
    pub clean: bool,
}

impl fmt::Display for Recovered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Recovered { report, keys, took, clean } = self;
        let how = if *clean { "" } else { " after a crash" };
        write!(f, "recovered {keys} keys{how} in {took:.1?}: ")?;
        match &report.snapshot {
            Some(snapshot) => write!(f, "{} from a snapshot, ", snapshot.rows)?,
            None => write!(f, "no snapshot, ")?,
        }
        write!(f, "{} commits of the log", report.commits)?;
        for bad in &report.bad {
            write!(f, "; passed over: {bad}")?;
        }
        Ok(())
    }
}

/// How large a record may be that holds a transaction: values, keys, and what stands around them.
const RECORD: usize = 48 << 20;

/// What one transaction may do.
const WORK: WorkLimits =
    WorkLimits { keys: 1_000_000, bytes: RECORD - (8 << 20), reads: 1_000_000 };

fn log_config(directory: PathBuf) -> WalConfig {
    let mut config = WalConfig::new(directory);
    config.name = Some(crate::metrics::LOG.to_owned());
    config.max_in_flight_entries = 1 << 18;
    config.max_in_flight_bytes = Some(RECORD);
    // A disk that fails is waited for, however long that takes: what a restart of the server would do is no more.
    config.restart_budget = RestartBudget { restarts: u32::MAX, ..RestartBudget::default() };
    config
}

/// Recovers the state, and starts the actors of the log and the coordinator in this thread.
pub(super) async fn open(
    settings: &Settings,
) -> Result<(Wal, Addr<TransactionCoordinator>, Recovered), ServerError> {
    let began = Instant::now();
    let directory = |source| ServerError::Directory {
        directory: settings.directory.display().to_string(),
        source,
    };
    std::fs::create_dir_all(&settings.directory).map_err(directory)?;
    // What there is has to be there whatever the limit on memory is now: commands are refused that make it larger.
    let limits = Limits { bytes: usize::MAX, ..Limits::default() };
    let (progress, bar) = progress();
    let recovery = Recovery::new(Wal::open(log_config(settings.directory.join("log"))))
        .limits(limits)
        .snapshots(SnapshotPlan::in_folder(settings.directory.join("snapshots")))
        .on_progress(progress);
    let opened = recovery.open().await;
    bar.finish_and_clear();
    let (wal, mut recovered) = opened?;
    recovered.store.count_by_first(PREFIX);
    let keys = recovered.store.usage().keys;
    let report = std::mem::take(&mut recovered.report);
    let limits = CoordinatorLimits { work: WORK, ..CoordinatorLimits::default() };
    let coordinator =
        TransactionCoordinator::start(&wal, recovered, limits).await.map_err(ServerError::Ended)?;
    let clean = wal.recovery_report().clean;
    Ok((wal, coordinator, Recovered { report, keys, took: began.elapsed(), clean }))
}

/// Shows how far recovery has come, if there is a terminal to show it on.
fn progress() -> (impl FnMut(RecoveryProgress) + Send + 'static, ProgressBar) {
    let bar = ProgressBar::new(0);
    let style = ProgressStyle::with_template("{msg} {wide_bar} {percent}% {eta}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let shown = bar.clone();
    let show = move |at: RecoveryProgress| match at {
        RecoveryProgress::Loading { rows, of, .. } => {
            shown.set_message("loading the snapshot");
            shown.set_length(of);
            shown.set_position(rows);
        }
        RecoveryProgress::Replaying { log, .. } => {
            shown.set_message("replaying the log");
            shown.set_length(log.total);
            shown.set_position(log.done);
        }
        _ => {}
    };
    (show, bar)
}
