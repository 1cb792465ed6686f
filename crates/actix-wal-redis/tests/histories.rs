//! Guards P25 for what stands on it: many clients at once, with `WATCH`, `MULTI`, `EXEC`, `INCR`, `APPEND` and `MGET`, write
//! down what they did, what they were answered, and when. The crate `history` looks for an order of all of it that agrees
//! with the clock: strict serializability.
//!
//! A string that is only appended to is a list. So is a counter that is only counted up: of all numbers up to its own.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on has failed")]

mod support;

use std::path::Path;
use std::thread;
use std::time::Instant;

use actix_wal::testkit::Random;
use history::{History, Level, Operation, Outcome, Session, Transaction, check};
use test_support::environment::{number, seed};
use test_support::scratch::folder;

use self::support::answer::Answer;
use self::support::client::{Client, request};
use self::support::program::Server;

const CLIENTS: usize = 8;
const LISTS: [&str; 3] = ["list:a", "list:b", "list:c"];
const COUNTERS: [&str; 2] = ["count:a", "count:b"];

struct Player {
    client: Client,
    random: Random,
    began: Instant,
    /// The next value, which no other client has.
    next: u64,
    watches: bool,
    done: Vec<Transaction>,
}

fn list(key: &str, answer: &Answer) -> Operation {
    let values = match answer {
        Answer::Null => Vec::new(),
        Answer::Bulk(bytes) => {
            let text = std::str::from_utf8(bytes).unwrap();
            text.split_terminator(',').map(|value| value.parse().expect("a number")).collect()
        }
        other => panic!("{other:?}"),
    };
    Operation::List { key: key.to_owned(), values }
}

/// What a counter is that shows this number.
fn counted(key: &str, up_to: u64) -> Operation {
    Operation::List { key: key.to_owned(), values: (1..=up_to).collect() }
}

impl Player {
    fn now(&self) -> u64 {
        self.began.elapsed().as_nanos() as u64
    }

    fn call(&mut self, parts: &[&str]) -> Answer {
        self.client.try_call(parts).expect("the server is there")
    }

    fn append(&mut self, key: &str) -> (String, Operation) {
        self.next += 1;
        (format!("{},", self.next), Operation::Append { key: key.to_owned(), value: self.next })
    }

    fn done(&mut self, began: u64, outcome: Outcome, operations: Vec<Operation>) {
        let ended = Some(self.now());
        self.done.push(Transaction { began, ended, outcome, version: None, operations });
    }

    fn step(&mut self) {
        let (began, key) = (self.now(), self.random.pick(&LISTS));
        match self.random.below(10) {
            0 | 1 => self.count(),
            2 => {
                let (value, append) = self.append(key);
                self.call(&["APPEND", key, &value]);
                self.done(began, Outcome::Committed, vec![append]);
            }
            3 => {
                let answer = self.call(&["GET", key]);
                self.done(began, Outcome::Committed, vec![list(key, &answer)]);
            }
            4 | 5 => self.read_all(),
            6 | 7 => self.transaction(),
            _ => self.watched(),
        }
    }

    fn count(&mut self) {
        let (began, key) = (self.now(), self.random.pick(&COUNTERS));
        let value = self.call(&["INCR", key]).number().expect("a number") as u64;
        let append = Operation::Append { key: key.to_owned(), value };
        self.done(began, Outcome::Committed, vec![counted(key, value - 1), append]);
    }

    fn read_all(&mut self) {
        let began = self.now();
        let all = [&["MGET"][..], &LISTS, &COUNTERS].concat();
        let answers = self.call(&all);
        let (lists, counters) = answers.array().split_at(LISTS.len());
        let lists = LISTS.iter().zip(lists).map(|(key, answer)| list(key, answer));
        let number = |answer: &Answer| answer.number().unwrap_or(0) as u64;
        let counters =
            COUNTERS.iter().zip(counters).map(|(key, answer)| counted(key, number(answer)));
        self.done(began, Outcome::Committed, lists.chain(counters).collect());
    }

    /// Writes and reads several keys, all sent at once.
    fn transaction(&mut self) {
        let began = self.now();
        let (one, other) = (self.random.pick(&LISTS), self.random.pick(&LISTS));
        let count = self.random.pick(&COUNTERS);
        let ((first, append_first), (second, append_second)) =
            (self.append(one), self.append(other));
        let requests: [&[&str]; 6] = [
            &["MULTI"],
            &["APPEND", one, &first],
            &["GET", other],
            &["APPEND", other, &second],
            &["INCR", count],
            &["EXEC"],
        ];
        let bytes: Vec<u8> = requests.iter().flat_map(|parts| request(parts)).collect();
        self.client.send(&bytes).unwrap();
        for _ in 0..5 {
            assert!(matches!(self.client.next(), Some(Answer::Status(_))));
        }
        let answers = self.client.next().expect("the server is there");
        let [_, read, _, value] = answers.array() else { panic!("{answers:?}") };
        let value = value.number().expect("a number") as u64;
        let operations = vec![
            append_first,
            list(other, read),
            append_second,
            counted(count, value - 1),
            Operation::Append { key: count.to_owned(), value },
        ];
        self.done(began, Outcome::Committed, operations);
    }

    /// Reads, and writes only if nobody else has written meanwhile. What it reads and does is one transaction.
    fn watched(&mut self) {
        let began = self.now();
        let (one, other) = (self.random.pick(&LISTS), self.random.pick(&LISTS));
        if self.watches {
            assert!(self.call(&["WATCH", one, other]).is_ok());
        }
        let read = [one, other].map(|key| list(key, &self.call(&["GET", key])));
        let (value, append) = self.append(one);
        assert!(self.call(&["MULTI"]).is_ok());
        self.call(&["APPEND", one, &value]);
        self.call(&["GET", one]);
        let (outcome, last) = match self.call(&["EXEC"]) {
            Answer::Null => (Outcome::Aborted, None),
            Answer::Array(answers) => (Outcome::Committed, Some(list(one, &answers[1]))),
            other => panic!("{other:?}"),
        };
        self.done(began, outcome, read.into_iter().chain([append]).chain(last).collect());
    }
}

/// What clients did together, each so many things.
fn play(directory: &Path, seed: u64, steps: usize, watches: bool) -> History {
    let server = Server::ours(directory, &[]);
    let began = Instant::now();
    let players: Vec<_> = (0..CLIENTS as u64)
        .map(|at| Player {
            client: server.client(),
            random: Random::new(seed ^ (at << 32)),
            began,
            next: at * 1_000_000,
            watches,
            done: Vec::new(),
        })
        .collect();
    let sessions = thread::scope(|scope| {
        let threads: Vec<_> = players
            .into_iter()
            .map(|mut player| {
                scope.spawn(move || {
                    (0..steps).for_each(|_| player.step());
                    player.done
                })
            })
            .collect();
        let done = threads.into_iter().map(|thread| thread.join().unwrap());
        let named = done.zip(0..).map(|(transactions, at)| (format!("client {at}"), transactions));
        named.map(|(name, transactions)| Session { name, transactions }).collect()
    });
    History { sessions }
}

fn count(history: &History, outcome: Outcome) -> usize {
    let all = history.sessions.iter().flat_map(|session| &session.transactions);
    all.filter(|it| it.outcome == outcome).count()
}

#[test]
fn p25_what_many_clients_see_is_strict_serializable() {
    let first = seed("WAL_REDIS_SEED");
    for seed in first..first + number("WAL_REDIS_HISTORIES").unwrap_or(4) {
        let folder = folder();
        let history = play(&folder.path().join("data"), seed, 150, true);
        let found = check(&history, Level::StrictSerializable);
        let saved = test_support::scratch::place().join("redis-history.json");
        if let Some(anomaly) = found.first() {
            std::fs::write(&saved, serde_json::to_vec(&history).unwrap()).unwrap();
            panic!("WAL_REDIS_SEED={seed}: {anomaly}; the history is in {}", saved.display());
        }
        let aborted = count(&history, Outcome::Aborted);
        println!("seed {seed}: {aborted} of {} aborted", CLIENTS * 150);
        assert!(aborted > 5, "transactions have to be in each other's way: {aborted}");
        assert!(count(&history, Outcome::Committed) > CLIENTS * 100);
    }
}

#[test]
fn clients_that_forget_to_watch_are_noticed() {
    let folder = folder();
    let history = play(&folder.path().join("data"), seed("WAL_REDIS_SEED"), 150, false);
    let found = check(&history, Level::StrictSerializable);
    assert!(!found.is_empty(), "somebody has appended between a GET and its EXEC");
}
