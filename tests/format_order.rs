//! Guards P2, P13: a sound frame that does not follow on the one before (V7) is never given out.

use actix_wal::testkit::internals::format::LogId;
use actix_wal::testkit::internals::format::frame::FrameFault;
use actix_wal::testkit::internals::format::scan::{Until, Verdict};
use test_support::segments;
use test_support::segments::{Writer, scan, segment_header};

fn writer() -> Writer {
    let mut writer = Writer::new(segment_header(LogId([4; 16]), 3, 8), 2, 6, 7, 11);
    writer.frame(&[b"seven"]).frame(&[b"eight"]);
    writer
}

/// Bends what the writer believes before it writes one frame more.
type Bend = fn(&mut Writer);

#[test]
fn v7_a_sound_frame_that_does_not_follow_is_damage_and_says_what_does_not_fit() {
    let cases: [(&str, Bend); 6] = [
        ("salt", |writer| writer.salt ^= 1),
        ("epoch", |writer| writer.epoch += 1),
        ("first LSN", |writer| writer.next += 1),
        ("first LSN", |writer| writer.next -= 1),
        ("chain", |writer| writer.chain ^= 1),
        ("place, the log was closed", |writer| {
            writer.close();
        }),
    ];
    for (wrong, bend) in cases {
        let mut writer = writer();
        bend(&mut writer);
        let good = writer.frames.len();
        writer.frame(&[b"nine"]);
        let found = scan(&writer.file(&[]), writer.header, Until::Tail);
        assert_eq!(found.frames.len(), good, "wrong {wrong}");
        assert!(
            matches!(
                found.ending.verdict,
                Verdict::Damage { fault: FrameFault::Order { what }, proof: None } if what == wrong
            ),
            "wrong {wrong}: {:?}",
            found.ending
        );
    }
}

#[test]
fn v7_a_start_frame_comes_first_and_only_there() {
    let mut late = writer();
    let mut none = writer();
    none.bytes.truncate(segments::BLOCK);
    none.frames.clear();
    none.frame(&[b"nine"]);
    let found = scan(&none.file(&[]), none.header, Until::Tail);
    assert!(found.frames.is_empty());
    assert!(matches!(
        found.ending.verdict,
        Verdict::Damage { fault: FrameFault::Order { what }, .. } if what.contains("no start frame")
    ));

    late.start_again();
    late.frame(&[b"nine"]);
    let found = scan(&late.file(&[]), late.header, Until::Tail);
    assert_eq!(found.frames.len(), 2);
    assert!(matches!(
        found.ending.verdict,
        Verdict::Damage { fault: FrameFault::Order { what }, .. } if what.contains("a start frame")
    ));
}

#[test]
fn p13_a_new_header_before_records_of_an_earlier_life_does_not_make_a_frame() {
    let record = |last: u8| [[b'='; 600], [last; 600]].concat();
    let header = segment_header(LogId([4; 16]), 3, 8);
    let mut earlier = Writer::new(header, 2, 6, 7, 0);
    earlier.frame(&[]).frame(&[&record(b'a')]);
    let mut place = header;
    place.place.sequence = 9;
    place.recycled = true;
    let mut writer = Writer::new(place, 5, 70, 71, 0);
    writer.frame(&[]).frame(&[&record(b'b')]);
    // Of the new frame only the first block reached the disk: header, and records that begin alike.
    let block = writer.frames[1].start + segments::BLOCK;
    let mut file = writer.file(&[]);
    file[block..].copy_from_slice(&earlier.file(&[])[block..]);
    let found = scan(&file, writer.header, Until::Tail);
    assert_eq!(found.records(), [], "a record of an earlier life under a new LSN");
    assert!(matches!(found.ending.verdict, Verdict::TornTail(_)));
}
