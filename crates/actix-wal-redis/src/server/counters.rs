//! What is counted, for `INFO`.

use std::cell::Cell;

/// A number that only grows, until `CONFIG RESETSTAT`.
#[derive(Debug, Default)]
pub struct Counter(Cell<u64>);

impl Counter {
    /// So many more.
    pub fn add(&self, more: u64) {
        self.0.set(self.0.get().wrapping_add(more));
    }

    /// How many there were.
    pub fn get(&self) -> u64 {
        self.0.get()
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
        all.iter().for_each(|counter| counter.0.set(0));
    }
}
