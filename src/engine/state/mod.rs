//! State: what all parts of one log share, and what is decided about its life.
//!
//! * [`shared`]: one value that holds all of it.
//! * [`watermark`]: accepted, written, durable.
//! * [`outcomes`]: who waits for which LSN, and which LSNs failed.
//! * [`requests`]: what others want of the flush thread, and the queue that wakes it.
//! * [`outbound`]: what the flush thread has to tell the Flusher.
//! * [`io_watch`], [`watchdog`]: when a sync is slow, stuck, or given up.
//! * [`restarts`]: how often a failed Flusher may start again.
//! * [`counters`]: what is counted.
//! * [`meter`]: what is counted and measured beside that, with the feature `metrics`.

pub mod counters;
pub mod io_watch;
pub mod lifecycle;
pub mod meter;
pub mod outbound;
pub mod outcomes;
pub mod parts;
#[cfg(all(test, wal_loom))]
mod races;
pub mod requests;
pub mod restarts;
pub mod shared;
pub mod watchdog;
pub mod watermark;
