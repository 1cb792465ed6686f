//! The pieces of the hot path, each with just enough around it to run. What one costs is what happens inside
//! of [`measured`]; what it needs is made ready outside.

use std::hint::black_box;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use actix_wal::storage::{Medium, StorageFile};
use actix_wal::testkit::internals::engine::intake::assigner::Assigner;
use actix_wal::testkit::internals::engine::intake::entry::Payload;
use actix_wal::testkit::internals::engine::intake::inbox::Inbox;
use actix_wal::testkit::internals::engine::segments::clearing::OldSegment;
use actix_wal::testkit::internals::engine::segments::preparer::PreparedSegment;
use actix_wal::testkit::internals::engine::segments::supply::{
    Need, SegmentSource, SegmentStyle, Supply,
};
use actix_wal::testkit::internals::engine::state::meter::Laps;
use actix_wal::testkit::internals::engine::state::outcomes::{Fate, Waiters};
use actix_wal::testkit::internals::engine::state::requests::QueueReceiver;
use actix_wal::testkit::internals::engine::state::shared::Shared;
use actix_wal::testkit::internals::engine::write::flush_loop::{FlushLoop, Next, Worked};
use actix_wal::testkit::internals::engine::write::log_writer::{
    LogWriter, Position, Stamp, StartFrame,
};
use actix_wal::testkit::internals::format::{DEFAULT_BLOCK_SIZE, LogId};
use actix_wal::testkit::internals::wire::{Reply, Submit};
use actix_wal::testkit::internals::{Parts, permits::release};
use actix_wal::{CommitError, Durability, Epoch, FlushPolicy, Lsn, LsnRange, WalConfig};
use bytes::Bytes;
use tokio::sync::oneshot;

use super::{commits, replay};

/// How often each piece is run.
pub(crate) const BATCHES: u64 = 1000;
/// Records in a batch, and in a frame.
pub(crate) const RECORDS: u64 = 256;
/// Bytes of a record.
pub(crate) const RECORD_LEN: usize = 128;

/// Something that is counted.
pub(crate) struct Piece {
    /// What it is called in the table and in the baseline.
    pub(crate) name: &'static str,
    /// How many batches it handles inside of [`measured`].
    pub(crate) batches: u64,
    /// How many records a batch holds; of blank blocks, how many blocks.
    pub(crate) records: u64,
    /// Whether it must do without the allocator, however many records there are.
    pub(crate) allocates_nothing: bool,
    pub(crate) run: fn(),
}

const fn piece(name: &'static str, run: fn()) -> Piece {
    Piece { name, batches: BATCHES, records: RECORDS, allocates_nothing: false, run }
}

pub(crate) const PIECES: &[Piece] = &[
    piece("append", append),
    piece("assign", assign),
    Piece { allocates_nothing: true, ..piece("flush", flush) },
    piece("wake", wake),
    Piece { batches: commits::BATCHES, ..piece("commit by future", commits::by_future) },
    Piece { batches: commits::BATCHES, ..piece("commit by outbox", commits::by_outbox) },
    Piece { batches: commits::BATCHES, ..piece("commit by in-flight", commits::by_in_flight) },
    piece("read", replay::read),
    piece("recover", replay::recover_batches),
    Piece {
        batches: replay::LONE_FRAMES,
        records: 1,
        ..piece("recover lone commits", replay::recover_lone)
    },
    Piece {
        batches: 1,
        records: replay::BLANK_BLOCKS,
        ..piece("blank blocks", replay::blank_tail)
    },
];

/// Everything below this call is counted, and nothing else is. There is only one such function, so that its
/// name alone tells where to count; it must not be left by a jump, which would not be seen.
#[inline(never)]
pub(crate) fn measured(work: &mut dyn FnMut()) {
    work();
    black_box(());
}

/// The payloads of a batch, each in memory of its own, as clients have them.
pub(crate) fn payloads() -> Vec<Bytes> {
    (0..RECORDS).map(|_| Bytes::copy_from_slice(&[7; RECORD_LEN])).collect()
}

fn config() -> WalConfig {
    let mut config = WalConfig::new("no directory");
    config.flush_policy = FlushPolicy::Eager;
    config
}

fn submit(shared: &Shared, payload: Bytes, reply: Reply) -> Submit {
    let payload = Payload::One(payload);
    let permit = shared.admission.try_acquire(1, payload.encoded_len()).expect("room");
    Submit { payload, durability: Durability::GroupCommit, builds_on: None, permit, reply }
}

/// A permit and a channel for each record, into the intake, and out again in one go.
fn append() {
    let Parts { shared, queue: _queue } = Parts::new(&config());
    let (intake, mut room) = (Inbox::default(), Vec::new());
    let mut answers = Vec::with_capacity(RECORDS as usize);
    for _ in 0..BATCHES {
        let mut payloads = payloads();
        measured(&mut || {
            for payload in payloads.drain(..) {
                let (reply, answer) = oneshot::channel();
                let _ = intake.push(submit(&shared, payload, Reply::Outcome(reply)));
                answers.push(answer);
            }
            room = intake.take(std::mem::take(&mut room));
        });
        assert_eq!(room.len() as u64, RECORDS);
        // The channels end here, and the permits go back.
        room.clear();
        answers.clear();
    }
}

/// Has LSNs given to a batch, and puts it into the queue.
fn enqueue(assigner: &mut Assigner, submits: &mut Vec<Submit>) {
    for submit in submits.drain(..) {
        let Submit { payload, durability, permit, .. } = submit;
        assigner.assign(payload, durability, permit).expect("the log is ready");
    }
    assigner.hand_over().expect("there is room");
}

/// A batch of appends that were collected.
fn submits(shared: &Shared) -> Vec<Submit> {
    let nobody = || Reply::Outcome(oneshot::channel().0);
    payloads().into_iter().map(|payload| submit(shared, payload, nobody())).collect()
}

/// LSNs for a batch, and the batch into the queue.
fn assign() {
    let Parts { shared, queue } = Parts::new(&config());
    let mut assigner = Assigner::new(Arc::clone(&shared));
    assigner.resume(Lsn::FIRST);
    for _ in 0..BATCHES {
        let mut submits = submits(&shared);
        measured(&mut || enqueue(&mut assigner, &mut submits));
        for entry in queue.try_iter().flat_map(|item| item.into_entries()) {
            release(&shared.admission, 1, entry.payload.encoded_len());
        }
    }
}

/// What the flush thread does for a batch: takes it, encodes it, "writes" and "syncs" it, raises the
/// watermark, and frees the records.
fn flush() {
    let (shared, queue, mut flush_loop) = flush_loop();
    let mut assigner = Assigner::new(Arc::clone(&shared));
    assigner.resume(Lsn::FIRST);
    // The first two batches make room for all that follow: there are two hands that hold one in turn.
    for batch in 0..BATCHES + 2 {
        enqueue(&mut assigner, &mut submits(&shared));
        let mut work = || {
            for entry in queue.try_iter().flat_map(|item| item.into_entries()) {
                flush_loop.offer(entry).expect("LSNs follow on each other");
            }
            assert_eq!(flush_loop.next(shared.clock.now()), Next::Work);
            assert_eq!(flush_loop.work().expect("nothing fails"), Worked::Done);
            assert!(flush_loop.take_events().len() <= 1);
            flush_loop.tidy();
        };
        if batch < 2 {
            work()
        } else {
            measured(&mut work)
        }
        assert_eq!(shared.watermark.durable().get(), (batch + 1) * RECORDS);
    }
}

/// Those who wait for a batch, into the table and out of it, each with an answer.
fn wake() {
    let Parts { shared, queue: _queue } = Parts::new(&config());
    let mut waiters: Waiters<oneshot::Sender<Result<LsnRange, CommitError>>> = Waiters::default();
    let mut next = Lsn::FIRST;
    for _ in 0..BATCHES {
        let (mut replies, mut answers): (Vec<_>, Vec<_>) =
            (0..RECORDS).map(|_| oneshot::channel()).unzip();
        let through = next.plus(RECORDS).previous();
        shared.watermark.raise_durable(through);
        measured(&mut || {
            for (at, reply) in replies.drain(..).enumerate() {
                waiters.add(next.plus(at as u64), reply);
            }
            waiters.take(LsnRange { first: Lsn::NONE, last: through }, |lsn, reply| {
                assert!(matches!(shared.fate(lsn), Some(Fate::Durable)));
                let _ = reply.send(Ok(LsnRange { first: lsn, last: lsn }));
            });
        });
        assert!(answers.iter_mut().all(|answer| matches!(answer.try_recv(), Ok(Ok(_)))));
        next = through.next();
    }
}

/// A flush loop on a disk that takes everything and keeps nothing.
fn flush_loop() -> (Arc<Shared>, QueueReceiver, FlushLoop) {
    let config = config();
    let Parts { shared, queue } = Parts::new(&config);
    let size = 1 << 40;
    let style = SegmentStyle {
        log_id: LogId([7; 16]),
        block_size: DEFAULT_BLOCK_SIZE,
        segment_size: size,
        medium: Medium::InPlace,
    };
    let name = "nothing".to_owned();
    let segment = PreparedSegment { sequence: 1, name, size, file: Box::new(Nothing) };
    let mut position = Position { next_lsn: Lsn::FIRST, ..Position::default() };
    let opening = StartFrame {
        epoch: Epoch::NONE.next(),
        first_lsn: Lsn::FIRST,
        next_lsn: Lsn::FIRST,
        in_flight_limit: shared.admission.max_entries() as u64,
        salt: 42,
    };
    let laps = Laps::default();
    let stamp = Stamp { wall_us: 0, watermark: Lsn::NONE, low_water: Lsn::NONE, laps };
    let writer = LogWriter::start(segment, style.place(1), &mut position, opening, stamp, |_| {})
        .expect("nothing fails");
    let source = Box::new(Nothing);
    let flush_loop = FlushLoop::new(&config, Arc::clone(&shared), style, source, position, writer);
    (shared, queue, flush_loop)
}

/// A file, and a supply of segments.
#[derive(Debug)]
struct Nothing;

impl StorageFile for Nothing {
    fn size(&self) -> io::Result<u64> {
        Ok(0)
    }

    fn read_at(&self, _: &mut [u8], _: u64) -> io::Result<usize> {
        Ok(0)
    }

    fn write_at(&self, bytes: &[u8], _: u64) -> io::Result<usize> {
        Ok(black_box(bytes).len())
    }

    fn set_size(&self, _: u64) -> io::Result<()> {
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

impl SegmentSource for Nothing {
    fn take(&mut self, _: Need) -> Supply {
        Supply::NotYet
    }

    fn wait(&mut self, _: Duration) {}

    fn recycle(&mut self, _: Vec<OldSegment>) {}

    fn remove(&mut self, _: String) {}

    fn stop(&mut self) {}
}
