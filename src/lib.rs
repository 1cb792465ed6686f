//! A group-commit write-ahead log for Rust database servers, built from actix actors.

pub mod actors;
pub mod codec;
pub mod config;
pub mod engine;
pub mod error;
pub mod format;
pub mod lsn;
pub mod messages;
mod read_stream;
pub mod storage;
#[cfg(any(test, feature = "testkit"))]
pub mod testkit;
mod wal;

pub use config::{
    Bounds, DamagePolicy, Durability, FaultPolicy, FlushPolicy, OverloadPolicy, RestartBudget,
    WalConfig,
};
pub use engine::records::{Record, RecordBatch};
pub use engine::recovery::RecoveryReport;
pub use engine::shared::{LogState, Stats, Status};
pub use error::{
    AppendError, Cause, CheckpointError, CloseError, CommitError, OpenError, ReadError,
};
pub use lsn::{Epoch, Lsn, LsnRange};
pub use read_stream::ReadStream;
pub use wal::{Link, Open, Wal};
