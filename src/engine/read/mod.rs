//! Read: durable records, from the files to a reader or a replay.
//!
//! * [`segment_reader`]: the frames of one segment, in order.
//! * [`seek`]: finds the frame that holds an LSN.
//! * [`cursor`]: durable records from an LSN on, up to the watermark.

pub mod cursor;
pub mod seek;
pub mod segment_reader;
