//! What a log needs of the program around it: time, threads, one that may block, and an actix System.

mod blocking;
pub mod clock;
mod own_system;
pub(crate) mod sync;
pub mod threads;

pub(crate) use blocking::{block_on, is_on_arbiter, off_thread};
pub(crate) use own_system::{ACTOR_THREAD, OwnSystem};
