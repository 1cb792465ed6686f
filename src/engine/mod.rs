//! The decisions of the log, as plain types without actor, thread or clock.
//!
//! Format and storage meet here. The actors are thin shells over these types, and a simulator drives the same types
//! step by step. In the order in which an append meets them:
//!
//! * [`intake`]: caller, permit, inbox, LSN, queue.
//! * [`write`](mod@write): queue, batch, frame, sync, watermark.
//! * [`segments`]: which segment holds which LSNs; the next one, ahead of need.
//! * [`read`]: durable records, back out.
//! * [`recovery`]: judges what a directory holds and begins the next epoch.
//! * [`state`]: what all parts of one log share.

pub mod intake;
pub mod read;
pub mod recovery;
pub mod segments;
pub mod state;
pub mod write;
