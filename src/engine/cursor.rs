//! Reads durable records, and follows the live tail as far as the watermark.
//!
//! A cursor never looks beyond the watermark: what is written but not synced is in the page cache like
//! everything else, and a reader must not see what a crash could still lose (promise P5).

use std::mem;
use std::sync::Arc;

use super::catalog::SegmentInfo;
use super::records::{BatchBuilder, RecordBatch};
use super::segment_reader::{Next, SegmentReader, what_is_wrong};
use super::shared::Shared;
use crate::error::{Damage, DamageKind, IoFault, IoOp, Loss, ReadError};
use crate::format::scan::Until;
use crate::format::segment::{SEGMENT_HEADER_LEN, SegmentHeader};
use crate::lsn::Lsn;
use crate::storage::{Storage, read_exact_at};

/// Reads durable records in LSN order. It blocks on file reads, so it belongs on a thread that may.
#[derive(Debug)]
pub struct Cursor {
    shared: Arc<Shared>,
    storage: Arc<dyn Storage>,
    next: Lsn,
    hold: u64,
    open: Option<(u64, SegmentReader)>,
    /// Kept between reads: it knows how much room a batch takes. Nothing is in it then.
    builder: BatchBuilder,
}

impl Cursor {
    /// A cursor that begins at `from`. It keeps what it has not read yet from being removed, for as
    /// long as it makes progress within its lease.
    ///
    /// # Errors
    /// `Released` if a checkpoint has released `from`; `BeyondEnd` if the log has never had it and it is not the
    /// next one either.
    pub fn new(
        shared: Arc<Shared>,
        storage: Arc<dyn Storage>,
        from: Lsn,
        lease: std::time::Duration,
    ) -> Result<Self, ReadError> {
        let next = from.max(Lsn::FIRST);
        // The hold first: after it, the low-water mark can rise but nothing is removed.
        let hold = shared.catalog.hold(next, shared.clock.now(), lease);
        let builder = BatchBuilder::default();
        let cursor = Cursor { shared, storage, next, hold, open: None, builder };
        let released = cursor.shared.catalog.low_water();
        if next <= released {
            return Err(ReadError::Released { released });
        }
        let end = cursor.shared.next_lsn();
        if next > end {
            return Err(ReadError::BeyondEnd { from: next, next: end });
        }
        Ok(cursor)
    }

    /// The LSN that it reads next.
    pub fn next_lsn(&self) -> Lsn {
        self.next
    }

    /// The next records, at most about a mebibyte of them, or `None` if nothing more is durable now.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn read(&mut self) -> Result<Option<RecordBatch>, ReadError> {
        if !self.shared.catalog.touch(self.hold, self.next, self.shared.clock.now()) {
            return Err(ReadError::LeaseExpired { lsn: self.next });
        }
        let durable = self.shared.durable();
        let mut batch = mem::take(&mut self.builder);
        while self.next <= durable && !batch.is_full() {
            let Some(info) = self.shared.catalog.find(self.next) else {
                return Err(ReadError::Released { released: self.shared.catalog.low_water() });
            };
            let end = info.live_end.map_or(durable, |end| end.min(durable));
            self.read_segment(&info, end, &mut batch)?;
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
        let mut reader = match self.open.take() {
            Some((sequence, mut reader)) if sequence == info.sequence => {
                // What was read ahead may be older than the frames that have become durable meanwhile.
                reader.refresh()?;
                reader
            }
            _ => self.open_segment(info)?,
        };
        while self.next <= end && !batch.is_full() {
            let damage = match reader.next()? {
                Next::Frame(frame) => {
                    batch.push(&frame, self.next);
                    if frame.header.count > 0 {
                        self.next = self.next.max(frame.header.last_lsn().next());
                    }
                    continue;
                }
                Next::End(ending) => Damage {
                    segment: info.sequence,
                    offset: ending.offset,
                    lsn: self.next,
                    loss: Loss::Certain,
                    kind: DamageKind::Frame { reason: what_is_wrong(&ending.verdict), proof: None },
                },
            };
            return Err(damage.into());
        }
        self.open = Some((info.sequence, reader));
        Ok(())
    }

    fn open_segment(&self, info: &SegmentInfo) -> Result<SegmentReader, ReadError> {
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
        Ok(SegmentReader::new(file, &info.name, header, Until::LiveEnd(Lsn::MAX))?)
    }
}

impl Drop for Cursor {
    fn drop(&mut self) {
        self.shared.catalog.unhold(self.hold);
    }
}
