//! A script that depends on its seed alone: which connection sends what, and in which form.
//!
//! No time in it passes while it runs, but for steps that wait for that: times to live are at least 1,000 seconds or over, and
//! no two are within 50 seconds of each other, so that comparisons of times (`GT`, `LT`) have one answer.

use std::collections::BTreeSet;
use std::fmt;

use actix_wal::testkit::Random;

use crate::support::answer::shown;
use crate::words::{self, Parts, own};

/// How many connections a script has.
pub(crate) const CONNECTIONS: usize = 3;

/// One request, and the form in which it is sent.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) parts: Parts,
    pub(crate) inline: bool,
}

impl fmt::Debug for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let form = if self.inline { "inline" } else { "array" };
        self.parts.iter().try_fold((), |(), part| write!(f, "{} ", shown(part)))?;
        f.write_str(form)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Requests that one connection sends at once.
    Send(usize, Vec<Sent>),
    /// `SWAPDB`, after which all that is watched or waits for its `EXEC` comes to its end: until then ours also notices
    /// changes of what a watched key has been in the other database, as long as it is in neither.
    Swap(usize, Sent),
    /// All pieces of a `SCAN` with these options.
    Scan(usize, Parts),
    /// `RANDOMKEY`, and whether the other server has that key.
    RandomKey(usize),
    /// `setter` sets a key with a short time, `watcher` watches it, the time passes, and `watcher` executes a transaction.
    /// If `meets`, `setter` looks for the key in between.
    Expire { setter: usize, watcher: usize, key: Vec<u8>, meets: bool },
    /// No request, after which the connection is closed.
    Garbage(usize, Vec<u8>),
}

impl Step {
    pub(crate) fn send(connection: usize, line: &str) -> Step {
        Step::Send(connection, vec![Sent { parts: words::line(line), inline: false }])
    }
}

/// Generates steps.
#[derive(Debug)]
pub(crate) struct Script {
    random: Random,
    /// Multiples of 50 seconds that are in use as times to live.
    times: BTreeSet<u64>,
    /// Which connections are probably in a transaction.
    in_multi: [bool; CONNECTIONS],
    /// What clients send before all else, and now and then again.
    password: Option<&'static str>,
}

/// The script of this seed.
pub(crate) fn script(seed: u64, steps: usize, password: Option<&'static str>) -> Vec<Step> {
    let (random, times) = (Random::new(seed), BTreeSet::new());
    let mut script = Script { random, times, in_multi: [false; CONNECTIONS], password };
    (0..steps).map(|_| script.step()).collect()
}

impl Script {
    fn step(&mut self) -> Step {
        let connection = self.random.of(0..=CONNECTIONS - 1);
        match self.random.below(200) {
            0..4 => Step::Scan(connection, self.scan_options()),
            4..6 => Step::RandomKey(connection),
            6 if self.random.one_in(3) => {
                let watcher = (connection + 1) % CONNECTIONS;
                let meets = self.random.one_in(2);
                Step::Expire { setter: connection, watcher, key: self.key(), meets }
            }
            7 => Step::Garbage(connection, self.random.pick(words::GARBAGE).to_vec()),
            _ => {
                let many = if self.random.one_in(6) { self.random.of(2..=20) } else { 1 };
                let sent: Vec<_> = (0..many).flat_map(|_| self.sent(connection)).collect();
                let swap = sent.iter().find(|sent| sent.parts[0].eq_ignore_ascii_case(b"SWAPDB"));
                match swap {
                    Some(swap) => Step::Swap(connection, swap.clone()),
                    None => Step::Send(connection, sent),
                }
            }
        }
    }

    fn sent(&mut self, connection: usize) -> Vec<Sent> {
        let mut parts = match (self.transaction(connection), self.password) {
            (Some(name), _) => vec![own(name)],
            (None, Some(password)) if self.random.one_in(10) => {
                let ways = ["AUTH", "AUTH default", "HELLO 3 AUTH default", "HELLO 2 AUTH default"];
                [words::line(self.random.pick(&ways)), vec![own(password)]].concat()
            }
            _ => self.command(),
        };
        self.spoil(&mut parts);
        match self.random.below(3) {
            0 => parts[0].make_ascii_lowercase(),
            1 => parts[0].iter_mut().step_by(2).for_each(u8::make_ascii_lowercase),
            _ => {}
        }
        let size: usize = parts.iter().map(Vec::len).sum();
        // A line has at most 64 KiB, and each byte may take four.
        let inline = self.random.one_in(8) && size < 10_000;
        // A key with a time that is over counts for DBSIZE until somebody looks for it, or until a moment of chance.
        let looks = parts.len() > 3 && parts[0].eq_ignore_ascii_case(b"SET");
        let look = looks.then(|| Sent { parts: vec![own("EXISTS"), parts[1].clone()], inline });
        std::iter::once(Sent { parts, inline }).chain(look).collect()
    }

    /// A transaction has some commands, and most of them are executed.
    fn transaction(&mut self, connection: usize) -> Option<&'static str> {
        let in_multi = &mut self.in_multi[connection];
        let name = match (self.random.below(100), *in_multi) {
            (0..5, false) => "MULTI",
            (0..18, true) => "EXEC",
            (18..21, true) => "DISCARD",
            (21, _) => "UNWATCH",
            (22, true) => "MULTI",
            (22, false) if self.random.one_in(3) => "EXEC",
            (23, false) if self.random.one_in(3) => "DISCARD",
            _ => return None,
        };
        *in_multi = name == "MULTI" || (*in_multi && name == "UNWATCH");
        Some(name)
    }

    /// Now and then an argument is wrong, missing or too much.
    fn spoil(&mut self, parts: &mut Parts) {
        // The first could be one that is carried out. Redis takes a part of many wrong settings, such as those with a NUL.
        if parts[0] == b"SHUTDOWN" || parts[0] == b"CONFIG" {
            return;
        }
        let last = parts.len() - 1;
        match self.random.below(60) {
            0 | 1 if last > 0 => drop(parts.pop()),
            2 => parts.push(own(self.random.pick(words::JUNK))),
            3 => parts.push(parts[last].clone()),
            4 | 5 if last > 0 => {
                let at = self.random.of(1..=last);
                parts[at] = own(self.random.pick(words::JUNK));
            }
            6 if last > 1 => parts.swap(1, last),
            _ => {}
        }
    }

    fn command(&mut self) -> Parts {
        match self.random.below(100) {
            0..36 => self.of_strings(),
            36..52 => self.of_numbers(),
            52..68 => self.of_times(),
            68..86 => self.of_keys(),
            _ => self.of_connections(),
        }
    }

    fn of_strings(&mut self) -> Parts {
        let (key, value) = (self.key(), self.value());
        match self.random.below(18) {
            0..4 => self.set(key, value),
            4 | 5 => vec![own("GET"), key],
            6 => vec![own("GETSET"), key, value],
            7 => vec![own("GETDEL"), key],
            8 => [vec![own("GETEX"), key], self.life(&["PERSIST"])].concat(),
            9 => vec![
                own(self.random.pick(&["GETRANGE", "SUBSTR"])),
                key,
                self.index(),
                self.index(),
            ],
            10 => vec![own("SETRANGE"), key, own(self.random.pick(words::OFFSETS)), value],
            11 => vec![own("SETNX"), key, value],
            12 if self.random.one_in(2) => vec![own("SETEX"), key, self.seconds(), value],
            12 => vec![own("PSETEX"), key, self.milliseconds(), value],
            13 | 14 => {
                let name = own(self.random.pick(&["MSET", "MSETNX", "MSET"]));
                let pairs = (0..self.random.of(1..=4)).flat_map(|_| [self.key(), self.value()]);
                std::iter::once(name).chain(pairs).collect()
            }
            15 => self.many("MGET"),
            16 => vec![own("APPEND"), key, value],
            _ => vec![own("STRLEN"), key],
        }
    }

    fn set(&mut self, key: Vec<u8>, value: Vec<u8>) -> Parts {
        let mut parts = vec![own("SET"), key, value];
        for _ in 0..self.random.below(4) {
            match self.random.below(5) {
                0 => parts.push(own("NX")),
                1 => parts.push(own("xx")),
                2 => parts.push(own("GET")),
                _ => parts.extend(self.life(&["KEEPTTL"])),
            }
        }
        parts
    }

    /// An option with a time, or one of those without.
    fn life(&mut self, others: &[&str]) -> Parts {
        match self.random.below(6) {
            0 => vec![own("EX"), self.seconds()],
            1 => vec![own("PX"), self.milliseconds()],
            2 => vec![own("EXAT"), self.at(1)],
            3 => vec![own("pxat"), self.at(1000)],
            4 => vec![own(self.random.pick(others))],
            _ => vec![],
        }
    }

    fn of_numbers(&mut self) -> Parts {
        let key = self.key();
        let name = self.random.pick(&["INCR", "DECR", "INCRBY", "DECRBY", "INCRBYFLOAT", "SET"]);
        let by = match name {
            "INCR" | "DECR" => return vec![own(name), key],
            "INCRBY" | "DECRBY" => self.random.pick(words::INTEGERS),
            "SET" if self.random.one_in(2) => self.random.pick(words::INTEGERS),
            _ => self.random.pick(words::FLOATS),
        };
        vec![own(name), key, own(by)]
    }

    fn of_times(&mut self) -> Parts {
        let key = self.key();
        let name = match self.random.below(12) {
            0 => "TTL",
            1 => "PTTL",
            2 => "EXPIRETIME",
            3 => "PEXPIRETIME",
            4 => "PERSIST",
            _ => return self.expire(key),
        };
        vec![own(name), key]
    }

    fn expire(&mut self, key: Vec<u8>) -> Parts {
        let mut parts = match self.random.below(4) {
            0 => vec![own("EXPIRE"), key, self.seconds()],
            1 => vec![own("PEXPIRE"), key, self.milliseconds()],
            2 => vec![own("EXPIREAT"), key, self.at(1)],
            _ => vec![own("PEXPIREAT"), key, self.at(1000)],
        };
        let some = if self.random.one_in(2) { 0 } else { self.random.of(1..=2) };
        parts.extend((0..some).map(|_| own(self.random.pick(&["NX", "XX", "gt", "LT"]))));
        parts
    }

    fn of_keys(&mut self) -> Parts {
        let key = self.key();
        match self.random.below(24) {
            0 => self.many("DEL"),
            1 => self.many("UNLINK"),
            2 => self.many("EXISTS"),
            3 => self.many("TOUCH"),
            4 => vec![own("TYPE"), key],
            5 | 6 => vec![own("RENAME"), key, self.key()],
            7 => vec![own("RENAMENX"), key, self.key()],
            8 | 9 => vec![own("KEYS"), self.pattern()],
            10 => vec![own("DBSIZE")],
            11 => self.flush(),
            12..15 => vec![own("MOVE"), key, self.database()],
            15 => vec![own("SWAPDB"), self.database(), self.database()],
            16 => vec![own("OBJECT"), own("ENCODING"), key],
            17 => vec![own("OBJECT"), own(self.random.pick(words::OBJECT)), key],
            18..21 => self.many("WATCH"),
            21 => vec![own("COPY_NO"), key, self.key()],
            _ => vec![own("GET"), key],
        }
    }

    fn flush(&mut self) -> Parts {
        let name = self.random.pick(&["FLUSHDB", "FLUSHALL", "FLUSHDB"]);
        if !self.random.one_in(3) {
            return vec![own("DBSIZE")];
        }
        words::line(&format!("{name}{}", self.random.pick(&["", " ASYNC", " sync", " NOSUCH"])))
    }

    fn of_connections(&mut self) -> Parts {
        match self.random.below(10) {
            0..4 => vec![own("SELECT"), self.database()],
            4 => vec![own("ECHO"), self.value()],
            5 => vec![own("PING"), self.value()],
            _ => words::line(self.random.pick(words::LINES)),
        }
    }

    fn many(&mut self, name: &str) -> Parts {
        let keys = (0..self.random.of(1..=4)).map(|_| self.key());
        std::iter::once(own(name)).chain(keys).collect()
    }

    fn scan_options(&mut self) -> Parts {
        let mut options = Vec::new();
        if self.random.one_in(2) {
            options.extend([own("MATCH"), self.pattern()]);
        }
        if self.random.one_in(2) {
            options.extend(words::line(self.random.pick(words::SCAN)));
        }
        options
    }

    fn key(&mut self) -> Vec<u8> {
        match self.random.below(30) {
            0 => vec![b'k'; 1000],
            1 => self.random.pick(words::STRANGE_KEYS).to_vec(),
            _ => own(self.random.pick(words::KEYS)),
        }
    }

    fn value(&mut self) -> Vec<u8> {
        match self.random.below(12) {
            0..3 => own(self.random.pick(words::INTEGERS)),
            3 => own(self.random.pick(words::FLOATS)),
            4 => vec![b'v'; self.random.of(40..=50)],
            5 => {
                let length = self.random.of(0..=300);
                self.random.bytes(length)
            }
            6 if self.random.one_in(10) => vec![b'x'; self.random.of(1000..=200_000)],
            _ => own(self.random.pick(words::VALUES)),
        }
    }

    fn index(&mut self) -> Vec<u8> {
        own(self.random.pick(words::INDEXES))
    }

    fn database(&mut self) -> Vec<u8> {
        match self.random.below(8) {
            0 => own(self.random.pick(words::DATABASES)),
            1 => own(&self.random.below(16).to_string()),
            _ => own(&self.random.below(2).to_string()),
        }
    }

    fn pattern(&mut self) -> Vec<u8> {
        (0..self.random.of(1..=4)).flat_map(|_| own(self.random.pick(words::PATTERN))).collect()
    }

    /// A time to live in seconds that no other command has.
    fn life_time(&mut self) -> u64 {
        loop {
            let multiple = 20 + self.random.below(100_000);
            if self.times.insert(multiple) {
                return 50 * multiple;
            }
        }
    }

    fn seconds(&mut self) -> Vec<u8> {
        match self.random.below(10) {
            0 => own(self.random.pick(words::TIMES)),
            _ => own(&self.life_time().to_string()),
        }
    }

    fn milliseconds(&mut self) -> Vec<u8> {
        match self.random.below(10) {
            0 => own(self.random.pick(words::TIMES)),
            _ => own(&(self.life_time() * 1000 + self.random.below(1000)).to_string()),
        }
    }

    /// A time in the far future, or one that is over.
    fn at(&mut self, unit: u64) -> Vec<u8> {
        match self.random.below(8) {
            0 => own(self.random.pick(words::TIMES)),
            1 => own(&(1 + self.random.below(1_000_000_000) * unit).to_string()),
            _ => own(&((4_000_000_000 + self.life_time()) * unit).to_string()),
        }
    }
}
