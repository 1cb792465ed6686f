//! What an operator may name as the directory of a log.

use std::path::{Path, PathBuf};

use actix_wal::inspect::{LogFiles, Overview};

use crate::output::Failure;

/// A log, and the snapshots of its transactions if they lie beside it.
pub(crate) struct Place {
    /// The directory of the log itself.
    pub(crate) log: PathBuf,
    /// That of the snapshots.
    pub(crate) snapshots: Option<PathBuf>,
    pub(crate) files: LogFiles,
}

impl Place {
    /// The log in a directory, or in the folder `log` of it: servers keep their snapshots in the folder `snapshots` beside that.
    pub(crate) fn find(directory: &Path) -> Result<Self, Failure> {
        let files = LogFiles::open(directory).map_err(Failure::refused)?;
        let inner = directory.join("log");
        let is_above = inner.is_dir() && overview(&files)?.has_no_log();
        let (log, files) = if is_above {
            let files = LogFiles::open(&inner).map_err(Failure::refused)?;
            (inner, files)
        } else {
            (directory.to_owned(), files)
        };
        let beside = log.parent().filter(|_| log.ends_with("log")).map(|it| it.join("snapshots"));
        let snapshots = beside.filter(|it| it.is_dir());
        Ok(Place { log, snapshots, files })
    }

    /// The same, where there must be a log.
    pub(crate) fn with_log(directory: &Path) -> Result<(Self, Overview), Failure> {
        let place = Place::find(directory)?;
        let overview = overview(&place.files)?;
        if overview.has_no_log() {
            return Err(no_log(directory));
        }
        Ok((place, overview))
    }
}

fn overview(files: &LogFiles) -> Result<Overview, Failure> {
    files.overview().map_err(Failure::refused)
}

/// There is no log to look at.
pub(crate) fn no_log(directory: &Path) -> Failure {
    let directory = directory.display();
    Failure::refused(format_args!(
        "there is no log in {directory}: give the directory that holds the files *.wal; is its file system mounted?"
    ))
}
