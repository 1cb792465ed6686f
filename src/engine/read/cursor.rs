//! Reads durable records, and follows the live tail as far as the watermark.
//!
//! A cursor never looks beyond the watermark: what is written but not synced is in the page cache like
//! everything else, and a reader must not see what a crash could still lose (promise P5).

use std::mem;
use std::sync::Arc;

use crate::engine::read::segment_reader::{Next, SegmentReader, what_is_wrong};
use crate::engine::segments::catalog::SegmentInfo;
use crate::engine::state::shared::Shared;
use crate::error::{Damage, DamageKind, IoFault, IoOp, Loss, ReadError};
use crate::format::scan::{Ending, Until};
use crate::format::segment::{SEGMENT_HEADER_LEN, SegmentHeader};
use crate::lsn::{Lsn, LsnRange};
use crate::record::{BatchBuilder, RecordBatch, Rest};
use crate::storage::{Storage, read_exact_at};

/// Reads durable records in LSN order. It blocks on file reads, so it belongs on a thread that may.
///
/// It holds the file of one segment open, and little memory: a mebibyte that it reads ahead, or the one frame
/// that it stands in if that is larger (a frame holds at most what may be in flight, `max_in_flight_bytes`), and
/// 64 KiB once it has read everything that is durable. A batch is about a mebibyte more, and belongs to whoever
/// takes it.
#[derive(Debug)]
pub struct Cursor {
    shared: Arc<Shared>,
    storage: Arc<dyn Storage>,
    next: Lsn,
    /// The last LSN that is read.
    through: Lsn,
    hold: u64,
    open: Option<Opened>,
    /// Kept between reads: it knows how much room a batch takes. Nothing is in it then.
    builder: BatchBuilder,
}

/// The segment that a cursor stands in.
#[derive(Debug)]
struct Opened {
    sequence: u64,
    reader: SegmentReader,
    /// The next record, if it lies in the frame that the reader gave out last.
    rest: Option<Rest>,
    /// Whether the reader may have read ahead what was not durable yet.
    is_stale: bool,
    /// Whether it went to the next record without walking there, and has given out nothing yet.
    has_jumped: bool,
}

impl Opened {
    /// The frame that holds the next record, or comes before it.
    fn frame(&mut self) -> Result<Next<'_>, IoFault> {
        if self.rest.is_none() && self.is_stale {
            self.reader.refresh()?;
            self.is_stale = false;
        }
        if self.rest.is_some() { self.reader.again() } else { self.reader.next() }
    }
}

impl Cursor {
    /// A cursor that begins at `from`. It keeps what it has not read yet from being removed, for as
    /// long as it makes progress within its lease.
    ///
    /// # Errors
    /// `Released` if a checkpoint has released `from`; `BeyondEnd` if the log has never had it and it is not the
    /// next one either.
    #[doc(hidden)]
    pub fn new(
        shared: Arc<Shared>,
        storage: Arc<dyn Storage>,
        from: Lsn,
        lease: std::time::Duration,
    ) -> Result<Self, ReadError> {
        let next = from.max(Lsn::FIRST);
        // The hold first: after it, the low-water mark can rise but nothing is removed.
        let hold = shared.catalog.hold(next, shared.clock.now(), lease);
        let (builder, through) = (BatchBuilder::default(), Lsn::MAX);
        let cursor = Cursor { shared, storage, next, through, hold, open: None, builder };
        let released = cursor.shared.catalog.low_water();
        if next <= released {
            return Err(ReadError::Released { released });
        }
        let end = cursor.shared.watermark.next_lsn();
        if next > end {
            return Err(ReadError::BeyondEnd { from: next, next: end });
        }
        Ok(cursor)
    }

    /// A cursor for the records of a range, all of which are durable.
    ///
    /// # Errors
    /// `Released` if a checkpoint has released any of it, `BeyondEnd` if the log has never had its last LSN, and
    /// `NotDurable` if that is not durable yet.
    #[doc(hidden)]
    pub fn of_range(
        shared: Arc<Shared>,
        storage: Arc<dyn Storage>,
        range: LsnRange,
        lease: std::time::Duration,
    ) -> Result<Self, ReadError> {
        let (durable, end) = (shared.watermark.durable(), shared.watermark.next_lsn());
        if range.last >= end {
            return Err(ReadError::BeyondEnd { from: range.last, next: end });
        }
        if range.last > durable {
            return Err(ReadError::NotDurable { lsn: range.last, durable });
        }
        let mut cursor = Cursor::new(shared, storage, range.first, lease)?;
        cursor.through = range.last;
        Ok(cursor)
    }

    /// The LSN that it reads next.
    pub fn next_lsn(&self) -> Lsn {
        self.next
    }

    /// Whether it has read all of its range, and so will read nothing more.
    pub fn is_done(&self) -> bool {
        self.next > self.through
    }

    /// The next records, at most about a mebibyte of them, or `None` if nothing more is durable now.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn read(&mut self) -> Result<Option<RecordBatch>, ReadError> {
        self.read_on().inspect_err(|error| {
            if let ReadError::Io(fault) = error {
                self.shared.meter.io_fault(|| fault.clone());
            }
        })
    }

    fn read_on(&mut self) -> Result<Option<RecordBatch>, ReadError> {
        if !self.shared.catalog.touch(self.hold, self.next, self.shared.clock.now()) {
            return Err(ReadError::LeaseExpired { lsn: self.next });
        }
        let durable = self.shared.watermark.durable().min(self.through);
        let mut batch = mem::take(&mut self.builder);
        while self.next <= durable && !batch.is_full() {
            let Some(info) = self.shared.catalog.find(self.next) else {
                return Err(ReadError::Released { released: self.shared.catalog.low_water() });
            };
            let end = info.live_end.map_or(durable, |end| end.min(durable));
            self.read_segment(&info, end, &mut batch)?;
        }
        let is_idle = self.next > durable;
        if let Some(open) = self.open.as_mut().filter(|open| is_idle || open.rest.is_none()) {
            open.reader.give_back(is_idle);
        }
        let records = batch.take();
        self.builder = batch;
        Ok((!records.is_empty()).then_some(records))
    }

    /// Reads frames of one segment up to `end`, or until the batch is full.
    fn read_segment(
        &mut self,
        info: &SegmentInfo,
        end: Lsn,
        batch: &mut BatchBuilder,
    ) -> Result<(), ReadError> {
        let mut open = match self.open.take() {
            // What was read ahead may be older than the frames that have become durable meanwhile.
            Some(open) if open.sequence == info.sequence => Opened { is_stale: true, ..open },
            _ => self.open_segment(info, Some(end))?,
        };
        while self.next <= end && !batch.is_full() {
            let (rest, through) = (open.rest, self.through);
            let ending = match open.frame()? {
                Next::Frame(frame) => {
                    let from = rest.unwrap_or_else(|| Rest::of(&frame, self.next));
                    let rest = batch.push(&frame, from, through);
                    let last = frame.header.last_lsn();
                    self.next = rest.map_or(self.next.max(last.next()), |rest| rest.lsn);
                    (open.rest, open.has_jumped) = (rest, false);
                    continue;
                }
                Next::End(ending) => ending,
            };
            if open.has_jumped {
                // What looked like a frame is none. The walk tells what there is.
                open = self.open_segment(info, None)?;
                continue;
            }
            return Err(self.damage(info, ending).into());
        }
        self.open = Some(open);
        Ok(())
    }

    fn damage(&self, info: &SegmentInfo, ending: Ending) -> Damage {
        Damage {
            segment: info.sequence,
            offset: ending.offset,
            lsn: self.next,
            loss: Loss::Certain,
            kind: DamageKind::Frame { reason: what_is_wrong(&ending.verdict), proof: None },
        }
    }

    /// Opens a segment. With the last LSN that may be read in it, goes to the next record without walking there.
    fn open_segment(&self, info: &SegmentInfo, end: Option<Lsn>) -> Result<Opened, ReadError> {
        let fault = |op| move |error| IoFault::new(op, &info.name, None, error);
        let file = self.storage.open(&info.name).map_err(fault(IoOp::Open))?;
        let mut block = [0; SEGMENT_HEADER_LEN];
        read_exact_at(&*file, &mut block, 0).map_err(fault(IoOp::Read))?;
        let header = SegmentHeader::decode(&block).map_err(|fault| Damage {
            segment: info.sequence,
            offset: 0,
            lsn: self.next,
            loss: Loss::Certain,
            kind: DamageKind::SegmentHeader { reason: fault.to_string() },
        })?;
        // The live end is checked here, frame by frame: it moves while the segment is written.
        let mut reader = SegmentReader::new(file, &info.name, header, Until::LiveEnd(Lsn::MAX))?;
        let has_jumped = match end {
            Some(end) if self.next > info.cut.next() => {
                reader.seek(self.next, (info.used, end.next()))?
            }
            _ => false,
        };
        let (sequence, rest, is_stale) = (info.sequence, None, false);
        Ok(Opened { sequence, reader, rest, is_stale, has_jumped })
    }
}

impl Drop for Cursor {
    fn drop(&mut self) {
        self.shared.catalog.unhold(self.hold);
    }
}
