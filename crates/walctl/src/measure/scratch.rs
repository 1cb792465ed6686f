//! A directory of our own, in which logs are measured.
//!
//! It is new, marked by a file in it, and removed at the end. A process that is killed leaves it behind; the next one that
//! measures there removes it. Nothing is removed that we did not make: without the marker, or with anything else in it,
//! the directory stays.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::output::Failure;

/// The name of the directory, below that which is measured.
const NAME: &str = "walctl-scratch";

/// The file that says whose directory this is. Its owner holds a lock on it, which the kernel frees when the owner ends.
const MARKER: &str = "made-by-walctl";

const MARKER_TEXT: &str = "walctl measures here. It removes this directory at its end. If it was interrupted, its next run \
                           removes it, and so may you.\n";

/// The directory, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Scratch {
    path: PathBuf,
    /// Keeps the lock.
    _marker: File,
}

impl Scratch {
    /// Makes it, and removes what an earlier run has left there.
    ///
    /// # Errors
    /// Another process measures there, the name is that of something else, or nothing can be created.
    pub(crate) fn below(directory: &Path) -> Result<Scratch, Failure> {
        let path = directory.join(NAME);
        match fs::create_dir(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => clean(&path)?,
            Err(error) => return Err(failed(&path, "can not be created", &error)),
        }
        let marked = mark(&path);
        if marked.is_err() {
            // Only an empty directory can be removed like this.
            let _ = fs::remove_dir(&path);
        }
        Ok(Scratch { _marker: marked?, path })
    }

    /// Where a log of this name goes.
    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the logs in it, which are closed.
    ///
    /// # Errors
    /// They can not be removed.
    pub(crate) fn remove_logs(&self) -> Result<(), Failure> {
        let removed = Contents::of(&self.path).and_then(|contents| contents.remove_logs());
        removed.map_err(|error| failed(&self.path, "can not be cleaned", &error))
    }

    /// Removes it.
    ///
    /// # Errors
    /// Something in it is not ours, or can not be removed.
    pub(crate) fn remove(self) -> Result<(), Failure> {
        remove_all(&self.path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // After an error that is reported already; after `remove` there is nothing to do.
        let _ = remove_all(&self.path);
    }
}

fn failed(path: &Path, what: &str, error: &io::Error) -> Failure {
    Failure::refused(format_args!("{} {what}: {error}", path.display()))
}

fn mark(path: &Path) -> Result<File, Failure> {
    let marker = path.join(MARKER);
    let created = File::options().write(true).create_new(true).open(&marker);
    let file = created.map_err(|error| failed(&marker, "can not be created", &error))?;
    lock(path, &file)?;
    if let Err(error) = io::Write::write_all(&mut &file, MARKER_TEXT.as_bytes()) {
        let _ = fs::remove_file(&marker);
        return Err(failed(&marker, "can not be written", &error));
    }
    Ok(file)
}

fn lock(path: &Path, marker: &File) -> Result<(), Failure> {
    flock(marker, FlockOperation::NonBlockingLockExclusive).map_err(|error| {
        let error = io::Error::from(error);
        match error.kind() {
            ErrorKind::WouldBlock => Failure::refused(format_args!(
                "another walctl measures in {}; two at once would measure each other",
                path.display()
            )),
            _ => failed(path, "can not be locked", &error),
        }
    })
}

/// Removes what an earlier run has left in the directory, but not the directory.
fn clean(path: &Path) -> Result<(), Failure> {
    let foreign = |what: &str| {
        Failure::refused(format_args!(
            "{} {what}; move it away, or measure in another directory",
            path.display()
        ))
    };
    let metadata = fs::symlink_metadata(path).map_err(|it| failed(path, "can not be read", &it))?;
    if !metadata.is_dir() {
        return Err(foreign("is no directory that walctl has made"));
    }
    let contents = Contents::of(path).map_err(|it| failed(path, "can not be read", &it))?;
    if let Some(name) = contents.foreign {
        return Err(foreign(&format!("holds {name}, which walctl has not made")));
    }
    if !contents.is_marked {
        let is_empty = contents.logs.is_empty();
        return if is_empty { Ok(()) } else { Err(foreign("holds logs that walctl has not made")) };
    }
    let marker = path.join(MARKER);
    let file = File::open(&marker).map_err(|it| failed(&marker, "can not be opened", &it))?;
    lock(path, &file)?;
    contents.remove(path).map_err(|it| failed(path, "can not be cleaned", &it))
}

fn remove_all(path: &Path) -> Result<(), Failure> {
    let contents = match Contents::of(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        contents => contents.map_err(|error| failed(path, "can not be read", &error))?,
    };
    let removed = contents.remove(path).and_then(|()| fs::remove_dir(path));
    removed.map_err(|error| failed(path, "can not be removed; please remove it", &error))
}

/// What lies in the directory.
#[derive(Debug, Default)]
struct Contents {
    is_marked: bool,
    /// Folders that hold segments only, as `log-1`.
    logs: Vec<PathBuf>,
    /// The first name of something else.
    foreign: Option<String>,
}

impl Contents {
    fn of(path: &Path) -> io::Result<Contents> {
        let mut contents = Contents::default();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let (name, kind) =
                (entry.file_name().to_string_lossy().into_owned(), entry.file_type()?);
            if name == MARKER && kind.is_file() {
                contents.is_marked = true;
            } else if name.starts_with("log-") && kind.is_dir() {
                contents.foreign = contents.foreign.or(foreign_file(&entry.path())?);
                contents.logs.push(entry.path());
            } else {
                contents.foreign = Some(name);
            }
        }
        Ok(contents)
    }

    /// Removes the logs, then the marker: what is interrupted here is still marked.
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.remove_logs()?;
        if self.is_marked { fs::remove_file(path.join(MARKER)) } else { Ok(()) }
    }

    fn remove_logs(&self) -> io::Result<()> {
        for log in &self.logs {
            for entry in fs::read_dir(log)? {
                let entry = entry?;
                if is_segment(&entry.file_name().to_string_lossy()) {
                    fs::remove_file(entry.path())?;
                }
            }
            fs::remove_dir(log)?;
        }
        Ok(())
    }
}

/// A file in the folder of a log that is no segment.
fn foreign_file(log: &Path) -> io::Result<Option<String>> {
    for entry in fs::read_dir(log)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !is_segment(&name) || !entry.file_type()?.is_file() {
            return Ok(Some(entry.path().display().to_string()));
        }
    }
    Ok(None)
}

/// A segment, or one that is being prepared.
fn is_segment(name: &str) -> bool {
    let stem = name.strip_suffix(".tmp").unwrap_or(name).strip_suffix(".wal");
    stem.is_some_and(|stem| !stem.is_empty() && stem.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(made: Result<Scratch, Failure>) -> String {
        made.expect_err("refused").to_string()
    }

    #[test]
    fn what_an_interrupted_run_left_is_removed() {
        let place = tempfile::tempdir().unwrap();
        let scratch = Scratch::below(place.path()).unwrap();
        let log = scratch.log("log-0");
        fs::create_dir(&log).unwrap();
        fs::write(log.join("00000001.wal"), "segment").unwrap();
        let path = scratch.path().to_owned();
        // As if the process had been killed: the lock is free, the files are there.
        let copy = place.path().join("copy");
        fs::rename(&path, &copy).unwrap();
        drop(scratch);
        fs::rename(&copy, &path).unwrap();

        let scratch = Scratch::below(place.path()).unwrap();
        assert!(!log.exists() && scratch.path().join(MARKER).exists());
        scratch.remove().unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn a_directory_that_holds_something_else_is_refused_and_left_alone() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join(NAME);
        fs::create_dir(&path).unwrap();
        fs::write(path.join("diary"), "mine").unwrap();
        assert!(reason(Scratch::below(place.path())).contains("diary"));
        fs::write(path.join(MARKER), "").unwrap();
        assert!(reason(Scratch::below(place.path())).contains("diary"), "also with a marker");
        fs::remove_file(path.join("diary")).unwrap();
        fs::create_dir(path.join("log-0")).unwrap();
        fs::write(path.join("log-0/letter"), "mine").unwrap();
        assert!(reason(Scratch::below(place.path())).contains("letter"));
        assert!(path.join("log-0/letter").exists());
    }

    #[test]
    fn logs_without_a_marker_are_refused() {
        let place = tempfile::tempdir().unwrap();
        let log = place.path().join(NAME).join("log-0");
        fs::create_dir_all(&log).unwrap();
        fs::write(log.join("00000001.wal"), "precious").unwrap();
        assert!(reason(Scratch::below(place.path())).contains("not made"));
        assert!(log.join("00000001.wal").exists());
    }

    #[test]
    fn two_at_once_are_refused() {
        let place = tempfile::tempdir().unwrap();
        let first = Scratch::below(place.path()).unwrap();
        assert!(reason(Scratch::below(place.path())).contains("another walctl"));
        assert!(first.path().join(MARKER).exists(), "the first one goes on");
    }
}
