//! Replay: how live records get to the host.

use crate::error::OpenError;
use crate::format::frame::Frame;
use crate::lsn::Lsn;
use crate::record::{BatchBuilder, RecordBatch, Rest};

/// How far a recovery has come, in bytes of live segments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes done.
    pub done: u64,
    /// Bytes in all.
    pub total: u64,
}

/// Takes the records that are replayed. An error ends the recovery.
pub trait ReplaySink {
    /// The next records, in LSN order. It may return before the host is done with them, so that more is read
    /// meanwhile; an error may be of any batch so far.
    ///
    /// # Errors
    /// Why the host refuses.
    fn replay(&mut self, records: RecordBatch, progress: Progress) -> Result<(), String>;

    /// Waits until the host is done with all of them. It is called before anything is written.
    ///
    /// # Errors
    /// Why the host refuses.
    fn settle(&mut self) -> Result<(), String> {
        Ok(())
    }

    /// Whether anything still waits for the log. Once it is not wanted, the recovery ends with an error.
    fn is_wanted(&self) -> bool {
        true
    }
}

impl<F: FnMut(RecordBatch, Progress) -> Result<(), String>> ReplaySink for F {
    fn replay(&mut self, records: RecordBatch, progress: Progress) -> Result<(), String> {
        self(records, progress)
    }
}

/// Hands records on to the host, in batches.
pub(super) struct Replaying<'a> {
    from: Lsn,
    batch: BatchBuilder,
    replayed: u64,
    sink: &'a mut dyn ReplaySink,
}

impl<'a> Replaying<'a> {
    pub(super) fn new(from: Lsn, sink: &'a mut dyn ReplaySink) -> Self {
        Replaying { from, batch: BatchBuilder::default(), replayed: 0, sink }
    }

    pub(super) fn frame(&mut self, frame: &Frame<'_>, progress: Progress) -> Result<(), OpenError> {
        // Looked at for each frame: those below `from` fill no batch.
        if !self.sink.is_wanted() {
            let reason = "nobody waits for the open any more".to_owned();
            return Err(OpenError::Replay { reason });
        }
        let mut rest = Some(Rest::of(frame, self.from));
        while let Some(from) = rest {
            rest = self.batch.push(frame, from, Lsn::MAX);
            if self.batch.is_full() {
                self.send(progress)?;
            }
        }
        Ok(())
    }

    fn send(&mut self, progress: Progress) -> Result<(), OpenError> {
        let batch = self.batch.take();
        self.replayed += batch.len() as u64;
        self.sink.replay(batch, progress).map_err(|reason| OpenError::Replay { reason })
    }

    /// Sends the rest, and returns when the host is done with everything.
    pub(super) fn settle(&mut self, progress: Progress) -> Result<(), OpenError> {
        if !self.batch.is_empty() {
            self.send(progress)?;
        }
        self.sink.settle().map_err(|reason| OpenError::Replay { reason })
    }

    pub(super) fn end(mut self, total: u64) -> Result<u64, OpenError> {
        let progress = Progress { done: total, total };
        self.send(progress)?;
        self.settle(progress)?;
        Ok(self.replayed)
    }
}
