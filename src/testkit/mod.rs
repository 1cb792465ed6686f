//! Worlds to test a log in: a disk that loses power, a storage that fails, a storage that remembers.
//!
//! * [`SimDisk`] is a directory in memory that knows what power loss would take.
//! * [`ManualClock`] and [`SteppedSegments`] let a flush loop be driven by hand, step by step.
//! * [`FaultyStorage`] wraps any storage and fails where a [`FaultPlan`] says so.
//! * [`Recorder`] wraps any storage, real ones too, and writes down every operation in an [`OpLog`], which
//!   gives back the disk as power loss would have left it after any of them.

mod disk;
mod faulty;
mod image;
mod names;
mod recorder;
mod replay;
mod stepped;

pub use disk::{SECTOR, SimDisk};
pub use faulty::{FaultEffect, FaultOp, FaultPlan, FaultRule, FaultyStorage, errno};
pub use image::Persist;
pub use recorder::{Mark, Op, OpLog, Recorder};
pub use replay::Cuts;
pub use stepped::{ManualClock, SteppedSegments, SupplyMode};
