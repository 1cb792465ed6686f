//! Guards P25 for what stands on it: one script of several thousand commands, generated from a seed, against our server and
//! Debian's redis-server side by side. Each answer is equal byte for byte, errors too; answers about time are within
//! bounds, and what has no order is compared as a set. At the end all keys of all databases are compared.
//!
//! `WAL_REDIS_SEED` repeats a script; `WAL_REDIS_SCRIPTS` is how many there are, and `WAL_REDIS_STEPS` how long each is.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on has failed")]

mod agree;
mod pair;
mod script;
mod shrink;
#[path = "../support/mod.rs"]
mod support;
mod words;

use std::path::Path;

use self::pair::Pair;
use self::script::{Step, script};
use self::shrink::shrink;
use self::support::program::Server;
use self::support::tools::has_redis_server;
use self::words::{Parts, own};
use test_support::environment::{number, seed};
use test_support::scratch::folder;

/// Runs the script of a seed, and panics with what there is to know if answers differ.
fn compare(pair: &mut Pair, seed: u64, steps: usize) {
    let script = script(seed, steps, pair.password());
    let tally = match pair.run(&script) {
        Ok(tally) => tally,
        Err(difference) => {
            let shown = shown(pair, &script[..script.len().min(difference.position + 1)]);
            panic!("WAL_REDIS_SEED={seed} WAL_REDIS_STEPS={steps}: {difference}\n{shown}");
        }
    };
    println!("seed {seed}: {tally:?}");
    if steps >= 1000 && pair.password().is_none() {
        assert!(tally.errors * 2 < tally.answers, "most of it has to be valid: {tally:?}");
        assert!(tally.executed > steps / 200, "transactions have to be executed: {tally:?}");
        assert!(tally.not_executed > steps / 2000, "and some not: {tally:?}");
    }
}

/// The same with fewer steps.
fn shown(pair: &mut Pair, script: &[Step]) -> String {
    let short = shrink(script, |script| pair.run(script).is_err());
    let steps: Vec<_> = short.iter().map(|step| format!("{step:?}\n")).collect();
    match pair.run(&short) {
        Ok(_) => "a second run of it does not fail".to_owned(),
        Err(difference) => {
            format!("shrunk to {} steps: {difference}\n{}", steps.len(), steps.concat())
        }
    }
}

#[test]
fn p25_a_script_of_thousands_of_commands_is_answered_as_redis_answers_it() {
    if !has_redis_server() {
        return;
    }
    let folder = folder();
    let mut pair = pair(folder.path(), &[]);
    let (scripts, steps) = (number("WAL_REDIS_SCRIPTS").unwrap_or(2), steps());
    let first = seed("WAL_REDIS_SEED");
    for seed in first..first + scripts {
        compare(&mut pair, seed, steps);
    }
}

#[test]
fn p25_a_script_of_thousands_of_commands_is_answered_as_redis_answers_it_behind_a_password() {
    if !has_redis_server() {
        return;
    }
    let folder = folder();
    let mut pair = pair(folder.path(), &["--requirepass", "secret"]).with_password("secret");
    compare(&mut pair, seed("WAL_REDIS_SEED"), steps() / 2);
}

fn steps() -> usize {
    number("WAL_REDIS_STEPS").unwrap_or(4000)
}

/// Ours, and one of Debian.
fn pair(folder: &Path, options: &[&str]) -> Pair {
    let (ours, theirs) = (folder.join("ours"), folder.join("theirs"));
    std::fs::create_dir_all(&theirs).unwrap();
    Pair::new(Server::ours(&ours, options), Server::redis(&theirs, options))
}

/// A pair of two of theirs, of which one gets other requests.
fn twisted(folder: &Path, twist: fn(&Parts) -> Option<Parts>) -> Pair {
    let server = |name: &str| {
        let directory = folder.join(name);
        std::fs::create_dir_all(&directory).unwrap();
        Server::redis(&directory, &[])
    };
    Pair::new(server("one"), server("other")).twisted(twist)
}

#[test]
fn the_comparison_finds_nothing_between_two_that_are_the_same() {
    if has_redis_server() {
        let folder = folder();
        compare(&mut twisted(folder.path(), |_| None), seed("WAL_REDIS_SEED"), 2000);
    }
}

#[test]
fn the_comparison_finds_a_server_that_counts_wrong_and_shrinks_the_script() {
    if !has_redis_server() {
        return;
    }
    let folder = folder();
    let mut pair = twisted(folder.path(), |parts| {
        let is_incr = parts.len() == 2 && parts[0].eq_ignore_ascii_case(b"INCR");
        is_incr.then(|| vec![own("INCRBY"), parts[1].clone(), own("2")])
    });
    let script = script(seed("WAL_REDIS_SEED"), 2000, None);
    let difference = pair.run(&script).expect_err("they differ");
    let short = shrink(&script[..=difference.position], |script| pair.run(script).is_err());
    assert!(short.len() <= 6, "{short:?}");
}

#[test]
fn the_comparison_finds_what_only_the_state_shows() {
    if !has_redis_server() {
        return;
    }
    let folder = folder();
    // The answer to SETEX does not show the time.
    let mut pair = twisted(folder.path(), |parts| {
        let is_setex = parts.len() == 4 && parts[0].eq_ignore_ascii_case(b"SETEX");
        is_setex.then(|| vec![own("SET"), parts[1].clone(), parts[3].clone()])
    });
    let steps = [Step::send(0, "SELECT 7"), Step::send(0, "SETEX a 5000 b"), Step::send(1, "PING")];
    let difference = pair.run(&steps).expect_err("they differ").to_string();
    assert!(difference.contains("step 3: \"PTTL\" \"a\""), "{difference}");
}
