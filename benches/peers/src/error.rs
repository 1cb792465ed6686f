//! What can go wrong, and what to do about it.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

/// Why there is no comparison.
#[derive(Debug, Error)]
pub enum BenchError {
    /// The directory can not be worked in.
    #[error("{path}: {what}: {source}. Choose a directory on a real disk that can be written: --dir", path = .path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// How it failed.
        source: io::Error,
    },
    /// A file of results can not be written.
    #[error("{path}: {source}. Choose another file: --report", path = .path.display())]
    Report {
        /// Which.
        path: PathBuf,
        /// How it failed.
        source: io::Error,
    },
    /// A plot could not be drawn.
    #[error("a plot could not be drawn: {0}")]
    Plot(String),
    /// A message between this process and a child is not what it should be.
    #[error("a result could not be encoded or decoded: {0}")]
    Json(#[from] serde_json::Error),
    /// Nobody reads the results any more.
    #[error("standard output: {0}")]
    Output(io::Error),
    /// Everything was measured but these.
    #[error(
        "{0} of the measurements failed; each has said why above, and has an `error` in its line"
    )]
    Failed(usize),
}

/// Why one engine has no figures in one round. The other engines go on.
#[derive(Debug, Error)]
pub enum EngineError {
    /// It does not open.
    #[error("it does not open: {0}")]
    Open(String),
    /// A commit failed.
    #[error("a commit failed: {0}")]
    Commit(String),
    /// There are not as many threads as committers.
    #[error(
        "a thread could not be started, are there too many? ulimit -u; fewer --committers: {0}"
    )]
    Thread(io::Error),
    /// What is counted about the process can not be read.
    #[error("the counters of the process can not be read: {0}")]
    Counters(String),
    /// A committer is gone without a word.
    #[error("a committer has panicked")]
    Panicked,
    /// It hangs.
    #[error(
        "killed: it had not ended after {0:?}; if the disk is just slow, try fewer --committers"
    )]
    TimedOut(Duration),
    /// Its process ended in another way.
    #[error("its process failed: {0}")]
    Process(String),
}

impl EngineError {
    /// For `map_err`: it does not open.
    pub fn open(error: impl ToString) -> Self {
        EngineError::Open(error.to_string())
    }

    /// For `map_err`: a commit failed.
    pub fn commit(error: impl ToString) -> Self {
        EngineError::Commit(error.to_string())
    }
}
