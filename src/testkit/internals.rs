//! What the log is made of, for the tests of this repository: no part of it is promised to users.

/// The decisions, without actor, thread or clock.
pub mod engine {
    pub use crate::engine::{intake, read, recovery, segments, state, write};
}

/// The bytes.
pub mod format {
    pub use crate::format::*;
}

/// Time and threads.
pub mod runtime {
    pub use crate::runtime::{clock, threads};
}
