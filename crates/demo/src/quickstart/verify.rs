//! Opens the log that the child left behind, and shows every record of it to the ledger.

use std::path::Path;

use actix_wal::{Lsn, OpenError, RecoveryReport, Wal};

use super::config::Settings;
use crate::clients::ledger::{Ledger, Verifier};
use crate::clients::told::Told;
use crate::error::QuickstartError;

/// Recovers the log and compares it with what the clients were told.
pub(crate) fn run(
    settings: &Settings,
    directory: &Path,
    ledger: &mut Ledger,
) -> Result<Option<RecoveryReport>, QuickstartError> {
    let (opened, replayed) = actix::System::new().block_on(async {
        let verifier = Verifier::default();
        let opened = recover(settings, directory, &verifier).await;
        (opened, verifier.take())
    });
    match opened {
        Ok(report) => {
            ledger.compare(replayed, report.low_water);
            Ok(Some(report))
        }
        // The log says that records which it acknowledged are not there: that is the answer.
        Err(error @ OpenError::Damaged(_)) => {
            ledger.compare(replayed, Lsn::NONE);
            ledger.note(Told::Broken(error.to_string()));
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

async fn recover(
    settings: &Settings,
    directory: &Path,
    verifier: &Verifier,
) -> Result<RecoveryReport, OpenError> {
    let config = settings.config(directory);
    let wal = Wal::open(config).replay_with(None, verifier.eye()).await?;
    let report = wal.recovery_report().clone();
    if let Err(error) = wal.close().await {
        eprintln!("{error}");
    }
    Ok(report)
}
