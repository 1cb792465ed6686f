//! What a Flusher is asked for, and the answers.

use std::io;
use std::sync::Arc;

use actix::{AsyncContext, Handler, Response};
use tokio::sync::oneshot;

use super::{Flusher, Hands, Retired};
use crate::engine::read::cursor::Cursor;
use crate::error::{Cause, CheckpointError, CloseError, IoFault, IoOp, ReadError, RotateError};
use crate::lsn::Lsn;
use crate::messages::{
    AwaitStart, Checkpoint, Close, GetSegments, GetStats, GetStatus, LogEvent, Read, ReadRange,
    Rotate, Subscribe, Unsubscribe,
};
use crate::status::LogState;

impl Handler<Subscribe> for Flusher {
    type Result = actix::MessageResult<Subscribe>;

    fn handle(
        &mut self,
        Subscribe(recipient): Subscribe,
        context: &mut Self::Context,
    ) -> Self::Result {
        // Not the newest watermark: what that leaves out may be on its way from the flush thread.
        self.subscribers.add(recipient, &self.shared, self.told);
        if self.has_ended() && !self.subscribers.any_behind() {
            self.subscribers.clear();
        }
        self.retry_subscribers(context);
        actix::MessageResult(self.told.1)
    }
}

impl Handler<Unsubscribe> for Flusher {
    type Result = bool;

    fn handle(&mut self, Unsubscribe(recipient): Unsubscribe, _: &mut Self::Context) -> bool {
        self.subscribers.remove(&recipient)
    }
}

impl Handler<Checkpoint> for Flusher {
    type Result = Response<Result<Lsn, CheckpointError>>;

    fn handle(&mut self, Checkpoint(lsn): Checkpoint, _: &mut Self::Context) -> Self::Result {
        let next = self.shared.watermark.next_lsn();
        if lsn >= next {
            return Response::reply(Err(CheckpointError::NeverAssigned { lsn, next }));
        }
        let durable = self.shared.watermark.durable();
        if lsn > durable {
            return Response::reply(Err(CheckpointError::NotDurable { lsn, durable }));
        }
        if let LogState::Poisoned(cause) | LogState::Closed(cause) = self.shared.state() {
            return Response::reply(Err(CheckpointError::Closed { cause }));
        }
        if lsn <= self.shared.catalog.wished() {
            return Response::reply(Ok(self.shared.catalog.low_water()));
        }
        let (reply, answer) = oneshot::channel();
        self.checkpoints.push((lsn, reply));
        self.shared.requests.checkpoint(lsn);
        Response::fut(async move {
            let cause = Cause::Stopped { actor: "Flusher" };
            answer.await.unwrap_or(Err(CheckpointError::Closed { cause }))
        })
    }
}

impl Flusher {
    /// Why there is nothing to read from.
    fn unreadable(&self) -> ReadError {
        if self.has_ended() {
            return ReadError::Closed { cause: Cause::Closed };
        }
        let source = io::Error::new(io::ErrorKind::Unsupported, "a mocked log has no disk");
        ReadError::Io(IoFault::new(IoOp::Open, "mock", None, source))
    }
}

impl Handler<Read> for Flusher {
    type Result = Result<Cursor, ReadError>;

    fn handle(&mut self, Read { from }: Read, _: &mut Self::Context) -> Self::Result {
        let storage = self.storage.as_ref().ok_or_else(|| self.unreadable())?;
        let lease = self.config.reader_lease;
        Cursor::new(Arc::clone(&self.shared), Arc::clone(storage), from, lease)
    }
}

impl Handler<ReadRange> for Flusher {
    type Result = Result<Cursor, ReadError>;

    fn handle(&mut self, ReadRange(range): ReadRange, _: &mut Self::Context) -> Self::Result {
        let storage = self.storage.as_ref().ok_or_else(|| self.unreadable())?;
        let lease = self.config.reader_lease;
        Cursor::of_range(Arc::clone(&self.shared), Arc::clone(storage), range, lease)
    }
}

impl Handler<GetSegments> for Flusher {
    type Result = actix::MessageResult<GetSegments>;

    fn handle(&mut self, _: GetSegments, _: &mut Self::Context) -> Self::Result {
        actix::MessageResult(self.shared.catalog.segments())
    }
}

impl Handler<Rotate> for Flusher {
    type Result = Response<Result<Lsn, RotateError>>;

    fn handle(&mut self, _: Rotate, _: &mut Self::Context) -> Self::Result {
        match self.shared.state() {
            LogState::Poisoned(cause) | LogState::Closed(cause) => {
                return Response::reply(Err(RotateError::Closed { cause }));
            }
            LogState::Closing => {
                return Response::reply(Err(RotateError::Closed { cause: Cause::Closed }));
            }
            LogState::NoSpace(fault) => {
                return Response::reply(Err(RotateError::NoSegment { cause: fault.into() }));
            }
            LogState::Opening | LogState::Running | LogState::Unavailable(_) => {}
        }
        let durable = self.shared.watermark.durable();
        let current = self.shared.catalog.last();
        let Some(current) = current.filter(|current| current.cut < durable) else {
            // Nothing is durable in it: what is, lies in complete ones.
            return Response::reply(Ok(durable));
        };
        let (reply, answer) = oneshot::channel();
        self.rotations.push((current.sequence, reply));
        self.shared.requests.rotate(current.sequence);
        Response::fut(async move {
            let cause = Cause::Stopped { actor: "Flusher" };
            answer.await.unwrap_or(Err(RotateError::Closed { cause }))
        })
    }
}

impl Handler<GetStats> for Flusher {
    type Result = actix::MessageResult<GetStats>;

    fn handle(&mut self, _: GetStats, _: &mut Self::Context) -> Self::Result {
        actix::MessageResult(self.shared.stats())
    }
}

impl Handler<GetStatus> for Flusher {
    type Result = actix::MessageResult<GetStatus>;

    fn handle(&mut self, _: GetStatus, _: &mut Self::Context) -> Self::Result {
        actix::MessageResult(self.shared.status())
    }
}

impl Handler<AwaitStart> for Flusher {
    type Result = Response<Result<(), Cause>>;

    fn handle(&mut self, _: AwaitStart, _: &mut Self::Context) -> Self::Result {
        match self.shared.state() {
            LogState::Closed(cause) => return Response::reply(Err(cause)),
            _ if self.begun => return Response::reply(Ok(())),
            _ => {}
        }
        let (reply, answer) = oneshot::channel();
        self.starters.push(reply);
        Response::fut(
            async move { answer.await.unwrap_or(Err(Cause::Stopped { actor: "Flusher" })) },
        )
    }
}

impl Handler<Close> for Flusher {
    type Result = Response<Result<(), CloseError>>;

    fn handle(&mut self, _: Close, context: &mut Self::Context) -> Self::Result {
        let (reply, answer) = oneshot::channel();
        match self.life.state() {
            LogState::Closed(_) => return Response::reply(Ok(())),
            LogState::Poisoned(_) => {
                self.closers.push(reply);
                if self.thread.is_none() {
                    context.notify(Retired);
                }
            }
            _ => {
                self.closers.push(reply);
                self.go(LogState::Closing);
                self.shared.admission.close();
                if self.appender.connected() {
                    // It closes the log after the appends that are in its mailbox already.
                    self.tell(&LogEvent::Closing);
                } else {
                    self.shared.requests.close();
                }
                if matches!(self.hands, Hands::BackingOff(_)) {
                    self.start(context);
                }
            }
        }
        self.retry_subscribers(context);
        Response::fut(async move {
            let cause = Cause::Stopped { actor: "Flusher" };
            answer.await.unwrap_or(Err(CloseError { cause, unresolved: None }))
        })
    }
}
