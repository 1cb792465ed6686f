//! The child of part two: commits, and tells its parent every outcome until it is killed.

use std::path::Path;

use actix_wal::Wal;
use actix_wal::testkit::FaultPlan;

use super::Settings;
use crate::DemoError;
use crate::clients::client;
use crate::clients::told::{Counter, to_the_parent};

/// Commits with all clients until it is killed, or the log takes nothing more. The clients have numbers
/// from `first_client` on.
///
/// # Errors
/// The log fails to open or to close.
pub fn run(settings: &Settings, directory: &Path, first_client: u64) -> Result<(), DemoError> {
    actix::System::new().block_on(commit(settings, directory, first_client))
}

async fn commit(settings: &Settings, directory: &Path, first: u64) -> Result<(), DemoError> {
    let wal = Wal::open(settings.config(directory)).await?;
    let (tell, numbers) = (to_the_parent()?, first..first + settings.clients);
    let clients = client::start(&wal, numbers, |_| settings.size, None, &tell);
    actix::spawn(Counter::new(&wal, &FaultPlan::new(), &tell).run());
    client::end(clients, &tell).await;
    Ok(wal.close().await?)
}
