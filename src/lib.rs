#![doc = include_str!("../README.md")]
//!
//! # The modules
//!
//! Most hosts need what stands in the root of the crate and [`messages`]; the rest is for hosts that start
//! the actors themselves, for tests, and for the curious.
//!
//! | module | what is in it | may know |
//! |---|---|---|
//! | the root | [`Wal`], [`Open`], [`ReadStream`], [`Records`], and what they take and give | all of it |
//! | [`messages`] | what actors say to each other and to yours | plain data |
//! | [`actors`] | [`Appender`](actors::Appender), [`Flusher`](actors::Flusher), [`Recovery`](actors::Recovery) | messages, engine |
//! | [`engine`] | the decisions: no actor, no thread, no clock | format, storage |
//! | [`format`](mod@format) | pure bytes | nothing |
//! | [`storage`] | the world: directories, files, prepared segments | nothing |
//! | [`codec`] | typed records: serde values to bytes and back | nothing |
//! | [`config`], [`error`], [`lsn`] | settings, errors, names | each other |
//! | `testkit` | with the feature `testkit`: worlds to test a log in | public parts |
//!
//! `tests/architecture.rs` keeps the last column true.
//!
//! # Settings
//!
//! They are plain fields, checked together when the log is opened:
//!
//! ```
//! use std::time::Duration;
//!
//! use actix_wal::{Bounds, FlushPolicy, WalConfig};
//!
//! let mut config = WalConfig::new("data/wal");
//! // Ten milliseconds or a hundred records, whichever comes first, also when the disk is idle.
//! config.flush_policy = FlushPolicy::Window(Bounds::default());
//! // Syncs are paid by the piece: at least five milliseconds from one to the next.
//! config.min_sync_interval = Duration::from_millis(5);
//! assert!(config.validate().is_ok());
//!
//! config.min_sync_interval = Duration::from_millis(50);
//! let error = config.validate().expect_err("spaced out beyond max_delay");
//! assert_eq!(error.setting, "min_sync_interval");
//! ```

#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod actors;
mod blocking;
pub mod codec;
pub mod config;
pub mod engine;
mod entrance;
pub mod error;
pub mod format;
mod in_flight;
pub mod lsn;
pub mod messages;
mod open;
mod outbox;
mod reader;
mod record;
pub mod runtime;
mod status;
pub mod storage;
#[cfg(any(test, feature = "testkit"))]
pub mod testkit;
mod wal;

pub use blocking::Records;
pub use config::{
    Bounds, DamagePolicy, Durability, Existence, FaultPolicy, FlushPolicy, OverloadPolicy,
    RestartBudget, WalConfig,
};
pub use engine::recovery::RecoveryReport;
pub use engine::segments::catalog::SegmentInfo;
pub use error::{
    AppendError, Cause, CheckpointError, CloseError, CommitError, ConfigError, Holder, OpenError,
    ReadError, RotateError,
};
pub use in_flight::{InFlight, Outcome, Settled};
pub use lsn::{Epoch, Lsn, LsnRange};
pub use messages::LogEvent;
pub use open::Open;
pub use outbox::Outbox;
pub use reader::ReadStream;
pub use record::{Record, RecordBatch};
pub use status::{LogState, Stats, Status};
pub use wal::{Link, Wal};
