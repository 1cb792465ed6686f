//! What the actors say to each other, and what a host's actors say to them. Data only.
//!
//! | message | sent by | to | answer |
//! |---|---|---|---|
//! | [`Append`], [`AppendAll`] | client | Appender | LSN: phase one |
//! | [`Commit`] | client | Appender | LSN, once it is durable: both phases |
//! | [`Submit`] | handle | Appender | through its [`Reply`], after either phase |
//! | [`Collect`] | handle | Appender | those of the [`Submit`]s in its intake |
//! | [`Accepted`] | Appender | the owner of an [`Outbox`](crate::Outbox) | none |
//! | [`WaitForLsn`], [`Await`] | client, handle | Appender | once the LSN is durable: phase two |
//! | [`Flush`] | client | Appender | the watermark, once everything appended is durable |
//! | [`Recover`] | whoever opens the log | Recovery | the recovered log |
//! | [`Replay`] | Recovery | host | when it is ready for more |
//! | [`LogEvent`] | Flusher | Appender, subscribers | none |
//! | [`Subscribe`] | coordinator | Flusher | the watermark; then events |
//! | [`Unsubscribe`] | coordinator | Flusher | whether there was a subscription |
//! | [`Checkpoint`], [`Read`], [`ReadRange`], [`Rotate`], [`Close`] | host | Flusher | see there |
//! | [`GetSegments`], [`GetStats`], [`GetStatus`] | host | Flusher | what they ask for |
//!
//! [`Recipients`] says where each goes. An append brings a permit of
//! [`Wal::admission`](crate::Wal::admission); `try_new` takes one.
//!
//! A dropped answer (`MailboxError::Closed`) means that the actor went away: the message may or may not
//! have been handled, so the outcome of an append is unknown.

mod append;
mod control;
mod events;
mod flush;
mod recipients;
mod recover;

pub use append::{
    Accepted, Append, AppendAll, Await, Collect, Commit, OwedAccepted, Reply, Submit, Ticket,
    WaitForLsn,
};
pub(crate) use control::AwaitStart;
pub use control::{Checkpoint, Close, GetSegments, GetStats, GetStatus, Read, ReadRange, Rotate};
pub use events::{LogEvent, Subscribe, Unsubscribe};
pub use flush::Flush;
pub use recipients::Recipients;
pub use recover::{Recover, Replay, ReplayFunction, ReplayRefused, ReplayTarget};
