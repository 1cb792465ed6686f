//! Why a run could not be carried out. That says nothing about the log: it has not been judged.

use std::io;

use actix_wal::{CloseError, OpenError};
use thiserror::Error;

/// Why a run could not be carried out.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DemoError {
    /// Another process works in the directory.
    #[error(
        "{place} is in use, perhaps by another run; wait for that, or choose another directory"
    )]
    InUse {
        /// The directory.
        place: String,
    },
    /// The directory holds something that this program did not make.
    #[error(
        "{place} is neither empty nor the directory of an earlier {what}, so it will not be emptied; choose a \
         new directory"
    )]
    NotOurs {
        /// The directory.
        place: String,
        /// The kind of the run.
        what: &'static str,
    },
    /// The directory can not be made, read or emptied.
    #[error("{place} can not be used: {source}; choose a directory that can be written to")]
    Directory {
        /// The directory.
        place: String,
        /// What the system says.
        source: io::Error,
    },
    /// No log takes such a record.
    #[error("--size {size} is more than the log takes at once; the most is {limit}")]
    TooLarge {
        /// The bytes that were asked for.
        size: usize,
        /// The most that the log takes.
        limit: usize,
    },
    /// The log fails to open, and that is no damage.
    #[error("the log could not be opened: {0}")]
    Open(#[from] OpenError),
    /// The log was recovered and fails to close.
    #[error("the log could not be closed: {0}")]
    Close(#[from] CloseError),
    /// A child fails to start, or to end.
    #[error("the child could not be started or ended: {0}")]
    Child(io::Error),
    /// A child says something that no child says.
    #[error("the child said {0:?}, which makes no sense")]
    Report(String),
    /// The operating system does not say what this process holds.
    #[error("what this process holds could not be read: {0}")]
    Floor(io::Error),
    /// The words of the run could not be written; the reader may be gone.
    #[error("writing the output: {0}")]
    Words(io::Error),
}
