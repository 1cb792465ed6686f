//! A group-commit write-ahead log for Rust database servers, built from actix actors.

pub mod config;
pub mod engine;
pub mod error;
pub mod format;
pub mod lsn;
pub mod storage;
#[cfg(any(test, feature = "testkit"))]
pub mod testkit;

pub use config::{
    Bounds, DamagePolicy, Durability, FaultPolicy, FlushPolicy, OverloadPolicy, RestartBudget,
    WalConfig,
};
pub use error::{AppendError, Cause, CommitError, OpenError};
pub use lsn::{Epoch, Lsn, LsnRange};
