//! What a log needs of the program around it: a thread that may block, and an actix System.

mod blocking;
mod own_system;

pub(crate) use blocking::{block_on, is_on_arbiter, off_thread};
pub(crate) use own_system::{ACTOR_THREAD, OwnSystem};
