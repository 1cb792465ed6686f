//! The inside of the log, for the tests of the log itself. Nothing here is covered by the version number.

use std::sync::Arc;

use crate::config::WalConfig;
use crate::engine::intake::admission::{Admission, Permit};
use crate::engine::intake::inbox::Inbox;
use crate::engine::state::parts::LogParts;
use crate::engine::state::requests::QueueReceiver;
use crate::engine::state::shared::Shared;
use crate::messages::Recipients;
use crate::runtime::clock::{Clock, SystemClock};

/// Bytes: segments, frames, records, and the scan of a segment.
pub mod format {
    pub use crate::format::*;
}

/// What the log decides.
pub mod engine {
    pub use crate::engine::{intake, read, recovery, segments, state, write};
}

/// Counters around a storage.
pub mod storage {
    pub use crate::storage::metered::{IoCounts, Metered};
}

/// Time and threads.
pub mod runtime {
    pub use crate::runtime::{clock, threads};
}

/// What the handle says to the Appender.
pub mod wire {
    pub use crate::messages::wire::*;
}

/// Has the Appender take this append, as a handle does.
pub fn submit(to: &Recipients, submit: wire::Submit) {
    let inbox = Arc::new(Inbox::default());
    let _ = inbox.push(submit);
    to.collect.do_send(wire::Collect::new(&inbox));
}

/// What the log does with permits, and its users must not.
pub mod permits {
    use super::{Admission, Permit};

    /// Gives permits back, as the flush loop does for a batch.
    pub fn release(admission: &Admission, entries: usize, bytes: usize) {
        admission.release(entries, bytes);
    }

    /// Puts what a permit allows into flight, as the Appender does.
    pub fn spend(permit: Permit) {
        permit.spend();
    }

    /// Refuses all that wait, as a log does that gives up.
    pub fn refuse_waiting(admission: &Admission) {
        admission.refuse_waiting();
    }

    /// Refuses everything from now on.
    pub fn close(admission: &Admission) {
        admission.close();
    }
}

/// [`LogParts`] with its fields.
#[derive(Debug)]
pub struct Parts {
    /// What all parts share.
    pub shared: Arc<Shared>,
    /// Where appends come out.
    pub queue: QueueReceiver,
}

impl Parts {
    /// The parts of a log with these settings.
    pub fn new(config: &WalConfig) -> Self {
        Parts::with_clock(config, Arc::new(SystemClock::default()))
    }

    /// The same with another source of time.
    pub fn with_clock(config: &WalConfig, clock: Arc<dyn Clock>) -> Self {
        LogParts::at(config, clock).into()
    }

    /// What the constructors of the actors take.
    pub fn public(&self) -> LogParts {
        LogParts { shared: Arc::clone(&self.shared), queue: self.queue.clone() }
    }
}

impl From<LogParts> for Parts {
    fn from(LogParts { shared, queue }: LogParts) -> Self {
        Parts { shared, queue }
    }
}

impl From<Parts> for LogParts {
    fn from(Parts { shared, queue }: Parts) -> Self {
        LogParts { shared, queue }
    }
}
