//! What may befall a life: what goes wrong in it and how often, and how and when it ends.

use std::time::Duration;

use actix_wal::testkit::Persist;

/// How a life ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum End {
    /// The log is closed; then the power fails.
    #[default]
    Close,
    /// The power fails.
    Power(Persist),
    /// The process is killed; the page cache lives on.
    Kill,
}

/// The longest that a piece of work takes in calm weather, in milliseconds.
pub const LONGEST_WORK: u64 = 35;

/// The same if it is slow, and if it is stuck.
pub const LONGEST_SLOW: u64 = 3_100;
pub const LONGEST_STUCK: u64 = 180_000;

/// The longest that a worker does not look whether somebody has called, in milliseconds.
pub const LONGEST_PAUSE: u64 = 64;

/// How often things go wrong in a life: once in so many operations; zero is never.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weather {
    pub faults: u64,
    pub slow: u64,
    pub stuck: u64,
    /// How long nothing fails after a fault.
    pub rest: Duration,
}

/// When a life ends that does not end in peace. Only operations that change the disk are counted: to those who
/// come after, a crash between two reads is the same as one before the first.
#[derive(Clone, Copy, Debug, Default)]
pub enum When {
    /// When its clients have done their work.
    #[default]
    Done,
    /// Before the next operation but so many.
    Operations(u64),
    /// The same, once something has failed: trouble comes in pairs.
    AfterFault(u64),
    /// The same, once somebody has asked for a checkpoint.
    AfterCheckpoint(u64),
}

impl When {
    /// As it is counted.
    pub fn name(self) -> &'static str {
        match self {
            When::Done => "ends: in the end",
            When::Operations(..12) => "ends: at once",
            When::Operations(_) => "ends: any time",
            When::AfterFault(_) => "ends: after a fault",
            When::AfterCheckpoint(_) => "ends: after a checkpoint",
        }
    }
}

/// What a full disk refuses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Refuses {
    #[default]
    Nothing,
    /// What needs space of its own.
    Growth,
    /// Every write: the space that a file was given is none (thin provisioning, copy on write, a quota).
    Writes,
}

impl Weather {
    /// How many times slower everybody is: a life that waits between its faults is a long one.
    pub fn pace(self) -> u32 {
        if self.rest.is_zero() { 1 } else { 10 }
    }

    /// Nothing goes wrong.
    pub fn is_calm(self) -> bool {
        self.faults == 0 && self.slow == 0 && self.stuck == 0
    }
}
