//! Guards P10, P14, P17: what recovery passes over it does not pass over without a word.

#![allow(clippy::expect_used, reason = "a test that can not go on has failed")]

use actix_wal::DamagePolicy;
use actix_wal::testkit::SimDisk;
use actix_wal::testkit::internals::Parts;
use test_support::recovered::for_the_next_life;
use test_support::small_logs::{change, config, killed_log, recover};
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

/// Where the last segment has one frame, that is carried over, and its file is cut while nothing in it is live: it is no file to
/// make a segment of. The log would warn that it can not, and be short of one.
#[test]
fn p17_a_file_that_recovery_has_cut_is_not_kept_to_be_used_again() {
    let mut found = 0;
    for records in 19..=27 {
        let disk = killed_log(records);
        let config = config();
        let shared = Parts::new(&config).shared;
        let begun = for_the_next_life(disk.mount().expect("free"), &config, &shared);
        for old in &begun.expect("it opens").removable {
            let length = disk.read_file(&old.name).map_or(0, |bytes| bytes.len() as u64);
            assert_eq!(old.size, length, "{} after {records} records", old.name);
        }
        found += usize::from(shared.catalog.segments().iter().all(|live| live.sequence != 4));
    }
    assert!(found > 0, "no log has ended behind the first frame of a segment");
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
