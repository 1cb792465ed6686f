//! What the actors say to each other, and what a host's actors say to them. Data only.
//!
//! | message | sent by | to | answer |
//! |---|---|---|---|
//! | [`Append`], [`AppendAll`] | client | Appender | LSN: phase one |
//! | [`Commit`] | client | Appender | LSN, once it is durable: both phases |
//! | [`Accepted`] | Appender | the owner of an [`Outbox`](crate::Outbox) | none |
//! | [`WaitForLsn`] | client | Appender | once the LSN is durable: phase two |
//! | [`Flush`] | client | Appender | the watermark, once everything appended is durable |
//! | [`Recover`] | the host that opens the log | Recovery | the recovered log |
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
pub(crate) mod wire;

pub use crate::engine::intake::admission::{Admission, Permit, Refusal};
pub use crate::engine::intake::entry::RECORD_OVERHEAD;
pub use crate::engine::read::cursor::Cursor;
pub use crate::engine::recovery::Progress;
pub use append::{Accepted, Append, AppendAll, AppendOptions, Commit, Ticket, WaitForLsn};
pub(crate) use control::AwaitStart;
pub use control::{Checkpoint, Close, GetSegments, GetStats, GetStatus, Read, ReadRange, Rotate};
pub use events::{LogEvent, Subscribe, Unsubscribe};
pub use flush::Flush;
pub use recipients::Recipients;
pub use recover::{Recover, RecoveredLog, Replay, ReplayFunction, ReplayRefused, ReplayTarget};
