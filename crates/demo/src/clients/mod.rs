//! Clients that commit, what they are told, and the ledger of it that a log is held against: what the examples
//! `quickstart` and `soak` have in common, and tests run too.

pub mod client;
pub mod ledger;
pub mod payload;
pub mod told;
