//! What the examples `quickstart` and `soak` of the log run, and tests run too.
//!
//! * [`quickstart`]: many clients commit at once, then processes are killed in mid-flight.
//! * [`soak`]: the log runs for hours while everything around it fails.
//! * [`clients`]: what clients write and were told, held against what each open replays.
//! * [`pipe`]: how a child tells its parent every outcome; [`panics`]: those that a run injects are kept quiet.

pub mod clients;
mod error;
pub mod panics;
pub mod pipe;
mod place;
pub mod quickstart;
pub mod soak;
