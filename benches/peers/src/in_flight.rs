//! Appends of ours whose durability the watermark tells, in the cheapest way that the public interface has.
//!
//! `Submit` brings a channel for the LSN along. Nobody waits at its other end: it is looked into when the
//! watermark has moved, so there is neither a future nor a wake-up per commit. That needs no further care
//! because whoever looks shares an Arbiter with the Appender: an LSN that is durable was answered before.

use std::collections::VecDeque;
use std::time::Instant;

use actix::Recipient;
use actix_wal::engine::admission::{Permit, Refusal};
use actix_wal::engine::entry::Payload;
use actix_wal::messages::{LogEvent, Reply, Submit};
use actix_wal::{AppendError, Durability, Lsn, LsnRange, Wal};
use bytes::Bytes;
use tokio::sync::oneshot;

use crate::error::EngineError;

/// What one sender has in flight.
pub struct InFlight {
    /// In LSN order: the Appender takes messages in the order in which one sender sends them.
    queue: VecDeque<Pending>,
}

/// An append whose durability is not known yet.
pub struct Pending {
    since: Instant,
    /// `None` until the answer was looked at.
    lsn: Option<Lsn>,
    answer: oneshot::Receiver<Result<LsnRange, AppendError>>,
}

impl Pending {
    fn lsn(&mut self) -> Result<Option<Lsn>, EngineError> {
        if self.lsn.is_none() {
            match self.answer.try_recv() {
                Ok(Ok(range)) => self.lsn = Some(range.last),
                Ok(Err(error)) => return Err(EngineError::commit(error)),
                Err(oneshot::error::TryRecvError::Empty) => {}
                Err(oneshot::error::TryRecvError::Closed) => return Err(EngineError::Panicked),
            }
        }
        Ok(self.lsn)
    }
}

impl InFlight {
    /// Nothing, with room for so much.
    pub fn with_capacity(count: usize) -> Self {
        InFlight { queue: VecDeque::with_capacity(count) }
    }

    /// Whether everything has its outcome.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// One more, behind the others.
    pub fn push(&mut self, pending: Pending) {
        self.queue.push_back(pending);
    }

    /// Takes out what an event makes durable, and calls `each` with the moments since which it is awaited.
    ///
    /// # Errors
    /// Something will never be durable: for a comparison that is the end.
    pub fn hear(
        &mut self,
        event: &LogEvent,
        mut each: impl FnMut(Instant),
    ) -> Result<(), EngineError> {
        let through = match event {
            LogEvent::Durable { through, failed, .. } if failed.is_empty() => *through,
            LogEvent::Ready { .. }
            | LogEvent::Stalled { .. }
            | LogEvent::SegmentComplete { .. }
            | LogEvent::Closing => return Ok(()),
            event => return Err(EngineError::Commit(format!("{event:?}"))),
        };
        while let Some(oldest) = self.queue.front_mut() {
            match oldest.lsn()? {
                Some(lsn) if lsn <= through => each(oldest.since),
                _ => break,
            }
            self.queue.pop_front();
        }
        Ok(())
    }
}

/// Sends appends to a log.
pub struct Sender {
    wal: Wal,
    submit: Recipient<Submit>,
    record: Vec<u8>,
}

impl Sender {
    /// Of this record, again and again.
    pub fn new(wal: &Wal, record: Vec<u8>) -> Self {
        Sender { wal: wal.clone(), submit: wal.submit_recipient(), record }
    }

    /// The right to append one.
    pub fn permit(&self) -> Result<Permit, Refusal> {
        let bytes = self.record.len() + actix_wal::engine::entry::RECORD_OVERHEAD;
        self.wal.admission().try_acquire(1, bytes)
    }

    /// An append that is ready, and where its outcome will be looked for.
    pub fn prepare(&self, permit: Permit, since: Instant) -> (Submit, Pending) {
        let payload = Payload::One(Bytes::copy_from_slice(&self.record));
        let (reply, answer) = oneshot::channel();
        let (durability, reply) = (Durability::GroupCommit, Reply::Accepted(reply));
        (Submit { payload, durability, permit, reply }, Pending { since, lsn: None, answer })
    }

    /// On its way.
    pub fn send(&self, submit: Submit) {
        self.submit.do_send(submit);
    }
}
