//! Settings of the logs of tests. Each test begins with one of these, and says what it needs beside.

use std::time::Duration;

use actix_wal::{RestartBudget, WalConfig};

use crate::logs::SOON;

/// The default settings, but segments of this many bytes.
pub fn segments_of(bytes: u64) -> WalConfig {
    let mut config = WalConfig::new("unused");
    config.segment_size = bytes;
    config
}

/// The smallest blocks, and segments of this many of them.
pub fn blocks(per_segment: u64) -> WalConfig {
    let mut config = segments_of(per_segment * 512);
    config.block_size = 512;
    config
}

/// So many restarts, each after a millisecond or two.
pub fn quick_restarts(restarts: u32) -> RestartBudget {
    RestartBudget {
        restarts,
        within: SOON,
        backoff: Duration::from_millis(1),
        max_backoff: Duration::from_millis(2),
    }
}
