//! The example `soak` but for its command line, so that a test runs it too.

pub mod floors;
pub mod life;
pub mod run;
