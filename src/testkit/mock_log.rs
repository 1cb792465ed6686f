//! A log without a disk, in two lines.

use std::fmt;
use std::sync::Arc;

use actix::{Actor, Recipient};
use tokio::sync::oneshot;

use super::mock_script::{MockScript, MockStep};
use super::scripted_loop::{Levers, ScriptedLoop};
use crate::actors::{Appender, Flusher};
use crate::config::WalConfig;
use crate::engine::intake::entry::Entry;
use crate::engine::recovery::RecoveryReport;
use crate::engine::state::parts::LogParts;
use crate::engine::state::shared::Shared;
use crate::error::{Cause, IoFault, IoOp};
use crate::lsn::{LogId, Lsn};
use crate::messages::LogEvent;
use crate::record::Record;
use crate::wal::Wal;

/// Starts logs without a disk: the handle, the Appender and the Flusher are the real ones, and the flush loop does with
/// each append what a [`MockScript`] says. The mock remembers everything that it gets, so it is not for endless runs.
///
/// ```
/// use actix_wal::CommitError;
/// use actix_wal::error::Cause;
/// use actix_wal::testkit::{MockLog, MockStep};
///
/// # #[actix::main] async fn main() {
/// let (wal, mock) = MockLog::start([MockStep::Acknowledge, MockStep::Fail(Cause::Closed)]);
/// assert!(wal.commit("kept").await.is_ok());
/// assert!(matches!(wal.commit("lost").await, Err(CommitError::NotDurable { .. })));
/// assert_eq!(mock.received().await[1].payload, "lost");
/// # }
/// ```
#[derive(Debug)]
pub struct MockLog;

impl MockLog {
    /// A log with the default settings, in the current Arbiter.
    pub fn start(script: impl Into<MockScript>) -> (Wal, MockHandle) {
        MockLog::with_config(&WalConfig::new("mock"), script)
    }

    /// The same with other settings. The directory is never looked at.
    pub fn with_config(config: &WalConfig, script: impl Into<MockScript>) -> (Wal, MockHandle) {
        let parts = LogParts::new(config);
        let appender = Appender::new(&parts, config.overload).start();
        let events = appender.clone().recipient();
        let (flusher, mock) = MockLog::flusher(&parts, config, script, events);
        let clock = &parts.shared.clock;
        let log_id = LogId::new(clock.random(), clock.random());
        let report = RecoveryReport { log_id, ..RecoveryReport::default() };
        (Wal::compose(config, &parts, report, &appender, &flusher.start()), mock)
    }

    /// A Flusher for hosts that start the actors themselves, instead of one for a recovered log. It tells
    /// `appender` everything. Its first epoch has begun already, so start it before anything is appended.
    pub fn flusher(
        parts: &LogParts,
        config: &WalConfig,
        script: impl Into<MockScript>,
        appender: Recipient<LogEvent>,
    ) -> (Flusher, MockHandle) {
        let shared = Arc::clone(&parts.shared);
        let (scripted, levers) = ScriptedLoop::new(Arc::clone(&shared), script.into());
        let flusher = Flusher::scripted(parts.clone(), config, appender, Box::new(scripted));
        (flusher, MockHandle { levers, shared })
    }
}

/// What a test does with a mock. Clones are handles of the same one.
///
/// Every question is answered, and every wish carried out, after the mock has received all appends that had an LSN
/// when it was made: `append(..).await` followed by [`received`](Self::received) sees that append. What a wish leads to
/// has been sent to the subscribers when its future ends.
#[derive(Clone)]
pub struct MockHandle {
    levers: Arc<Levers>,
    shared: Arc<Shared>,
}

impl fmt::Debug for MockHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MockHandle").finish_non_exhaustive()
    }
}

impl MockHandle {
    /// The records that were appended so far, in LSN order, whatever became of them.
    pub async fn received(&self) -> Vec<Record> {
        let entries = self.entries().await;
        let records = entries.iter().flat_map(|entry| {
            let lsns = (0..).map(|at| entry.first_lsn.plus(at));
            lsns.zip(entry.payload.records())
        });
        records.map(|(lsn, payload)| Record { lsn, payload: payload.clone() }).collect()
    }

    /// The appends so far, with their groups and durability modes.
    pub async fn entries(&self) -> Vec<Entry> {
        self.ask(|_| Ok(())).await;
        self.levers.received()
    }

    /// Makes everything durable up to `lsn`, whatever the script says about it. Returns the watermark.
    pub async fn acknowledge_through(&self, lsn: Lsn) -> Lsn {
        self.ask(move |scripted| {
            scripted.acknowledge_through(lsn);
            Ok(())
        })
        .await;
        self.shared.watermark.durable()
    }

    /// Does this now with the first append that waits for its outcome; if none does, with the log.
    pub async fn act(&self, step: MockStep) {
        self.ask(move |scripted| scripted.act(step)).await;
    }

    /// The Flusher panics, and nobody replaces it: the log closes.
    pub async fn kill(&self) {
        self.ask(|scripted| {
            scripted.die();
            Ok(())
        })
        .await;
    }

    /// Puts a step at the front of the script: for the next append that is appended after this.
    pub fn script_first(&self, step: MockStep) {
        self.pull(move |scripted| {
            scripted.script_first(step);
            Ok(())
        });
    }

    /// Acknowledges everything up to `lsn`, without waiting until that is done.
    pub fn release_through(&self, lsn: Lsn) {
        self.pull(move |scripted| {
            scripted.acknowledge_through(lsn);
            Ok(())
        });
    }

    fn pull(&self, action: impl FnOnce(&mut ScriptedLoop) -> Result<(), Cause> + Send + 'static) {
        self.levers.pull(self.shared.watermark.accepted(), Box::new(action));
        self.shared.requests.nudge();
    }

    /// Waits until this is done and told, or the mock is gone.
    async fn ask(
        &self,
        action: impl FnOnce(&mut ScriptedLoop) -> Result<(), Cause> + Send + 'static,
    ) {
        // The answer is that nobody can answer any more.
        let (reply, answer) = oneshot::channel::<()>();
        self.pull(move |scripted| {
            match action(scripted) {
                Ok(()) => scripted.when_told(move || drop(reply)),
                // A fault is told when the loop is gone, and the reply goes with it.
                Err(cause) => {
                    scripted.keep(reply);
                    return Err(cause);
                }
            }
            Ok(())
        });
        let _ = answer.await;
    }
}

/// For scripts that only need some failure.
impl MockStep {
    /// [`Fail`](MockStep::Fail), as an I/O error would.
    pub fn fail() -> MockStep {
        MockStep::Fail(injected())
    }

    /// [`Poison`](MockStep::Poison), as I/O errors that do not end would.
    pub fn poison() -> MockStep {
        MockStep::Poison(injected())
    }

    /// [`Restart`](MockStep::Restart) at once, as after a passing I/O error.
    pub fn restart() -> MockStep {
        MockStep::Restart(injected(), std::time::Duration::ZERO)
    }
}

fn injected() -> Cause {
    let source = std::io::Error::other("injected by the mock");
    Cause::Io(IoFault::new(IoOp::Sync, "mock", None, source))
}
