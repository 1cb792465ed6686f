//! Transfers of which the state after `n` of them is known, in a log whose `n`th record is the `n`th of them.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use actix::{Addr, Arbiter};
use actix_wal::{FlushPolicy, Lsn, Wal, WalConfig};
use actix_wal_txn::coordinator::{CoordinatorLimits, TransactionCoordinator};
use actix_wal_txn::error::{RecoverError, TxnError};
use actix_wal_txn::latest::Latest;
use actix_wal_txn::messages::Execute;
use actix_wal_txn::recovery::{Recovered, Recovery};
use actix_wal_txn::snapshotting::SnapshotPlan;
use actix_wal_txn::store::{Budget, KeyRange, View, Write};
use actix_wal_txn::tokens::{Token, TokenOutcome};
use actix_wal_txn::workspace::WorkError;
use bytes::Bytes;
use tempfile::TempDir;

pub(crate) type Coordinator = Addr<TransactionCoordinator>;
/// All keys and values.
pub(crate) type State = BTreeMap<Bytes, Bytes>;

const ACCOUNTS: u64 = 1500;

fn account(number: u64) -> Bytes {
    format!("account {:05}", number % ACCOUNTS).into()
}

/// Which accounts the step after `n` others is about, and how much it moves.
fn transfer(n: u64) -> (Bytes, Bytes, i64) {
    let to = n.wrapping_mul(2_654_435_761) >> 7;
    let to = if to % ACCOUNTS == n % ACCOUNTS { to + 1 } else { to };
    (account(n), account(to), 1 + (n % 9) as i64)
}

/// What the step after `n` others writes. An account with nothing in it has no key.
fn writes(n: u64, mut get: impl FnMut(&Bytes) -> i64) -> Vec<(Bytes, i64)> {
    let (from, to, amount) = transfer(n);
    let (left, more) = (get(&from) - amount, get(&to) + amount);
    vec![(from, left), (to, more), (Bytes::from_static(b"steps"), n as i64 + 1)]
}

fn value(number: i64) -> Option<Bytes> {
    (number != 0).then(|| number.to_string().into())
}

fn number(value: Option<&Bytes>) -> i64 {
    value.map_or(0, |value| std::str::from_utf8(value).unwrap().parse().unwrap())
}

/// The state after `n` steps.
pub(crate) fn state_after(n: u64) -> State {
    // Tests ask for one state after the other.
    static LAST: Mutex<(u64, State)> = Mutex::new((0, State::new()));
    let mut last = LAST.lock().unwrap();
    if last.0 > n {
        *last = (0, State::new());
    }
    let (done, state) = &mut *last;
    for step in *done..n {
        for (key, sum) in writes(step, |key| number(state.get(key))) {
            match value(sum) {
                Some(value) => state.insert(key, value),
                None => state.remove(&key),
            };
        }
    }
    *done = n;
    state.clone()
}

/// The token of the step after `n` others.
pub(crate) fn token(n: u64) -> Token {
    Token::new(format!("step {n}")).unwrap()
}

/// The step after `n` others. It refuses to be another one.
pub(crate) fn step(n: u64) -> Execute<()> {
    let work = move |latest: &mut Latest<'_>| {
        let done = number(latest.get(b"steps")?.as_ref());
        if done != n as i64 {
            return Err(TxnError::aborted(format!("{done} steps are done, and not {n}")));
        }
        let mut failed: Result<(), WorkError> = Ok(());
        let writes = writes(n, |key| match latest.get(key) {
            Ok(value) => number(value.as_ref()),
            Err(error) => {
                failed = Err(error);
                0
            }
        });
        failed?;
        for (key, sum) in writes {
            latest.write(Write { key, value: value(sum) })?;
        }
        Ok(())
    };
    Execute { token: Some(token(n)), ..Execute::new(work) }
}

/// How many messages an actor is sent in their order: further ones are not in its mailbox before they are awaited.
const MAILBOX: usize = 16;

/// Does all steps up to the `upto`th one, and waits until they are durable.
pub(crate) async fn run_to(coordinator: &Coordinator, upto: u64) {
    let done = Execute::new(|latest: &mut Latest<'_>| Ok(number(latest.get(b"steps")?.as_ref())));
    let done = coordinator.send(done).await.unwrap().unwrap().value as u64;
    for first in (done..upto).step_by(MAILBOX) {
        let window = first..upto.min(first + MAILBOX as u64);
        let steps: Vec<_> = window.map(|n| coordinator.send(step(n))).collect();
        for step in steps {
            step.await.unwrap().unwrap();
        }
    }
}

/// Compares a state with that after as many steps as it says, tokens included. Returns how many.
pub(crate) fn check(recovered: &Recovered) -> u64 {
    let (mut found, mut range) = (State::new(), KeyRange::all());
    loop {
        let piece = recovered.store.scan(&range, View::Latest, Budget::default()).unwrap();
        found.extend(piece.rows.into_iter().map(|row| (row.key, row.value)));
        let Some(last) = piece.next else { break };
        range = range.behind(last);
    }
    let steps = number(found.get(&b"steps"[..])) as u64;
    let sum: i64 =
        found.iter().filter(|(key, _)| *key != "steps").map(|(_, value)| number(Some(value))).sum();
    assert_eq!(sum, 0, "transfers keep their sum");
    assert!(found == state_after(steps), "the state after {steps} steps is another one");
    for n in (0..steps).rev().step_by(97).chain(0..steps.min(1)) {
        let known = recovered.tokens.outcome(&token(n));
        assert!(matches!(known, TokenOutcome::Committed(_)), "step {n} of {steps}: {known:?}");
    }
    assert_eq!(recovered.tokens.outcome(&token(steps)), TokenOutcome::Aborted);
    let snapshot = recovered.report.snapshot.map_or(Lsn::NONE, |snapshot| snapshot.lsn);
    assert!(recovered.store.durable_lsn() >= snapshot);
    steps
}

/// A folder for a log and one for its snapshots.
pub(crate) struct Folders(TempDir);

impl Folders {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        fs::create_dir(folder.path().join("snapshots")).unwrap();
        Folders(folder)
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.0.path().to_owned()
    }

    fn log(&self) -> PathBuf {
        self.root().join("log")
    }

    pub(crate) fn snapshots(&self) -> PathBuf {
        self.root().join("snapshots")
    }

    pub(crate) fn config(&self) -> WalConfig {
        let mut config = WalConfig::new(self.log());
        config.segment_size = 1 << 20;
        config.max_in_flight_entries = 20_000;
        config.flush_policy = FlushPolicy::Eager;
        config
    }

    /// A recovery with snapshots that are only written when asked for.
    pub(crate) fn recovery(&self) -> Recovery {
        let mut plan = SnapshotPlan::in_folder(self.snapshots());
        plan.after_log_bytes = None;
        Recovery::new(Wal::open(self.config())).snapshots(plan)
    }

    /// As it lies there now.
    pub(crate) fn copy_of(root: &Path) -> Folders {
        let copy = Folders::new();
        for part in ["log", "snapshots"] {
            copy_folder(&root.join(part), &copy.root().join(part));
        }
        copy
    }

    pub(crate) fn copy_log(&self, name: &str) {
        copy_folder(&self.log(), &self.root().join(name));
    }

    pub(crate) fn restore_log(&self, name: &str) {
        fs::remove_dir_all(self.log()).unwrap();
        self.copy_log_back(name);
    }

    fn copy_log_back(&self, name: &str) {
        copy_folder(&self.root().join(name), &self.log());
    }
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        match fs::copy(entry.path(), to.join(entry.file_name())) {
            // The log has just given a segment that it prepares its name.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            copied => drop(copied.unwrap()),
        }
    }
}

pub(crate) async fn coordinate(wal: &Wal, recovered: Recovered) -> Coordinator {
    let limits = CoordinatorLimits::default();
    TransactionCoordinator::start(wal, recovered, limits).await.unwrap()
}

/// One in an Arbiter of its own.
pub(crate) async fn coordinate_elsewhere(
    wal: &Wal,
    recovered: Recovered,
) -> (Arbiter, Coordinator) {
    let (arbiter, wal) = (Arbiter::new(), wal.clone());
    let (tell, started) = tokio::sync::oneshot::channel();
    arbiter.spawn(async move {
        drop(tell.send(coordinate(&wal, recovered).await));
    });
    (arbiter, started.await.unwrap())
}

/// A log with its coordinator.
pub(crate) async fn life(recovery: Recovery) -> (Wal, Coordinator) {
    let (wal, recovered) = recovery.open().await.unwrap();
    check(&recovered);
    let coordinator = coordinate(&wal, recovered).await;
    (wal, coordinator)
}

/// Why it is refused.
pub(crate) async fn refused(recovery: Recovery) -> RecoverError {
    match recovery.open().await {
        Ok((_, recovered)) => panic!("it opens: {:?}", recovered.report),
        Err(refused) => refused,
    }
}
