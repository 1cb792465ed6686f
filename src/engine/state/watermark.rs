//! Three words for three states of a record, everywhere: *accepted* (it has an LSN), *written* (the file system
//! has it), *durable* (the sync that covers it returned). `accepted >= written >= durable`.

use crate::lsn::{Epoch, Lsn};
use crate::runtime::sync::{AtomicU64, Ordering};

/// How far the log has come. Every part reads it; the Appender raises `accepted`, the flush loop the others.
#[derive(Debug)]
pub struct Watermark {
    accepted: AtomicU64,
    written: AtomicU64,
    durable: AtomicU64,
    epoch: AtomicU64,
    open: AtomicU64,
    ended: AtomicU64,
}

impl Default for Watermark {
    fn default() -> Self {
        let zero = || AtomicU64::new(0);
        Watermark {
            accepted: zero(),
            written: zero(),
            durable: zero(),
            epoch: zero(),
            open: zero(),
            ended: zero(),
        }
    }
}

impl Watermark {
    /// The highest LSN that was assigned.
    #[inline]
    pub fn accepted(&self) -> Lsn {
        Lsn::new(self.accepted.load(Ordering::Acquire))
    }

    /// The highest LSN that was passed to the file system and not refused by it.
    #[inline]
    pub fn written(&self) -> Lsn {
        Lsn::new(self.written.load(Ordering::Acquire))
    }

    /// The highest LSN whose sync has returned. Never falls, never ahead of the disk (promise P5).
    #[inline]
    pub fn durable(&self) -> Lsn {
        Lsn::new(self.durable.load(Ordering::Acquire))
    }

    /// The LSN of the next append: no record has it, nor any above it.
    #[inline]
    pub fn next_lsn(&self) -> Lsn {
        self.accepted().max(self.durable()).next()
    }

    /// The epoch that is writing.
    pub fn epoch(&self) -> Epoch {
        Epoch::new(self.epoch.load(Ordering::Acquire))
    }

    /// The epoch in which the Appender takes records: the one to build on. After a fault that is the one before, until the
    /// Appender knows of the next. It refuses appends until then, and one that built on the next would end that: nobody could
    /// build on it any more, though nothing of it had failed, and nothing would begin another.
    pub fn open(&self) -> Epoch {
        Epoch::new(self.open.load(Ordering::Acquire))
    }

    /// The Appender takes records in this epoch.
    pub fn open_in(&self, epoch: Epoch) {
        self.open.fetch_max(epoch.get(), Ordering::AcqRel);
    }

    /// Whether nothing can build on this epoch any more.
    pub fn has_ended(&self, epoch: Epoch) -> bool {
        epoch.get() <= self.ended.load(Ordering::Acquire)
    }

    /// A record was given up, or an append that builds on this epoch was refused: what comes after may build on it, so
    /// no append that builds on this epoch or an older one is taken from now on. An epoch that ends and gives nothing
    /// up, because all is written again in the next one, does not count as ended.
    pub fn end_epoch(&self, epoch: Epoch) {
        self.ended.fetch_max(epoch.get(), Ordering::AcqRel);
    }

    /// Notes the highest LSN that was assigned.
    pub fn raise_accepted(&self, last: Lsn) {
        self.accepted.fetch_max(last.get(), Ordering::AcqRel);
    }

    /// Notes the highest LSN that was written.
    pub fn raise_written(&self, last: Lsn) {
        self.written.fetch_max(last.get(), Ordering::AcqRel);
    }

    /// Raises the watermark. Only after the sync that covers it has returned, and after the exceptions below it are
    /// in [`Outcomes`](super::outcomes::Outcomes): a record that failed must not look durable.
    pub fn raise_durable(&self, through: Lsn) {
        self.durable.fetch_max(through.get(), Ordering::AcqRel);
    }

    /// Notes the epoch that is writing. In the first one of a life the Appender refuses nothing: what comes early waits.
    pub fn begin_epoch(&self, epoch: Epoch) {
        self.epoch.store(epoch.get(), Ordering::Release);
        if self.open() == Epoch::NONE {
            self.open_in(epoch);
        }
    }
}
