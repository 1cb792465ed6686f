//! Guards P10, P11, P20: who only looks at the files of a log changes nothing, needs no lock, finds all that is wrong,
//! and makes copies that open. That a look agrees with recovery and with the second reader on thousands of damaged logs is
//! checked where these are made: `tests/differential.rs`.

#![allow(clippy::expect_used)] // Clippy knows a test by its attribute, not the helpers beside it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use actix_wal::error::Holder;
use actix_wal::inspect::{
    CopyError, LogFiles, LogItem, Problem, SegmentOverview, SegmentState, Severity,
};
use actix_wal::storage::Directory;
use actix_wal::testkit::SimDisk;
use actix_wal::{FlushPolicy, Lsn, LsnRange, Wal, WalConfig};
use test_support::scratch::folder;
use test_support::small_logs::{change, closed_log, frames, killed_log, payload};
use test_support::{logs, settings, small_logs};

fn looked_at(disk: &SimDisk) -> LogFiles {
    LogFiles::on(disk.mount().expect("free"))
}

fn range(first: u64, last: u64) -> Option<LsnRange> {
    LsnRange::new(Lsn::new(first), Lsn::new(last))
}

fn damages(files: &LogFiles) -> Vec<Problem> {
    let findings = files.check(&mut |_| {}).expect("readable");
    findings.problems.into_iter().filter(|it| it.severity == Severity::Damage).collect()
}

#[test]
fn p10_a_check_goes_on_behind_each_damage_and_says_which_lsns_are_lost() {
    let disk = killed_log(27);
    let all = frames(&disk);
    // A frame a record: two damages in one segment, two frames that lie side by side, and one in the next segment.
    let bent: Vec<_> = [2, 5, 6, 12]
        .map(|lsn| {
            *all.iter()
                .find(|it| it.header.count > 0 && it.header.first_lsn.get() == lsn)
                .expect("there")
        })
        .into();
    for frame in &bent {
        change(&disk, frame.segment, |bytes| bytes[frame.offset as usize + 150] ^= 1);
    }
    let found = damages(&looked_at(&disk));
    let places: Vec<_> = found.iter().map(|it| (it.segment, it.offset)).collect();
    let expected: Vec<_> = bent.iter().map(|frame| (Some(frame.segment), frame.offset)).collect();
    assert_eq!(places, expected, "{found:?}");
    let lost: Vec<_> = found.iter().map(|it| it.lost).collect();
    assert_eq!(lost, [range(2, 2), range(5, 5), range(6, 6), range(12, 12)]);
    assert!(found.iter().all(|it| it.kind == "frame" && !it.remedy().is_empty()));
    assert!(found[0].to_string().ends_with("; LSN 2 is lost"), "{}", found[0]);

    let mut dumped = Vec::new();
    let (looked, mut told) = (looked_at(&disk), 0);
    let mut view = looked.frames(Lsn::FIRST).expect("readable");
    while let Some(next) = view.next().expect("readable") {
        match next {
            LogItem::Frame(frame) => dumped.extend(frame.records().map(|(lsn, bytes)| {
                assert_eq!(bytes, payload(lsn.get()));
                lsn.get()
            })),
            _ => told += 1,
        }
    }
    let rest: Vec<_> = (1..=27).filter(|lsn| ![2, 5, 6, 12].contains(lsn)).collect();
    assert_eq!((dumped, told), (rest, 4), "what is sound behind a damage is given out");
}

/// What is damaged, of which kind, and what is lost with it.
fn told(disk: &SimDisk) -> Vec<(u64, &'static str, Option<LsnRange>)> {
    let told = |it: Problem| (it.segment.expect("of a segment"), it.kind, it.lost);
    damages(&looked_at(disk)).into_iter().map(told).collect()
}

/// The LSNs that a dump gives.
fn dumped(disk: &SimDisk) -> Vec<u64> {
    let looked = looked_at(disk);
    let (mut frames, mut lsns) = (looked.frames(Lsn::FIRST).expect("readable"), Vec::new());
    while let Some(next) = frames.next().expect("readable") {
        if let LogItem::Frame(frame) = next {
            lsns.extend(frame.records().map(|(lsn, _)| lsn.get()));
        }
    }
    lsns
}

#[test]
fn p10_a_segment_that_is_missing_or_has_no_header_or_no_start_is_blamed_and_not_the_one_before() {
    let sound = killed_log(27);
    let files = looked_at(&sound);
    let overview = files.overview().expect("readable");
    let of = |sequence: u64| {
        let found = overview.segments.iter().find(|it| it.sequence == sequence);
        found.and_then(|it| it.started()?.lsns()).expect("records")
    };
    let (second, third) = (of(2), of(3));
    drop(files);
    let all: Vec<u64> = (1..=27).collect();
    let without = |gone: &dyn Fn(Lsn) -> bool| -> Vec<u64> {
        all.iter().copied().filter(|lsn| !gone(Lsn::new(*lsn))).collect()
    };

    // A damage before it, so that it is not the first that recovery finds.
    let bend = |disk: &SimDisk| change(disk, 1, |bytes| bytes[1024 + 150] ^= 1);
    let first = |disk: &SimDisk| frames(disk).into_iter().find(|it| it.offset == 1024);
    let bent = first(&sound).expect("a frame").header.first_lsn;
    let lost_first = (1, "frame", range(bent.get(), bent.get()));

    let disk = sound.fork();
    bend(&disk);
    disk.mount().expect("free").remove(&disk.names()[2]).expect("removed");
    assert_eq!(told(&disk), [lost_first, (3, "missing-segment", Some(third))]);

    let disk = sound.fork();
    bend(&disk);
    disk.write_file(&disk.names()[1], vec![7; 2048]);
    assert_eq!(told(&disk), [lost_first, (2, "segment-header", Some(second))]);
    assert_eq!(dumped(&disk), without(&|lsn| lsn == bent || second.contains(lsn)));

    let disk = sound.fork();
    bend(&disk);
    change(&disk, 3, |bytes| bytes[512] ^= 1);
    assert_eq!(told(&disk), [lost_first, (3, "frame", Some(third))]);
    // The records behind its start frame can still be read.
    let start =
        frames(&sound).into_iter().find(|it| it.segment == 3).expect("a start frame").header;
    let in_start = |lsn: Lsn| start.count > 0 && lsn >= start.first_lsn && lsn <= start.last_lsn();
    assert_eq!(dumped(&disk), without(&|lsn| lsn == bent || in_start(lsn)));
}

#[test]
fn an_overview_reads_no_record_and_says_what_the_log_says_of_itself() {
    let disk = closed_log(27);
    let files = looked_at(&disk);
    let overview = files.overview().expect("readable");
    assert_eq!(
        (overview.last_lsn.get(), overview.next_lsn.get(), overview.epoch.get()),
        (27, 28, 1)
    );
    assert!(overview.is_closed && overview.low_water.is_none() && overview.others.is_empty());
    let started: Vec<_> = overview.segments.iter().filter_map(|it| it.started()).collect();
    let mut next = 1;
    for one in &started {
        let lsns = one.lsns().expect("records");
        assert_eq!(lsns.first.get(), next, "segments follow each other");
        next = lsns.last.get() + 1;
    }
    assert_eq!(next, 28);
    let prepared = overview.segments.iter().filter(|it| matches!(it.state, SegmentState::Prepared));
    assert!(prepared.count() > 0, "{overview:?}");
    let outline = |at: usize| overview.outline(&files, &overview.segments[at]).expect("readable");
    let total: u64 = (0..started.len()).map(|at| outline(at).expect("started").records).sum();
    assert_eq!(total, 27);
    let (first, frames) = (outline(0).expect("started"), frames(&disk));
    let of_first = frames.iter().filter(|frame| frame.segment == 1);
    let bytes: u64 = of_first.map(|frame| frame.len as u64).sum();
    let counted = first.frames * 108 + first.record_bytes + first.padding;
    assert_eq!((counted, first.end), (bytes, bytes + 512), "headers, records and padding are all");
}

/// A log in a real directory that commits as fast as it can in small segments, and checkpoints behind itself.
struct Running {
    acknowledged: AtomicU64,
    stop: AtomicBool,
}

fn config_in(directory: &Path) -> WalConfig {
    let mut config = settings::blocks(64);
    config.directory = directory.to_owned();
    config.flush_policy = FlushPolicy::Eager;
    config
}

/// Runs `look` beside a log that is written to.
fn beside_an_owner(keep: u64, look: impl FnOnce(&LogFiles, &Running)) {
    let folder = folder();
    let config = config_in(folder.path());
    let running = Running { acknowledged: AtomicU64::new(0), stop: AtomicBool::new(false) };
    let wal = Wal::open(config).blocking().expect("opens");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !running.stop.load(Ordering::Relaxed) {
                let next = wal.status().accepted.next().get();
                let lsn = wal.commit_blocking(payload(next)).expect("durable");
                running.acknowledged.store(lsn.get(), Ordering::SeqCst);
                if lsn.get().is_multiple_of(64) && lsn.get() > keep {
                    wal.checkpoint_blocking(Lsn::new(lsn.get() - keep)).expect("released");
                }
            }
        });
        while running.acknowledged.load(Ordering::SeqCst) < 100 {
            std::thread::sleep(Duration::from_millis(1));
        }
        let stop = Stop(&running.stop);
        look(&LogFiles::open(folder.path()).expect("there"), &running);
        drop(stop);
    });
    wal.close_blocking().expect("closes");
}

/// Ends the load also if the look panics.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn p20_a_look_beside_an_owner_never_calls_a_write_that_is_under_way_a_damage() {
    beside_an_owner(200, |files, running| {
        assert!(matches!(files.owner(), Some(Holder::ThisProcess)), "{:?}", files.owner());
        for _ in 0..100 {
            let before = running.acknowledged.load(Ordering::SeqCst);
            let findings = files.check(&mut |_| {}).expect("readable");
            assert!(findings.worst() <= Some(Severity::Note), "{:?}", findings.problems);
            assert!(findings.had_owner);
            let last = findings.report.expect("it would open").last_lsn.get();
            assert!(
                last >= before,
                "LSN {before} was durable before, and the check ends at {last}"
            );
            let mut view = files.frames(Lsn::new(before)).expect("readable");
            let mut seen = 0;
            while let Some(next) = view.next().expect("readable") {
                let LogItem::Frame(frame) = next else { panic!("{next:?}") };
                seen = frame.records().last().map_or(seen, |(lsn, _)| lsn.get());
            }
            assert!(seen >= before, "LSN {before} was durable before, and a dump ends at {seen}");
        }
    });
}

/// A log whose first segments a checkpoint has released, and that are there, as after a power cut that undid their removal.
fn with_released_segments() -> SimDisk {
    let before = killed_log(27);
    let (disk, names) = (before.fork(), before.names());
    small_logs::run(async {
        let wal = Wal::open(small_logs::config()).on_storage(disk.mount().expect("free")).await;
        let wal = wal.expect("opens");
        wal.checkpoint(Lsn::new(20)).await.expect("released");
        wal.close().await.expect("closes");
    });
    for name in names.iter().filter(|name| name.ends_with(".wal")) {
        if disk.read_file(name).is_none() {
            disk.write_file(name, before.read_file(name).expect("there"));
        }
    }
    disk
}

#[test]
fn p10_a_deep_check_finds_what_is_damaged_in_released_segments_and_calls_nothing_lost() {
    let disk = with_released_segments();
    let overview = looked_at(&disk).overview().expect("readable");
    let is_released =
        |it: &&SegmentOverview| it.started().is_some_and(|it| overview.is_released(it));
    let count = overview.segments.iter().filter(is_released).count() as u64;
    assert!(count > 1, "{overview:?}");
    let sound = looked_at(&disk).check_deep(&mut |_| {}).expect("readable");
    assert_eq!((sound.released_segments, sound.worst()), (Some(count), None), "{sound:?}");

    let bent: Vec<_> = frames(&disk).into_iter().filter(|it| it.header.count > 0).take(2).collect();
    for frame in &bent {
        change(&disk, frame.segment, |bytes| bytes[frame.offset as usize + 150] ^= 1);
    }
    let shallow = looked_at(&disk).check(&mut |_| {}).expect("readable");
    assert_eq!((shallow.released_segments, shallow.worst()), (None, None), "{shallow:?}");
    assert!(shallow.bytes < sound.bytes);
    let deep = looked_at(&disk).check_deep(&mut |_| {}).expect("readable");
    let places: Vec<_> = deep.problems.iter().map(|it| (it.segment, it.offset)).collect();
    let expected: Vec<_> = bent.iter().map(|frame| (Some(frame.segment), frame.offset)).collect();
    assert_eq!(places, expected, "{deep:?}");
    assert!(deep.report.is_some() && deep.refusal.is_none(), "it opens");
    for problem in &deep.problems {
        assert_eq!((problem.severity, problem.lost), (Severity::Attention, None), "{problem}");
        assert!(problem.to_string().contains("a checkpoint has released it"), "{problem}");
    }
}

#[test]
fn p20_a_deep_check_beside_an_owner_takes_a_segment_that_goes_for_no_damage() {
    beside_an_owner(64, |files, _| {
        for _ in 0..100 {
            let findings = files.check_deep(&mut |_| {}).expect("readable");
            assert!(findings.worst() <= Some(Severity::Note), "{:?}", findings.problems);
        }
    });
}

fn records_in(directory: &Path) -> BTreeMap<Lsn, Vec<u8>> {
    let storage = Directory::open_existing(directory).expect("free");
    logs::records_in(std::sync::Arc::new(storage), &config_in(directory))
}

#[test]
fn p10_copies_of_a_running_log_open_with_all_that_was_acknowledged_before() {
    let backups = folder();
    beside_an_owner(2000, |files, running| {
        for round in 0..12 {
            let to = backups.path().join(format!("{round}"));
            let before = running.acknowledged.load(Ordering::SeqCst);
            let copied = files.copy_to(&to, None, &mut |_| {}).expect("copied");
            let records = records_in(&to);
            assert!(copied.last_lsn.get() >= before, "{before} was durable before: {copied:?}");
            assert_eq!(records.last_key_value().expect("records").0, &copied.last_lsn);
            assert_eq!(records.len() as u64, copied.records);
            let first = records.first_key_value().expect("records").0.get();
            let dense = (first..)
                .zip(&records)
                .all(|(lsn, (found, bytes))| found.get() == lsn && *bytes == payload(lsn));
            assert!(dense, "a copy has every record, as it was appended");
        }
    });
}

/// A closed log in a real directory.
fn real_log(records: u64) -> tempfile::TempDir {
    let folder = folder();
    let wal = Wal::open(config_in(folder.path())).blocking().expect("opens");
    (1..=records).for_each(|lsn| {
        wal.commit_blocking(payload(lsn)).expect("durable");
    });
    wal.close_blocking().expect("closes");
    folder
}

#[test]
fn p10_a_copy_up_to_an_lsn_ends_exactly_there_also_within_a_frame() {
    let folder = folder();
    test_support::small_logs::run(async {
        let wal = Wal::open(config_in(folder.path())).await.expect("opens");
        for first in (1..200).step_by(10) {
            let group: Vec<_> = (first..first + 10).map(payload).collect();
            wal.append_all(group).await.expect("accepted");
            wal.flush().await.expect("durable");
        }
        wal.close().await.expect("closes");
    });
    let files = LogFiles::open(folder.path()).expect("there");
    let to = test_support::scratch::folder();
    for until in [1, 5, 10, 11, 99, 100, 199, 200] {
        let to = to.path().join(until.to_string());
        let copied = files.copy_to(&to, Some(Lsn::new(until)), &mut |_| {}).expect("copied");
        assert_eq!((copied.last_lsn.get(), copied.records), (until, until));
        let found = records_in(&to);
        let expected = (1..=until).map(|lsn| (Lsn::new(lsn), payload(lsn))).collect();
        assert!(found == expected, "up to {until}: {:?}", found.keys().last());
        // And the log goes on in it.
        let wal = Wal::open(config_in(&to)).blocking().expect("opens");
        assert!(wal.commit_blocking("more").expect("durable").get() > until);
        wal.close_blocking().expect("closes");
    }
    for until in [201, 5000] {
        let error = files.copy_to(to.path().join("no"), Some(Lsn::new(until)), &mut |_| {});
        assert!(matches!(error, Err(CopyError::Beyond { .. })), "{error:?}");
    }
    assert!(!to.path().join("no").exists());
}

#[test]
fn a_copy_replaces_nothing_and_goes_over_what_an_interrupted_one_has_left() {
    let (log, to) = (real_log(40), folder());
    let files = LogFiles::open(log.path()).expect("there");
    let copy = |name: &str| files.copy_to(to.path().join(name), None, &mut |_| {});
    fs::create_dir(to.path().join("there")).expect("made");
    assert!(matches!(copy("there"), Err(CopyError::Exists(_))));
    // Killed in the middle: a part of the log under the name of no copy, and marked.
    let partial = to.path().join("a.partial");
    fs::create_dir(&partial).expect("made");
    fs::write(partial.join("incomplete-copy"), "").expect("written");
    fs::write(partial.join("00000000000000000001.wal"), "half").expect("written");
    // Another copy still writes there.
    let other = Directory::open_existing(&partial).expect("free");
    copy("a").expect_err("it is in use");
    drop(other);
    assert_eq!(fs::read(partial.join("00000000000000000001.wal")).expect("there"), b"half");
    copy("a").expect("copied");
    assert!(!partial.exists() && !to.path().join("a/incomplete-copy").exists());
    // A log that somebody has given such a name is not ours to remove.
    let (precious, named) = (real_log(3), to.path().join("c.partial"));
    fs::rename(precious.keep(), &named).expect("renamed");
    assert!(matches!(copy("c"), Err(CopyError::Exists(_))));
    assert_eq!(records_in(&named).len(), 3);
    let foreign = to.path().join("b.partial");
    fs::create_dir(&foreign).expect("made");
    fs::write(foreign.join("thesis.txt"), "mine").expect("written");
    let refused = copy("b").expect_err("something else lies there");
    assert!(refused.to_string().contains("thesis.txt"), "{refused}");
    assert_eq!(fs::read(foreign.join("thesis.txt")).expect("there"), b"mine");
}

#[test]
fn p10_a_damaged_log_is_not_copied_into_one_that_looks_sound() {
    let (log, to) = (real_log(100), folder());
    let first = log.path().join("00000000000000000001.wal");
    let mut bytes = fs::read(&first).expect("there");
    bytes[1536 + 150] ^= 1;
    fs::write(&first, bytes).expect("written");
    let files = LogFiles::open(log.path()).expect("there");
    let refused = files.copy_to(to.path().join("a"), None, &mut |_| {});
    assert!(matches!(refused, Err(CopyError::Damaged(_))), "{refused:?}");
    assert!(!to.path().join("a").exists(), "nothing has the name of a copy");
}

#[test]
fn p20_a_look_needs_no_lock_and_an_owner_is_known_by_its_process() {
    let log = real_log(5);
    let files = LogFiles::open(log.path()).expect("there");
    assert!(files.owner().is_none(), "{:?}", files.owner());
    let owner = Directory::open_existing(log.path()).expect("a look keeps nobody out");
    assert!(matches!(files.owner(), Some(Holder::ThisProcess)));
    assert_eq!(files.check(&mut |_| {}).expect("readable").records, 5);
    drop(owner);
    assert!(files.owner().is_none());
}

#[test]
fn p20_what_is_no_log_is_an_answer() {
    let folder = folder();
    let files = || LogFiles::open(folder.path()).expect("there");
    let kind = || {
        let findings = files().check(&mut |_| {}).expect("readable");
        findings.problems.first().map(|problem| problem.kind)
    };
    assert_eq!(kind(), Some("no-log"));
    assert!(files().overview().expect("readable").has_no_log());
    assert!(files().preview_salvage().is_err());
    fs::create_dir(folder.path().join("00000000000000000001.wal")).expect("made");
    assert_eq!(kind(), Some("sign"));
    assert!(LogFiles::open(folder.path().join("nowhere")).is_err());
    let file = folder.path().join("file");
    fs::write(&file, "x").expect("written");
    assert!(LogFiles::open(&file).is_err());
}

#[test]
fn p20_what_looks_damaged_beside_an_owner_is_looked_at_again_and_called_damage_if_it_stays() {
    let log = real_log(100);
    let path = log.path().join("00000000000000000001.wal");
    let sound = fs::read(&path).expect("there");
    let mut bent = sound.clone();
    bent[1536 + 150] ^= 1;
    let _owner = Directory::open_existing(log.path()).expect("free");
    let files = LogFiles::open(log.path()).expect("there");
    let worst = |while_it_looks: &mut dyn FnMut()| {
        fs::write(&path, &bent).expect("written");
        files.check(&mut |_| while_it_looks()).expect("readable").worst()
    };
    // As if the owner had been writing it: it is called once the damage has been seen.
    let mut looks = 0;
    let seen = worst(&mut || {
        looks += 1;
        fs::write(&path, &sound).expect("written");
    });
    assert!(looks > 0 && seen < Some(Severity::Attention), "{seen:?} after {looks}");
    assert_eq!(worst(&mut || {}), Some(Severity::Damage));
}
