//! What is counted, for `INFO` and for metrics.

use std::cell::Cell;

/// A number that only grows, until `CONFIG RESETSTAT`.
#[derive(Debug, Default)]
pub struct Counter {
    total: Cell<u64>,
    /// What it was at the last `CONFIG RESETSTAT`.
    at_reset: Cell<u64>,
}

impl Counter {
    /// So many more.
    pub fn add(&self, more: u64) {
        self.total.set(self.total.get().wrapping_add(more));
    }

    /// How many there were since the last reset.
    pub fn get(&self) -> u64 {
        self.total.get().wrapping_sub(self.at_reset.get())
    }

    /// How many there were since the start, whatever was reset: a metric must not fall.
    pub fn total(&self) -> u64 {
        self.total.get()
    }
}

/// What has been counted since the start, or since `CONFIG RESETSTAT`.
#[derive(Debug, Default)]
pub struct Counters {
    /// Clients that have come.
    pub connections: Counter,
    /// Clients that were sent away since there are too many.
    pub rejected: Counter,
    /// Commands that were taken, those that fail included.
    pub commands: Counter,
    /// Bytes that clients have sent. The connections count them.
    pub input: Counter,
    /// Bytes that clients were sent. The connections count them.
    pub output: Counter,
    /// Clients that wait in `WAITAOF` now.
    pub blocked: Cell<u64>,
}

impl Counters {
    /// Begins to count again. What is the case now stays.
    pub fn reset(&self) {
        let all = [&self.connections, &self.rejected, &self.commands, &self.input, &self.output];
        all.iter().for_each(|counter| counter.at_reset.set(counter.total()));
    }
}
