//! Where the writer gets fresh segments from.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use crate::engine::segments::clearing::OldSegment;
use crate::engine::segments::preparer::{
    PrepareRequest, PrepareStatus, PreparedSegment, Preparer, PreparerConfig, SegmentPlan,
};
use crate::error::{Cause, FaultClass, IoFault};
use crate::format::Place;
use crate::format::segment::{SegmentHeader, scratch_name, segment_name};
use crate::lsn::LogId;
use crate::runtime::threads::Threads;
use crate::storage::{Medium, Storage};

/// What a segment is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// The current one is full. One prepared segment is left for a restart or the next open.
    Rotation,
    /// A new epoch after a fault: the last one may be taken.
    Restart,
}

/// The answer to the wish for a segment.
#[derive(Debug)]
pub enum Supply {
    /// Here it is.
    Ready(PreparedSegment),
    /// It is being prepared.
    NotYet,
    /// The disk is full.
    NoSpace(IoFault),
    /// It could not be prepared for another reason, time and again, or for one that does not pass.
    Failed(Cause),
}

/// Hands out prepared segments in the order of their sequence numbers, and takes old ones back.
pub trait SegmentSource: Send + fmt::Debug {
    /// A segment, if there is one.
    fn take(&mut self, need: Need) -> Supply;

    /// Waits until there may be one, or for this long.
    fn wait(&mut self, at_most: Duration);

    /// A frame was written: the current segment takes `room` more bytes. A flush takes about so long.
    fn advance(&mut self, room: u64, flush_time: Duration) {
        let _ = (room, flush_time);
    }

    /// Takes back segments that nobody needs any more, to be used again or removed, by and by.
    fn recycle(&mut self, old: Vec<OldSegment>);

    /// Removes a segment that nobody needs and nobody may write any more, by and by.
    fn remove(&mut self, name: String);

    /// How many segments are ready to be taken.
    fn prepared(&self) -> usize {
        0
    }

    /// Prepares nothing any more; when this returns, nothing of the supply touches the directory.
    fn stop(&mut self);
}

/// How the segments of one log are named and headed.
#[derive(Clone, Copy, Debug)]
pub struct SegmentStyle {
    /// The id of the log.
    pub log_id: LogId,
    /// The block size, in bytes.
    pub block_size: u32,
    /// The size of a full segment, in bytes.
    pub segment_size: u64,
    /// What kind of file system it is for.
    pub medium: Medium,
}

impl SegmentStyle {
    /// The place of the segment with this sequence number.
    pub fn place(&self, sequence: u64) -> Place {
        Place { log_id: self.log_id, sequence, block_size: self.block_size }
    }

    /// What the preparer has to know to make the segment with this sequence number.
    pub fn plan(&self, sequence: u64, size: u64, recycled: bool) -> SegmentPlan {
        let growing = self.medium == Medium::CopyOnWrite;
        let header = SegmentHeader { place: self.place(sequence), size, recycled, growing };
        SegmentPlan {
            name: segment_name(sequence),
            temp_name: scratch_name(sequence),
            header: header.encode(),
        }
    }
}

/// One segment to rotate into, and one that is kept back for a restart or the next open.
const POOL: usize = 2;

/// The segments of a life grow from a small first one by this factor up to the configured size: a busy
/// log must not wait, just after it was opened, until two full segments have been filled with zeros.
const GROWTH: u64 = 4;

/// How many bytes of zeros are written and synced at once, and how far the log goes until the preparer is
/// notified. A commit waits for zeros that are being synced: for so few, little longer than for another commit.
const PIECE: u64 = 64 << 10;

/// The same, when the log waits for the segment.
const LARGE_PIECE: u64 = 1 << 20;

/// A log that writes large frames needs its segments sooner, and feels larger pieces less: so many frames.
const FRAMES_PER_PIECE: u64 = 16;

/// Where a sync takes long for other reasons than its bytes, as on a disk that turns, it is the number of syncs that
/// is felt: a piece is what a modest disk writes in the time of a flush. Bytes per microsecond.
const WRITTEN_MEANWHILE: u64 = 256;

/// The supply of a real log: the preparer thread, and what an earlier life had prepared.
#[derive(Debug)]
pub struct Pool {
    /// `None` once it was stopped.
    preparer: Option<Preparer>,
    status: PrepareStatus,
    ready: VecDeque<PreparedSegment>,
    /// How many segments were asked for and are not ready.
    awaited: usize,
    /// The size of the current segment, how much of it is used up, and how much of that the preparer knows.
    size: u64,
    used: u64,
    known: u64,
    /// The failure that was reported last: none is reported twice.
    reported: u32,
    /// The size of the segment that is asked for next.
    next_size: u64,
    segment_size: u64,
    /// How large a piece is at least and at most while the log does not wait.
    pieces: (u64, u64),
}

impl Pool {
    /// Starts the preparer and has it prepare what is missing beside a segment of `current_size`
    /// bytes, which is being written.
    ///
    /// # Errors
    /// The thread could not be started.
    pub fn start(
        threads: &dyn Threads,
        storage: Arc<dyn Storage>,
        style: SegmentStyle,
        next_sequence: u64,
        current_size: u64,
        ready: Vec<PreparedSegment>,
    ) -> io::Result<Self> {
        let config = PreparerConfig {
            first_sequence: next_sequence,
            segment_size: style.segment_size,
            block_size: style.block_size as usize,
            max_spares: 1,
        };
        let plan = move |sequence, size, recycled| style.plan(sequence, size, recycled);
        let preparer = Preparer::spawn(threads, storage, config, Box::new(plan))?;
        let status = preparer.status().clone();
        let preparer = Some(preparer);
        let largest = ready.iter().map(|segment| segment.size).fold(current_size, u64::max);
        // A small segment is filled as the log comes near it too, and not by the first piece.
        let quarter = (style.segment_size / 4).next_multiple_of(style.block_size.into());
        let mut pool = Pool {
            preparer,
            status,
            ready: ready.into(),
            awaited: 0,
            size: current_size,
            used: 0,
            known: 0,
            reported: 0,
            next_size: grown(largest, style.segment_size),
            segment_size: style.segment_size,
            pieces: (PIECE.min(quarter), LARGE_PIECE.min(quarter)),
        };
        pool.set_pace(pool.pieces.0);
        (pool.ready.len()..POOL).for_each(|_| pool.request());
        Ok(pool)
    }

    /// Whether, and why, segments can not be prepared.
    pub fn status(&self) -> PrepareStatus {
        self.status.clone()
    }

    fn set_pace(&mut self, piece: u64) {
        self.known = self.used;
        self.ask(PrepareRequest::Pace { used: self.used, size: self.size, piece });
    }

    fn request(&mut self) {
        self.awaited += 1;
        self.ask(PrepareRequest::Segment { size: self.next_size });
        self.next_size = grown(self.next_size, self.segment_size);
    }

    fn ask(&self, request: PrepareRequest) {
        if let Some(preparer) = &self.preparer {
            // The thread ends only after this pool.
            let _ = preparer.requests().send(request);
        }
    }

    /// Why nothing can be prepared: what came first, and what it has come to.
    fn why(&self, latest: IoFault) -> Cause {
        match self.status.first() {
            Some(first) => Cause::from(first.to_io_fault()).followed_by(latest.into()),
            None => latest.into(),
        }
    }

    fn collect(&mut self) {
        let prepared = self.preparer.iter().flat_map(|preparer| preparer.pool().try_iter());
        self.ready.extend(prepared.inspect(|_| self.awaited -= 1));
    }
}

fn grown(size: u64, segment_size: u64) -> u64 {
    size.saturating_mul(GROWTH).min(segment_size)
}

impl SegmentSource for Pool {
    fn take(&mut self, need: Need) -> Supply {
        self.collect();
        let (fault, failures) = (self.status.fault(), self.status.failures());
        // A full disk is the reason to hold the last one back; other errors pass, or last and are a fault.
        let keep = match (need, &fault) {
            (Need::Rotation, None) => 1,
            (Need::Rotation, Some(fault)) if fault.is_no_space() => 1,
            _ => 0,
        };
        if self.ready.len() > keep
            && let Some(segment) = self.ready.pop_front()
        {
            (self.size, self.used) = (segment.size, 0);
            self.set_pace(self.pieces.0);
            self.request();
            return Supply::Ready(segment);
        }
        // Once, and not while it rests after a fault.
        if self.known < self.size && fault.is_none() {
            self.used = self.size;
            self.set_pace(LARGE_PIECE);
        }
        match fault {
            None => Supply::NotYet,
            Some(fault) if fault.is_no_space() => Supply::NoSpace(fault.to_io_fault()),
            // After a restart the next attempt counts, not the one that led to it: the budget is for faults.
            // What only an operator changes need not be tried again.
            Some(fault)
                if failures != self.reported
                    && (self.status.is_lasting() || fault.class() == FaultClass::Permanent) =>
            {
                self.reported = failures;
                Supply::Failed(self.why(fault.to_io_fault()))
            }
            // One error costs the file that was being prepared, and nothing else.
            Some(_) => Supply::NotYet,
        }
    }

    fn wait(&mut self, at_most: Duration) {
        match &self.preparer {
            Some(preparer) => {
                let prepared = preparer.pool().recv_timeout(at_most);
                self.ready.extend(prepared.inspect(|_| self.awaited -= 1));
            }
            None => std::thread::sleep(at_most),
        }
    }

    fn advance(&mut self, room: u64, flush_time: Duration) {
        let used = self.size.saturating_sub(room);
        let frame = used.saturating_sub(self.used);
        self.used = used;
        if self.awaited == 0 || used < self.known + self.pieces.0 {
            return;
        }
        self.collect();
        // Nobody disturbs it while it rests after a fault.
        if self.awaited > 0 && self.status.failures() == 0 {
            let meanwhile = WRITTEN_MEANWHILE.saturating_mul(flush_time.as_micros() as u64);
            let wanted = meanwhile.max(FRAMES_PER_PIECE * frame);
            self.set_pace(wanted.clamp(self.pieces.0, self.pieces.1));
        }
    }

    fn recycle(&mut self, old: Vec<OldSegment>) {
        if !old.is_empty() {
            self.ask(PrepareRequest::Recycle { old });
        }
    }

    fn remove(&mut self, name: String) {
        self.ask(PrepareRequest::Remove { name });
    }

    fn prepared(&self) -> usize {
        self.ready.len() + self.preparer.as_ref().map_or(0, |preparer| preparer.pool().len())
    }

    fn stop(&mut self) {
        self.ready.clear();
        if let Some(preparer) = self.preparer.take()
            && preparer.stop().is_err()
        {
            tracing::error!("the preparer thread panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::threads::{Turn, Worker};
    use crate::testkit::{
        ByHand, FaultEffect, FaultOp, FaultPlan, FaultRule, FaultyStorage, SimDisk, errno,
    };

    /// A pool beside a current segment of full size, and its preparer.
    fn pool_by_hand(storage: Arc<dyn Storage>, segment_size: u64) -> (Pool, Box<dyn Worker>) {
        let (log_id, medium) = (LogId([7; 16]), Medium::InPlace);
        let style = SegmentStyle { log_id, block_size: 512, segment_size, medium };
        let threads = ByHand::default();
        let pool = Pool::start(&threads, storage, style, 1, segment_size, Vec::new());
        (pool.expect("a pool"), threads.take().expect("a worker"))
    }

    #[test]
    fn segments_are_prepared_as_the_current_one_fills_and_at_once_if_the_log_waits() {
        const SIZE: u64 = 8 * PIECE;
        let quick = Duration::from_micros(100);
        let disk = SimDisk::new();
        let storage = disk.mount().expect("free");
        let (mut pool, mut preparer) = pool_by_hand(storage, SIZE);
        let mut prepare = || {
            let mut pieces = 0;
            while preparer.look() == Turn::Work {
                preparer.work();
                pieces += 1;
            }
            pieces
        };
        assert_eq!(prepare(), 8 + 1, "one is always there, and the next one is begun");
        (1..=32).for_each(|frames| pool.advance(SIZE - frames * 4096, quick));
        assert_eq!(prepare(), 4, "a quarter is used up");
        assert!(matches!(pool.take(Need::Rotation), Supply::NotYet), "one is held back");
        assert_eq!(prepare(), 1, "the log waits");
        assert!(matches!(pool.take(Need::Rotation), Supply::Ready(_)));
        assert_eq!(prepare(), 1);
        pool.advance(SIZE - PIECE / 2, quick);
        assert_eq!(prepare(), 0);
        pool.advance(SIZE / 2, quick);
        assert_eq!(prepare(), 4, "pieces of a quarter, for the frame was large");
        pool.advance(0, quick);
        assert_eq!((pool.ready.len(), pool.awaited), (2, 0));
    }

    #[test]
    fn p6_a_lasting_failure_is_one_fault_each_time_it_happens_and_not_each_time_it_is_asked_for() {
        let plan = FaultPlan::new();
        plan.add(FaultRule::on(FaultOp::Sync, FaultEffect::Fail(errno::EIO)).times(5));
        let disk = SimDisk::new();
        let storage = Arc::new(FaultyStorage::mount(&disk, plan).expect("free"));
        let (mut pool, mut preparer) = pool_by_hand(storage, 8192);
        let mut answers = Vec::new();
        for _ in 0..6 {
            while preparer.look() != Turn::Work {}
            while preparer.look() == Turn::Work {
                preparer.work();
            }
            answers.extend([0, 1].map(|_| match pool.take(Need::Restart) {
                Supply::Ready(_) => "ready",
                Supply::NotYet => "not yet",
                Supply::NoSpace(_) => "no space",
                Supply::Failed(_) => "failed",
            }));
        }
        assert_eq!(answers[..6], ["not yet"; 6], "one error passes, and so do three");
        assert_eq!(answers[6..], ["failed", "not yet", "failed", "not yet", "ready", "not yet"]);
    }
}
