//! State: what all parts of one log share, and what is decided about its life.
//!
//! * [`shared`]: the watermark, the state, the requests, the counters.
//! * [`outcomes`]: who waits for which LSN, and which LSNs failed.
//! * [`restarts`]: how often a failed Flusher may start again.
//! * [`watchdog`]: when a sync is slow, stuck, or given up.

pub mod outcomes;
pub mod restarts;
pub mod shared;
pub mod watchdog;
