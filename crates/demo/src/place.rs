//! The directory that the quickstart works in: locked, known to be ours, and emptied.

use std::path::{Path, PathBuf};
use std::{fs, io};

use actix_wal::storage::{Directory, Storage, filesystem_name};

use crate::error::QuickstartError;

/// Marks a directory that the quickstart may empty.
const MARKER: &str = "ACTIX-WAL-QUICKSTART";
const MARKER_TEXT: &str = "The quickstart of actix-wal works here. It empties this directory when it \
    starts.\n";

/// The logs of the two parts.
const LOGS: [&str; 2] = ["load", "kill"];

/// A directory that is ours for as long as this value lives.
pub(crate) struct Workplace {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// What people call the file system it lies on.
    pub(crate) filesystem: String,
    /// Bears the lock.
    _lock: Directory,
}

impl Workplace {
    /// Locks the directory, makes sure that it is new, empty, or of an earlier run, and empties it.
    pub(crate) fn prepare(path: &Path) -> Result<Self, QuickstartError> {
        let place = path.display().to_string();
        let lock = Directory::open(path).map_err(|source| match source.kind() {
            io::ErrorKind::WouldBlock => QuickstartError::InUse { place: place.clone() },
            _ => QuickstartError::Directory { place: place.clone(), source },
        })?;
        let empty = || -> io::Result<bool> {
            if !path.join(MARKER).is_file() {
                if fs::read_dir(path)?.next().is_some() {
                    return Ok(false);
                }
                fs::write(path.join(MARKER), MARKER_TEXT)?;
                lock.sync_dir()?;
            }
            LOGS.iter().try_for_each(|log| remove(&path.join(log)))?;
            Ok(true)
        };
        let failed = |source| QuickstartError::Directory { place: place.clone(), source };
        if !empty().map_err(failed)? {
            return Err(QuickstartError::NotOurs { place });
        }
        let filesystem = filesystem_name(path).map_err(failed)?;
        Ok(Workplace { path: path.to_owned(), filesystem, _lock: lock })
    }

    /// Where the log of part one lies.
    pub(crate) fn load(&self) -> PathBuf {
        self.path.join(LOGS[0])
    }

    /// Where the log of part two lies.
    pub(crate) fn kill(&self) -> PathBuf {
        self.path.join(LOGS[1])
    }

    /// Whether what lies here can survive power loss at all.
    pub(crate) fn can_be_durable(&self) -> bool {
        !matches!(self.filesystem.as_str(), "tmpfs" | "ramfs")
    }
}

fn remove(directory: &Path) -> io::Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
