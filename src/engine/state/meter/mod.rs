//! What metrics are made of: counters and distributions that the parts of a log write where things happen.
//!
//! The types exist twice behind one interface. With the feature `metrics` they are fixed arrays of atomics (`on`).
//! Without it they have no size and their methods are empty (`off`), so the compiler removes every call. All other
//! modules call them without a `cfg`.
//!
//! * A thread of a client and the flush thread write atomics: no lock, no allocation, no clock per record.
//! * Nothing here is read by the log itself: metrics decide nothing (promise P23).

#[cfg(feature = "metrics")]
mod announcements;
#[cfg(feature = "metrics")]
pub mod distribution;
#[cfg(feature = "metrics")]
mod io_errors;
#[cfg(not(feature = "metrics"))]
mod off;
#[cfg(feature = "metrics")]
mod on;

#[cfg(feature = "metrics")]
pub use io_errors::IoErrors;
#[cfg(not(feature = "metrics"))]
pub use off::{BatchMeter, Delivered, IoErrors, LapTimes, Laps, Meter, Modes};
#[cfg(feature = "metrics")]
pub use on::{BatchMeter, Delivered, LapTimes, Laps, Meter, Modes, Stage};

use crate::error::AppendError;

/// Why a frame was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FlushCause {
    /// The oldest record has waited for `max_delay`, or `min_sync_interval` has passed.
    Timer,
    /// `max_entries` records are pending.
    Count,
    /// `max_bytes` bytes are pending.
    Bytes,
    /// A `Synchronous` append, an explicit flush or a close.
    Urgent,
    /// The device is idle, and no more committers are expected.
    #[default]
    Idle,
    /// The time is over in which more committers were expected.
    Linger,
    /// The log goes on in another segment for a host or a checkpoint, with what is pending.
    Rotation,
    /// A new epoch begins after a fault or a full disk, with what is pending.
    Epoch,
    /// No records: the start of a segment.
    Start,
    /// No records: vouches for the last batch.
    Seal,
    /// No records: makes a low-water mark durable.
    Checkpoint,
    /// No records: the end of a life.
    Close,
}

/// Why an append was refused before it had an LSN: an [`AppendError`] without its details.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// As much is in flight as is allowed.
    Overloaded,
    /// Larger than the log can ever take.
    TooLarge,
    /// The permit is for another append or another log.
    WrongPermit,
    /// A group without records.
    EmptyGroup,
    /// The disk is full.
    NoSpace,
    /// The log recovers from a fault.
    Unavailable,
    /// The log is poisoned.
    Poisoned,
    /// It builds on an epoch that has ended.
    EpochEnded,
    /// The log is closed.
    Closed,
    /// Another reason.
    Other,
}

impl Refused {
    /// The reason that an error gives.
    pub fn of(error: &AppendError) -> Self {
        match error {
            AppendError::Overloaded { .. } => Refused::Overloaded,
            AppendError::TooLarge { .. } => Refused::TooLarge,
            AppendError::WrongPermit { .. } => Refused::WrongPermit,
            AppendError::EmptyGroup => Refused::EmptyGroup,
            AppendError::NoSpace(_) => Refused::NoSpace,
            AppendError::Unavailable { .. } => Refused::Unavailable,
            AppendError::Poisoned { .. } => Refused::Poisoned,
            AppendError::EpochEnded { .. } => Refused::EpochEnded,
            AppendError::Closed { .. } => Refused::Closed,
            _ => Refused::Other,
        }
    }
}

/// What became of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fated {
    /// They are durable.
    Durable,
    /// They are certainly not in the log.
    NotDurable,
    /// It is not known whether they are in the log.
    Unknown,
}
