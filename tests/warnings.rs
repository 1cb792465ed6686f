//! Guards P10, P14: what recovery passes over it does not pass over without a word.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on has failed")]

use std::fmt::{self, Write};
use std::sync::{Arc, Mutex};

use actix_wal::DamagePolicy;
use actix_wal::testkit::SimDisk;
use test_support::small_logs::{change, killed_log, recover};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// Keeps the warnings.
#[derive(Clone, Debug, Default)]
struct Heard(Arc<Mutex<String>>);

struct Line<'a>(&'a mut String);

impl Visit for Line<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        write!(self.0, "{}={value:?} ", field.name()).unwrap();
    }
}

impl Subscriber for Heard {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::WARN
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        event.record(&mut Line(&mut self.0.lock().unwrap()));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// What is warned of while a log opens with all its records.
fn warnings(disk: &SimDisk) -> String {
    let heard = Heard::default();
    let recovered = tracing::subscriber::with_default(heard.clone(), || {
        recover(disk, DamagePolicy::Refuse).expect("it opens")
    });
    assert_eq!(recovered.report.last_lsn.get(), 27);
    let heard = heard.0.lock().unwrap();
    heard.clone()
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
