//! Guards P11, P13: the bytes of format v1 are what `docs/format.md` says, to the byte.
//!
//! The page is read, not repeated: its field tables, its rules, its verdicts and its worked example.

#![allow(clippy::expect_used)] // Clippy knows a test by its attribute, not the helpers beside it.

use std::collections::BTreeMap;
use test_support::segments;

use actix_wal::testkit::internals::format::frame::{
    FRAME_HEADER_LEN, FRAME_TRAILER_LEN, FrameBuffer, FrameHeader, Start,
};
use actix_wal::testkit::internals::format::scan::{Until, Verdict};
use actix_wal::testkit::internals::format::segment::{SEGMENT_HEADER_LEN, SegmentHeader};
use actix_wal::testkit::internals::format::{LogId, Place, record};
use actix_wal::{Epoch, Lsn};

/// The page, and two sources that say some of it again.
const PAGE: &str = include_str!("../docs/format.md");
const FRAME_RS: &str = include_str!("../src/format/frame.rs");
const SCAN_RS: &str = include_str!("../src/format/scan.rs");

/// One line of a field table.
#[derive(Debug, PartialEq)]
struct Field {
    offset: usize,
    bytes: usize,
    name: &'static str,
}

fn section(title: &str) -> &'static str {
    let from = PAGE
        .find(&format!("\n## {title}\n"))
        .unwrap_or_else(|| panic!("the page has no section {title:?}"));
    let body = &PAGE[from + 4..];
    body.find("\n## ").map_or(body, |end| &body[..end])
}

/// The rows of the table in a section, in cells.
fn rows(title: &str) -> impl Iterator<Item = Vec<&'static str>> {
    let rows = section(title).lines().filter(|line| line.starts_with('|'));
    rows.map(|row| row.trim().trim_matches('|').split('|').map(str::trim).collect())
}

/// The rows of a field table that have a fixed length.
fn fields(title: &str) -> Vec<Field> {
    let field = |row: Vec<&'static str>| {
        Some(Field { offset: row[0].parse().ok()?, bytes: row[1].parse().ok()?, name: row[2] })
    };
    rows(title).filter_map(field).collect()
}

/// The bits of the flags table, as `(segment or frame, name) -> value of the flag`.
fn flags() -> BTreeMap<(&'static str, &'static str), u64> {
    rows("Record")
        .filter(|row| ["segment", "frame"].contains(&row[0]))
        .map(|row| ((row[0], row[2]), 1 << row[1].parse::<u32>().expect("a bit")))
        .collect()
}

fn le(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |sum, &byte| sum << 8 | u64::from(byte))
}

/// One line of the worked example.
#[derive(Debug)]
struct Line {
    at: usize,
    bytes: Vec<u8>,
    part: &'static str,
    field: &'static str,
    value: &'static str,
}

impl Line {
    fn number(&self) -> u64 {
        match self.value.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(hex, 16).expect("a hex number"),
            None => self.value.parse().expect("a number"),
        }
    }
}

struct Example {
    lines: Vec<Line>,
    bytes: Vec<u8>,
}

fn example() -> Example {
    let block = section("Example").split("```").nth(1).expect("a fenced block");
    let mut lines = Vec::new();
    let mut bytes = Vec::new();
    let mut ended = false;
    for text in block.lines().skip(1).filter(|text| !text.starts_with('#')) {
        let (at, rest) = text.split_once("  ").expect("an offset");
        let at = usize::from_str_radix(at.trim_start_matches("0x"), 16).expect("an offset");
        assert!(!ended && at >= bytes.len(), "out of order: {text}");
        bytes.resize(at, 0);
        if rest == "end of the file" {
            ended = true;
            continue;
        }
        let (hex, named) = rest.split_once("  ").expect("bytes and a name");
        let (name, value) = named.split_once(" = ").expect("a name and a value");
        let (part, field) = name.trim().split_once('.').expect("part.field");
        let raw: Vec<u8> = hex
            .split_whitespace()
            .map(|byte| u8::from_str_radix(byte, 16).expect("two hex digits"))
            .collect();
        bytes.extend_from_slice(&raw);
        lines.push(Line { at, bytes: raw, part, field, value });
    }
    assert!(ended, "the example says where the file ends");
    Example { lines, bytes }
}

impl Example {
    fn line(&self, part: &str, field: &str) -> Option<&Line> {
        self.lines.iter().find(|line| line.part == part && line.field == field)
    }

    /// The number a line states; a field that is not listed is zero.
    fn number(&self, part: &str, field: &str) -> u64 {
        self.line(part, field).map_or(0, Line::number)
    }

    fn flag(&self, part: &str, name: &'static str) -> bool {
        let of = ["frame", "segment"][usize::from(part == "segment")];
        self.number(part, "flags") & flags()[&(of, name)] != 0
    }

    /// Where a part begins: at its magic.
    fn begin(&self, part: &str) -> usize {
        self.line(part, "magic").expect("every part has a magic").at
    }

    /// The payloads of the records, which all belong to the part `frame`.
    fn records(&self) -> Vec<&'static str> {
        self.lines
            .iter()
            .filter(|line| line.part == "record" && line.field == "payload")
            .map(|line| line.value.trim_matches('"'))
            .collect()
    }

    /// The segment header with the values that the page states.
    fn segment_header(&self) -> SegmentHeader {
        let log_id = &self.line("segment", "log_id").expect("a log id").bytes;
        SegmentHeader {
            place: Place {
                log_id: LogId(log_id.as_slice().try_into().expect("16 bytes")),
                sequence: self.number("segment", "sequence"),
                block_size: self.number("segment", "block_size") as u32,
            },
            size: self.number("segment", "size"),
            recycled: self.flag("segment", "recycled"),
            growing: self.flag("segment", "growing"),
        }
    }

    /// The frame header with the values that the page states.
    fn frame_header(&self, part: &str) -> FrameHeader {
        let lsn = |field| Lsn::new(self.number(part, field));
        FrameHeader {
            start: self.flag(part, "start").then(|| Start {
                cut: lsn("cut"),
                in_flight_limit: self.number(part, "in_flight_limit"),
            }),
            close: self.flag(part, "close"),
            sequence: self.number(part, "sequence"),
            salt: self.number(part, "salt"),
            epoch: Epoch::new(self.number(part, "epoch")),
            first_lsn: lsn("first_lsn"),
            next_lsn: lsn("next_lsn"),
            count: self.number(part, "count") as u32,
            payload_len: self.number(part, "payload_len") as u32,
            wall_clock_us: self.number(part, "wall_clock_us"),
            watermark: lsn("watermark"),
            low_water: lsn("low_water"),
            chain: self.number(part, "chain") as u32,
        }
    }
}

const FRAMES: [&str; 3] = ["start", "frame", "close"];

#[test]
fn every_line_of_the_example_lies_where_the_tables_say_and_its_bytes_are_its_value() {
    let example = example();
    let (segment, frame, record) =
        (fields("Segment header"), fields("Frame header"), fields("Record"));
    let mut record_at = None;
    for line in &example.lines {
        if (line.part, line.field) == ("record", "length") {
            record_at = Some(line.at);
        }
        let (table, base) = match line.part {
            "segment" => (&segment, example.begin("segment")),
            "record" => (&record, record_at.expect("a length comes first")),
            part => (&frame, example.begin(part)),
        };
        if let Some(field) = table.iter().find(|field| field.name == line.field) {
            assert_eq!((line.at - base, line.bytes.len()), (field.offset, field.bytes), "{line:?}");
        } else {
            let known = [
                ("record", "payload"),
                ("start", "checksum"),
                ("frame", "checksum"),
                ("close", "checksum"),
            ];
            assert!(known.contains(&(line.part, line.field)), "no table has {line:?}");
        }
        if let Some(text) = line.value.strip_prefix('"') {
            assert_eq!(line.bytes, text.trim_end_matches('"').as_bytes(), "{line:?}");
        } else if line.field == "log_id" {
            let hex: String = line.bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(hex, line.value);
        } else {
            assert_eq!(le(&line.bytes), line.number(), "{line:?}");
        }
    }
}

#[test]
fn the_example_decodes_to_every_value_that_the_page_states() {
    let example = example();
    let header = SegmentHeader::decode(&example.bytes).expect("a segment header");
    assert_eq!(header, example.segment_header());
    let scan = segments::scan(&example.bytes, header, Until::Tail);
    assert_eq!(scan.frames.len(), FRAMES.len());
    for (found, part) in scan.frames.iter().zip(FRAMES) {
        assert_eq!(found.offset as usize, example.begin(part), "{part}");
        assert_eq!(found.header, example.frame_header(part), "{part}");
        assert_eq!(u64::from(found.checksum), example.number(part, "checksum"), "{part}");
        let stated = if part == "frame" { example.records() } else { Vec::new() };
        let first = found.header.first_lsn.get();
        let stated: Vec<_> =
            (first..).zip(stated.iter().map(|text| text.as_bytes().to_vec())).collect();
        assert_eq!(found.records, stated, "{part}");
    }
    assert_eq!(scan.ending.verdict, Verdict::Clean);
    assert_eq!(scan.ending.offset as usize, example.bytes.len());
    assert_eq!(scan.ending.next_lsn.get(), example.number("close", "next_lsn"));
}

#[test]
fn encoding_the_values_that_the_page_states_gives_the_bytes_of_the_example() {
    let example = example();
    let header = example.segment_header();
    let mut bytes = header.encode();
    for part in FRAMES {
        let mut buffer = FrameBuffer::default();
        buffer.begin();
        if part == "frame" {
            example.records().iter().for_each(|text| buffer.push(text.as_bytes()));
        }
        let frame = buffer.finish(example.frame_header(part), &header.place, bytes.len() as u64);
        assert_eq!(frame.header, example.frame_header(part), "count and length of {part}");
        bytes.extend_from_slice(frame.bytes);
    }
    assert!(bytes == example.bytes, "encoded to {bytes:02x?}");
}

/// Checks that a table covers a structure without a hole, and each of its fields by its bytes.
fn agrees(table: &[Field], len: usize, bytes: &[u8], expected: &[(&str, Vec<u8>)]) {
    let mut at = 0;
    for field in table {
        assert_eq!(field.offset, at, "{field:?} leaves a hole");
        at += field.bytes;
    }
    assert_eq!(at, len, "the table is as long as the structure");
    assert_eq!(table.len(), expected.len(), "the table has every field once");
    for (field, (name, value)) in table.iter().zip(expected) {
        assert_eq!(field.name, *name);
        assert_eq!(bytes[field.offset..field.offset + field.bytes], *value, "{name}");
    }
}

#[test]
fn the_table_of_the_segment_header_agrees_with_the_code() {
    let header = SegmentHeader {
        place: Place {
            log_id: LogId(*b"0123456789abcdef"),
            sequence: 0x0102_0304_0506_0708,
            block_size: 1024,
        },
        size: 0x1122_3400,
        recycled: false,
        growing: true,
    };
    let bytes = header.encode();
    let checksum = crc32fast::hash(&bytes[..52]);
    agrees(
        &fields("Segment header"),
        SEGMENT_HEADER_LEN,
        &bytes,
        &[
            ("magic", b"actixwal".to_vec()),
            ("version", 1u32.to_le_bytes().to_vec()),
            ("flags", (flags()[&("segment", "growing")] as u32).to_le_bytes().to_vec()),
            ("log_id", b"0123456789abcdef".to_vec()),
            ("sequence", header.place.sequence.to_le_bytes().to_vec()),
            ("size", header.size.to_le_bytes().to_vec()),
            ("block_size", 1024u32.to_le_bytes().to_vec()),
            ("checksum", checksum.to_le_bytes().to_vec()),
        ],
    );
    let recycled = SegmentHeader { recycled: true, growing: false, ..header }.encode();
    assert_eq!(le(&recycled[12..16]), flags()[&("segment", "recycled")]);
    assert!(bytes[SEGMENT_HEADER_LEN..].iter().all(|byte| *byte == 0) && bytes.len() == 1024);
}

#[test]
fn the_table_of_the_frame_header_agrees_with_the_code() {
    let place = Place {
        log_id: LogId(*b"0123456789abcdef"),
        sequence: 0x0102_0304_0506_0708,
        block_size: 512,
    };
    let header = FrameHeader {
        start: Some(Start { cut: Lsn::new(0x2001), in_flight_limit: 0x2002 }),
        close: false,
        sequence: place.sequence,
        salt: 0x2003,
        epoch: Epoch::new(0x2004),
        first_lsn: Lsn::new(0x2005),
        next_lsn: Lsn::new(0x2016),
        count: 0,
        payload_len: 0,
        wall_clock_us: 0x2007,
        watermark: Lsn::new(0x2008),
        low_water: Lsn::new(0x2009),
        chain: 0x200a,
    };
    let offset = 0x1400u64;
    let mut buffer = FrameBuffer::default();
    buffer.begin();
    buffer.push(b"one");
    buffer.push(b"three");
    let frame = buffer.finish(header, &place, offset);
    let payload_len = 2 * record::RECORD_OVERHEAD + 8;
    let mut covered = b"0123456789abcdef".to_vec();
    covered.extend_from_slice(&offset.to_le_bytes());
    covered.extend_from_slice(&frame.bytes[..100]);
    let wide = |number: u64| number.to_le_bytes().to_vec();
    let narrow = |number: u32| number.to_le_bytes().to_vec();
    agrees(
        &fields("Frame header"),
        FRAME_HEADER_LEN,
        frame.bytes,
        &[
            ("magic", b"awf1".to_vec()),
            ("flags", narrow(flags()[&("frame", "start")] as u32)),
            ("sequence", wide(place.sequence)),
            ("salt", wide(0x2003)),
            ("epoch", wide(0x2004)),
            ("first_lsn", wide(0x2005)),
            ("next_lsn", wide(0x2016)),
            ("count", narrow(2)),
            ("payload_len", narrow(payload_len as u32)),
            ("wall_clock_us", wide(0x2007)),
            ("watermark", wide(0x2008)),
            ("low_water", wide(0x2009)),
            ("cut", wide(0x2001)),
            ("in_flight_limit", wide(0x2002)),
            ("chain", narrow(0x200a)),
            ("header_checksum", narrow(crc32fast::hash(&covered))),
        ],
    );
    let end = FRAME_HEADER_LEN + payload_len;
    assert_eq!(le(&frame.bytes[end..end + FRAME_TRAILER_LEN]), u64::from(frame.checksum));
    let covered = [&frame.bytes[..100], &frame.bytes[FRAME_HEADER_LEN..end]].concat();
    assert_eq!(crc32fast::hash(&covered), frame.checksum);
    assert!(frame.bytes[end + FRAME_TRAILER_LEN..].iter().all(|byte| *byte == 0));

    buffer.begin();
    let close = FrameHeader { start: None, close: true, ..header };
    let bytes = buffer.finish(close, &place, offset).bytes;
    assert_eq!(le(&bytes[4..8]), flags()[&("frame", "close")]);
    assert_eq!(le(&bytes[80..96]), 0, "cut and limit are zero where there is no start");
}

#[test]
fn the_table_of_a_record_agrees_with_the_code() {
    let mut bytes = Vec::new();
    record::encode(&[9; 300], &mut bytes);
    agrees(
        &fields("Record"),
        record::RECORD_OVERHEAD,
        &bytes,
        &[("length", 300u32.to_le_bytes().to_vec()), ("flags", vec![0])],
    );
    assert_eq!(bytes[record::RECORD_OVERHEAD..], [9; 300]);
}

#[test]
fn the_page_and_the_code_have_the_same_rules_of_validity_and_table_of_verdicts() {
    for (title, begin, source, count) in [
        ("A frame is valid if and only if", "* **V", FRAME_RS, 7),
        ("Verdicts", "|", SCAN_RS, 2 + 6),
    ] {
        let says = |line: &&str| line.starts_with(begin);
        let page: Vec<_> = section(title).lines().filter(says).collect();
        let documented = source.lines().filter_map(|line| line.strip_prefix("//! "));
        assert_eq!(page.len(), count, "{title}");
        assert_eq!(page, documented.filter(says).collect::<Vec<_>>(), "{title}");
    }
}
