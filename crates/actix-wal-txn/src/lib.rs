//! Transactions on [`actix_wal`]: parts for servers that other people write.
//!
//! A transaction is one record of the log, so that all of it survives a crash or nothing, and its LSN is its timestamp.
//! There are two ways to read:
//!
//! * An **interactive** transaction ([`Begin`](messages::Begin), [`Commit`](messages::Commit)) sees a snapshot of what is
//!   durable. It never waits to read. If another one changed its keys meanwhile, it is refused.
//! * A **whole** transaction ([`Execute`](messages::Execute)) runs alone on the newest versions, durable or not, and has no
//!   conflicts: one hot key changes as often as many. Its answer is kept back until all that it tells is durable.
//!
//! So no answer reveals a commit that a crash could still lose, unless its client asked for `Async` (promise P25).
//!
//! ```
//! use actix_wal::{Wal, WalConfig};
//! use actix_wal_txn::coordinator::{CoordinatorLimits, TransactionCoordinator};
//! use actix_wal_txn::messages::Execute;
//! use actix_wal_txn::recovery;
//! use actix_wal_txn::store::{Limits, Write};
//!
//! # #[actix::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let directory = folder.path().join("log");
//! let opening = Wal::open(WalConfig::new(directory));
//! let (wal, recovered) = recovery::open(opening, Limits::default()).await?;
//! let coordinator =
//!     TransactionCoordinator::start(&wal, recovered, CoordinatorLimits::default()).await?;
//! let visit = Execute::new(|latest| {
//!     let visits = latest.get(b"visits")?.map_or(1, |visits| visits[0] + 1);
//!     latest.write(Write { key: "visits".into(), value: Some(vec![visits].into()) })?;
//!     Ok(visits)
//! });
//! let done = coordinator.send(visit).await??; // and now it is durable
//! println!("visit {} at LSN {:?}", done.value, done.lsn);
//! # assert_eq!(done.value, 1);
//! # Ok(wal.close().await?) }
//! ```
//!
//! | part | what |
//! |---|---|
//! | [`coordinator`] | the actor that transactions are sent to; its [`messages`] and [`error`]s |
//! | [`recovery`] | from a log to the state that its transactions have left |
//! | [`commits`] | commits on their way into the log, and the answers that wait for them |
//! | [`workspace`] | one interactive transaction: what it has read and written, and whether it may commit |
//! | [`latest`] | a transaction that is sent whole, on the newest versions |
//! | [`store`] | versions of keys in memory: the newest state, and snapshots of what is durable |
//! | [`watches`] | the ranges that serializable transactions have read |
//! | [`record`] | what a transaction writes into the log |
//! | [`latencies`] | how long commits take, and how many become durable at once |
//! | [`tokens`] | what became of a commit whose answer was lost |
//! | [`snapshot_file`] | the state at an LSN in a file |
//! | [`snapshotting`] | when such a file is written beside the commits, and how much of the log is released then |
//! | [`two_phase`] | transactions over several logs |
//!
//! All but the first two, and the two actors in [`two_phase`], are plain types without actor, thread or clock. The page
//! `docs/transactions.md` of the repository has the sequence of a commit, the meaning of each answer, and the anomalies
//! of each way to read.

pub mod commits;
pub mod coordinator;
pub mod error;
mod fates;
pub mod latencies;
mod later;
pub mod latest;
pub mod messages;
pub mod record;
pub mod recovery;
pub mod snapshot_file;
pub mod snapshotting;
pub mod store;
pub mod tokens;
pub mod two_phase;
pub mod watches;
pub mod workspace;
mod writes;

pub use self::later::Later;

/// The README, whose code is run as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
