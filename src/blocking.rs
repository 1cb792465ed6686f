//! The log for plain threads: the calls of [`Wal`] that block until they are answered.

use bytes::Bytes;

use crate::engine::read::cursor::Cursor;
use crate::error::{
    AppendError, Cause, CheckpointError, CloseError, CommitError, OpenError, ReadError,
};
use crate::lsn::Lsn;
use crate::open::Open;
use crate::record::Record;
use crate::runtime::{block_on, is_on_arbiter};
use crate::wal::Wal;

impl Open {
    /// Opens the log and blocks this thread until it is open. The log gets a System and a thread of its own, as with
    /// [`on_own_thread`](Self::on_own_thread), unless [`in_arbiter`](Self::in_arbiter) was chosen.
    ///
    /// # Errors
    /// See [`OpenError`]. On the thread of an Arbiter it refuses to block.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use actix_wal::{Wal, WalConfig};
    ///
    /// let wal = Wal::open(WalConfig::new("data/wal")).blocking()?;
    /// wal.commit_blocking("durable when this returns")?;
    /// wal.close_blocking()?;
    /// # Ok(()) }
    /// ```
    pub fn blocking(self) -> Result<Wal, OpenError> {
        if is_on_arbiter() {
            return Err(OpenError::WouldBlockArbiter);
        }
        block_on(self.anywhere().into_future())
    }
}

/// Every call that blocks refuses to do so on the thread of an Arbiter, where it could wait for itself forever. It
/// works anywhere else, also inside a task of a tokio runtime: it blocks a thread of that runtime then.
impl Wal {
    /// [`append`](Self::append), blocking: gives the record an LSN, and returns before it is durable.
    ///
    /// # Errors
    /// See [`AppendError`]. On the thread of an Arbiter it refuses to block.
    pub fn append_blocking(&self, payload: impl Into<Bytes>) -> Result<Lsn, AppendError> {
        if is_on_arbiter() {
            return Err(AppendError::WouldBlockArbiter);
        }
        block_on(self.append(payload))
    }

    /// [`commit`](Self::commit), blocking: returns when the record is durable.
    ///
    /// # Errors
    /// See [`CommitError`]. On the thread of an Arbiter it refuses to block.
    pub fn commit_blocking(&self, payload: impl Into<Bytes>) -> Result<Lsn, CommitError> {
        if is_on_arbiter() {
            return Err(AppendError::WouldBlockArbiter.into());
        }
        block_on(self.commit(payload))
    }

    /// [`wait_for_lsn`](Self::wait_for_lsn), blocking: returns when the record is durable.
    ///
    /// # Errors
    /// See [`CommitError`]. On the thread of an Arbiter it refuses to block, which says nothing about the record:
    /// `Unknown`.
    pub fn wait_for_lsn_blocking(&self, lsn: Lsn) -> Result<(), CommitError> {
        if is_on_arbiter() {
            return Err(CommitError::Unknown { lsn, cause: Cause::WouldBlockArbiter });
        }
        block_on(self.wait_for_lsn(lsn))
    }

    /// [`flush`](Self::flush), blocking: makes everything durable that was appended so far, and returns the LSN up to
    /// which everything is durable then.
    ///
    /// # Errors
    /// See [`CommitError`]. On the thread of an Arbiter it refuses to block: `Unknown`.
    pub fn flush_blocking(&self) -> Result<Lsn, CommitError> {
        if is_on_arbiter() {
            let lsn = self.status().accepted;
            return Err(CommitError::Unknown { lsn, cause: Cause::WouldBlockArbiter });
        }
        block_on(self.flush())
    }

    /// [`checkpoint`](Self::checkpoint), blocking: returns the low-water mark.
    ///
    /// # Errors
    /// See [`CheckpointError`]. On the thread of an Arbiter it refuses to block.
    pub fn checkpoint_blocking(&self, lsn: Lsn) -> Result<Lsn, CheckpointError> {
        if is_on_arbiter() {
            return Err(CheckpointError::WouldBlockArbiter);
        }
        block_on(self.checkpoint(lsn))
    }

    /// [`read`](Self::read) for plain threads: an iterator over the durable records from `from` on.
    ///
    /// # Errors
    /// See [`ReadError`]. On the thread of an Arbiter it refuses to block.
    pub fn read_blocking(&self, from: Lsn) -> Result<Records, ReadError> {
        if is_on_arbiter() {
            return Err(ReadError::WouldBlockArbiter);
        }
        Ok(Records { cursor: Some(block_on(self.cursor(from))?), ready: Vec::new().into_iter() })
    }

    /// [`close`](Self::close), blocking: returns when the directory is free, and the thread of a log
    /// [on its own thread](Open::on_own_thread) has ended.
    ///
    /// # Errors
    /// See [`CloseError`]. On the thread of an Arbiter it refuses to block, and closes nothing.
    pub fn close_blocking(&self) -> Result<(), CloseError> {
        if is_on_arbiter() {
            return Err(CloseError { cause: Cause::WouldBlockArbiter, unresolved: None });
        }
        block_on(self.close())
    }
}

/// Durable records in LSN order, read on the thread that asks for them. Made by [`Wal::read_blocking`].
///
/// `None` says that nothing more is durable now: a later call finds what has become durable meanwhile. After an
/// error there is nothing more. As long as it makes progress, nothing that it has not read yet is removed. It keeps
/// the directory locked until it is dropped.
#[derive(Debug)]
pub struct Records {
    /// `None` after an error.
    cursor: Option<Cursor>,
    ready: std::vec::IntoIter<Record>,
}

impl Iterator for Records {
    type Item = Result<Record, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(record) = self.ready.next() {
            return Some(Ok(record));
        }
        match self.cursor.as_mut()?.read() {
            Ok(batch) => self.ready = batch?.records().collect::<Vec<_>>().into_iter(),
            Err(error) => {
                self.cursor = None;
                return Some(Err(error));
            }
        }
        self.ready.next().map(Ok)
    }
}
