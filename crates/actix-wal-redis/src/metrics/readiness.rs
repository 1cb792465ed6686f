//! Whether the server takes commits, and if not, why.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actix_wal::{Cause, LogState, Status, Wal};

/// What the server does. Its thread writes it, and the endpoint reads it.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    phase: Arc<Mutex<Phase>>,
    /// Whether an endpoint shows it: without one nothing is published.
    pub(super) is_watched: bool,
}

#[derive(Debug, Default)]
enum Phase {
    /// There is no log to ask yet.
    #[default]
    Recovering,
    Serving(Wal),
    /// No request is read any more.
    Draining(Wal),
}

impl Readiness {
    pub(super) fn watched() -> Self {
        Readiness { phase: Arc::default(), is_watched: true }
    }

    /// Whether an endpoint shows it.
    pub fn is_watched(&self) -> bool {
        self.is_watched
    }

    /// The log is recovered, and clients are accepted.
    pub(crate) fn serves(&self, wal: &Wal) {
        *self.phase() = Phase::Serving(wal.clone());
    }

    /// The server ends: it answers what it has read.
    pub(crate) fn drains(&self, wal: &Wal) {
        *self.phase() = Phase::Draining(wal.clone());
    }

    /// Has the log publish its metrics now, once there is one.
    pub(super) fn publish(&self) {
        let wal = match &*self.phase() {
            Phase::Recovering => return,
            Phase::Serving(wal) | Phase::Draining(wal) => wal.clone(),
        };
        wal.publish_metrics();
    }

    /// Whether a commit would be taken now.
    ///
    /// # Errors
    /// It would not: why, in a line.
    pub fn check(&self) -> Result<(), String> {
        let why = match &*self.phase() {
            Phase::Recovering => Some("recovering".to_owned()),
            Phase::Draining(_) => Some("draining".to_owned()),
            Phase::Serving(wal) => obstacle(&wal.status()),
        };
        why.map_or(Ok(()), |why| Err(why.lines().collect::<Vec<_>>().join(" ")))
    }

    fn phase(&self) -> MutexGuard<'_, Phase> {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why the log takes no commits.
fn obstacle(status: &Status) -> Option<String> {
    let name = status.state.name();
    match &status.state {
        // It takes appends, and none of them becomes durable.
        LogState::Running if status.stalled => {
            Some("stalled: a sync of the disk has not returned".to_owned())
        }
        LogState::Running => None,
        LogState::Opening => Some("recovering".to_owned()),
        // It has segments left to begin again in, and the disk is full: an operator has to know that, and not which.
        LogState::Unavailable(Cause::NoSpace(fault)) => Some(format!("no space: {fault}")),
        LogState::Unavailable(cause) | LogState::Poisoned(cause) | LogState::Closed(cause) => {
            Some(format!("{name}: {cause}"))
        }
        LogState::NoSpace(fault) => Some(format!("{name}: {fault}")),
        // A state that this server does not know yet may take none.
        _ => Some(name.to_owned()),
    }
}
