//! A client: commits one record after the other, and waits for each to be durable.

use std::ops::Range;
use std::rc::Rc;
use std::time::{Duration, Instant};

use actix_wal::{AppendError, CommitError, Lsn, Wal};
use tokio::task::JoinHandle;

use super::payload;
use super::told::{Tell, Told};

/// How long a client waits after a refusal that will pass.
const PAUSE: Duration = Duration::from_millis(10);

/// What became of one commit.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// It is durable, under this LSN.
    Durable(Lsn),
    /// It is certainly not in the log, now or ever: it had an LSN, and a fault came between.
    NotDurable(CommitError),
    /// It is certainly not in the log: it was refused before it had an LSN.
    Refused(CommitError),
    /// It may or may not be in the log.
    Unknown(CommitError),
}

impl Outcome {
    fn of(result: Result<Lsn, CommitError>) -> Self {
        match result {
            Ok(lsn) => Outcome::Durable(lsn),
            Err(error) if !error.is_not_durable() => Outcome::Unknown(error),
            Err(error @ CommitError::Refused(_)) => Outcome::Refused(error),
            Err(error) => Outcome::NotDurable(error),
        }
    }

    /// Why it is not durable.
    pub(crate) fn error(&self) -> Option<&CommitError> {
        match self {
            Outcome::Durable(_) => None,
            Outcome::NotDurable(error) | Outcome::Refused(error) | Outcome::Unknown(error) => {
                Some(error)
            }
        }
    }

    /// Whether the log will never take another record, so that there is no point in going on.
    fn is_the_end(&self) -> bool {
        use AppendError::{Closed, Poisoned, TooLarge, Unknown};
        matches!(
            self.error(),
            Some(CommitError::Refused(
                Poisoned { .. } | Closed { .. } | TooLarge { .. } | Unknown { .. }
            ))
        )
    }
}

/// Commits until `until`, or forever, or until the log takes nothing more. A sequence number is used
/// once, whatever becomes of it, so that a record can never be there twice for a good reason.
pub(crate) async fn run(
    wal: Wal,
    client: u64,
    size: usize,
    until: Option<Instant>,
    mut tell: impl FnMut(u64, Outcome, Duration),
) {
    let mut sequence = 0;
    while until.is_none_or(|until| Instant::now() < until) {
        let payload = payload::encode(client, sequence, size);
        let started = Instant::now();
        let outcome = Outcome::of(wal.commit(payload).await);
        let took = started.elapsed();
        let (is_the_end, is_refused) =
            (outcome.is_the_end(), matches!(outcome, Outcome::Refused(_)));
        tell(sequence, outcome, took);
        sequence += 1;
        if is_the_end {
            return;
        }
        if is_refused {
            actix::clock::sleep(PAUSE).await;
        }
    }
}

/// Starts clients with these numbers, whose records have the sizes that `size` says for each of them.
pub(crate) fn start(
    wal: &Wal,
    clients: Range<u64>,
    size: impl Fn(u64) -> usize,
    until: Option<Instant>,
    tell: &Tell,
) -> Vec<JoinHandle<()>> {
    let start = |client| {
        let tell = Rc::clone(tell);
        let report = move |sequence, outcome, _| tell(told(client, sequence, outcome));
        actix::spawn(run(wal.clone(), client, size(client), until, report))
    };
    clients.map(start).collect()
}

/// Waits until all of them have ended.
pub(crate) async fn end(clients: Vec<JoinHandle<()>>, tell: &Tell) {
    for client in clients {
        if client.await.is_err() {
            tell(Told::Broken("a client panicked".to_owned()));
        }
    }
}

fn told(client: u64, sequence: u64, outcome: Outcome) -> Told {
    match outcome {
        Outcome::Durable(lsn) => Told::Durable { client, sequence, lsn },
        Outcome::NotDurable(_) | Outcome::Refused(_) => Told::NotDurable { client, sequence },
        Outcome::Unknown(_) => Told::Unknown { client, sequence },
    }
}
