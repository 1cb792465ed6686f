//! What the actors of a log are built around.

use std::sync::Arc;

use super::requests::QueueReceiver;
use super::shared::Shared;
use crate::config::WalConfig;
use crate::runtime::clock::{Clock, SystemClock};

/// What the actors of one log have in common, for hosts that start them themselves: each constructor takes it. Clones
/// belong to the same log. Start one Flusher for it: two would share the queue of appends, and poison the log.
///
/// ```no_run
/// use actix::{Actor, Supervisor};
/// use actix_wal::actors::{Appender, Flusher, Recovery};
/// use actix_wal::messages::Recover;
/// use actix_wal::{LogParts, Wal, WalConfig};
///
/// # #[actix::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let config = WalConfig::new("data/wal");
/// let parts = LogParts::new(&config);
/// let recovery = Recovery::new(&parts, config.clone()).start();
/// let recovered = recovery.send(Recover::default()).await??;
/// let report = recovered.report().clone();
///
/// let appender = Appender::new(&parts, config.overload);
/// let appender = Supervisor::start(|_| appender);
/// let flusher = Flusher::new(recovered, &parts, config.clone(), appender.clone().recipient());
/// let flusher = Supervisor::start(|_| flusher);
/// let wal = Wal::compose(&config, &parts, report, &appender, &flusher);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct LogParts {
    pub(crate) shared: Arc<Shared>,
    /// Where appends come out. One Flusher takes from it, or what stands in for one.
    pub(crate) queue: QueueReceiver,
}

impl LogParts {
    /// The parts of a log with these settings.
    pub fn new(config: &WalConfig) -> Self {
        LogParts::at(config, Arc::new(SystemClock::default()))
    }

    /// The same with another source of time.
    pub(crate) fn at(config: &WalConfig, clock: Arc<dyn Clock>) -> Self {
        let (shared, queue) = Shared::new(config, clock);
        LogParts { shared, queue }
    }
}
