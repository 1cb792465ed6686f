//! Small logs on simulated disks, written by the real actors and recovered without them.

use std::time::Duration;

use actix_wal::testkit::SimDisk;
use actix_wal::testkit::internals::Parts;
use actix_wal::testkit::internals::format::frame::FrameHeader;
use actix_wal::testkit::internals::format::segment::{
    FileKind, SegmentHeader, file_kind, segment_name,
};
use actix_wal::{DamagePolicy, FlushPolicy, Lsn, OpenError, Wal, WalConfig};

use crate::recovered::{Recovered, replayed};
use crate::settings;

/// Small segments, one frame per commit, and no seal: a record is exactly one frame.
pub fn config() -> WalConfig {
    let mut config = settings::blocks(12);
    config.max_in_flight_entries = 16;
    config.flush_policy = FlushPolicy::Eager;
    config.seal_after = Duration::from_secs(3600);
    config
}

/// The payload of the record with this LSN.
pub fn payload(lsn: u64) -> Vec<u8> {
    (0..300u64).map(|at| (lsn * 31 + at * 7) as u8).collect()
}

pub fn expected(lsns: impl IntoIterator<Item = u64>) -> Vec<(u64, Vec<u8>)> {
    lsns.into_iter().map(|lsn| (lsn, payload(lsn))).collect()
}

/// Runs a future in an actix System of its own.
pub fn run<T>(future: impl Future<Output = T>) -> T {
    actix::System::new().block_on(future)
}

pub async fn open(disk: &SimDisk, config: WalConfig) -> Wal {
    Wal::open(config).on_storage(disk.mount().expect("free")).await.expect("it opens")
}

/// Commits this many records one after the other, each with the payload of its LSN.
pub async fn commit(wal: &Wal, count: u64) {
    for _ in 0..count {
        let next = wal.status().accepted.next();
        assert_eq!(wal.commit(payload(next.get())).await.expect("durable"), next);
    }
}

/// One life of a log: opened, so many records are committed, and closed.
pub fn live(disk: &SimDisk, records: u64) {
    run(async {
        let wal = open(disk, config()).await;
        commit(&wal, records).await;
        wal.close().await.expect("closes");
    });
}

/// Waits until so many segments lie prepared behind the one that is written.
pub async fn prepared(disk: &SimDisk, count: usize) {
    for _ in 0..10_000 {
        if unused(disk).len() >= count && disk.names().iter().all(|name| name.ends_with(".wal")) {
            return;
        }
        actix::clock::sleep(Duration::from_millis(1)).await;
    }
    panic!("no segments are prepared: {:?}", disk.names());
}

/// A log of `records` records that was killed, with two segments prepared.
pub fn killed_log(records: u64) -> SimDisk {
    let disk = SimDisk::new();
    run(async {
        let wal = open(&disk, config()).await;
        commit(&wal, records).await;
        prepared(&disk, 2).await;
        let killed = disk.fork();
        wal.close().await.expect("closes");
        killed
    })
}

/// A log of `records` records that was closed.
pub fn closed_log(records: u64) -> SimDisk {
    let disk = SimDisk::new();
    live(&disk, records);
    disk
}

/// A frame as it lies in a segment.
#[derive(Clone, Copy, Debug)]
pub struct Framed {
    pub segment: u64,
    pub offset: u64,
    pub len: usize,
    pub header: FrameHeader,
}

/// A segment and its frames.
#[derive(Clone, Debug)]
pub struct Segment {
    pub sequence: u64,
    pub bytes: Vec<u8>,
    pub frames: Vec<Framed>,
}

/// The segments on a disk, in order.
pub fn segments(disk: &SimDisk) -> Vec<Segment> {
    let read = |name: String| {
        let FileKind::Segment(sequence) = file_kind(&name) else { return None };
        let bytes = disk.read_file(&name)?;
        let header = SegmentHeader::decode(&bytes).ok()?;
        let (mut frames, mut offset) = (Vec::new(), 512);
        while let Some(rest) = bytes.get(offset as usize..) {
            let decoded = FrameHeader::decode(rest, &header.place, offset, bytes.len() as u64);
            let Ok(header_of) = decoded else { break };
            let len = header_of.frame_len(&header.place);
            let header = header_of;
            frames.push(Framed { segment: sequence, offset, len: len as usize, header });
            offset += len;
        }
        Some(Segment { sequence, bytes, frames })
    };
    disk.names().into_iter().filter_map(read).collect()
}

/// The segments in which something was written, in order.
pub fn used(disk: &SimDisk) -> Vec<Segment> {
    segments(disk).into_iter().filter(|segment| !segment.frames.is_empty()).collect()
}

/// The segments that are only prepared, in order.
pub fn unused(disk: &SimDisk) -> Vec<Segment> {
    segments(disk).into_iter().filter(|segment| segment.frames.is_empty()).collect()
}

pub fn frames(disk: &SimDisk) -> Vec<Framed> {
    segments(disk).into_iter().flat_map(|segment| segment.frames).collect()
}

/// A segment of this size in which nothing has begun, with another number in its header.
pub fn renumbered(segment: &[u8], sequence: u64) -> Vec<u8> {
    let mut header = SegmentHeader::decode(segment).expect("a header");
    header.place.sequence = sequence;
    let mut bytes = header.encode();
    bytes.resize(segment.len(), 0);
    bytes
}

/// Changes the bytes of a segment.
pub fn change(disk: &SimDisk, sequence: u64, change: impl FnOnce(&mut Vec<u8>)) {
    let name = segment_name(sequence);
    let mut bytes = disk.read_file(&name).expect("the segment is there");
    change(&mut bytes);
    disk.write_file(&name, bytes);
}

/// Recovers without any actor.
pub fn recover(disk: &SimDisk, policy: DamagePolicy) -> Result<Recovered, OpenError> {
    let mut config = config();
    config.damage_policy = policy;
    recover_from(disk, &config, None)
}

pub fn recover_from(
    disk: &SimDisk,
    config: &WalConfig,
    from: Option<Lsn>,
) -> Result<Recovered, OpenError> {
    replayed(disk.mount().expect("free"), config, &Parts::new(config), from)
}
