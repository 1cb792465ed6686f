//! A log without a disk, in two lines.

use std::fmt;
use std::sync::Arc;

use actix::{Actor, Addr, Context};
use tokio::sync::oneshot;

use super::mock_flusher::{Ask, MockFlusher};
use super::mock_script::{MockScript, MockStep};
use crate::actors::Appender;
use crate::config::WalConfig;
use crate::engine::intake::entry::Entry;
use crate::engine::recovery::RecoveryReport;
use crate::engine::state::parts::LogParts;
use crate::engine::state::shared::Shared;
use crate::error::Cause;
use crate::lsn::Lsn;
use crate::record::Record;
use crate::wal::Wal;

/// Starts logs whose Flusher is a [`MockFlusher`]: a real handle, a real Appender, and no disk.
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
        let mock = MockFlusher::new(parts.clone(), script, appender.clone().recipient()).start();
        let report = RecoveryReport::default();
        let wal = Wal::compose(config, &parts, report, &appender, &mock);
        (wal, MockHandle::new(mock, &parts))
    }
}

/// What a test does with a mock. Clones are handles of the same one.
///
/// Every question is answered, and every wish carried out, after the mock has received all appends that had an LSN
/// when it was made: `append(..).await` followed by [`received`](Self::received) sees that append.
#[derive(Clone)]
pub struct MockHandle {
    actor: Addr<MockFlusher>,
    shared: Arc<Shared>,
}

impl fmt::Debug for MockHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MockHandle").finish_non_exhaustive()
    }
}

impl MockHandle {
    /// A handle of a mock that the test has started itself from these parts.
    pub fn new(actor: Addr<MockFlusher>, parts: &LogParts) -> MockHandle {
        MockHandle { actor, shared: Arc::clone(&parts.shared) }
    }

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
        self.ask(|mock, _| mock.received().to_vec()).await.unwrap_or_default()
    }

    /// Makes everything durable up to `lsn`, whatever the script says about it. Returns the watermark.
    pub async fn acknowledge_through(&self, lsn: Lsn) -> Lsn {
        self.ask(move |mock, context| mock.acknowledge_through(lsn, context)).await;
        self.shared.watermark.durable()
    }

    /// Does this now with the first append that waits for its outcome; if none does, with the log.
    pub async fn act(&self, step: MockStep) {
        self.ask(move |mock, context| mock.act(step, context)).await;
    }

    /// The mock stops with a fault that nobody replaces it for: the log closes.
    pub async fn kill(&self) {
        self.ask(|_, context| actix::ActorContext::terminate(context)).await;
    }

    /// Puts a step at the front of the script: for the next append that is appended after this.
    pub fn script_first(&self, step: MockStep) {
        self.send(move |mock, _| mock.script_first(step));
    }

    /// Acknowledges everything up to `lsn`, without waiting until that is done.
    pub fn release_through(&self, lsn: Lsn) {
        self.send(move |mock, context| mock.acknowledge_through(lsn, context));
    }

    fn send(
        &self,
        what: impl FnOnce(&mut MockFlusher, &mut Context<MockFlusher>) + Send + 'static,
    ) {
        self.actor.do_send(Ask { after: self.shared.watermark.accepted(), what: Box::new(what) });
    }

    async fn ask<T: Send + 'static>(
        &self,
        what: impl FnOnce(&mut MockFlusher, &mut Context<MockFlusher>) -> T + Send + 'static,
    ) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.send(move |mock, context| drop(reply.send(what(mock, context))));
        answer.await.ok()
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
    Cause::Io(crate::error::IoFault::new(crate::error::IoOp::Sync, "mock", None, source))
}
