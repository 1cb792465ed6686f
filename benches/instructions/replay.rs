//! What is read: by a reader, and by recovery. The logs are written by the format itself, from the page cache
//! they are read as any other.

use std::fs;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use actix_wal::storage::Directory;
use actix_wal::testkit::internals::Parts;
use actix_wal::testkit::internals::engine::read::cursor::Cursor;
use actix_wal::testkit::internals::engine::recovery::{Begun, Progress, recover};
use actix_wal::testkit::internals::engine::state::shared::Shared;
use actix_wal::testkit::internals::format::frame::{FrameBuffer, FrameHeader, Start};
use actix_wal::testkit::internals::format::scan::{Scanner, Seen, Until, Verdict};
use actix_wal::testkit::internals::format::segment::{SegmentHeader, segment_name};
use actix_wal::testkit::internals::format::{DEFAULT_BLOCK_SIZE, LogId, Place};
use actix_wal::{Epoch, Lsn, RecordBatch, WalConfig};
use tempfile::TempDir;

use super::pieces::{BATCHES, RECORD_LEN, RECORDS, measured};

/// Frames of one record, as lone commits leave them.
pub(crate) const LONE_FRAMES: u64 = 4000;
/// Blocks that were filled with zeros and never written.
pub(crate) const BLANK_BLOCKS: u64 = 4096;
const SEGMENTS: u64 = 8;

/// Writes a log of so many frames. The last frame of each segment ends with the file.
fn write(frames: u64, records: u64) -> TempDir {
    let folder = test_support::scratch::folder();
    let (mut buffer, mut next, mut chain) = (FrameBuffer::default(), Lsn::FIRST, 0);
    for sequence in 1..=SEGMENTS {
        let block_size = DEFAULT_BLOCK_SIZE;
        let place = Place { log_id: LogId([7; 16]), sequence, block_size };
        let mut bytes = vec![0; block_size as usize];
        for frame in 0..frames / SEGMENTS {
            let start = Start { cut: next.previous(), in_flight_limit: 1 << 16 };
            let header = FrameHeader {
                start: (frame == 0).then_some(start),
                close: false,
                sequence,
                salt: 42 + sequence,
                epoch: Epoch::new(1),
                first_lsn: next,
                next_lsn: next.plus(records),
                count: 0,
                payload_len: 0,
                wall_clock_us: 0,
                watermark: next.previous(),
                low_water: Lsn::NONE,
                chain,
            };
            buffer.begin();
            (0..records).for_each(|_| buffer.push(&[7; RECORD_LEN]));
            let frame = buffer.finish(header, &place, bytes.len() as u64);
            bytes.extend_from_slice(frame.bytes);
            (next, chain) = (header.next_lsn, frame.checksum);
        }
        let size = bytes.len() as u64;
        let header = SegmentHeader { place, size, recycled: false, growing: false }.encode();
        bytes[..header.len()].copy_from_slice(&header);
        fs::write(folder.path().join(segment_name(sequence)), bytes).expect("it is written");
    }
    folder
}

/// A host that looks at every record, but not at all of its bytes.
fn look_at(batch: &RecordBatch) -> u64 {
    let lens =
        batch.iter().map(|(lsn, payload)| black_box(lsn).get().min(1) * payload.len() as u64);
    lens.sum()
}

fn recovered(folder: &TempDir, shared: &Shared) -> (Begun, u64) {
    let storage = Arc::new(Directory::open(folder.path()).expect("nobody else has it"));
    let mut seen = 0;
    let config = WalConfig::new(folder.path());
    let recovered =
        recover(storage, &config, shared, None, &mut |batch: RecordBatch, _: Progress| {
            seen += look_at(&batch);
            Ok(())
        });
    (recovered.expect("the log is sound"), seen)
}

fn recover_log(frames: u64, records: u64) {
    let folder = write(frames, records);
    let Parts { shared, queue: _queue } = Parts::new(&WalConfig::new(folder.path()));
    measured(&mut || {
        let (_log, seen) = recovered(&folder, &shared);
        assert_eq!(seen, frames * records * RECORD_LEN as u64);
    });
}

/// Frames of a full batch.
pub(crate) fn recover_batches() {
    recover_log(BATCHES, RECORDS);
}

/// Frames of one record.
pub(crate) fn recover_lone() {
    recover_log(LONE_FRAMES, 1);
}

/// A reader, from the first record to the last one.
pub(crate) fn read() {
    let folder = write(BATCHES, RECORDS);
    let Parts { shared, queue: _queue } = Parts::new(&WalConfig::new(folder.path()));
    let (log, seen) = recovered(&folder, &shared);
    shared.watermark.raise_durable(log.report().last_lsn);
    let lease = Duration::from_secs(3600);
    let mut cursor =
        Cursor::new(shared, log.storage, Lsn::FIRST, lease).expect("nothing was released");
    let mut read = 0;
    measured(&mut || {
        while let Some(batch) = cursor.read().expect("the log is sound") {
            read += look_at(&batch);
        }
    });
    assert_eq!(read, seen);
}

/// The rest of a segment that was prepared and not filled: is there a frame in it?
pub(crate) fn blank_tail() {
    let block_size = DEFAULT_BLOCK_SIZE;
    let place = Place { log_id: LogId([7; 16]), sequence: 1, block_size };
    let size = (BLANK_BLOCKS + 1) * u64::from(block_size);
    let header = SegmentHeader { place, size, recycled: false, growing: false };
    let bytes = vec![0; size as usize];
    measured(&mut || {
        let mut scanner = Scanner::new(header, size, Until::Tail);
        loop {
            let wanted = scanner.wants().expect("it is not at the end");
            match scanner.see(&bytes[wanted.start as usize..wanted.end as usize]) {
                Seen::More => {}
                Seen::End(ending) => return assert_eq!(ending.verdict, Verdict::Clean),
                Seen::Frame(_) => panic!("there is none"),
            }
        }
    });
}
