//! Guards P25: random schedules of interactive transactions over the plain store, with commits that become durable late
//! or fail, are judged by what each transaction was told.

#![allow(clippy::expect_used, reason = "a test that can not go on has failed")]

use std::time::Duration;

use actix_wal::Lsn;
use actix_wal::testkit::Random;
use actix_wal_txn::store::{Budget, CommitNo, KeyRange, Limits, Store, Write};
use actix_wal_txn::watches::Watches;
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

struct World {
    store: Store,
    watches: Watches,
    random: Random,
    isolation: Isolation,
    open: Vec<Client>,
    /// Put into the log and not answered yet, in the order of their commits.
    waiting: Vec<(CommitNo, Transaction)>,
    done: Vec<Transaction>,
    now: u64,
    lsn: u64,
    next_value: u64,
}

impl World {
    fn new(seed: u64, isolation: Isolation) -> Self {
        World {
            store: Store::new(Limits::default()),
            watches: Watches::default(),
            random: Random::new(seed),
            isolation,
            open: Vec::new(),
            waiting: Vec::new(),
            done: Vec::new(),
            now: 0,
            lsn: 0,
            next_value: 1,
        }
    }

    fn step(&mut self) {
        self.now += 1;
        match self.random.below(16) {
            0..3 if self.open.len() < 8 => self.begin(),
            3..11 if !self.open.is_empty() => self.work(),
            11..13 if !self.open.is_empty() => self.commit(),
            13 if self.random.one_in(12) => self.fail(),
            14 => drop(self.store.collect(Duration::ZERO, 3)),
            _ => self.settle(),
        }
    }

    fn begin(&mut self) {
        let snapshot = self.store.snapshot(Duration::ZERO);
        let work = Workspace::new(snapshot, self.isolation, WorkLimits::default());
        let noted = Transaction {
            began: self.now,
            ended: None,
            outcome: Outcome::Unknown,
            version: None,
            operations: Vec::new(),
        };
        self.open.push(Client { work, noted });
    }

    fn work(&mut self) {
        let at = self.random.of(0..=self.open.len() - 1);
        let key = self.random.of(0..=KEYS - 1);
        let Client { work, noted } = &mut self.open[at];
        let number = |value: Bytes| String::from_utf8_lossy(&value).parse().expect("a number");
        match self.random.below(4) {
            0 => {
                let value = self.next_value;
                self.next_value += 1;
                let written =
                    Write { key: name(key).into(), value: Some(value.to_string().into()) };
                work.write(written).expect("few");
                noted.operations.push(Operation::Write { key: name(key), value });
            }
            1 => {
                let range = KeyRange::prefix("key ");
                let budget =
                    Budget { keys: 1 + self.random.below(KEYS as u64) as usize, bytes: 1 << 20 };
                let rows =
                    work.scan(&self.store, &mut self.watches, &range, budget).expect("young");
                // A key that the piece has passed over has no value.
                let last =
                    rows.next.map_or(KEYS - 1, |last| usize::from(last[last.len() - 1] - b'0'));
                for key in 0..=last {
                    let row = rows.rows.iter().find(|(found, _)| *found == name(key));
                    let value = row.map(|(_, value)| number(value.clone()));
                    noted.operations.push(Operation::Read { key: name(key), value });
                }
            }
            _ => {
                let value = work.get(&self.store, &name(key).into()).expect("young").map(number);
                noted.operations.push(Operation::Read { key: name(key), value });
            }
        }
    }

    fn commit(&mut self) {
        let at = self.random.of(0..=self.open.len() - 1);
        let Client { work, mut noted } = self.open.swap_remove(at);
        if work.check(&self.store).is_err() {
            noted.outcome = Outcome::Aborted;
        } else if work.is_read_only() {
            // All that it read is durable, so that it can be answered at once.
            noted.outcome = Outcome::Committed;
        } else {
            let writes = work.into_writes();
            self.watches.note(&writes);
            let commit = self.store.install(&writes).expect("room");
            return self.waiting.push((commit, noted));
        }
        self.answer(noted);
    }

    fn answer(&mut self, mut noted: Transaction) {
        noted.ended = Some(self.now);
        self.done.push(noted);
    }

    /// The oldest commit becomes durable, and is answered.
    fn settle(&mut self) {
        if !self.waiting.is_empty() {
            let (_, mut noted) = self.waiting.remove(0);
            self.lsn += 1;
            self.store.durable(Lsn::new(self.lsn));
            (noted.outcome, noted.version) = (Outcome::Committed, Some(self.lsn));
            self.answer(noted);
        }
    }

    /// A commit fails, and all that came after it.
    fn fail(&mut self) {
        if !self.waiting.is_empty() {
            let at = self.random.of(0..=self.waiting.len() - 1);
            self.store.fail_from(self.waiting[at].0);
            for (_, mut noted) in self.waiting.split_off(at) {
                noted.outcome = Outcome::Aborted;
                self.answer(noted);
            }
        }
    }

    fn history(mut self) -> History {
        (0..3000).for_each(|_| self.step());
        while !self.waiting.is_empty() {
            self.settle();
        }
        let session = |noted| Session { name: String::new(), transactions: vec![noted] };
        History { sessions: self.done.into_iter().map(session).collect() }
    }
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
