#![doc = include_str!("../README.md")]
//!
//! # The modules
//!
//! Most hosts need what stands in the root of the crate and [`messages`]. The rest is for hosts that start the actors
//! themselves, and for tests.
//!
//! | module | what is in it |
//! |---|---|
//! | the root | [`Wal`], [`Open`], [`ReadStream`], [`InFlight`], and what they take and give |
//! | [`messages`] | what actors say to each other and to yours |
//! | [`actors`] | [`Appender`](actors::Appender), [`Flusher`](actors::Flusher), [`Recovery`](actors::Recovery) |
//! | [`inspect`] | the files of a log, seen without owning them: for tools |
//! | [`storage`] | where a log lives: a directory, or a storage of your own |
//! | [`codec`] | typed records: serde values to bytes and back |
//! | [`error`] | every error, with its place and cause |
//! | `metrics` | with the feature `metrics`: what a log publishes to the exporter of its host |
//! | `testkit` | with the feature `testkit`: a mocked log, a simulated disk, faults on purpose |
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
//! // This device charges per sync: keep syncs at least 5 ms apart.
//! config.min_sync_interval = Duration::from_millis(5);
//! assert!(config.validate().is_ok());
//!
//! config.min_sync_interval = Duration::from_millis(50);
//! let error = config.validate().expect_err("spaced out beyond max_delay");
//! assert_eq!(error.setting, "min_sync_interval");
//! ```
//!
//! # Tracing
//!
//! Spans and events go to `tracing`. There is no span for an append; the example `commit_life` has one of the host around a
//! commit.
//!
//! | span | level | fields |
//! |---|---|---|
//! | `wal.recover` | info | `directory` |
//! | `wal.flush`, one write and its sync | debug | `what` (`flush`, or `empty` for a frame without records), `entries`, `lsns` |
//! | `wal.rotate` | debug | `segment`, `epoch`, `cut` |
//!
//! A change of state is told at once, and so is a sync that is slow, stuck, or back. What repeats while the disk fails is
//! told in sum, once a second: failures, and records that are not durable or of which nobody knows.

#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod actors;
mod blocking;
pub mod codec;
mod config;
#[cfg_attr(not(any(test, feature = "testkit")), allow(unreachable_pub))]
mod engine;
mod entrance;
pub mod error;
#[cfg_attr(not(any(test, feature = "testkit")), allow(unreachable_pub))]
mod format;
mod hold;
mod in_flight;
pub mod inspect;
mod lsn;
pub mod messages;
#[cfg(feature = "metrics")]
pub mod metrics;
#[cfg(not(feature = "metrics"))]
#[path = "metrics/off.rs"]
mod metrics;
mod open;
mod outbox;
mod reader;
mod record;
#[cfg_attr(not(any(test, feature = "testkit")), allow(unreachable_pub))]
mod runtime;
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
pub use engine::segments::catalog::{HoldInfo, SegmentInfo};
pub use engine::state::parts::LogParts;
pub use error::{
    AppendError, Cause, CheckpointError, CloseError, CommitError, ConfigError, Holder, OpenError,
    ReadError, RotateError,
};
pub use format::frame::FrameFault;
pub use format::scan::TornTail;
pub use hold::Hold;
pub use in_flight::{InFlight, Outcome, Settled};
pub use lsn::{Epoch, LogId, Lsn, LsnRange};
pub use messages::{AppendOptions, LogEvent};
pub use open::Open;
pub use outbox::Outbox;
pub use reader::ReadStream;
pub use record::{Record, RecordBatch};
pub use status::{LogState, Stats, Status};
pub use wal::Wal;
