//! Guards P1, P2, P8, P9: the soak stays alive. It runs for a few seconds with its children and faults; the ledger
//! that it shares with the quickstart finds what is lost, there twice, risen or invented; its floors find a leak.

#![allow(clippy::expect_used, reason = "a test that can not go on has failed")]

use std::process::Command;
use std::time::Duration;

use actix_wal::Lsn;
use demo::child;
use demo::clients::ledger::{Counts, Ledger, Replayed};
use demo::clients::payload;
use demo::clients::told::Told;
use demo::panics::silence_injected_panics;
use demo::soak::floors::{ENOUGH, Sample, rising};
use demo::soak::run;

/// The child of the test below; alone it does nothing.
#[test]
fn a_child() {
    child::be_one_if_asked();
}

#[test]
fn a_soak_of_a_few_seconds_kills_fails_compares_and_finds_nothing() {
    silence_injected_panics();
    let parent = test_support::scratch::folder();
    let mut again = Command::new(std::env::current_exe().expect("a path"));
    again.args(["--exact", "a_child", "--nocapture"]);
    let mut soak = run::Soak::new(&parent.path().join("log"), again, 1);
    for _ in 0..3 {
        soak.period(Duration::from_secs(1)).expect("it can be carried out");
    }
    let ledger = soak.ledger();
    let counts = &ledger.counts;
    assert!(counts.are_sound(), "{counts:?} {:?}", ledger.examples);
    assert!(counts.acknowledged > 100 && counts.compared > 0 && counts.faults > 0, "{counts:?}");
    assert!(soak.kills >= 1 && counts.opens >= 6, "{} {counts:?}", soak.kills);
    assert!(soak.samples.iter().all(|sample| sample.fds > 0 && sample.files > 0));
}

/// Two clients. Of client 0: LSNs 1 and 3 acknowledged, the next one not durable, LSN 7 acknowledged. Of
/// client 1: LSN 2 acknowledged, and one of which nobody knows. Each has its next one in flight.
fn ledger() -> Ledger {
    let mut ledger = Ledger::default();
    ledger.admit([0, 1]);
    for line in ["!A 0 0 1", "!A 1 0 2", "!A 0 1 3", "!N 0 2", "!U 1 1", "!A 0 3 7"] {
        ledger.note(Told::parse(line).expect("a report"));
    }
    ledger
}

/// A log, as LSN, client and sequence.
type Log<'a> = &'a [(u64, u64, u64)];

/// The log that goes with the ledger, without what may be there or not.
const SOUND: Log<'static> = &[(1, 0, 0), (2, 1, 0), (3, 0, 1), (7, 0, 3)];

/// Lost, duplicated, resurrected, otherwise broken.
fn compare(ledger: &mut Ledger, log: Log<'_>, low_water: u64) -> [u64; 4] {
    let mut replayed = Replayed::default();
    for &(lsn, client, sequence) in log {
        replayed.push(Lsn::new(lsn), &payload::encode(client, sequence, 41));
    }
    ledger.compare(replayed, Lsn::new(low_water));
    let Counts { lost, duplicated, resurrected, broken, .. } = ledger.counts;
    assert_eq!(ledger.counts.are_sound(), ledger.examples.is_empty(), "{:?}", ledger.examples);
    [lost, duplicated, resurrected, broken]
}

#[test]
fn the_ledger_finds_every_contradiction_and_forgets_only_what_was_released() {
    let in_flight = [(8, 1, 1), (9, 0, 4), (10, 1, 2)];
    let moved = [(1, 0, 0), (2, 1, 0), (4, 0, 1), (7, 0, 3)];
    let cases: [(&str, Log<'_>, Log<'_>, u64, [u64; 4]); 16] = [
        ("sound", SOUND, &[], 0, [0, 0, 0, 0]),
        ("all that may be there is there", SOUND, &in_flight, 0, [0, 0, 0, 0]),
        ("the first one is lost", &SOUND[1..], &[], 0, [1, 0, 0, 0]),
        ("the last one is lost", &SOUND[..3], &[], 0, [1, 0, 0, 0]),
        ("all is lost", &[], &[], 0, [4, 0, 0, 0]),
        ("the first one was released", &SOUND[1..], &[], 1, [0, 0, 0, 0]),
        ("released more than asked for", &SOUND[2..], &[], 2, [0, 0, 0, 1]),
        ("there twice", SOUND, &[(8, 0, 3)], 0, [0, 1, 0, 0]),
        ("an LSN twice", SOUND, &[(7, 0, 4)], 0, [0, 1, 0, 0]),
        ("out of order", SOUND, &[(6, 0, 4)], 0, [0, 1, 0, 0]),
        ("was not durable", SOUND, &[(8, 0, 2)], 0, [0, 0, 1, 0]),
        ("two in flight of one client", SOUND, &[(8, 0, 4), (9, 0, 5)], 0, [0, 0, 1, 0]),
        ("one that nobody submitted", SOUND, &[(8, 1, 3)], 0, [0, 0, 1, 0]),
        ("of no client", SOUND, &[(8, 2, 0)], 0, [0, 0, 1, 0]),
        (
            "one that is lost and one that is not durable",
            &SOUND[1..],
            &[(8, 0, 2)],
            0,
            [1, 0, 1, 0],
        ),
        ("under another LSN than was told", &moved, &[], 0, [1, 0, 1, 0]),
    ];
    for (name, log, more, low_water, expected) in cases {
        let mut ledger = ledger();
        ledger.note(Told::Checkpoint(Lsn::FIRST));
        let log = [log, more].concat();
        assert_eq!(compare(&mut ledger, &log, low_water), expected, "{name}");
        let there = ledger.recovered + ledger.in_flight;
        assert!(there == log.len() as u64 || expected[1] > 0, "{name}");
    }
}

#[test]
fn what_one_open_has_found_or_not_found_holds_for_all_later_ones() {
    let adopted = [SOUND, &[(8, 1, 1)]].concat();
    let mut settled = ledger();
    for _ in 0..2 {
        assert_eq!(compare(&mut settled, &adopted, 0), [0; 4]);
        assert_eq!((settled.recovered, settled.in_flight), (4, 1));
    }
    assert_eq!(compare(&mut settled.clone(), SOUND, 0), [1, 0, 0, 0], "it was there once");
    let risen = [&adopted[..], &[(9, 0, 4)]].concat();
    assert_eq!(compare(&mut settled, &risen, 0), [0, 0, 1, 0], "it was not there once");

    let mut settled = ledger();
    assert_eq!(compare(&mut settled, &SOUND[..3], 0), [1, 0, 0, 0]);
    assert_eq!(compare(&mut settled, &SOUND[..3], 0), [1, 0, 0, 0], "it is said once");
    assert_eq!(compare(&mut settled, SOUND, 0), [1, 0, 1, 0], "it was not there once");
}

#[test]
fn a_single_wrong_bit_anywhere_in_a_record_is_seen() {
    const SIZE: usize = 41;
    let good = payload::encode(0, 3, SIZE);
    assert_eq!(payload::decode(&good), Some((0, 3)));
    for bit in 0..SIZE * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(payload::decode(&bad), None, "bit {bit}");
    }
    for size in 0..SIZE {
        assert_eq!(payload::decode(&good[..size]), None, "cut to {size}");
    }
}

#[test]
fn reports_that_make_no_sense_are_found() {
    let mut earlier = ledger();
    assert_eq!(compare(&mut earlier, SOUND, 0), [0; 4]);
    for (what, mut ledger, line) in [
        ("not the next one", ledger(), "!A 0 5 8"),
        ("told twice", ledger(), "!N 0 3"),
        ("no such client", ledger(), "!A 9 0 8"),
        ("a client of an earlier life", earlier, "!A 0 5 9"),
    ] {
        ledger.note(Told::parse(line).expect("a report"));
        assert_eq!(ledger.counts.broken, 1, "{what}");
    }
}

#[test]
fn what_is_told_through_the_pipe_is_what_was_said() {
    let (client, sequence) = (3, 9);
    for told in [
        Told::Durable { client, sequence, lsn: Lsn::new(4) },
        Told::NotDurable { client, sequence },
        Told::Unknown { client, sequence },
        Told::Checkpoint(Lsn::new(5)),
        Told::Faults { injected: 1, restarts: 2 },
        Told::Broken("in so many words".to_owned()),
    ] {
        assert_eq!(Told::parse(&told.to_string()), Some(told));
    }
    for line in ["", "test a_child ... ", "A 1 2 3", "!A 1 2", "!X 1", "!A 1 2 x", "!N 1"] {
        assert_eq!(Told::parse(line), None, "{line:?}");
    }
}

/// A quantity, and how it leaks from period to period.
type Leak = (&'static str, fn(&mut Sample, u64));

#[test]
fn a_floor_that_rises_is_a_leak_and_noise_is_none() {
    let still = Sample { fds: 5, threads: 1, rss_kib: 20_000, files: 3, disk_bytes: 1 << 20 };
    let leaks: [Leak; 5] = [
        ("fds", |sample, period| sample.fds += period / 4),
        ("threads", |sample, period| sample.threads += period / 4),
        ("rss_kib", |sample, period| sample.rss_kib += 4000 * period),
        ("files", |sample, period| sample.files += period),
        ("disk_bytes", |sample, period| sample.disk_bytes += period << 20),
    ];
    for (name, leak) in leaks {
        let samples = |leaks_until: u64| {
            let sample = |period: u64| {
                let mut sample = still;
                leak(&mut sample, period.min(leaks_until));
                // Noise: every other period holds more.
                sample.rss_kib += period % 2 * 5000;
                sample
            };
            (0..16).map(sample).collect::<Vec<_>>()
        };
        assert_eq!(rising(&samples(16)), [name]);
        assert!(rising(&samples(3)).is_empty(), "{name}: it warms up, then stays");
        assert!(rising(&samples(16)[..ENOUGH - 1]).is_empty(), "{name}: too short to tell");
    }
}
