//! Clients that commit, what they are told, and the ledger of it that a log is held against: what the quickstart
//! and the soak have in common.

pub(crate) mod client;
pub mod ledger;
pub mod payload;
pub mod told;
