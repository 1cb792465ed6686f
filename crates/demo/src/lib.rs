//! What `walctl demo` and `walctl soak` run, and the examples `quickstart` and `soak` of the log.
//!
//! * [`quickstart`]: many clients commit at once, then processes are killed in mid-flight.
//! * [`soak`]: the log runs for hours while everything around it fails.
//! * [`clients`]: what clients write and were told, held against what each open replays.
//! * [`child`]: this program, started again, to be killed. Its [`pipe`] tells the parent every outcome.
//! * [`example`]: the `main` of an example, and how a run ends.
//! * [`panics`]: panics that a run injects are kept quiet.

pub mod child;
pub mod clients;
mod error;
pub mod example;
pub mod panics;
pub mod pipe;
mod place;
pub mod quickstart;
pub mod soak;
mod voice;

pub use error::DemoError;
pub use example::Verdict;
