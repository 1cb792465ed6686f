//! A group-commit write-ahead log for Rust database servers, built from actix actors.

pub mod format;
pub mod lsn;
pub mod storage;
#[cfg(any(test, feature = "testkit"))]
pub mod testkit;
