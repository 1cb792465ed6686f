//! The events of a log, and subscriptions to them.

use actix::{Message, Recipient};

use crate::engine::segments::catalog::SegmentInfo;
use crate::error::Cause;
use crate::lsn::{Epoch, Lsn, LsnRange};

/// What happens to the log. Sent by the Flusher to the Appender and to every subscriber.
///
/// A slow subscriber is sent fewer events, never wrong ones. It gets the newest watermark and the newest state as soon
/// as its mailbox has room, also when no batch follows. Nothing waits for it. The first 16 subscribers are notified of
/// every batch. The others are sent the newest watermark every `max(1 ms, 40 µs x subscribers)`. Actors that commit
/// should subscribe first.
///
/// `Closed` is the last event, after the newest watermark and all failed ranges. A slow subscriber may get it without
/// the `Poisoned` or `GivenUp` before it. Then records that are neither durable nor failed are unknown to it.
///
/// If the Flusher is dropped (it panicked, or its Arbiter ended), each subscriber is sent once what it has not been
/// sent, also beyond the capacity of its mailbox. No event follows, although the flush thread may still make records
/// durable; [`Wal::outcome`](crate::Wal::outcome) knows.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum LogEvent {
    /// The watermark: every LSN up to `through` is durable, except for those in `failed` of this event
    /// and of earlier ones. Sent once per batch at most, after the sync that covers it has returned; and to each
    /// new subscriber, with the watermark that was told last and everything that has failed.
    Durable {
        /// The epoch that is writing.
        epoch: Epoch,
        /// The highest durable LSN.
        through: Lsn,
        /// LSNs that are certainly not in the log, now or after any restart; also above `through`.
        failed: Vec<LsnRange>,
    },
    /// An epoch has begun: appends are taken, from this LSN on.
    Ready {
        /// The epoch.
        epoch: Epoch,
        /// The LSN of the next append.
        next_lsn: Lsn,
    },
    /// A fault: no LSN is given out until the next `Ready`. What is in flight is kept or answered, as
    /// the fault policy says.
    Unavailable {
        /// The first fault since the last epoch, and the latest. `Cause::NoSpace` passes when space is freed,
        /// `Cause::Shortage` when there is enough of what is short.
        cause: Cause,
    },
    /// A sync does not return. Nothing can be said about what it covers until it does; that it did, the
    /// next `Durable` or `Unavailable` tells.
    Stalled {
        /// How long it has been running, in seconds.
        seconds: u64,
    },
    /// The log has been stalled or unavailable for so long that nobody should wait on: waiters are
    /// answered `Unknown`. The watermark may still resolve it. Sent again every
    /// [`give_up_after`](crate::WalConfig::give_up_after) while it lasts, for those that have come to wait since.
    GivenUp {
        /// Why.
        cause: Cause,
    },
    /// Restarts did not help, or can not; nothing will be appended until the log is opened again. What is
    /// durable can still be read.
    Poisoned {
        /// The first fault since the last epoch, and the latest.
        cause: Cause,
        /// LSNs that are certainly not in the log.
        failed: Vec<LsnRange>,
        /// LSNs of which nobody knows until the next open.
        unknown: Vec<LsnRange>,
    },
    /// A segment is complete: its records will not change any more, and it can be copied away. A subscriber
    /// that is slow misses none of the last 1,024; [`Wal::segments`](crate::Wal::segments) has all that are there.
    SegmentComplete {
        /// The segment, and the LSNs that are live in it.
        segment: SegmentInfo,
    },
    /// The log is about to close: nothing more is accepted, what was accepted is flushed.
    Closing,
    /// The log is closed. This is the last event.
    Closed {
        /// Why.
        cause: Cause,
    },
}

impl Message for LogEvent {
    type Result = ();
}

/// Subscribes an actor to the events of the log.
///
/// Sent by coordinators, answered by the Flusher with the current watermark, from which the events go
/// on. A new subscriber is first sent that watermark, as [`LogEvent::Durable`] with all LSNs that have failed, and
/// then the state if the log does anything but run; so it does not matter whether an actor appends or
/// subscribes first.
/// Subscribing twice is subscribing once. A subscription keeps the subscriber alive until it unsubscribes
/// or the log closes. An actor that has stopped is forgotten by itself.
#[derive(Debug)]
pub struct Subscribe(
    /// The subscriber.
    pub Recipient<LogEvent>,
);

impl Message for Subscribe {
    type Result = Lsn;
}

/// Ends a subscription. Answered by the Flusher with whether there was one. Events that were put off are sent before,
/// as far as the mailbox of the subscriber has room.
#[derive(Debug)]
pub struct Unsubscribe(
    /// The subscriber.
    pub Recipient<LogEvent>,
);

impl Message for Unsubscribe {
    type Result = bool;
}
