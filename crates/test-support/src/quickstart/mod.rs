//! What the example `quickstart` and a test have in common, beside its [`clients`](crate::clients).

pub mod child;
pub mod settings;
