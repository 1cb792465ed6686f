//! The same questions for a real `redis-server`: the tables say what it does, and commands by chance have the same answers.
//!
//! ```text
//! SEED=7 ROUNDS=100000 cargo test -p actix-wal-redis --lib beside_redis
//! ```

use std::time::{SystemTime, UNIX_EPOCH};

use test_support::real_redis::{Client, RealRedis};

use super::tables::TABLES;
use super::world::{World, shown};

fn start() -> Option<RealRedis> {
    RealRedis::start(&["--proto-max-bulk-len", "16mb"])
}

fn ask(redis: &mut Client, line: &str) -> String {
    shown(&redis.ask(line))
}

#[test]
fn each_row_of_the_tables_has_its_answer_in_redis() {
    let Some(redis) = start() else { return };
    let mut redis = redis.client();
    for (name, rows) in TABLES {
        ask(&mut redis, "FLUSHALL");
        ask(&mut redis, "SELECT 0");
        for (line, answer) in *rows {
            assert_eq!(ask(&mut redis, line), *answer, "{line:?} of {name}");
        }
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % bound as u64) as usize
    }

    fn of<'a>(&mut self, words: &'a str) -> &'a str {
        let words: Vec<_> = words.split(' ').collect();
        words[self.below(words.len())]
    }

    fn key(&mut self) -> &'static str {
        self.of(r#"a b c dd "" "n\x00l" "\xff" a[b] user:1 user:2"#)
    }

    fn integer(&mut self) -> String {
        match self.below(8) {
            0 => self.of("9223372036854775807 -9223372036854775808 9223372036854775808 -0 +1 1.5 01 x 9999 10000").into(),
            1 => self.of("9223372036854775 9223372036854776 -9223372036854775 -9223372036854776").into(),
            2 => (self.below(20) as i64 - 10).to_string(),
            3 => (self.below(100_000) as i64 - 50_000).to_string(),
            _ => (self.below(300) as i64 - 100).to_string(),
        }
    }

    fn float(&mut self) -> String {
        let (sign, shape) = (self.of("- + _ _ _").replace('_', ""), self.below(12));
        let digits = |random: &mut Self, most: usize| -> String {
            let length = 1 + random.below(most);
            (0..length).map(|_| char::from(b'0' + random.below(10) as u8)).collect()
        };
        let [whole, places] = [digits(self, 8), digits(self, 8)];
        let exponent = self.below(40) as i64 - 20;
        let far = self.below(10_000) as i64 - 5000;
        let long = digits(self, 40);
        match shape {
            0 => self.of("inf -inf nan infinity 1e 1e+ . 5. .5 0x 0x1p 0x1.8p3 -0x.8p-2 0xffp-1 1_0 1e5000 1e-5000 3.7e-4951 1e4932 1.2e4932 -1e4932 0e99999 0x1p16383 0x1p16384 0x1p-16445 0x1p-16447").into(),
            1 => format!("{sign}{whole}e{exponent}"),
            2 => format!("{sign}{whole}.{places}e{exponent}"),
            3 => format!("{sign}0.{long}"),
            4 => format!("{sign}{long}"),
            5 => format!("{sign}{long}.{places}"),
            6 => format!("{sign}{places}e{far}"),
            7 => self.integer(),
            8 => format!("{sign}.{long}e{exponent}"),
            _ => format!("{sign}{whole}.{places}"),
        }
    }

    fn value(&mut self) -> String {
        match self.below(6) {
            0 => self.integer(),
            1 => self.float(),
            2 => format!("\"{}\"", "x".repeat(self.below(60))),
            3 => self.of(r#""" "\x201" "1\x20" "a\x00b" "\r\n" "\xfe\xff" hello"#).into(),
            _ => self.below(12_000).to_string(),
        }
    }

    /// Nothing expires while the test runs, since the clocks of both are not the same.
    fn seconds(&mut self) -> &'static str {
        self.of("0 -5 x 3000 500000 100000000000 9223372036854775 9223372036854776")
    }

    fn timed(&mut self, key: &str) -> String {
        match self.below(2) {
            0 => format!("SETEX {key} {}", self.seconds()),
            _ => format!("PSETEX {key} {}000", self.seconds()),
        }
    }

    fn options(&mut self, words: &str) -> String {
        let mut options = String::new();
        for _ in 0..self.below(4) {
            let option = match self.below(7) {
                0 => format!("EX {}", self.seconds()),
                1 => format!("px {}", self.below(10_000_000) + 100_000),
                2 => format!("EXAT {}", self.of("4000000000 1 0 -5 x")),
                3 => format!("PXAT {}", self.of("4000000000000 1 0 9223372036854775807")),
                _ => self.of(words).to_owned(),
            };
            options = format!("{options} {option}");
        }
        options
    }

    fn line(&mut self) -> String {
        let [key, other] = [self.key(), self.key()];
        let [integer, another] = [self.integer(), self.integer()];
        let [value, float] = [self.value(), self.float()];
        match self.below(31) {
            0 => format!("SET {key} {value}{}", self.options("NX XX GET KEEPTTL nX EX PERSIST")),
            1 => format!("GETEX {key}{}", self.options("PERSIST NX persist")),
            2 => format!("GETRANGE {key} {integer} {another}"),
            3 => format!("SETRANGE {key} {} {value}", self.of("0 1 5 30 -1 x 16777216")),
            4 => format!("APPEND {key} {value}"),
            5 | 6 => format!("INCRBYFLOAT {key} {float}"),
            7 => format!("INCRBY {key} {integer}"),
            8 => format!("DECRBY {key} {integer}"),
            9 => format!("{} {key}", self.of("INCR DECR GET GETDEL STRLEN TYPE PERSIST EXISTS")),
            10 => format!("{} {key} {value}", self.of("GETSET SETNX")),
            11 => format!("{} {key} {value} {other} {value}", self.of("MSET MSETNX")),
            12 => format!("MGET {key} {other} {key}"),
            13 => format!("{} {key} {other}", self.of("DEL UNLINK EXISTS TOUCH MSET")),
            14 => format!("{} {key} {other}", self.of("RENAME RENAMENX")),
            15 => format!("MOVE {key} {}", self.of("0 1 2 3 16 -1 x 99999999999")),
            16 => format!("SWAPDB {} {}", self.of("0 1 2 x 16"), self.of("0 1 2 x -1")),
            17 => format!("SELECT {}", self.of("0 1 2")),
            18 => {
                let command = self.of("EXPIRE PEXPIRE");
                // By chance: two equal times are in another order if only one of the two clocks has gone on between them.
                let [near, far] = [9_000, 900_000].map(|least| self.below(least) + least);
                let words = format!("-1 0 {near} {far} {} 9223372036854775807 x", 10 * far);
                let time = self.of(&words).to_owned();
                format!(
                    "{command} {key} {time}000 {} {}",
                    self.of("NX XX gt LT GT"),
                    self.of("NX LT xx")
                )
            }
            19 => {
                let time = self.of("4000000000 5000000000 1 0 -1 -9223372036854775808 x");
                let command = self.of("EXPIREAT PEXPIREAT");
                format!("{command} {key} {time} {}", self.of("NX XX GT LT lt foo"))
            }
            20 => format!("EXPIREAT {key} {}", self.of("4000000001 5000000000 6000000000")),
            21 | 22 => format!("{} {key}", self.of("TTL EXPIRETIME PEXPIRETIME")),
            23 | 24 => format!("OBJECT {} {key}", self.of("ENCODING REFCOUNT encoding FREQ foo")),
            25 => format!("{} {value}", self.timed(key)),
            26 => format!("KEYS {}", self.pattern()),
            27 => format!("SCAN {} COUNT 1000 MATCH {}", self.of("0 x \"\""), self.pattern()),
            28 if self.below(20) == 0 => self.of("FLUSHDB FLUSHALL").into(),
            29 => "KEYS *".to_owned(),
            _ => format!("SET {key} {value}"),
        }
    }

    fn pattern(&mut self) -> String {
        let length = self.below(6);
        let part = |_| self.of(r#"a b * ? [ ] ^ - \\ \x00 \xff \x80 user : 1 [ab] [^a] **"#);
        format!("\"{}\"", (0..length).map(part).collect::<String>())
    }
}

/// An answer whose order is not said, in one.
fn ordered(line: &str, answer: &str) -> String {
    if !line.starts_with("KEYS") && !line.starts_with("SCAN") {
        return answer.to_owned();
    }
    let mut parts: Vec<_> = answer.split_whitespace().collect();
    parts.sort_unstable();
    parts.join(" ")
}

fn from_environment(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |value| value.parse().expect("a number"))
}

#[test]
fn commands_by_chance_have_the_answers_of_redis() {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
    let seed = from_environment("SEED", now());
    println!("SEED={seed}");
    let Some(redis) = start() else { return };
    let (mut random, mut world, mut redis) = (Random(seed), World::default(), redis.client());
    ask(&mut redis, "SELECT 0");
    let mut known = std::collections::BTreeMap::<_, usize>::new();
    for round in 0..from_environment("ROUNDS", 20_000) {
        let line = random.line();
        world.now = now();
        let [ours, theirs] =
            [world.ask(&line), ask(&mut redis, &line)].map(|it| ordered(&line, &it));
        // The second may have changed between the two.
        let is_time = line.starts_with("TTL") || line.contains("TIME");
        if is_time && ours != theirs {
            let [ours, theirs] = [&ours, &theirs].map(|it| it[1..].parse::<i64>().unwrap());
            assert!((ours - theirs).abs() <= 1000, "{line}: {ours} and {theirs}, round {round}");
            continue;
        }
        assert_eq!(ours, theirs, "round {round} of seed {seed}: {line}");
        *known.entry(theirs.split(' ').take(3).collect::<Vec<_>>().join(" ")).or_default() += 1;
    }
    // A run that meets only errors would say nothing.
    assert!(known.len() > 500, "{known:?}");
}

#[test]
fn floats_by_chance_are_read_added_and_printed_as_in_redis() {
    let seed = from_environment("SEED", std::process::id().into());
    println!("SEED={seed}");
    let Some(redis) = start() else { return };
    let (mut random, mut world, mut redis) = (Random(seed), World::default(), redis.client());
    let mut errors = 0;
    for round in 0..from_environment("ROUNDS", 20_000) {
        let (old, more) = (random.float(), random.float());
        for line in [format!("SET f {old}"), format!("INCRBYFLOAT f {more}")] {
            let (ours, theirs) = (world.ask(&line), ask(&mut redis, &line));
            assert_eq!(ours, theirs, "round {round} of seed {seed}: {old}, {line}");
            errors += u64::from(ours.starts_with('-'));
        }
    }
    assert!(errors > 0 && errors < from_environment("ROUNDS", 20_000) / 2, "{errors}");
}
