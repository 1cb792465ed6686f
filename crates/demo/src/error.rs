//! Why a run could not be carried out. That says nothing about the log: it has not been judged.

use std::io;

use actix_wal::OpenError;
use thiserror::Error;

#[derive(Debug, Error)]
pub(crate) enum QuickstartError {
    #[error(
        "{place} is in use, perhaps by another quickstart; wait for that, or choose another --dir"
    )]
    InUse { place: String },
    #[error(
        "{place} is neither empty nor the directory of an earlier quickstart, so it will not be emptied; \
         choose a new --dir"
    )]
    NotOurs { place: String },
    #[error("{place} can not be used: {source}; choose a --dir that can be written to")]
    Directory { place: String, source: io::Error },
    #[error("--size {size} is more than the log takes at once; the most is {limit}")]
    TooLarge { size: usize, limit: usize },
    #[error("the log could not be opened: {0}")]
    Open(#[from] OpenError),
    #[error("the child could not be started: {0}")]
    Child(io::Error),
    #[error("the child said {0:?}, which makes no sense")]
    Report(String),
}
