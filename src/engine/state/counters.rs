//! What is counted.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds to it.
    pub fn add(&self, number: u64) {
        self.0.fetch_add(number, Ordering::Relaxed);
    }

    /// Reads it.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What is counted; see [`Stats`](crate::status::Stats) for the meanings.
#[derive(Debug, Default)]
#[allow(missing_docs)]
pub struct Counters {
    pub accepted: Counter,
    pub durable: Counter,
    pub durable_bytes: Counter,
    pub not_durable: Counter,
    pub unknown: Counter,
    pub refused: Counter,
    pub batches: Counter,
    pub seals: Counter,
    pub rotations: Counter,
    pub restarts: Counter,
    pub io_errors: Counter,
    pub flush_nanos: Counter,
}
