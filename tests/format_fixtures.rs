//! Guards P8, P10, P11, P13: segments that version 1 wrote are read to the same records and verdicts by
//! every later version.
//!
//! `tests/fixtures/v1` holds one directory per log and `manifest.txt`, which says what must be read out
//! of it. After a change that is meant to alter the bytes of a format *not yet released*, write the
//! segments again with
//!
//! ```text
//! UPDATE_FIXTURES=1 cargo test --test format_fixtures writing_the_golden
//! ```
//!
//! and change the manifest by hand. Never do so for a version that was released: add `v2` instead.

#![allow(clippy::expect_used)] // Clippy knows a test by its attribute, not the helpers beside it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use test_support::segments;

use actix_wal::Lsn;
use actix_wal::testkit::internals::format::LogId;
use actix_wal::testkit::internals::format::scan::{Until, Verdict};
use actix_wal::testkit::internals::format::segment::{
    FileKind, SegmentHeader, file_kind, segment_name,
};
use test_support::segments::{BLOCK, Writer, scan, segment_header};

const LOG_ID: LogId = LogId(*b"golden log of v1");

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v1")
}

/// The files of one log by sequence number.
type Log = BTreeMap<u64, Vec<u8>>;

fn first_segment(blocks: usize) -> Writer {
    Writer::new(segment_header(LOG_ID, 1, blocks), 1, 0, 1, 0)
}

/// A new epoch in a new segment: what lies beyond `cut` is dead.
fn next_epoch(before: &Writer, cut: u64, first: u64, chain: u32) -> Writer {
    let header = segment_header(LOG_ID, before.header.place.sequence + 1, 8);
    Writer::new(header, before.epoch + 1, cut, first, chain)
}

fn log<const N: usize>(files: [(&Writer, Vec<u8>); N]) -> Log {
    files.into_iter().map(|(writer, file)| (writer.header.place.sequence, file)).collect()
}

/// Two lives, both closed cleanly, in three segments; the last one was trimmed.
fn closed() -> Log {
    let mut one = first_segment(8);
    one.frame(&[]).frame(&[b"alpha", b"beta"]).frame(&[b""]).frame(&[&[b'g'; 700]]);
    let mut two = one.rotate(8);
    two.frame(&[b"delta", b"epsilon"]).frame(&[]).close();
    let mut three = next_epoch(&two, 6, 7, two.chain);
    three.frame(&[]).frame(&[b"zeta"]).close();
    log([(&one, one.file(&[])), (&two, two.file(&[])), (&three, three.bytes.clone())])
}

/// Of the last frame, which has two blocks, only the first one reached the disk.
fn torn_tail() -> Log {
    let mut one = first_segment(8);
    one.frame(&[b"alpha"]).frame(&[b"beta", b"gamma"]).frame(&[&[b'd'; 900]]);
    let mut file = one.file(&[]);
    file[4 * BLOCK..5 * BLOCK].fill(0);
    log([(&one, file)])
}

/// Segment 1 was released by a checkpoint and its file used again as segment 3, with sound frames of
/// the earlier life behind the new ones.
fn recycled() -> (Writer, Writer, Vec<u8>) {
    let mut one = first_segment(10);
    one.frame(&[]).frame(&[b"old one"]).frame(&[b"old two"]).frame(&[b"old three"]);
    one.frame(&[b"old four"]).frame(&[&[b'o'; 1500]]);
    let mut two = one.rotate(8);
    two.frame(&[b"six"]);
    two.low_water = 5;
    two.frame(&[]);
    let mut three = two.rotate(10);
    three.header.recycled = true;
    let mut three = Writer::new(three.header, 1, 6, 7, two.chain);
    three.low_water = 5;
    three.frame(&[b"seven"]).frame(&[b"eight"]);
    (two, three, one.file(&[]))
}

fn recycled_clean() -> Log {
    let (two, mut three, earlier) = recycled();
    three.frame(&[]);
    log([(&two, two.file(&[])), (&three, three.file(&earlier))])
}

/// The same, but the second block of the last frame is still that of the earlier life.
fn recycled_torn() -> Log {
    let (two, mut three, earlier) = recycled();
    let at = three.bytes.len() + BLOCK;
    three.frame(&[&[b'n'; 700]]);
    let mut file = three.file(&earlier);
    file[at..at + BLOCK].copy_from_slice(&earlier[at..at + BLOCK]);
    log([(&two, two.file(&[])), (&three, file)])
}

/// A flipped bit in a record of a middle segment, and a lost block in the middle of the last one.
fn damaged() -> Log {
    let mut one = first_segment(8);
    one.frame(&[b"alpha"]).frame(&[b"beta"]).frame(&[b"gamma"]);
    let mut two = one.rotate(8);
    two.frame(&[b"delta"]).frame(&[b"epsilon"]).frame(&[b"zeta"]);
    let (mut first, mut second) = (one.file(&[]), two.file(&[]));
    first[one.frames[1].end - 6] ^= 0x10;
    second[2 * BLOCK..3 * BLOCK].fill(0);
    log([(&one, first), (&two, second)])
}

/// Faults and crashes: a cut inside a segment, a segment that is dead altogether, a last frame carried
/// over by recovery, and a declared gap.
fn cut() -> Log {
    let mut one = first_segment(8);
    one.frame(&[b"alpha"]).frame(&[b"beta"]);
    let chain = one.chain;
    one.frame(&[b"gamma"]);
    let mut two = next_epoch(&one, 2, 3, chain);
    two.frame(&[b"gamma", b"delta"]);
    let mut three = next_epoch(&two, 2, 3, chain);
    three.frame(&[b"gamma"]);
    let chain = three.chain;
    three.frame(&[b"delta"]);
    let mut four = next_epoch(&three, 3, 4, chain);
    four.frame_and_gap(&[b"delta"], segments::IN_FLIGHT).frame(&[b"epsilon"]).close();
    log([
        (&one, one.file(&[])),
        (&two, two.file(&[])),
        (&three, three.file(&[])),
        (&four, four.bytes.clone()),
    ])
}

fn all() -> Vec<(&'static str, Log)> {
    vec![
        ("closed", closed()),
        ("torn_tail", torn_tail()),
        ("recycled", recycled_clean()),
        ("recycled_torn", recycled_torn()),
        ("damaged", damaged()),
        ("cut", cut()),
    ]
}

/// The segments of a log as they were committed.
fn committed(name: &str) -> Log {
    fs::read_dir(folder().join(name))
        .expect("a directory per log")
        .map(|entry| {
            let path = entry.expect("an entry").path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let FileKind::Segment(sequence) = file_kind(name) else {
                panic!("{name} is no segment");
            };
            (sequence, fs::read(&path).expect("readable"))
        })
        .collect()
}

/// A payload on one line: as text, or as `x*700` where one byte is repeated.
fn shown(payload: &[u8]) -> String {
    match payload {
        [] => "(empty)".into(),
        [first, rest @ ..] if payload.len() > 32 && rest.iter().all(|byte| byte == first) => {
            format!("{}*{}", char::from(*first), payload.len())
        }
        text => text.escape_ascii().to_string(),
    }
}

/// What is read out of a log, in the words of the manifest.
fn described(name: &str, log: &Log) -> String {
    let mut text = format!("log {name}\n");
    let headers: BTreeMap<u64, SegmentHeader> = log
        .iter()
        .map(|(sequence, file)| (*sequence, SegmentHeader::decode(file).expect("a header")))
        .collect();
    let cuts: BTreeMap<u64, Lsn> = log
        .iter()
        .filter_map(|(sequence, file)| {
            let first = scan(file, headers[sequence], Until::Tail).frames.into_iter().next()?;
            Some((*sequence, first.header.start?.cut))
        })
        .collect();
    for (sequence, file) in log {
        let header = headers[sequence];
        let live_end = cuts.range(sequence + 1..).map(|(_, cut)| *cut).min();
        let until = live_end.map_or(Until::Tail, Until::LiveEnd);
        let found = scan(file, header, until);
        let life = if header.recycled { " recycled" } else { "" };
        let to = live_end.map_or("tail".into(), |end| format!("live end {end}"));
        assert_eq!(header.place.sequence, *sequence);
        let _ = writeln!(text, "segment {sequence} size {}{life} to {to}", header.size);
        for frame in &found.frames {
            let (head, kind) = (frame.header, frame.header.start);
            let kind = kind.map_or(String::new(), |start| format!(" start cut {}", start.cut));
            let close = if head.close { " close" } else { "" };
            let _ = writeln!(
                text,
                "frame {}{kind}{close} epoch {} first {} next {} watermark {} low-water {}",
                frame.offset,
                head.epoch,
                head.first_lsn,
                head.next_lsn,
                head.watermark,
                head.low_water
            );
            for (lsn, payload) in &frame.records {
                let _ = writeln!(text, "record {lsn} {}", shown(payload));
            }
        }
        let end = found.ending;
        let verdict = match end.verdict {
            Verdict::Clean => "clean".into(),
            Verdict::TornTail(torn) => format!(
                "torn tail of {} bytes, possibly acknowledged {}: {}",
                torn.bytes, torn.possibly_acknowledged, torn.reason
            ),
            Verdict::Damage { fault, proof } => format!("damage, proof {proof:?}: {fault}"),
        };
        let _ = writeln!(text, "end {} next {}: {verdict}", end.offset, end.next_lsn);
    }
    text
}

#[test]
fn the_golden_segments_are_read_to_exactly_what_their_manifest_says() {
    let manifest = fs::read_to_string(folder().join("manifest.txt")).expect("a manifest");
    let stated: Vec<&str> =
        manifest.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let names: Vec<&str> = stated.iter().filter_map(|line| line.strip_prefix("log ")).collect();
    let folders = fs::read_dir(folder())
        .expect("readable")
        .filter(|entry| entry.as_ref().is_ok_and(|entry| entry.path().is_dir()));
    assert_eq!(folders.count(), names.len(), "the manifest lists every log");
    let found: String = names.iter().map(|name| described(name, &committed(name))).collect();
    for (line, (found, stated)) in found.lines().zip(&stated).enumerate() {
        assert_eq!(found, *stated, "line {} that is no comment", line + 1);
    }
    assert_eq!(found.lines().count(), stated.len(), "all that was read:\n{found}");
}

#[test]
fn writing_the_golden_segments_again_gives_identical_bytes() {
    let update = std::env::var_os("UPDATE_FIXTURES").is_some_and(|value| value == "1");
    for (name, log) in all() {
        if update {
            let folder = folder().join(name);
            fs::create_dir_all(&folder).expect("a directory");
            for (sequence, file) in &log {
                fs::write(folder.join(segment_name(*sequence)), file).expect("writable");
            }
            println!("{}", described(name, &log));
        }
        let committed = committed(name);
        assert!(committed.keys().eq(log.keys()), "{name}: other segments");
        for (sequence, file) in log {
            let differs = committed[&sequence].iter().zip(&file).position(|(a, b)| a != b);
            assert_eq!(differs, None, "{name}, segment {sequence}: the first byte that differs");
            assert_eq!(committed[&sequence].len(), file.len(), "{name}, segment {sequence}");
        }
    }
}

#[test]
fn the_golden_segments_stay_small_enough_to_be_kept_for_ever() {
    let bytes: usize = all()
        .iter()
        .flat_map(|(name, _)| committed(name).into_values())
        .map(|file| file.len())
        .sum();
    assert!(bytes < 100 * 1024, "{bytes} bytes");
}
