//! What a reader of `docs/format.md` once had to guess: four places, each as the page says it now. Both readers
//! are asked, and the answer is spelled out.

use actix_wal::testkit::internals::format::segment::{SegmentHeader, scratch_name, segment_name};

use test_support::agree::files_on;
use test_support::mend::{Mend, mend};
use test_support::naive::{Answer, Files, Opened, What};
use test_support::small_logs::{config, killed_log, renumbered};

/// Records in four segments; the fifth and the sixth are prepared. Blocks have 512 bytes, a record is a frame.
const RECORDS: u64 = 27;

fn killed() -> Files {
    files_on(&killed_log(RECORDS))
}

fn opened(files: &Files, what: &str) -> Opened {
    match crate::agree(files, what) {
        Answer::Opened(opened) => opened,
        refused => panic!("{what}: {refused:?}"),
    }
}

#[track_caller]
fn assert_refused(files: &Files, what: &str, wanted: (What, u64, u64)) {
    let (kind, segment, offset) = wanted;
    assert_eq!(crate::agree(files, what), Answer::Refused(kind, segment, offset), "{what}");
}

fn segment(files: &mut Files, sequence: u64) -> &mut Vec<u8> {
    files.get_mut(&segment_name(sequence)).expect("the segment is there")
}

/// A segment with this number in which nothing has begun.
fn put_unused(files: &mut Files, sequence: u64) {
    let bytes = renumbered(&files[&segment_name(6)], sequence);
    files.insert(segment_name(sequence), bytes);
}

/// Part of a start frame, as a write leaves it that was cut off.
fn tear_start(files: &mut Files, sequence: u64) {
    segment(files, sequence)[512..612].fill(0x5a);
    segment(files, sequence)[512..516].copy_from_slice(b"awf1");
}

/// How many segments were prepared is known, or these tests test nothing.
#[test]
fn the_log_that_is_changed_here_is_what_it_should_be() {
    let files = killed();
    let names: Vec<_> = files.keys().cloned().collect();
    assert_eq!(names, (1..=6).map(segment_name).collect::<Vec<_>>());
    let opened = opened(&files, "unchanged");
    assert_eq!((opened.last_lsn, opened.torn), (RECORDS, None));
}

#[test]
fn p14_where_and_so_on_ends_behind_the_last_start_frame() {
    let mut files = killed();
    files.remove(&segment_name(6));
    tear_start(&mut files, 5);
    let torn = opened(&files, "a torn start frame in the very last file").torn.expect("it is told");
    assert_eq!((torn.0, torn.1), (5, 512), "no number is demanded behind it");

    let mut files = killed();
    put_unused(&mut files, 7);
    files.remove(&segment_name(6));
    tear_start(&mut files, 5);
    assert_refused(&files, "another file behind the torn start frame", (What::Missing, 6, 0));

    let mut files = killed();
    put_unused(&mut files, 8);
    tear_start(&mut files, 5);
    let torn = opened(&files, "the first segment of use ends it").torn.expect("it is told");
    assert_eq!((torn.0, torn.1), (5, 512), "7 is not demanded");

    let mut files = killed();
    put_unused(&mut files, 7);
    put_unused(&mut files, 9);
    (5..=7).for_each(|sequence| tear_start(&mut files, sequence));
    assert_refused(&files, "three of no use", (What::Missing, 8, 0));
    files.remove(&segment_name(9));
    let torn = opened(&files, "three of no use, and nothing behind").torn.expect("it is told");
    assert_eq!((torn.0, torn.1), (7, 512), "the last of them");

    let mut files = killed();
    segment(&mut files, 5).truncate(512);
    put_unused(&mut files, 7);
    files.remove(&segment_name(6));
    assert_refused(&files, "a short one is of no use either", (What::Missing, 6, 0));
    files.remove(&segment_name(7));
    assert_eq!(opened(&files, "a short one in the very last file").last_lsn, RECORDS);

    let mut files = Files::new();
    let all = killed();
    files.insert(segment_name(6), all[&segment_name(6)].clone());
    assert_refused(&files, "without a start frame it begins with 1", (What::Missing, 1, 0));
}

#[test]
fn p14_what_lies_behind_the_size_of_a_segment_is_no_part_of_the_log() {
    let before = opened(&killed(), "unchanged");
    for sequence in 1..=5 {
        for rest in ["zeros", "noise", "a frame"] {
            let mut files = killed();
            let start = segment(&mut files, 4)[512..1024].to_vec();
            let bytes = segment(&mut files, sequence);
            assert!(bytes.len() as u64 <= config().segment_size);
            let size = SegmentHeader::decode(bytes).expect("a header").size as usize;
            // One that was trimmed is filled up again: between its end and its size lies unused space.
            bytes.resize(size, 0);
            match rest {
                "zeros" => bytes.resize(size + 1024, 0),
                "noise" => bytes.extend([0x5a; 700]),
                _ => bytes.extend(start),
            }
            // As if it had been written there, under matching checksums.
            mend(&mut files, Mend { frames: true, life: true, ..Mend::default() });
            let found = opened(&files, &format!("{rest} behind segment {sequence}"));
            assert_eq!(found, before, "{rest} behind segment {sequence}");
        }
    }
}

#[test]
fn p10_a_number_is_prepared_still_if_its_temporary_file_is_there_whatever_it_holds() {
    for content in [Vec::new(), vec![0x5a; 700], killed()[&segment_name(5)].clone()] {
        let mut files = killed();
        files.remove(&segment_name(5));
        assert_refused(&files, "nothing is there", (What::Missing, 5, 0));
        files.insert(scratch_name(7), content.clone());
        assert_refused(&files, "that of another number", (What::Missing, 5, 0));
        files.insert(scratch_name(5), content);
        assert_eq!(opened(&files, "its temporary file").last_lsn, RECORDS);
    }
}

#[test]
fn p10_v4_does_not_hold_payload_len_against_count() {
    // The last two frames of the last segment, a block each.
    let (before, last) = (1536, 2048);
    let without_records = |files: &mut Files| {
        let frame = &mut segment(files, 4)[last..last + 512];
        let first = frame[32..40].to_vec();
        frame[40..48].copy_from_slice(&first);
        frame[48..52].fill(0);
        mend(files, Mend { frames: true, ..Mend::default() });
    };
    let mut files = killed();
    without_records(&mut files);
    // Were it V4 that breaks, this would be a torn tail.
    assert_refused(&files, "no records, and a payload_len", (What::Frame, 4, last as u64));

    let mut files = killed();
    without_records(&mut files);
    segment(&mut files, 4)[before + 200] ^= 1;
    assert_refused(
        &files,
        "such a frame proves what lies before it",
        (What::Frame, 4, before as u64),
    );
}
