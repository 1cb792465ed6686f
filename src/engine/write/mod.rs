//! Write: from the queue to the disk to the watermark.
//!
//! * [`batcher`]: when to flush.
//! * [`flush_loop`]: what the flush thread does, one step at a time.
//! * [`log_writer`]: one flush = one frame = one write + one sync; starts segments and epochs.

pub mod batcher;
pub mod flush_loop;
pub mod log_writer;
