//! The parts of the example `quickstart` that tests, or the example `soak`, run too.

pub mod child;
pub mod client;
pub mod ledger;
pub mod payload;
pub mod settings;
