//! What several benchmarks have in common.

pub(crate) mod load;
pub(crate) mod postgres;
pub(crate) mod window;
