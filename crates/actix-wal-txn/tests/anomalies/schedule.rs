//! Schedules of transactions as text, and how they are played: each step is a message to a coordinator.
//!
//! ```text
//! start: w(x)=10; w(y)=20               what is there before
//! T1: begin; r(x)=10; w(x)=11           an interactive transaction: each step is a message
//! E2: r(x)=10; w(x)=12                  one that is sent whole, and answered before the next line
//! T1: commit -> write conflict          its end; without an arrow it is `ok`
//! T3: commit -> ok / read conflict      ... under snapshot isolation / when serializable
//! E4: w(x)=13; waits                    its answer is not given yet
//! disk: syncs                           all that was put into the log is durable; `syncs 1`: the next commit; `fails`: none
//! E4: -> not durable                    now it is answered
//! ```
//!
//! | step | what |
//! |---|---|
//! | `r(x)=10`, `r(x)=none` | reads a key, and finds this |
//! | `u(x)=10` | the same, untracked |
//! | `r(a-c)=a:1 b:2`, `r(a-c)=none` | reads a range, and finds these rows |
//! | `w(x)=10`, `d(x)` | sets, deletes |
//! | `commit`, `abort` | ends; `abort` of one that is sent whole is an error of its work |
//!
//! Schedules with lines for the disk are played with the mocked Flusher, all others with a log on a real disk, which is
//! opened again at the end and must have kept the state.

use std::collections::HashMap;
use std::future::Future;
use std::ops::Bound;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use actix::{Addr, MailboxError};
use actix_wal::testkit::{MockHandle, MockLog, MockScript, MockStep};
use actix_wal::{Cause, Durability, Lsn, Wal, WalConfig};
use actix_wal_txn::coordinator::{CoordinatorLimits, TransactionCoordinator};
use actix_wal_txn::error::TxnError;
use actix_wal_txn::messages::{
    Abort, Begin, Commit, Delete, Execute, Get, GetUsage, Put, Scan, TxnId,
};
use actix_wal_txn::recovery::{self, Recovered};
use actix_wal_txn::store::{Budget, KeyRange, Limits, Write};
use actix_wal_txn::workspace::{Isolation, Rows, WorkError};
use bytes::Bytes;

/// Plays a schedule at both levels.
pub(crate) async fn play(schedule: &str) {
    play_at(Isolation::Snapshot, schedule).await;
    play_at(Isolation::Serializable, schedule).await;
}

/// Plays a schedule at one level.
pub(crate) async fn play_at(isolation: Isolation, schedule: &str) {
    if schedule.lines().any(|line| line.trim_start().starts_with("disk:")) {
        let (wal, mock) = MockLog::start(MockScript::manual());
        let mut player =
            Player::new(&wal, Recovered::empty(Limits::default()), isolation, Some(mock)).await;
        player.play(schedule).await;
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let open = || {
        let opening = Wal::open(WalConfig::new(folder.path().join("log")));
        recovery::open(opening, Limits::default())
    };
    let (wal, recovered) = open().await.unwrap();
    let mut player = Player::new(&wal, recovered, isolation, None).await;
    player.play(schedule).await;
    let left = player.state().await;
    wal.close().await.unwrap();
    let (wal, recovered) = open().await.unwrap();
    let player = Player::new(&wal, recovered, isolation, None).await;
    assert_eq!(player.state().await, left, "what a recovery finds");
    wal.close().await.unwrap();
}

/// What a transaction read, as its steps say it.
type Reads = Vec<String>;
type Sent = Pin<Box<dyn Future<Output = Result<Result<Reads, TxnError>, MailboxError>>>>;

/// An answer that has not been given, and the reads that it will give.
struct Waits {
    sent: Sent,
    reads: Reads,
}

/// A step that reads or writes.
#[derive(Clone)]
enum Step {
    Read { key: Bytes, tracked: bool },
    Scan(KeyRange),
    Write(Write),
    Abort,
}

impl Step {
    fn parse(text: &str) -> Self {
        if text == "abort" {
            return Step::Abort;
        }
        let parts = text.split_once('(').and_then(|(what, rest)| {
            let (key, value) = rest.split_once(')')?;
            Some((what, Bytes::from(key.to_owned()), value.strip_prefix('=')))
        });
        match parts {
            Some(("r", key, Some(_))) if key.contains(&b'-') => {
                let at = key.iter().position(|byte| *byte == b'-').unwrap();
                let (from, to) = (key.slice(..at), key.slice(at + 1..));
                Step::Scan(KeyRange { from: Bound::Included(from), to: Bound::Included(to) })
            }
            Some(("r", key, Some(_))) => Step::Read { key, tracked: true },
            Some(("u", key, Some(_))) => Step::Read { key, tracked: false },
            Some(("w", key, Some(value))) => {
                Step::Write(Write { key, value: Some(value.to_owned().into()) })
            }
            Some(("d", key, None)) => Step::Write(Write { key, value: None }),
            _ => panic!("`{text}` is no step"),
        }
    }

    /// What a read has found, as a schedule says it.
    fn found(step: &str, value: Option<&Bytes>) -> String {
        let (what, _) = step.split_once('=').unwrap();
        let value = value.map_or("none".into(), |value| String::from_utf8_lossy(value));
        format!("{what}={value}")
    }

    fn found_rows(step: &str, rows: &Rows) -> String {
        let (what, _) = step.split_once('=').unwrap();
        let text = |(key, value): &(Bytes, Bytes)| {
            format!("{}:{}", String::from_utf8_lossy(key), String::from_utf8_lossy(value))
        };
        let rows: Vec<_> = rows.rows.iter().map(text).collect();
        let rows = if rows.is_empty() { "none".to_owned() } else { rows.join(" ") };
        format!("{what}={rows}")
    }
}

fn is_read(step: &&str) -> bool {
    step.starts_with("r(") || step.starts_with("u(")
}

/// The end of a transaction in the words of a schedule.
fn name_of(outcome: &Result<Reads, TxnError>) -> &'static str {
    match outcome {
        Ok(_) => "ok",
        Err(TxnError::Work(WorkError::WriteConflict { .. })) => "write conflict",
        Err(TxnError::Work(WorkError::ReadConflict { .. })) => "read conflict",
        Err(TxnError::Work(WorkError::RangeConflict { .. })) => "range conflict",
        Err(TxnError::Aborted { .. }) => "aborted",
        Err(TxnError::NotDurable(_)) => "not durable",
        Err(TxnError::SawFailed(_)) => "saw failed",
        Err(other) => panic!("{other}"),
    }
}

struct Player {
    coordinator: Addr<TransactionCoordinator>,
    isolation: Isolation,
    /// If the disk is played too.
    mock: Option<MockHandle>,
    /// How many commits the mock has settled.
    settled: u64,
    open: HashMap<String, TxnId>,
    waits: HashMap<String, Waits>,
}

impl Player {
    async fn new(
        wal: &Wal,
        recovered: Recovered,
        isolation: Isolation,
        mock: Option<MockHandle>,
    ) -> Self {
        let limits = CoordinatorLimits::default();
        let coordinator = TransactionCoordinator::start(wal, recovered, limits).await.unwrap();
        let (open, waits) = Default::default();
        Player { coordinator, isolation, mock, settled: 0, open, waits }
    }

    async fn play(&mut self, schedule: &str) {
        for line in schedule.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let at = format!("`{line}`, {:?}", self.isolation);
            let (who, rest) = line.split_once(':').expect(&at);
            let (steps, outcomes) = rest.split_once("->").unwrap_or((rest, "ok"));
            let (weak, strong) = outcomes.split_once('/').unwrap_or((outcomes, outcomes));
            let is_weak = self.isolation == Isolation::Snapshot;
            let expected = if is_weak { weak } else { strong }.trim();
            let steps: Vec<_> =
                steps.split(';').map(str::trim).filter(|step| !step.is_empty()).collect();
            match &who[..1] {
                _ if steps.is_empty() => self.is_answered(who, expected, &at).await,
                "s" => self.start(&steps, &at).await,
                "d" => self.disk(&steps, &at).await,
                "E" => self.whole(who, &steps, expected, &at).await,
                "T" => self.interactive(who, &steps, expected, &at).await,
                _ => panic!("{at}: who is that?"),
            }
        }
        assert!(self.waits.is_empty(), "without an answer: {:?}", self.waits.keys());
        assert!(self.open.is_empty(), "without an end: {:?}", self.open.keys());
    }

    async fn start(&mut self, steps: &[&str], at: &str) {
        let sent = self.execute(steps);
        self.waits.insert("start".to_owned(), Waits { sent, reads: Vec::new() });
        self.has_handled().await;
        if self.mock.is_some() {
            self.disk(&["syncs"], at).await;
        }
        self.is_answered("start", "ok", at).await;
    }

    async fn disk(&mut self, steps: &[&str], at: &str) {
        let on_the_way = self.has_handled().await;
        let mock = self.mock.as_ref().expect(at);
        let count = match steps {
            ["syncs"] | ["fails"] => on_the_way,
            ["syncs 1"] => 1,
            _ => panic!("{at}: what does the disk do?"),
        };
        self.settled += count;
        if steps == ["fails"] {
            for _ in 0..count {
                mock.act(MockStep::Fail(Cause::Closed)).await;
            }
        } else {
            mock.acknowledge_through(Lsn::new(self.settled)).await;
        }
        self.has_handled().await;
    }

    /// Everything that was sent before has been handled. How many commits the log has not settled.
    async fn has_handled(&mut self) -> u64 {
        // It is in the mailbox once it has been polled.
        let mut context = Context::from_waker(Waker::noop());
        for waits in self.waits.values_mut() {
            let polled = waits.sent.as_mut().poll(&mut context);
            // An answer that is there is kept for the line that expects it.
            if let Poll::Ready(answer) = polled {
                waits.sent = Box::pin(async { answer });
            }
        }
        self.coordinator.send(GetUsage).await.unwrap().on_the_way as u64
    }

    fn execute(&self, steps: &[&str]) -> Sent {
        let steps: Vec<_> = steps.iter().map(|it| ((*it).to_owned(), Step::parse(it))).collect();
        let work = Execute::new(move |latest| {
            let mut reads = Reads::new();
            for (text, step) in steps {
                match step {
                    Step::Read { key, .. } => {
                        reads.push(Step::found(&text, latest.get(&key)?.as_ref()));
                    }
                    Step::Scan(range) => {
                        let rows = latest.scan(&range, Budget::default())?;
                        reads.push(Step::found_rows(&text, &rows));
                    }
                    Step::Write(write) => latest.write(write)?,
                    Step::Abort => return Err(TxnError::aborted("as the schedule says")),
                }
            }
            Ok(reads)
        });
        let sent = self.coordinator.send(work);
        Box::pin(async { Ok(sent.await?.map(|done| done.value)) })
    }

    async fn whole(&mut self, who: &str, steps: &[&str], expected: &str, at: &str) {
        let waits = steps.last() == Some(&"waits");
        let steps = if waits { &steps[..steps.len() - 1] } else { steps };
        let reads = steps.iter().copied().filter(is_read).map(str::to_owned).collect();
        let sent = self.execute(steps);
        self.waits.insert(who.to_owned(), Waits { sent, reads });
        if waits {
            self.is_kept_back(who, at).await
        } else {
            self.is_answered(who, expected, at).await
        }
    }

    async fn is_kept_back(&mut self, who: &str, at: &str) {
        self.has_handled().await;
        let sent = &mut self.waits.get_mut(who).expect(at).sent;
        let polled = sent.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending(), "{at}: it is answered");
    }

    async fn is_answered(&mut self, who: &str, expected: &str, at: &str) {
        self.has_handled().await;
        let Waits { mut sent, reads } = self.waits.remove(who).expect(at);
        let answer = if self.mock.is_some() {
            match sent.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(answer) => answer,
                Poll::Pending => panic!("{at}: the answer is kept back"),
            }
        } else {
            sent.await
        };
        let outcome = answer.unwrap();
        assert_eq!(name_of(&outcome), expected, "{at}");
        assert!(
            outcome.is_err() || outcome.as_ref().is_ok_and(|found| *found == reads),
            "{at}: {outcome:?}"
        );
    }

    async fn interactive(&mut self, who: &str, steps: &[&str], expected: &str, at: &str) {
        for step in steps {
            match *step {
                "begin" => {
                    let begin = Begin { isolation: self.isolation };
                    let txn = self.coordinator.send(begin).await.unwrap().expect(at);
                    self.open.insert(who.to_owned(), txn);
                }
                "commit" => {
                    let txn = self.open.remove(who).expect(at);
                    let commit = Commit { txn, durability: Durability::default(), token: None };
                    let sent = self.coordinator.send(commit);
                    let sent: Sent = Box::pin(async { Ok(sent.await?.map(|_| Reads::new())) });
                    self.waits.insert(who.to_owned(), Waits { sent, reads: Vec::new() });
                    if steps.last() != Some(&"waits") {
                        self.is_answered(who, expected, at).await;
                    }
                }
                "waits" => self.is_kept_back(who, at).await,
                step => {
                    let txn = *self.open.get(who).expect(at);
                    let found = self.step(txn, step).await.expect(at);
                    assert!(found.is_none() || found.as_deref() == Some(step), "{at}: {found:?}");
                    if step == "abort" {
                        self.open.remove(who);
                    }
                }
            }
        }
    }

    /// One message of an interactive transaction, and what it has found if it reads.
    async fn step(&self, txn: TxnId, step: &str) -> Result<Option<String>, TxnError> {
        let to = &self.coordinator;
        match Step::parse(step) {
            Step::Read { key, tracked } => {
                let found = to.send(Get { txn, key, tracked }).await.unwrap()?;
                return Ok(Some(Step::found(step, found.as_ref())));
            }
            Step::Scan(range) => {
                let scan = Scan { txn, range, budget: Budget::default(), tracked: true };
                return Ok(Some(Step::found_rows(step, &to.send(scan).await.unwrap()?)));
            }
            Step::Write(Write { key, value: Some(value) }) => {
                to.send(Put { txn, key, value }).await.unwrap()?;
            }
            Step::Write(Write { key, value: None }) => {
                to.send(Delete { txn, key }).await.unwrap()?;
            }
            Step::Abort => to.send(Abort { txn }).await.unwrap()?,
        }
        Ok(None)
    }

    /// All that is there.
    async fn state(&self) -> Rows {
        let all = |budget| Execute::new(move |latest| Ok(latest.scan(&KeyRange::all(), budget)?));
        self.coordinator.send(all(Budget::default())).await.unwrap().unwrap().value
    }
}
