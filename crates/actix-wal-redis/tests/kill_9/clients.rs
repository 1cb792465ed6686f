//! Clients that write until the server is gone, and that remember what they were told. Each has a part of the keys, of which
//! it can be said afterwards what has to be there.

use std::collections::BTreeMap;

use redis::{Connection, RedisError};

use crate::support::client::{Client, request};

/// Any connection error is the end of the server; every other error is one of the test.
fn lost(error: RedisError) {
    assert!(error.is_io_error() || error.is_connection_dropped(), "{error}");
}

fn connect(port: u16, database: u32) -> Result<Connection, RedisError> {
    redis::Client::open(format!("redis://127.0.0.1:{port}/{database}"))?.get_connection()
}

/// A client of the crate `redis`: works until the server is gone.
fn work(port: u16, database: u32, mut step: impl FnMut(&mut Connection) -> Result<(), RedisError>) {
    let mut run = || {
        let mut connection = connect(port, database)?;
        loop {
            step(&mut connection)?;
        }
    };
    let Err::<(), _>(error) = run() else { unreachable!("it ends with an error") };
    lost(error);
}

/// Sends requests in pipelines: each sets one key to the next number, and makes a key of its own for that number.
#[derive(Clone, Debug)]
pub(crate) struct Sequence {
    pub(crate) name: String,
    pub(crate) pipeline: u64,
    pub(crate) sent: u64,
    pub(crate) told: u64,
}

impl Sequence {
    pub(crate) fn new(name: &str, pipeline: u64) -> Self {
        Sequence { name: name.to_owned(), pipeline, sent: 0, told: 0 }
    }

    /// Answers come in order, so each of them is noted, also of a pipeline that is cut off.
    pub(crate) fn run(&mut self, port: u16) {
        let Ok(mut client) = Client::connect(port) else { return };
        loop {
            let mut bytes = Vec::new();
            let first = self.sent + 1;
            self.sent += self.pipeline;
            for number in first..=self.sent {
                let (of, at) = (format!("last:{}", self.name), number.to_string());
                bytes.extend(request(&["MSET", &of, &at, &self.key(number), &at]));
            }
            if client.send(&bytes).is_err() {
                return;
            }
            for number in first..=self.sent {
                match client.next() {
                    Some(answer) => assert!(answer.is_ok(), "{answer:?}"),
                    None => return,
                }
                self.told = number;
            }
        }
    }

    pub(crate) fn key(&self, number: u64) -> String {
        format!("one:{}:{number}", self.name)
    }
}

/// How a counter that all clients share is counted up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    Incr,
    /// `WATCH`, `GET`, `MULTI`, `SET`, `EXEC`, again until nobody else was faster.
    Watch,
}

/// Counts up a counter. No two clients are told the same number, in no life of the server.
#[derive(Clone, Debug)]
pub(crate) struct Counter {
    pub(crate) key: &'static str,
    pub(crate) how: How,
    pub(crate) told: Vec<u64>,
    /// How often it may have been counted up without an answer: at most once in each life of the server.
    pub(crate) unknown: u64,
}

impl Counter {
    pub(crate) fn new(key: &'static str, how: How) -> Self {
        Counter { key, how, told: Vec::new(), unknown: 0 }
    }

    pub(crate) fn run(&mut self, port: u16) {
        self.unknown += 1;
        let Counter { key, how, told, .. } = self;
        work(port, 0, |connection| {
            if *how == How::Incr {
                told.push(redis::cmd("INCR").arg(*key).query(connection)?);
                return Ok(());
            }
            redis::cmd("WATCH").arg(*key).exec(connection)?;
            let now: Option<u64> = redis::cmd("GET").arg(*key).query(connection)?;
            let next = now.unwrap_or(0) + 1;
            let mut transaction = redis::pipe();
            transaction.atomic().cmd("SET").arg(*key).arg(next).ignore();
            let done: Option<()> = transaction.query(connection)?;
            told.extend(done.map(|()| next));
            Ok(())
        });
    }
}

/// Moves one from the left to the right in a transaction, and counts how often, in a third key.
#[derive(Clone, Debug)]
pub(crate) struct Mover {
    pub(crate) name: &'static str,
    pub(crate) told: i64,
}

/// The keys of a mover: left, right and how often.
pub(crate) fn keys_of(name: &str) -> [String; 3] {
    ["left", "right", "moves"].map(|side| format!("{side}:{name}"))
}

impl Mover {
    pub(crate) fn run(&mut self, port: u16) {
        let [left, right, moves] = keys_of(self.name);
        work(port, 0, |connection| {
            let mut transaction = redis::pipe();
            transaction.atomic().cmd("DECR").arg(&left).cmd("INCR").arg(&right);
            transaction.cmd("INCR").arg(&moves);
            let (left, right, moves): (i64, i64, i64) = transaction.query(connection)?;
            assert_eq!((left, right), (-moves, moves), "a transaction is whole");
            self.told = moves;
            Ok(())
        });
    }
}

/// Sets a key in a database of its own and empties that, again and again.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flusher {
    pub(crate) sent: u64,
    pub(crate) set: u64,
    pub(crate) flushed: u64,
}

/// Which database is emptied.
pub(crate) const FLUSHED: u32 = 7;

impl Flusher {
    pub(crate) fn run(&mut self, port: u16) {
        work(port, FLUSHED, |connection| {
            self.sent += 1;
            redis::cmd("SET").arg("flushed").arg(self.sent).exec(connection)?;
            self.set = self.sent;
            if self.sent.is_multiple_of(3) {
                redis::cmd("FLUSHDB").exec(connection)?;
                self.flushed = self.sent;
            }
            Ok(())
        });
    }
}

/// Reads what the others write. No number that it was told may ever be smaller again.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reader {
    pub(crate) seen: BTreeMap<String, i64>,
    pub(crate) reads: u64,
}

impl Reader {
    pub(crate) fn run(&mut self, port: u16, rising: &[String], pairs: &[&str]) {
        work(port, 0, |connection| {
            let now: Vec<Option<i64>> = redis::cmd("MGET").arg(rising).query(connection)?;
            for (key, now) in rising.iter().zip(now) {
                let now = now.unwrap_or(0);
                let seen = self.seen.insert(key.clone(), now).unwrap_or(0);
                assert!(now >= seen, "{key} was {seen}, and is {now}");
            }
            for name in pairs {
                let keys = keys_of(name);
                let all: Vec<Option<i64>> = redis::cmd("MGET").arg(&keys).query(connection)?;
                is_whole(name, &all);
            }
            self.reads += 1;
            Ok(())
        });
    }
}

/// Whether what a mover has written is that of whole transactions. Returns how many.
pub(crate) fn is_whole(name: &str, all: &[Option<i64>]) -> i64 {
    let [left, right, moves] = all else { panic!("{name}: {all:?}") };
    let moves = moves.unwrap_or(0);
    let is_so = left.unwrap_or(0) == -moves && right.unwrap_or(0) == moves;
    assert!(is_so, "{name}: a transaction is torn: {left:?}, {right:?}, {moves}");
    moves
}
