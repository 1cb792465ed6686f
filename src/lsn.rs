//! The names of things in the log: [`Lsn`], [`LsnRange`], [`Epoch`], and its own: [`LogId`].

use std::fmt;

use serde::{Deserialize, Serialize};

/// A log sequence number: the name of one record for the life of the log.
///
/// The first record of a log is [`Lsn::FIRST`] (1); [`Lsn::NONE`] (0) means "no record". LSNs grow by
/// one per record within an [`Epoch`]; between epochs the log may declare a gap. An LSN that was handed
/// out is never given to another record, not even after a crash (promise P9).
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(u64);

impl Lsn {
    /// No record: below every record's LSN.
    pub const NONE: Lsn = Lsn(0);
    /// The LSN of the first record of a log.
    pub const FIRST: Lsn = Lsn(1);
    /// Above every LSN that a log can hand out.
    pub const MAX: Lsn = Lsn(u64::MAX);

    /// The LSN with this number.
    pub const fn new(number: u64) -> Self {
        Lsn(number)
    }

    /// The number, as it stands on disk.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The LSN `count` further on; stays at [`Lsn::MAX`] instead of wrapping.
    pub const fn plus(self, count: u64) -> Self {
        Lsn(self.0.saturating_add(count))
    }

    /// The LSN after this one.
    pub const fn next(self) -> Self {
        self.plus(1)
    }

    /// The LSN before this one; [`Lsn::NONE`] stays where it is.
    pub const fn previous(self) -> Self {
        Lsn(self.0.saturating_sub(1))
    }

    /// Whether this is [`Lsn::NONE`].
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lsn({})", self.0)
    }
}

impl From<Lsn> for u64 {
    fn from(lsn: Lsn) -> u64 {
        lsn.0
    }
}

/// LSNs from `first` to `last`, both included.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LsnRange {
    /// The first LSN of the range.
    pub first: Lsn,
    /// The last LSN of the range; never below `first`.
    pub last: Lsn,
}

impl LsnRange {
    /// The range from `first` to `last`, or `None` if it would be empty.
    pub const fn new(first: Lsn, last: Lsn) -> Option<Self> {
        if first.0 <= last.0 { Some(LsnRange { first, last }) } else { None }
    }

    /// Whether `lsn` lies in the range.
    pub const fn contains(self, lsn: Lsn) -> bool {
        self.first.0 <= lsn.0 && lsn.0 <= self.last.0
    }

    /// How many LSNs the range names; at least one.
    pub const fn count(self) -> u64 {
        self.last.0 - self.first.0 + 1
    }
}

impl fmt::Display for LsnRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..={}", self.first, self.last)
    }
}

/// The time between two starts of the log: every open and every restart after a fault begins a new one.
///
/// Epochs grow by at least one each time, and what an older epoch left beyond the cut of a newer one is
/// dead.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(u64);

impl Epoch {
    /// Before the first epoch of a log.
    pub const NONE: Epoch = Epoch(0);

    /// The epoch with this number.
    pub const fn new(number: u64) -> Self {
        Epoch(number)
    }

    /// The number, as it stands on disk.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The epoch after this one.
    pub const fn next(self) -> Self {
        Epoch(self.0.saturating_add(1))
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Epoch({})", self.0)
    }
}

/// The random name of a log: the same in all its segments, from the first open on, and in every copy of it. Whatever
/// is kept beside a log, such as a snapshot, can name the log that it belongs to.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LogId(
    /// Its bytes, as they stand on disk.
    pub [u8; 16],
);

impl LogId {
    /// A name of two random halves.
    pub(crate) fn new(first: u64, second: u64) -> Self {
        LogId((u128::from(first) | u128::from(second) << 64).to_le_bytes())
    }
}

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LogId({self})")
    }
}
