//! Guards P10, P14: what recovery passes over it does not pass over without a word.

#![allow(clippy::expect_used, reason = "a test that can not go on has failed")]

use actix_wal::DamagePolicy;
use actix_wal::testkit::SimDisk;
use test_support::small_logs::{change, killed_log, recover};
use test_support::traces::Traces;
use tracing::Level;

/// What is warned of while a log opens with all its records.
fn warnings(disk: &SimDisk) -> String {
    let warnings = Traces::of(Level::WARN);
    let recovered = tracing::subscriber::with_default(warnings.clone(), || {
        recover(disk, DamagePolicy::Refuse).expect("it opens")
    });
    assert_eq!(recovered.report.last_lsn.get(), 27);
    warnings.text()
}

#[test]
fn p14_what_lies_behind_the_size_of_a_segment_is_warned_of() {
    let sound = killed_log(27);
    assert_eq!(warnings(&sound.fork()), "");
    let disk = sound.fork();
    change(&disk, 4, |bytes| bytes.extend([1; 100]));
    let said = warnings(&disk);
    for part in ["what lies behind the segment is ignored", "4.wal", "size=6144", "found=6244"] {
        assert!(said.contains(part), "{said}");
    }
}

#[test]
fn p10_a_segment_that_lacks_zeros_is_warned_of() {
    let disk = killed_log(27);
    change(&disk, 4, |bytes| bytes.truncate(4096));
    let said = warnings(&disk);
    for part in ["the segment lacks zeros at its end", "4.wal", "expected=6144", "found=4096"] {
        assert!(said.contains(part), "{said}");
    }
}
