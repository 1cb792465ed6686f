//! Holds the crate against the second reader of the format: on the same bytes both say the same.

use actix_wal::error::DamageKind;
use actix_wal::inspect::{LogFiles, LogItem, Problem, Severity};
use actix_wal::testkit::SimDisk;
use actix_wal::testkit::internals::Parts;
use actix_wal::testkit::internals::format::scan::{Until, Verdict};
use actix_wal::testkit::internals::format::segment::{HeaderFault, SegmentHeader};
use actix_wal::{DamagePolicy, Lsn, OpenError, WalConfig};

use crate::naive::{self, Answer, End, Files, Opened, What};
use crate::recovered::{Recovered, replayed};
use crate::segments::{Scan, scan};
use crate::settings;

/// How many LSNs a life that this file opens may have in flight.
const IN_FLIGHT: usize = 16;

/// Small blocks and small segments.
pub fn config() -> WalConfig {
    let mut config = settings::blocks(16);
    config.max_in_flight_entries = IN_FLIGHT;
    config
}

pub fn disk_of(files: &Files) -> SimDisk {
    let disk = SimDisk::new();
    for (name, bytes) in files {
        disk.write_file(name, bytes.clone());
    }
    disk
}

pub fn files_on(disk: &SimDisk) -> Files {
    let read = |name: String| disk.read_file(&name).map(|bytes| (name, bytes));
    disk.names().into_iter().filter_map(read).collect()
}

/// What the crate says of a directory, in the words of the second reader. The offset of a torn tail is
/// not in its report, so it is taken from `like`; scans compare it.
fn recover(disk: &SimDisk, policy: DamagePolicy, like: &Answer) -> Answer {
    let mut config = config();
    config.damage_policy = policy;
    let storage = disk.mount().expect("free");
    let (records, report) = match replayed(storage, &config, &Parts::new(&config), None) {
        Ok(Recovered { records, report }) => (records, report),
        Err(error) => return refused(&error),
    };
    let torn = report.torn_tail.map(|(segment, torn)| {
        let at = match like {
            Answer::Opened(Opened { torn: Some((_, at, ..)), .. }) => *at,
            _ => 0,
        };
        (segment, at, torn.bytes, torn.possibly_acknowledged)
    });
    Answer::Opened(Opened {
        records,
        low_water: report.low_water.get(),
        last_lsn: report.last_lsn.get(),
        next_lsn: report.next_lsn.get(),
        clean: report.clean,
        torn,
    })
}

fn refused(error: &OpenError) -> Answer {
    match error {
        OpenError::NewerVersion { file, .. } => {
            let number = file[..20].parse().expect("the name of a segment");
            Answer::Refused(What::NewerVersion, number, 0)
        }
        OpenError::SignsOfLog { segment, .. } => Answer::Refused(What::Sign, *segment, 0),
        OpenError::Damaged(damage) => {
            let what = match damage.kind {
                DamageKind::MissingSegment => What::Missing,
                DamageKind::SwappedSegment { .. } => What::WrongName,
                DamageKind::ForeignSegment { .. } => What::Foreign,
                DamageKind::ShortenedSegment { .. } => What::Shortened,
                DamageKind::SegmentHeader { .. } | DamageKind::EmptySegment => What::Header,
                DamageKind::NoSuchNumber => What::Impossible,
                DamageKind::Contradiction { .. } => What::Contradiction,
                _ => What::Frame,
            };
            Answer::Refused(what, damage.segment, damage.offset)
        }
        error => panic!("bytes alone can not make this error: {error}"),
    }
}

/// Recovers a directory, and what is left of it, and compares every answer with that of the second reader.
pub fn agree_on_directory(files: &Files) -> Answer {
    for bytes in files.values() {
        agree_on_segment(bytes);
    }
    let expected = naive::read(files);
    let disk = disk_of(files);
    agree_on_a_look(&disk, &expected);
    assert!(files_on(&disk) == *files, "who only looks changes nothing");
    let found = recover(&disk, DamagePolicy::Refuse, &expected);
    assert_eq!(
        found, expected,
        "the crate (left) and the second reader of docs/format.md disagree"
    );
    if let Answer::Opened(opened) = &expected {
        agree_once_more(&disk, opened);
    } else {
        assert!(files_on(&disk) == *files, "what is refused is left as it was");
        agree_on_salvage(&disk, &expected);
    }
    expected
}

/// What a look at the files says before anybody opens them: the same verdict, and where it opens, the same records.
fn agree_on_a_look(disk: &SimDisk, expected: &Answer) {
    let looked = LogFiles::on(disk.mount().expect("free"));
    let findings = looked.check(&mut |_| {}).expect("bytes alone can not fail to be read");
    let damages = || findings.problems.iter().filter(|it| it.severity == Severity::Damage);
    match expected {
        Answer::Opened(opened) if findings.problems.iter().any(|it| it.kind == "no-log") => {
            assert_eq!((opened.last_lsn, opened.torn), (0, None), "there is a log");
        }
        Answer::Opened(opened) => {
            let report = findings.report.as_ref().expect("it opens, and a look says that it does");
            let found = (report.low_water.get(), report.last_lsn.get(), report.next_lsn.get());
            assert_eq!(found, (opened.low_water, opened.last_lsn, opened.next_lsn));
            assert_eq!(
                (report.clean, findings.records),
                (opened.clean, opened.records.len() as u64)
            );
            assert_eq!(damages().count(), 0, "{:?}", findings.problems);
            let torn = report.torn_tail.map(|(segment, torn)| {
                let mut problems = findings.problems.iter();
                let place = problems.find(|it| it.kind == "torn-tail").map(|it| it.offset);
                (segment, place.expect("it is found"), torn.bytes, torn.possibly_acknowledged)
            });
            assert_eq!(torn, opened.torn);
            let (found, expected) = (dumped(&looked), &opened.records);
            let lsns = |records: &[(u64, Vec<u8>)]| -> Vec<u64> {
                records.iter().map(|(lsn, _)| *lsn).collect()
            };
            assert_eq!(lsns(&found), lsns(expected), "a dump gives other LSNs");
            assert!(found == *expected, "a dump gives other records");
        }
        Answer::Refused(What::Sign | What::NewerVersion, segment, _) => {
            let is_there = damages().any(|it| it.segment.is_none_or(|found| found == *segment));
            assert!(is_there && findings.refusal.is_some(), "{:?}", findings.problems);
        }
        Answer::Refused(_, segment, offset) => {
            let at = |it: &Problem| (it.segment, it.offset) == (Some(*segment), *offset);
            assert!(damages().any(at), "{segment}:{offset} is not among {:?}", findings.problems);
            assert!(findings.refusal.is_some());
            dumped(&looked);
        }
    }
}

/// The live records, as a dump gives them. It comes to an end whatever the bytes are.
fn dumped(looked: &LogFiles) -> Vec<(u64, Vec<u8>)> {
    let mut frames = looked.frames(Lsn::FIRST).expect("readable");
    let first = frames.overview().low_water;
    let mut records = Vec::new();
    while let Some(view) = frames.next().expect("readable") {
        let LogItem::Frame(frame) = view else { continue };
        let live = frame.records().filter(|(lsn, _)| *lsn > first);
        records.extend(live.map(|(lsn, payload)| (lsn.get(), payload.to_vec())));
    }
    records
}

/// What recovery has written reads the same, and recovering it again gives the same.
fn agree_once_more(disk: &SimDisk, before: &Opened) {
    let expected = naive::read(&files_on(disk));
    let again = recover(disk, DamagePolicy::Refuse, &expected);
    assert_eq!(again, expected, "the crate (left) and the second reader disagree after a recovery");
    let Answer::Opened(again) = again else { panic!("recovered, then refused: {again:?}") };
    assert_eq!(again.records, before.records, "the second recovery gives other records");
    assert_eq!((again.low_water, again.last_lsn), (before.low_water, before.last_lsn));
    assert!(again.next_lsn >= before.next_lsn, "LSNs are given out twice");
    // What lay bent in a prepared segment may look torn, now that the log has come there.
    let place = |opened: &Opened| opened.torn.map(|(segment, at, ..)| (segment, at));
    assert!(again.torn.is_none() || place(&again) != place(before), "a torn tail is cut once");
}

/// Nothing makes the salvage policy fail but a newer version, or a segment that is there under another name: and
/// what it leaves is a sound log.
fn agree_on_salvage(disk: &SimDisk, refused: &Answer) {
    let preview = LogFiles::on(disk.mount().expect("free")).preview_salvage();
    let before = disk.names();
    match recover(disk, DamagePolicy::Salvage, refused) {
        Answer::Opened(opened) => {
            let preview = preview.expect("a preview fails only where the salvage does");
            let preview = preview.expect("what does not open is salvaged");
            let kept = (preview.keeps_to.get(), preview.kept_records);
            assert_eq!(kept, (opened.last_lsn, opened.records.len() as u64), "{preview:?}");
            let renamed = |name: &&String| !before.contains(name) && name.contains(".damaged");
            let names = disk.names();
            assert_eq!(names.iter().filter(renamed).count(), preview.aside.len(), "{preview:?}");
            let is_gone = |name: &String| !names.contains(name);
            assert!(preview.aside.iter().all(is_gone), "{preview:?}, {names:?}");
            if let Some(lost) = preview.lost {
                assert!(lost.first.get() > opened.last_lsn && lost.last.get() < opened.next_lsn);
            }
            agree_once_more(disk, &opened);
        }
        Answer::Refused(What::NewerVersion | What::Sign, ..) => {
            preview.expect_err("a salvage fails, and its preview says so");
        }
        again => panic!("{again:?}"),
    }
}

/// Scans a segment to its tail and to some live ends, and compares every frame.
pub fn agree_on_segment(bytes: &[u8]) {
    let expected = naive::segment(bytes);
    let header = SegmentHeader::decode(bytes);
    let (segment, header) = match (expected, header) {
        (Ok(segment), Ok(header)) => (segment, header),
        (Err(What::NewerVersion), Err(HeaderFault::Version { .. })) => return,
        (Err(What::Header), Err(fault)) if !matches!(fault, HeaderFault::Version { .. }) => return,
        (expected, header) => panic!("disagree on a header: {expected:?}, {header:?}"),
    };
    let tail = naive::walk(&segment, None);
    same(&tail, bytes, header, Until::Tail);
    let mut ends = vec![0, u64::MAX];
    let last = tail.frames.len().saturating_sub(2);
    for frame in tail.frames.iter().take(2).chain(&tail.frames[last..]) {
        ends.extend([frame.first - 1, frame.first]);
    }
    ends.push(tail.next.saturating_sub(1));
    ends.sort_unstable();
    ends.dedup();
    for end in ends {
        let walk = naive::walk(&segment, Some(end));
        same(&walk, bytes, header, Until::LiveEnd(Lsn::new(end)));
    }
}

fn same(walk: &naive::Walk, bytes: &[u8], header: SegmentHeader, until: Until) {
    let Scan { frames, ending } = scan(bytes, header, until);
    let expected = walk.frames.iter().map(|frame| (frame.offset, frame.checksum, frame.first));
    let found =
        frames.iter().map(|frame| (frame.offset, frame.checksum, frame.header.first_lsn.get()));
    assert!(found.eq(expected), "disagree on the frames, {until:?}");
    for (found, expected) in frames.iter().zip(&walk.frames) {
        let payloads = found.records.iter().map(|(_, payload)| payload);
        assert!(payloads.eq(&expected.payloads), "disagree on the records, {until:?}");
    }
    let end = match ending.verdict {
        Verdict::Clean => End::Clean,
        Verdict::TornTail(torn) => End::Torn(torn.bytes, torn.possibly_acknowledged),
        Verdict::Damage { proof, .. } => End::Damage(proof),
    };
    let found = (ending.offset, ending.next_lsn.get(), end);
    assert_eq!(found, (walk.offset, walk.next, walk.end), "disagree on the end, {until:?}");
}
