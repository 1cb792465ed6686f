//! The decisions of the log, as plain types without actor, thread or clock.
//!
//! Format and storage meet here. The actors are thin shells over these types, and a simulator can drive
//! exactly the same ones step by step.
//!
//! In the order in which an append meets them:
//!
//! * [`admission`]: the bound on what is in flight; no append without a permit.
//! * [`intake`]: where it waits for the Appender, with others.
//! * [`assigner`]: gives out LSNs and feeds the queue.
//! * [`batcher`]: when to flush.
//! * [`flush_loop`]: what the flush thread does, one step at a time.
//! * [`log_writer`]: one flush = one frame = one write + one sync; starts segments and epochs.
//! * [`outcomes`]: who waits for which LSN, and which LSNs failed.
//! * [`catalog`]: which segment holds which LSNs; who needs them still.
//! * [`segment_reader`], [`records`], [`cursor`]: read durable records.
//! * [`recovery`]: judges what a directory holds and begins the next epoch.
//! * [`restarts`]: how often a failed Flusher may start again.
//! * [`watchdog`]: when to say that a sync is slow, stuck, or beyond hope.
//! * [`shared`]: what all parts of one log share: the watermark, the state, the counters.

pub mod admission;
pub mod assigner;
pub mod batcher;
pub mod catalog;
pub mod clock;
pub mod cursor;
pub mod entry;
pub mod flush_loop;
pub mod intake;
pub mod log_writer;
pub mod outcomes;
pub mod records;
pub mod recovery;
pub mod restarts;
mod seek;
pub mod segment_reader;
pub mod segments;
pub mod shared;
pub mod watchdog;

use crate::config::WalConfig;
use crate::format::frame::{FRAME_HEADER_LEN, FRAME_TRAILER_LEN};

// `config` may not know the format, so it has this number of its own.
const _: () = assert!(WalConfig::FRAME_OVERHEAD == (FRAME_HEADER_LEN + FRAME_TRAILER_LEN) as u64);
