//! What subscribers hear.

use actix::{Message, Recipient};

use crate::engine::segments::catalog::SegmentInfo;
use crate::error::Cause;
use crate::lsn::{Epoch, Lsn, LsnRange};

/// What happens to the log. Sent by the Flusher to the Appender and to every subscriber.
///
/// A subscriber that is slow is sent less, never something wrong: it gets the newest watermark and the
/// newest state as soon as its mailbox has room, also when no batch follows. Nothing waits for it. Where there are
/// more than 16 subscribers, the first 16 hear of every batch, and the others of the newest watermark every forty
/// microseconds for each subscriber, at least a millisecond: a crowd slows the commits down little more than
/// 16 do. Those that commit should subscribe first.
///
/// So it is at the end of the log too: `Closed` comes last, after the newest watermark and everything that has
/// failed. But of the states a slow subscriber is told only the newest. Who is told `Closed`, and was not told
/// `Poisoned` or `GivenUp` before, holds for unknown what is neither durable nor failed. If the Flusher is
/// dropped (it panicked, or its Arbiter ended), nobody is left to try again: what a subscriber has not been
/// sent is put into its mailbox then, once, and also beyond the capacity. After that it is told nothing more,
/// although the flush thread may still make records durable; [`Wal::outcome`](crate::Wal::outcome) tells.
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

/// Hear of everything that happens to the log.
///
/// Sent by coordinators, answered by the Flusher with the current watermark, from which the events go
/// on. A new subscriber is first sent that watermark, as [`LogEvent::Durable`] with all LSNs that have failed, and
/// then the state if the log does anything but run; so it does not matter whether an actor appends or
/// subscribes first.
/// Subscribing twice is subscribing once. A subscription keeps the subscriber alive until it unsubscribes
/// or the log closes. An actor that has stopped is forgotten by itself.
#[derive(Debug)]
pub struct Subscribe(
    /// Who wants to hear.
    pub Recipient<LogEvent>,
);

impl Message for Subscribe {
    type Result = Lsn;
}

/// Hear no more. Answered by the Flusher with whether there was such a subscription. What was put off for the
/// subscriber it is told before, as far as there is room in its mailbox.
#[derive(Debug)]
pub struct Unsubscribe(
    /// Who has heard enough.
    pub Recipient<LogEvent>,
);

impl Message for Unsubscribe {
    type Result = bool;
}
