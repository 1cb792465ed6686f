//! Guards P25: random schedules of transactions, interactive ones and ones that are sent whole, over the plain types, with
//! commits that become durable late or fail. They are judged by what each client was told, and when.

#![allow(clippy::expect_used, reason = "a test that can not go on has failed")]

use std::collections::VecDeque;
use std::time::Duration;

use actix_wal::testkit::Random;
use actix_wal::{Cause, CommitError, Lsn};
use actix_wal_txn::commits::{Answers, Commits, Verdict};
use actix_wal_txn::store::{Budget, CommitNo, KeyRange, Limits, Store, Write};
use actix_wal_txn::workspace::{Isolation, WorkLimits, Workspace};
use bytes::Bytes;
use history::{History, Kind, Level, Operation, Outcome, Session, Transaction, check};

const KEYS: usize = 4;

fn name(key: usize) -> String {
    format!("key {key}")
}

/// A transaction at work, and what its client notes down.
struct Client {
    work: Workspace,
    noted: Transaction,
}

/// An answer that has not been given.
#[derive(Debug)]
struct Waits {
    noted: Transaction,
    /// It was sent whole: its client knows nothing yet. Otherwise it knows what it has read.
    is_whole: bool,
}

struct World {
    commits: Commits<Waits>,
    random: Random,
    isolation: Isolation,
    open: Vec<Client>,
    done: Vec<Transaction>,
    /// What was put into the log and is not settled.
    log: VecDeque<CommitNo>,
    /// The log has given an epoch up: it fails all that was put in before that is known here, in any order.
    failing: bool,
    /// How many transactions have begun.
    begun: usize,
    now: u64,
    lsn: u64,
    next_value: u64,
}

impl World {
    fn new(seed: u64, isolation: Isolation) -> Self {
        World {
            commits: Commits::new(Store::new(Limits::default())),
            random: Random::new(seed),
            isolation,
            open: Vec::new(),
            done: Vec::new(),
            log: VecDeque::new(),
            failing: false,
            begun: 0,
            now: 0,
            lsn: 0,
            next_value: 1,
        }
    }

    fn step(&mut self) {
        self.now += 1;
        match self.random.below(20) {
            0..3 if self.open.len() < 8 => self.begin(),
            3..11 if !self.open.is_empty() => self.work(),
            11..13 if !self.open.is_empty() => self.commit(),
            13 if self.random.one_in(12) => self.failing = !self.commits.is_empty(),
            14 => drop(self.commits.store_mut().collect(Duration::ZERO, 3)),
            15..18 => self.execute(),
            _ => self.settle(),
        }
    }

    fn noted(&mut self) -> Transaction {
        self.begun += 1;
        let outcome = Outcome::Committed;
        Transaction { began: self.now, ended: None, outcome, version: None, operations: vec![] }
    }

    fn begin(&mut self) {
        let snapshot = self.commits.store_mut().snapshot(Duration::ZERO);
        let work = Workspace::new(snapshot, self.isolation, WorkLimits::default());
        let noted = self.noted();
        self.open.push(Client { work, noted });
    }

    fn any_write(&mut self) -> (Write, Operation) {
        let (key, value) = (self.random.of(0..=KEYS - 1), self.next_value);
        self.next_value += 1;
        let write = Write { key: name(key).into(), value: Some(value.to_string().into()) };
        (write, Operation::Write { key: name(key), value })
    }

    fn work(&mut self) {
        let at = self.random.of(0..=self.open.len() - 1);
        let (what, key) = (self.random.below(4), self.random.of(0..=KEYS - 1));
        let keys = 1 + self.random.below(KEYS as u64) as usize;
        let (write, written) = self.any_write();
        let (store, watches) = self.commits.to_scan();
        let Client { work, noted } = &mut self.open[at];
        match what {
            0 => {
                work.write(write).expect("few");
                noted.operations.push(written);
            }
            1 => {
                let budget = Budget { keys, bytes: 1 << 20 };
                let rows = work.scan(store, watches, &KeyRange::prefix("key "), budget);
                let rows = rows.expect("young");
                // A key that the piece has passed over has no value.
                let last =
                    rows.next.map_or(KEYS - 1, |last| usize::from(last[last.len() - 1] - b'0'));
                for key in 0..=last {
                    let row = rows.rows.iter().find(|(found, _)| *found == name(key));
                    let value = row.map(|(_, value)| number(value));
                    noted.operations.push(Operation::Read { key: name(key), value });
                }
            }
            _ => {
                let value = work.get(store, &name(key).into()).expect("young");
                let value = value.as_ref().map(number);
                noted.operations.push(Operation::Read { key: name(key), value });
            }
        }
    }

    fn commit(&mut self) {
        let at = self.random.of(0..=self.open.len() - 1);
        let Client { work, mut noted } = self.open.swap_remove(at);
        if work.check(self.commits.store()).is_err() {
            noted.outcome = Outcome::Aborted;
        } else if !work.is_read_only() {
            return self.put(&work.into_writes(), Waits { noted, is_whole: false });
        }
        // All that it read is durable, so that it can be answered at once.
        self.answer(noted);
    }

    fn put(&mut self, writes: &[Write], waits: Waits) {
        match self.commits.put(writes.to_vec(), waits) {
            Ok(commit) => self.log.push_back(commit),
            Err((mut waits, _)) => {
                waits.noted.outcome = Outcome::Aborted;
                self.answer(waits.noted);
            }
        }
    }

    /// A transaction that is sent whole: it reads, perhaps writes, and perhaps thinks better of it.
    fn execute(&mut self) {
        let mut noted = self.noted();
        let steps: Vec<_> = (0..1 + self.random.below(4))
            .map(|_| (self.random.one_in(2), self.random.of(0..=KEYS - 1), self.any_write()))
            .collect();
        let aborts = self.random.one_in(5);
        let ran = self.commits.run(WorkLimits::default(), |latest| {
            for (reads, key, (write, written)) in steps {
                if reads {
                    let value = latest.get(name(key).as_bytes()).expect("few");
                    let value = value.as_ref().map(number);
                    noted.operations.push(Operation::Read { key: name(key), value });
                } else {
                    latest.write(write).expect("few");
                    noted.operations.push(written);
                }
            }
            if aborts { Err(()) } else { Ok(()) }
        });
        if !ran.writes.is_empty() {
            return self.put(&ran.writes, Waits { noted, is_whole: true });
        }
        if ran.result.is_err() {
            noted.outcome = Outcome::Aborted;
        }
        if let Err(now) = self.commits.keep_back(ran.seen, Waits { noted, is_whole: true }) {
            self.answer(now.noted);
        }
    }

    fn answer(&mut self, mut noted: Transaction) {
        noted.ended = Some(self.now);
        self.done.push(noted);
    }

    /// The log settles a commit, and the answers go out.
    fn settle(&mut self) {
        if self.log.is_empty() {
            return;
        }
        self.lsn += 1;
        let lsn = Lsn::new(self.lsn);
        let at = if self.failing { self.random.of(0..=self.log.len() - 1) } else { 0 };
        let failed = CommitError::NotDurable { lsn, cause: Cause::Closed };
        let outcome = if self.failing { Err(failed) } else { Ok(lsn) };
        let commit = self.log.remove(at).expect("it is there");
        let answers: Answers<_> = self.commits.settled(commit, outcome);
        self.failing &= !self.log.is_empty();
        for (Waits { mut noted, is_whole }, verdict) in answers {
            match verdict {
                Verdict::Durable(lsn) => noted.version = lsn.map(Lsn::get),
                Verdict::Failed(_) | Verdict::SawFailed(_) => {
                    noted.outcome = Outcome::Aborted;
                    // The client of one that was sent whole is not told what it has read.
                    let is_write = |it: &Operation| matches!(it, Operation::Write { .. });
                    noted.operations.retain(|it| !is_whole || is_write(it));
                }
            }
            self.answer(noted);
        }
    }

    fn history(mut self) -> History {
        (0..3000).for_each(|_| self.step());
        while !self.commits.is_empty() {
            self.settle();
        }
        assert_eq!(self.done.len() + self.open.len(), self.begun, "each is answered once");
        let session = |noted| Session { name: String::new(), transactions: vec![noted] };
        History { sessions: self.done.into_iter().map(session).collect() }
    }
}

fn number(value: &Bytes) -> u64 {
    String::from_utf8_lossy(value).parse().expect("a number")
}

#[test]
fn p25_snapshot_isolation_holds_and_lets_write_skew_commit() {
    let mut skewed = 0;
    for seed in 0..200 {
        let history = World::new(seed, Isolation::Snapshot).history();
        let found = check(&history, Level::StrongSnapshot);
        assert!(found.is_empty(), "seed {seed}: {}", found[0]);
        let serial = check(&history, Level::Serializable);
        skewed += usize::from(serial.iter().any(|anomaly| anomaly.kind == Kind::G2));
    }
    assert!(skewed > 180, "{skewed} of 200 histories show write skew");
}

#[test]
fn p25_serializable_transactions_have_an_order_that_agrees_with_the_clock() {
    for seed in 0..200 {
        let history = World::new(seed, Isolation::Serializable).history();
        let found = check(&history, Level::StrictSerializable);
        assert!(found.is_empty(), "seed {seed}: {}", found[0]);
        let transactions = history.sessions.iter().flat_map(|session| &session.transactions);
        let committed = transactions.filter(|it| it.version.is_some()).count();
        assert!(committed > 30, "seed {seed}: only {committed} commits");
    }
}
