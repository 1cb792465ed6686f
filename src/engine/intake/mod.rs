//! Intake: the way of an append from its caller to the queue of the flush thread.
//!
//! * [`admission`]: the bound on what is in flight; no append without a permit.
//! * [`inbox`]: appends waiting for the Appender.
//! * [`assigner`]: gives out LSNs and feeds the queue.
//! * [`entry`]: what the queue holds.

pub mod admission;
pub mod assigner;
pub mod entry;
pub mod inbox;
