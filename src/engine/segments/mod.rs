//! Segments: which one holds which LSNs, and where the next one comes from.
//!
//! * [`catalog`]: the segments of the log, their live ends, and the holds on them.
//! * [`supply`]: hands the writer its next segment.
//! * [`preparer`]: keeps segments ready ahead of need; [`prepare`]: makes one ready.
//! * [`clearing`]: removes old ones, a few at a time.

pub mod catalog;
pub mod clearing;
pub mod prepare;
pub mod preparer;
pub mod supply;
