//! The format alone, in memory: what a frame costs to encode, and a segment to scan.
//!
//! ```text
//! cargo bench --bench codec
//! ```

use std::hint::black_box;

use actix_wal::testkit::internals::format::frame::{FrameBuffer, FrameHeader, Start};
use actix_wal::testkit::internals::format::scan::{Scanner, Seen, Until, Verdict};
use actix_wal::testkit::internals::format::segment::SegmentHeader;
use actix_wal::testkit::internals::format::{DEFAULT_BLOCK_SIZE, LogId, Place};
use actix_wal::{Epoch, Lsn};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const RECORD: [u8; 128] = [7; 128];
const SEGMENT: u64 = 8 << 20;
const PLACE: Place = Place { log_id: LogId([1; 16]), sequence: 1, block_size: DEFAULT_BLOCK_SIZE };

/// The header of the frame that begins at this LSN; the buffer fills in the counts.
fn header(first: u64, count: u64, chain: u32) -> FrameHeader {
    let start = (first == 1).then_some(Start { cut: Lsn::NONE, in_flight_limit: 1 << 16 });
    FrameHeader {
        start,
        close: false,
        sequence: PLACE.sequence,
        salt: 42,
        epoch: Epoch::new(1),
        first_lsn: Lsn::new(first),
        next_lsn: Lsn::new(first + count),
        count: 0,
        payload_len: 0,
        wall_clock_us: 0,
        watermark: Lsn::new(first - 1),
        low_water: Lsn::NONE,
        chain,
    }
}

fn encode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encode a frame");
    for records in [1u64, 100] {
        group.throughput(Throughput::Bytes(records * RECORD.len() as u64));
        group.bench_function(
            BenchmarkId::from_parameter(format!("{records} records")),
            |bencher| {
                let mut buffer = FrameBuffer::default();
                bencher.iter(|| {
                    buffer.begin();
                    (0..records).for_each(|_| buffer.push(black_box(&RECORD)));
                    black_box(buffer.finish(header(2, records, 9), &PLACE, 8192).checksum)
                });
            },
        );
    }
    group.finish();
}

/// A segment full of frames with so many records each, and how many records that makes.
fn segment(per_frame: u64) -> (SegmentHeader, Vec<u8>, u64) {
    let header_block =
        SegmentHeader { place: PLACE, size: SEGMENT, recycled: false, growing: false };
    let mut bytes = header_block.encode();
    let (mut buffer, mut next, mut chain) = (FrameBuffer::default(), 1, 0);
    loop {
        buffer.begin();
        (0..per_frame).for_each(|_| buffer.push(&RECORD));
        let frame = buffer.finish(header(next, per_frame, chain), &PLACE, bytes.len() as u64);
        if (bytes.len() + frame.bytes.len()) as u64 > SEGMENT {
            break;
        }
        bytes.extend_from_slice(frame.bytes);
        (next, chain) = (next + per_frame, frame.checksum);
    }
    bytes.resize(SEGMENT as usize, 0);
    (header_block, bytes, next - 1)
}

/// Walks a segment to its end. Returns how many records it held.
fn scan(header: SegmentHeader, bytes: &[u8]) -> u64 {
    let mut scanner = Scanner::new(header, bytes.len() as u64, Until::Tail);
    let mut records = 0;
    loop {
        let wanted = scanner.wants().unwrap_or(0..0);
        let end = (wanted.end as usize).min(bytes.len());
        match scanner.see(&bytes[(wanted.start as usize).min(end)..end]) {
            Seen::More => {}
            Seen::Frame(frame) => records += frame.records().count() as u64,
            Seen::End(ending) => {
                assert_eq!(ending.verdict, Verdict::Clean);
                return records;
            }
        }
    }
}

fn scan_segment(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("scan a segment of 8 MiB");
    group.throughput(Throughput::Bytes(SEGMENT));
    for per_frame in [1, 100, 1000] {
        let (header, bytes, records) = segment(per_frame);
        let id = BenchmarkId::from_parameter(format!("{per_frame} records per frame"));
        group.bench_function(id, |bencher| {
            bencher.iter(|| assert_eq!(scan(header, black_box(&bytes)), records));
        });
    }
    group.finish();
}

criterion_group!(benches, encode, scan_segment);
criterion_main!(benches);
