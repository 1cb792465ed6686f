//! Guards P1, P8, P9: the soak stays alive. It runs for a few seconds with its children and faults, its
//! ledger finds what is lost, there twice or risen, and its floors find a leak.

#![allow(clippy::expect_used, reason = "a test that can not go on has failed")]
#![allow(dead_code)] // The parts of the example that only its command line uses.

use std::process::Command;
use std::time::Duration;
use test_support::quickstart::payload;
use test_support::soak::ledger;
use test_support::soak::run;

use actix_wal::Lsn;
use test_support::soak::floors::{ENOUGH, Sample, rising};
use test_support::soak::ledger::{Ledger, Replayed};
use test_support::soak::told::Told;

/// The child of the test below; alone it does nothing.
#[test]
fn a_child() {
    run::silence_injected_panics();
    run::be_a_child_if_told();
}

#[test]
fn a_soak_of_a_few_seconds_kills_fails_compares_and_finds_nothing() {
    run::silence_injected_panics();
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

/// A ledger that was told of LSN 1 and 2 (client 7), of one refused, one unknown, and one in flight.
fn ledger() -> Ledger {
    let mut ledger = Ledger::default();
    ledger.admit([7, 8]);
    for (sequence, lsn) in [(0, 1), (1, 2)] {
        ledger.note(Told::Durable { client: 7, sequence, lsn: Lsn::new(lsn) });
    }
    ledger.note(Told::NotDurable { client: 7, sequence: 2 });
    ledger.note(Told::Unknown { client: 7, sequence: 3 });
    ledger
}

/// Lost, duplicated, resurrected, otherwise broken.
fn compare(ledger: &mut Ledger, log: &[(u64, u64, u64)], low_water: u64) -> [u64; 4] {
    let mut replayed = Replayed::default();
    for &(lsn, client, sequence) in log {
        let bytes = payload::encode(client, sequence, ledger::size_of(client));
        replayed.push(Lsn::new(lsn), &bytes);
    }
    ledger.compare(replayed, Lsn::new(low_water));
    let counts = &ledger.counts;
    [counts.lost, counts.duplicated, counts.resurrected, counts.broken]
}

#[test]
fn the_ledger_finds_every_contradiction_and_forgets_only_what_was_released() {
    let sound: &[_] = &[(1, 7, 0), (2, 7, 1)];
    for (name, more, from, low_water, expected) in [
        ("sound", &[][..], 0, 0, [0, 0, 0, 0]),
        ("the open ones are there", &[(3, 7, 3), (4, 7, 4), (5, 8, 0)][..], 0, 0, [0, 0, 0, 0]),
        ("the first is lost", &[], 1, 0, [1, 0, 0, 0]),
        ("all is lost", &[], 2, 0, [2, 0, 0, 0]),
        ("the first was released", &[], 1, 1, [0, 0, 0, 0]),
        ("one that was refused is there", &[(3, 7, 2)], 0, 0, [0, 0, 1, 0]),
        ("one that nobody submitted is there", &[(3, 8, 1)], 0, 0, [0, 0, 1, 0]),
        ("one is there twice", &[(3, 7, 0)], 0, 0, [0, 1, 0, 0]),
        ("out of order", &[(2, 7, 3)], 0, 0, [0, 1, 0, 0]),
        ("released more than asked for", &[], 2, 2, [0, 0, 0, 1]),
    ] {
        let mut ledger = ledger();
        ledger.note(Told::Checkpoint(Lsn::FIRST));
        let log = [&sound[from..], more].concat();
        assert_eq!(compare(&mut ledger, &log, low_water), expected, "{name}");
    }
    let mut ledger = ledger();
    assert_eq!(compare(&mut ledger, sound, 0), [0; 4]);
    let risen = [sound, &[(3, 7, 3)]].concat();
    assert_eq!(compare(&mut ledger, &risen, 0), [0, 0, 1, 0], "it was not there once");
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
    for line in ["", "test a_child ... ", "A 1 2 3", "!A 1 2", "!X 1", "!A 1 2 x"] {
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
