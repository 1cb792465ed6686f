//! Opens the log that the child left behind, and shows every record of it to the check.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use actix::{Actor, Context, Handler};
use actix_wal::messages::{Replay, ReplayRefused};
use actix_wal::{OpenError, RecoveryReport, Wal};

use crate::error::QuickstartError;
use test_support::quickstart::ledger::{Check, Findings, Ledger};
use test_support::quickstart::settings::Settings;

/// Receives what the log replays. The check is shared, since an actor takes itself along when it ends.
struct Verifier(Arc<Mutex<Check>>);

impl Actor for Verifier {
    type Context = Context<Self>;
}

impl Handler<Replay> for Verifier {
    type Result = Result<(), ReplayRefused>;

    fn handle(&mut self, replay: Replay, _: &mut Self::Context) -> Self::Result {
        let mut check = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        replay.records.iter().for_each(|(lsn, payload)| check.see(lsn, payload));
        Ok(())
    }
}

/// Recovers the log and compares it with what the clients were told.
pub(crate) fn run(
    settings: &Settings,
    directory: &Path,
    ledger: &mut Ledger,
) -> Result<(Findings, Option<RecoveryReport>), QuickstartError> {
    let check = Arc::new(Mutex::new(Check::new(ledger.clone(), settings.size)));
    let opened = actix::System::new().block_on(recover(settings, directory, Arc::clone(&check)));
    let (report, failure) = match opened {
        Ok(report) => (Some(report), None),
        // The log says that records which it acknowledged are not there: that is the answer.
        Err(error @ OpenError::Damaged(_)) => (None, Some(error.to_string())),
        Err(error) => return Err(error.into()),
    };
    let fresh = Check::new(ledger.clone(), settings.size);
    let check =
        std::mem::replace(&mut *check.lock().unwrap_or_else(PoisonError::into_inner), fresh);
    let (settled, mut findings) = check.finish();
    *ledger = settled;
    findings.examples.extend(failure);
    Ok((findings, report))
}

async fn recover(
    settings: &Settings,
    directory: &Path,
    check: Arc<Mutex<Check>>,
) -> Result<RecoveryReport, OpenError> {
    let verifier = Verifier(check).start();
    let config = settings.config(directory);
    let wal = Wal::open(config).replay_to(verifier.recipient(), None).await?;
    let report = wal.recovery_report().clone();
    if let Err(error) = wal.close().await {
        eprintln!("{error}");
    }
    Ok(report)
}
