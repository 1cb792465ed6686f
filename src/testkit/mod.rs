//! Worlds to test a log in: a disk that loses power, a storage that fails, a storage that remembers.
//!
//! * [`SimDisk`] is a directory in memory that knows what power loss would take.
//! * [`ManualClock`], [`SteppedSegments`] and [`ByHand`] let the parts of a log be driven by hand, step by
//!   step.
//! * [`Random`] is chance from a seed.
//! * [`FaultyStorage`] wraps any storage and fails where a [`FaultPlan`] says so.
//! * [`Recorder`] wraps any storage, real ones too, and writes down every operation in an [`OpLog`], which
//!   gives back the disk as power loss would have left it after any of them.
//! * [`MockLog`] is a log without a disk, whose flush loop does as a [`MockScript`] says, for tests of actors that
//!   use a log.
//! * [`storage_contract`] is what every storage must pass, [`flusher_contract`] every Flusher, real or
//!   mocked.

mod copying;
mod disk;
mod faulty;
pub mod flusher_contract;
mod image;
#[doc(hidden)]
pub mod internals;
mod mock_log;
mod mock_script;
mod names;
mod random;
mod recorder;
mod replay;
mod scripted_loop;
mod stepped;
pub mod storage_contract;

pub use crate::engine::intake::entry::{Entry, Payload};
pub use copying::Copying;
pub use disk::{SECTOR, SimDisk};
pub use faulty::{FaultEffect, FaultOp, FaultPlan, FaultRule, FaultyStorage, Operation, errno};
pub use image::{FailedSync, Persist};
pub use mock_log::{MockHandle, MockLog};
pub use mock_script::{MockScript, MockStep};
pub use random::Random;
pub use recorder::{Mark, Op, OpLog, Recorder};
pub use replay::Cuts;
pub use stepped::{ByHand, ManualClock, SteppedSegments, SupplyMode};
