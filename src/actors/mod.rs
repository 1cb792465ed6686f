//! The actors: thin shells over the engine.
//!
//! Actors know messages, not each other: each holds `Recipient`s, and only `open.rs`, or a host that
//! composes its own server, starts and wires them.

mod appender;
mod flush_thread;
pub(crate) mod flusher;
mod recovery;
mod subscribers;

pub use appender::Appender;
pub use flusher::Flusher;
pub use recovery::Recovery;
