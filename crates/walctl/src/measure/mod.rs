//! What `probe`, `bench` and `tune` measure with: the device below a directory, a file of their own on it, a log of their
//! own on it, and clients of that log.

pub(crate) mod bare;
pub(crate) mod device;
pub(crate) mod figures;
pub(crate) mod load;
pub(crate) mod log;
pub(crate) mod mounts;
pub(crate) mod schedule;
pub(crate) mod scratch;
pub(crate) mod slow;
