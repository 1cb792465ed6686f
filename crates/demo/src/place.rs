//! The directory that a run works in: locked, known to be ours, and emptied.

use std::path::{Path, PathBuf};
use std::{fs, io};

use actix_wal::storage::{Directory, Storage, filesystem_name};

use crate::DemoError;
use crate::voice::Voice;

/// A kind of run, and what it keeps in its directory.
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    /// The file that marks a directory which such a run may empty.
    pub(crate) marker: &'static str,
    /// The folders of its logs.
    pub(crate) logs: &'static [&'static str],
}

/// A directory that is ours for as long as this value lives.
pub(crate) struct Place {
    path: PathBuf,
    /// What people call the file system it lies on.
    pub(crate) filesystem: String,
    /// Bears the lock.
    _lock: Directory,
}

impl Place {
    /// Locks the directory, makes sure that it is new, empty, or of an earlier run of this kind, and empties it.
    pub(crate) fn prepare(path: &Path, kind: &Kind) -> Result<Self, DemoError> {
        let place = path.display().to_string();
        let lock = Directory::open(path).map_err(|source| match source.kind() {
            io::ErrorKind::WouldBlock => DemoError::InUse { place: place.clone() },
            _ => DemoError::Directory { place: place.clone(), source },
        })?;
        let failed = |source| DemoError::Directory { place: place.clone(), source };
        if !empty(path, &lock, kind).map_err(failed)? {
            return Err(DemoError::NotOurs { place, what: kind.name });
        }
        let filesystem = filesystem_name(path).map_err(failed)?;
        Ok(Place { path: path.to_owned(), filesystem, _lock: lock })
    }

    /// Where the log of this name lies.
    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The directory, in words.
    pub(crate) fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// Whether what lies here can survive power loss at all.
    pub(crate) fn can_be_durable(&self) -> bool {
        !matches!(self.filesystem.as_str(), "tmpfs" | "ramfs")
    }

    /// Where it is, and what that is worth.
    pub(crate) fn introduce(&self, voice: &mut Voice<'_>) -> Result<(), DemoError> {
        let filesystem = &self.filesystem;
        voice.say(format_args!("directory {} on {filesystem}", self.name()))?;
        if !self.can_be_durable() {
            voice.say(format_args!(
                "  {filesystem} is memory: nothing in it survives power loss, so nothing below says \
                 anything\n  about durability or speed; choose a directory on a disk"
            ))?;
        }
        Ok(())
    }
}

/// Whether it is ours; only then it is changed.
fn empty(path: &Path, lock: &Directory, kind: &Kind) -> io::Result<bool> {
    let marker = path.join(kind.marker);
    if !marker.is_file() {
        if fs::read_dir(path)?.next().is_some() {
            return Ok(false);
        }
        let name = kind.name;
        let text = format!(
            "The {name} of actix-wal works here. It empties this directory when it starts.\n"
        );
        fs::write(marker, text)?;
        lock.sync_dir()?;
    }
    for log in kind.logs {
        match fs::remove_dir_all(path.join(log)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(true)
}
