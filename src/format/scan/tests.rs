//! Guards P8, P10, P11, P13: whole, cut and damaged segments, byte by byte.

use super::super::frame::tests::{PLACE, header};
use super::super::frame::{FrameBuffer, Start};
use super::*;

const SEGMENT: SegmentHeader =
    SegmentHeader { place: PLACE, size: 16 * 512, recycled: false, growing: false };

/// A segment with a start frame and two frames of two records: LSN 1 to 4, at 512, 1024 and 1536.
fn sample() -> Vec<u8> {
    let mut bytes = SEGMENT.encode();
    let mut chain = 0;
    for (first, records) in [(1u64, 0u64), (1, 2), (3, 2)] {
        let start = (bytes.len() == 512).then_some(Start { cut: Lsn::NONE, in_flight_limit: 8 });
        let mut buffer = FrameBuffer::default();
        buffer.begin();
        (0..records).for_each(|at| buffer.push(&[(first + at) as u8; 20]));
        let head = super::FrameHeader { start, chain, ..header(first, first + records) };
        let frame = buffer.finish(head, &PLACE, bytes.len() as u64);
        if records > 0 {
            chain = frame.checksum;
        }
        bytes.extend_from_slice(frame.bytes);
    }
    bytes.resize(SEGMENT.size as usize, 0);
    bytes
}

fn scan(segment: SegmentHeader, bytes: &[u8], until: Until) -> (Vec<u64>, Ending) {
    let mut scanner = Scanner::new(segment, bytes.len() as u64, until);
    let mut lsns = Vec::new();
    loop {
        let wanted = scanner.wants().expect("not done yet");
        let end = (wanted.end as usize).min(bytes.len());
        match scanner.see(&bytes[(wanted.start as usize).min(end)..end]) {
            Seen::More => {}
            Seen::Frame(frame) => lsns.extend(frame.records().map(|(lsn, _)| lsn.get())),
            Seen::End(ending) => return (lsns, ending),
        }
    }
}

#[test]
fn exactly_one_line_of_the_table_fits_each_case() {
    for case in 0..16 {
        let stands = [AtEnd::Nothing, AtEnd::EarlierLife, AtEnd::Torn, AtEnd::OutOfOrder];
        let (last, later) = (case & 1 == 1, case & 2 == 2);
        let rows = VERDICTS.iter().filter(|row| matches(row, last, stands[case / 4], later));
        assert_eq!(rows.count(), 1, "case {case}");
    }
}

#[test]
fn a_whole_segment_is_clean_and_gives_every_record_once() {
    let (lsns, ending) = scan(SEGMENT, &sample(), Until::Tail);
    assert_eq!(lsns, [1, 2, 3, 4]);
    assert_eq!(ending, Ending { offset: 2048, next_lsn: Lsn::new(5), verdict: Verdict::Clean });
}

#[test]
fn p10_every_damaged_byte_of_the_last_frame_is_a_torn_tail_and_of_an_earlier_one_is_damage() {
    let whole = sample();
    for at in 512..1536 + 104 + 50 + 4 {
        let frame = at / 512 * 512;
        let used = if frame == 512 { 104 + 4 } else { 104 + 50 + 4 };
        if at - frame >= used {
            continue;
        }
        let mut bent = whole.clone();
        bent[at] ^= 0x40;
        let (lsns, ending) = scan(SEGMENT, &bent, Until::Tail);
        assert_eq!(ending.offset, frame as u64, "byte {at}");
        match ending.verdict {
            Verdict::TornTail(torn) => {
                assert_eq!((frame, lsns.len()), (1536, 2), "byte {at}");
                assert!(torn.possibly_acknowledged && torn.bytes == 512, "byte {at}: {torn:?}");
            }
            Verdict::Damage { proof, .. } => {
                assert!(frame < 1536 && proof.is_some(), "byte {at}");
            }
            Verdict::Clean => panic!("byte {at} was not noticed"),
        }
    }
}

#[test]
fn p10_a_lost_block_before_a_sound_frame_is_damage_even_if_only_zeros_are_left() {
    let mut bytes = sample();
    bytes[1024..1536].fill(0);
    let (_, ending) = scan(SEGMENT, &bytes, Until::Tail);
    assert!(matches!(ending.verdict, Verdict::Damage { proof: Some(1536), .. }), "{ending:?}");
}

#[test]
fn p13_frames_of_an_earlier_life_are_never_given_out_and_are_no_damage() {
    let stale = sample();
    let place = super::super::Place { sequence: 6, ..PLACE };
    let recycled = SegmentHeader { place, recycled: true, ..SEGMENT };
    let mut bytes = recycled.encode();
    bytes.resize(1024, 0);
    bytes.extend_from_slice(&stale[1024..]);
    let (lsns, ending) = scan(recycled, &bytes, Until::Tail);
    assert!(lsns.is_empty());
    assert_eq!(ending.verdict, Verdict::Clean);
}

/// In a recycled file the magic and the salt tell torn frames from bytes of an earlier life. Its first block was
/// made blank: what stands there is ours.
#[test]
fn p10_p13_what_stands_behind_the_last_sound_frame_is_torn_if_it_is_of_this_life() {
    let strange = |bytes: &mut Vec<u8>, at: usize| bytes[at..at + 512].fill(0x5a);
    let cut = |bytes: &mut Vec<u8>, byte: u8| {
        bytes.truncate(2048 + 50);
        bytes[2048..].fill(byte);
    };
    let without_magic = |bytes: &mut Vec<u8>| bytes[1536] ^= 1;
    let earlier_life = |bytes: &mut Vec<u8>| {
        let mut buffer = FrameBuffer::default();
        buffer.begin();
        let head = super::FrameHeader { sequence: 4, ..header(5, 5) };
        bytes[2048..2560].copy_from_slice(buffer.finish(head, &PLACE, 2048).bytes);
    };
    type Change<'a> = &'a dyn Fn(&mut Vec<u8>);
    let cases: [(&str, bool, Change<'_>, bool); 10] = [
        ("nothing at all", true, &|_| {}, false),
        ("other bytes", true, &|bytes| strange(bytes, 2048), false),
        ("other bytes where none were before", false, &|bytes| strange(bytes, 2048), true),
        ("a frame of an earlier life", true, &earlier_life, false),
        ("a frame of another segment", false, &earlier_life, true),
        ("a frame without its magic", true, &without_magic, true),
        ("a start frame without its magic", true, &|bytes| strange(bytes, 512), true),
        ("zeros and the end of the file", false, &|bytes| cut(bytes, 0), false),
        ("a piece of a block", false, &|bytes| cut(bytes, 0x5a), true),
        ("a frame beyond the end of the file", false, &|bytes| bytes.truncate(1700), true),
    ];
    for (name, recycled, change, is_torn) in cases {
        let segment = SegmentHeader { recycled, ..SEGMENT };
        let mut bytes = sample();
        change(&mut bytes);
        if bytes[512] == 0x5a {
            bytes[1024..].fill(0); // Else what follows is a proof.
        }
        let (_, ending) = scan(segment, &bytes, Until::Tail);
        assert_eq!(matches!(ending.verdict, Verdict::TornTail(_)), is_torn, "{name}");
        assert_eq!(ending.verdict == Verdict::Clean, !is_torn, "{name}");
    }
}

#[test]
fn what_a_file_holds_beyond_the_size_of_its_segment_is_not_looked_at() {
    let full = SegmentHeader { size: 2048, ..SEGMENT };
    let mut bytes = sample();
    bytes[2048..].fill(0x5a);
    let (lsns, ending) = scan(full, &bytes, Until::Tail);
    assert_eq!((lsns.len(), ending.verdict), (4, Verdict::Clean));
}

#[test]
fn p8_a_middle_segment_that_begins_beyond_its_live_end_holds_nothing_and_is_no_damage() {
    // A start frame with records that was never promised: the next segment's cut lies before it.
    let mut buffer = FrameBuffer::default();
    buffer.begin();
    buffer.push(b"never promised");
    let head = super::FrameHeader {
        start: Some(Start { cut: Lsn::new(5), in_flight_limit: 8 }),
        ..header(6, 7)
    };
    let frame = buffer.finish(head, &PLACE, 512);
    let mut bytes = [SEGMENT.encode().as_slice(), frame.bytes].concat();
    let clean = (vec![], Verdict::Clean);
    let (lsns, ending) = scan(SEGMENT, &bytes, Until::LiveEnd(Lsn::new(5)));
    assert_eq!((lsns, ending.verdict), clean);
    // Nor are its records read, so that they may be torn.
    bytes[512 + 104 + 5] ^= 1;
    let (lsns, ending) = scan(SEGMENT, &bytes, Until::LiveEnd(Lsn::new(5)));
    assert_eq!((lsns, ending.verdict), clean);
    let (_, ending) = scan(SEGMENT, &bytes, Until::LiveEnd(Lsn::new(6)));
    assert!(matches!(ending.verdict, Verdict::Damage { .. }));
}

#[test]
fn p13_a_sound_frame_with_another_salt_proves_nothing_about_this_life() {
    let whole = sample();
    let mut buffer = FrameBuffer::default();
    buffer.begin();
    buffer.push(b"what the bytes of a record may look like");
    let head = super::FrameHeader { salt: 78, ..header(5, 6) };
    let mut bytes = whole.clone();
    bytes[1536 + 110] ^= 1;
    bytes[2560..3072].copy_from_slice(buffer.finish(head, &PLACE, 2560).bytes);
    let (lsns, ending) = scan(SEGMENT, &bytes, Until::Tail);
    assert_eq!(lsns, [1, 2]);
    assert!(matches!(ending.verdict, Verdict::TornTail(torn) if torn.bytes == 1536), "{ending:?}");
}

#[test]
fn a_scanner_that_found_the_end_says_the_same_when_it_is_asked_again() {
    let mut bytes = sample();
    bytes[1024 + 110] ^= 1;
    let mut scanner = Scanner::new(SEGMENT, bytes.len() as u64, Until::Tail);
    let ending = loop {
        let wanted = scanner.wants().expect("not done yet");
        let end = (wanted.end as usize).min(bytes.len());
        if let Seen::End(ending) = scanner.see(&bytes[wanted.start as usize..end]) {
            break ending;
        }
    };
    assert!(matches!(ending.verdict, Verdict::Damage { .. }));
    assert_eq!(scanner.wants(), None);
    assert!(matches!(scanner.see(&[]), Seen::End(again) if again == ending));
    assert_eq!(scanner.end_again(), ending);
}

#[test]
fn a_middle_segment_must_reach_its_live_end_and_is_not_read_beyond_it() {
    let mut bytes = sample();
    bytes[1536 + 110] ^= 1;
    let (lsns, ending) = scan(SEGMENT, &bytes, Until::LiveEnd(Lsn::new(2)));
    assert_eq!((lsns, ending.verdict), (vec![1, 2], Verdict::Clean));
    let (_, ending) = scan(SEGMENT, &bytes, Until::LiveEnd(Lsn::new(4)));
    assert!(matches!(ending.verdict, Verdict::Damage { .. }));
    let (_, ending) = scan(SEGMENT, &sample(), Until::LiveEnd(Lsn::new(3)));
    assert!(matches!(ending.verdict, Verdict::Damage { fault: FrameFault::Order { .. }, .. }));
}

#[test]
fn p11_a_file_cut_at_any_byte_gives_an_answer() {
    let bytes = sample();
    for len in 512..bytes.len() {
        let (lsns, _) = scan(SEGMENT, &bytes[..len], Until::Tail);
        assert!(lsns.len() <= 4 && lsns.iter().copied().eq(1..=lsns.len() as u64));
    }
}
