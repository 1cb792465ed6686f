//! Guards P2, P8, P10, P11, P13, P14: recovery and a second reader, written after `docs/format.md`, agree on
//! every log and on every damaged one: the records, the verdict, and where it falls.
//!
//! One seed gives one run; a directory on which the two disagree is kept, and its place is printed.
//! `DIFFERENTIAL_DIRECTORY=<place>` replays it, `DIFFERENTIAL_SEED` sets the seed and `DIFFERENTIAL_ROUNDS`
//! how many logs are damaged.
//!
//! What the fuzz targets begin with, and what once made them fail, lies in `fuzz/corpus` and is read here too. A
//! part of it is made of the fixtures: `UPDATE_FUZZ_CORPUS=1 cargo test --test differential`.

#![allow(clippy::expect_used)] // Clippy knows a test by its attribute, not the helpers beside it.

mod differential {
    mod guessed;
}

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};

use actix_wal::testkit::{Persist, Random};
use test_support::agree::{self, files_on};
use test_support::damages;
use test_support::driven::histories::{HISTORIES, History};
use test_support::environment::{number, seed};
use test_support::fuzz_input;
use test_support::naive::{Answer, Files, Opened};

/// Logs that are damaged, where nothing else is asked for.
const ROUNDS: u64 = 6000;

/// Histories that they are taken from: each kind three times.
const RECORDED: usize = 3 * HISTORIES.len();

/// A directory of real files.
fn read_directory(place: &Path) -> Files {
    let entries = fs::read_dir(place).expect("the directory is there");
    entries
        .map(|entry| entry.expect("an entry"))
        .map(|entry| {
            let name = entry.file_name().into_string().expect("a plain name");
            (name, fs::read(entry.path()).expect("readable"))
        })
        .collect()
}

/// Compares both readers; keeps the directory if they disagree.
fn agree(files: &Files, what: &str) -> Answer {
    catch_unwind(AssertUnwindSafe(|| agree::agree_on_directory(files))).unwrap_or_else(|panic| {
        let place = test_support::scratch::place().join("differential");
        let _ = fs::remove_dir_all(&place);
        fs::create_dir_all(&place).expect("a directory");
        for (name, bytes) in files {
            fs::write(place.join(name), bytes).expect("written");
        }
        println!("{what}\nto replay it: DIFFERENTIAL_DIRECTORY={}", place.display());
        resume_unwind(panic)
    })
}

fn fixtures() -> BTreeMap<String, Files> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v1");
    let entries = fs::read_dir(folder).expect("fixtures").map(|entry| entry.expect("an entry"));
    entries
        .filter(|entry| entry.path().is_dir())
        .map(|entry| {
            (entry.file_name().into_string().expect("plain"), read_directory(&entry.path()))
        })
        .collect()
}

/// What an answer is, to count them.
fn kind(answer: &Answer) -> String {
    match answer {
        Answer::Refused(what, ..) => format!("refused: {what:?}"),
        Answer::Opened(Opened { torn: Some(_), .. }) => "torn tail".to_owned(),
        Answer::Opened(Opened { clean: true, .. }) => "closed cleanly".to_owned(),
        Answer::Opened(_) => "ended uncleanly".to_owned(),
    }
}

/// What is left of a log at several instants of its lives: rotated, recycled, failed and restarted, checkpointed,
/// closed, killed or cut off.
fn left_by(mut history: History, random: &mut Random) -> Vec<Files> {
    history.block_size = random.pick(&[512, 512, 512, 1024, 4096]);
    let mut left = Vec::new();
    for stage in history.record(random.number()) {
        let mut cuts = stage.cuts();
        while cuts.advance() {
            if random.one_in(60) {
                let seed = random.number();
                let kinds = [Persist::Dropped, Persist::Kept, Persist::Torn { seed }];
                left.push(files_on(&cuts.image(random.pick(&kinds))));
            }
        }
        left.push(files_on(&cuts.killed()));
    }
    left
}

#[test]
fn p2_p8_p10_p11_p13_p14_both_readers_agree_on_every_log_and_on_every_damaged_one() {
    if let Some(place) = std::env::var_os("DIFFERENTIAL_DIRECTORY") {
        println!("{:?}", agree::agree_on_directory(&read_directory(Path::new(&place))));
        return;
    }
    let mut random = Random::new(seed("DIFFERENTIAL_SEED"));
    let histories = HISTORIES.iter().cycle().take(RECORDED);
    let mut logs: Vec<_> = histories.map(|history| left_by(*history, &mut random)).collect();
    for files in logs.iter().flatten() {
        let answer = agree(files, "as it was left");
        assert!(
            matches!(answer, Answer::Opened(_)),
            "what power loss leaves can be opened: {answer:?}"
        );
    }
    let whole = logs.iter().flatten().count();
    logs.extend(fixtures().into_values().map(|files| vec![files]));
    let mut seen: BTreeMap<String, u64> = BTreeMap::new();
    for round in 0..number("DIFFERENTIAL_ROUNDS").unwrap_or(ROUNDS) {
        let mut any = |logs: &[Vec<Files>]| {
            let log = &logs[random.below(logs.len() as u64) as usize];
            let mut one = || log[random.below(log.len() as u64) as usize].clone();
            (one(), one())
        };
        // The other files are those of an earlier or later instant of the log, or of another log.
        let (mut files, mut other) = any(&logs);
        if round % 4 == 0 {
            other = any(&logs).0;
        }
        for _ in 0..=random.below(3) {
            damages::damage(&mut files, &other, &mut random);
        }
        let answer = agree(&files, &format!("round {round}"));
        *seen.entry(kind(&answer)).or_default() += 1;
    }
    println!("{whole} logs as they were written, and damaged ones: {seen:#?}");
    assert_all_seen(&seen);
}

/// A disagreement can only be found where the readers come: every verdict there is, was given.
fn assert_all_seen(seen: &BTreeMap<String, u64>) {
    if seen.values().sum::<u64>() < ROUNDS {
        return;
    }
    let seen: BTreeSet<&str> = seen.keys().map(String::as_str).collect();
    let all = [
        "closed cleanly",
        "ended uncleanly",
        "torn tail",
        "refused: Sign",
        "refused: NewerVersion",
        "refused: Header",
        "refused: Foreign",
        "refused: WrongName",
        "refused: Impossible",
        "refused: Missing",
        "refused: Shortened",
        "refused: Frame",
        "refused: Contradiction",
    ];
    assert_eq!(seen, all.into_iter().collect(), "not every verdict was met");
}

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus")
}

#[test]
fn p11_both_readers_agree_on_every_input_of_the_fuzz_targets() {
    let inputs = read_directory(&corpus());
    assert!(inputs.len() >= fixtures().len(), "{}", inputs.len());
    for (name, input) in &inputs {
        println!("{name}: {}", kind(&agree(&fuzz_input::decode(input), name)));
    }
}

#[test]
fn the_fuzz_targets_begin_with_the_fixtures() {
    for (name, mut files) in fixtures() {
        // An input has room for three files.
        while files.len() > 3 {
            files.pop_last();
        }
        let input = fuzz_input::encode(0, &files);
        let place = corpus().join(format!("fixture-{name}"));
        if std::env::var_os("UPDATE_FUZZ_CORPUS").is_some() {
            fs::write(&place, &input).expect("written");
        }
        assert!(fs::read(&place).is_ok_and(|found| found == input), "{name} is not up to date");
        assert!(fuzz_input::decode(&input) == files, "{name} is not what it stands for");
    }
}

#[test]
fn p10_p11_both_readers_agree_on_the_fixtures() {
    let fixtures = fixtures();
    assert!(fixtures.len() >= 6, "{}", fixtures.len());
    for (name, files) in &fixtures {
        println!("{name}: {}", kind(&agree(files, name)));
    }
}
