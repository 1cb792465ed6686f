//! Guards P1, P2, P8: the quickstart's comparison of a log with what its clients were told finds every
//! record that is lost, there twice, or invented.

#![allow(clippy::unwrap_used)] // also in the helpers of the tests

use actix_wal::Lsn;
use test_support::quickstart::ledger::{Check, Findings, Ledger};
use test_support::quickstart::payload;

const SIZE: usize = 41;

/// Two clients. Of client 0: LSNs 1 and 3 acknowledged, the next one not durable, LSN 7 acknowledged. Of
/// client 1: LSN 2 acknowledged, and one of which nobody knows.
fn ledger() -> Ledger {
    let mut ledger = Ledger::default();
    assert_eq!(ledger.admit(2), 0);
    for line in ["A 0 0 1\n", "A 1 0 2\n", "A 0 1 3\n", "N 0 2\n", "U 1 1\n", "A 0 3 7\n"] {
        ledger.note(line).unwrap();
    }
    ledger
}

/// A log, as LSN, client and sequence.
type Log<'a> = &'a [(u64, u64, u64)];

/// The log that goes with the ledger, without what may be there or not.
const SOUND: Log<'static> = &[(1, 0, 0), (2, 1, 0), (3, 0, 1), (7, 0, 3)];

fn check(ledger: Ledger, log: Log<'_>) -> (Ledger, Findings) {
    let mut check = Check::new(ledger, SIZE);
    for &(lsn, client, sequence) in log {
        check.see(Lsn::new(lsn), &payload::encode(client, sequence, SIZE));
    }
    check.finish()
}

/// Lost, twice, invented.
type Counts = (u64, u64, u64);

fn counts(findings: &Findings) -> Counts {
    (findings.lost, findings.duplicated, findings.invented)
}

#[test]
fn a_log_that_holds_what_was_acknowledged_is_sound_with_and_without_what_was_in_flight() {
    let (_, findings) = check(ledger(), SOUND);
    assert!(findings.are_sound(), "{findings:?}");
    assert_eq!((findings.recovered, findings.in_flight), (4, 0));

    // Of unknown outcome, and the next one of each client.
    let more = [SOUND, &[(8, 1, 1), (9, 0, 4), (10, 1, 2)]].concat();
    let (_, findings) = check(ledger(), &more);
    assert!(findings.are_sound(), "{findings:?}");
    assert_eq!((findings.recovered, findings.in_flight), (4, 3));
}

#[test]
fn every_contradiction_is_found_and_described() {
    let cases: [(&str, Log<'_>, Counts); 8] = [
        ("the last one is lost", &SOUND[..3], (1, 0, 0)),
        ("the first one is lost", &SOUND[1..], (1, 0, 0)),
        ("all is lost", &[], (4, 0, 0)),
        ("there twice", &[SOUND, &[(8, 0, 3)]].concat(), (0, 1, 0)),
        ("an LSN twice", &[SOUND, &[(7, 0, 4)]].concat(), (0, 1, 0)),
        ("was not durable", &[SOUND, &[(8, 0, 2)]].concat(), (0, 0, 1)),
        ("two in flight of one client", &[SOUND, &[(8, 0, 4), (9, 0, 5)]].concat(), (0, 0, 1)),
        ("of no client", &[SOUND, &[(8, 2, 0)]].concat(), (0, 0, 1)),
    ];
    for (name, log, expected) in cases {
        let (_, findings) = check(ledger(), log);
        assert_eq!(counts(&findings), expected, "{name}: {findings:?}");
        assert!(!findings.are_sound() && !findings.examples.is_empty(), "{name}");
    }
    let moved = [(1, 0, 0), (2, 1, 0), (4, 0, 1), (7, 0, 3)];
    assert_eq!(counts(&check(ledger(), &moved).1), (1, 0, 1), "under another LSN than was told");
}

#[test]
fn a_single_wrong_bit_anywhere_in_a_record_is_seen() {
    let good = payload::encode(0, 3, SIZE);
    assert_eq!(payload::decode(&good, SIZE), Some((0, 3)));
    for bit in 0..SIZE * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(payload::decode(&bad, SIZE), None, "bit {bit}");
    }
    for size in 0..SIZE {
        assert_eq!(payload::decode(&good[..size], SIZE), None, "cut to {size}");
    }
}

#[test]
fn what_one_open_has_found_or_not_found_holds_for_all_later_ones() {
    let adopted = [SOUND, &[(8, 1, 1)]].concat();
    let (settled, findings) = check(ledger(), &adopted);
    assert!(findings.are_sound());
    assert!(check(settled.clone(), &adopted).1.are_sound());

    assert_eq!(counts(&check(settled.clone(), SOUND).1), (1, 0, 0), "it was there once");
    let risen = [&adopted[..], &[(9, 0, 4)]].concat();
    assert_eq!(counts(&check(settled, &risen).1), (0, 0, 1), "it was not there once");

    let (settled, findings) = check(ledger(), &SOUND[..3]);
    assert_eq!(counts(&findings), (1, 0, 0));
    assert_eq!(counts(&check(settled, &SOUND[..3]).1), (1, 0, 0), "it stays lost");
}

#[test]
fn reports_that_make_no_sense_are_refused() {
    for line in ["", "A 0 4 8", "A 0 4\n", "A 0 5 8\n", "A 9 0 8\n", "X 1\n", "A 0 4 x\n", "N 0\n"]
    {
        assert!(ledger().note(line).is_err(), "{line:?}");
    }
    let (mut settled, _) = check(ledger(), SOUND);
    assert!(settled.note("A 0 5 9\n").is_err(), "a client of an earlier round");
}
