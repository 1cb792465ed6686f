//! A directory that is only looked at: no lock is taken, and nothing in it is ever changed.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use super::directory::{check_name, free_of, list, list_folder};
use super::filesystem::identify;
use super::lock::{Identity, holder_of};
use super::{FileEntry, Medium, Storage, StorageFile};
use crate::error::Holder;

/// A directory that may have an owner, for reading only: it takes no lock. What would change it fails with
/// [`ErrorKind::ReadOnlyFilesystem`], so no log can be opened in it; [`LogFiles`](crate::inspect::LogFiles) can look at one.
#[derive(Debug)]
pub struct ReadOnly {
    path: PathBuf,
    handle: File,
    identity: Identity,
    medium: Medium,
}

impl ReadOnly {
    /// Opens the directory at `path`.
    ///
    /// # Errors
    /// It is not there, is no directory, or may not be read.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let handle = File::from(rustix::fs::open(path, flags, Mode::empty())?);
        let stat = rustix::fs::fstat(&handle)?;
        let (_, medium) = identify(&handle);
        Ok(ReadOnly { path: path.to_owned(), handle, identity: (stat.st_dev, stat.st_ino), medium })
    }

    /// Who has locked the directory, by the kernel's list: to try the lock could make an owner fail that opens it at
    /// that moment. `None` also where the kernel numbers devices in another way here.
    pub fn owner(&self) -> Option<Holder> {
        holder_of(self.identity)
    }
}

fn refused() -> io::Error {
    io::Error::new(ErrorKind::ReadOnlyFilesystem, "the log is only looked at")
}

impl Storage for ReadOnly {
    fn list(&self) -> io::Result<Vec<FileEntry>> {
        list(&self.handle)
    }

    fn list_folder(&self, name: &str) -> io::Result<Vec<FileEntry>> {
        list_folder(&self.handle, name)
    }

    fn create(&self, _name: &str) -> io::Result<Box<dyn StorageFile>> {
        Err(refused())
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        check_name(name)?;
        // A pipe that took the name of a segment must not make the open wait.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let fd = rustix::fs::openat(&self.handle, name, flags, Mode::empty())?;
        Ok(Box::new(ReadOnlyFile(File::from(fd))))
    }

    fn rename(&self, _from: &str, _to: &str) -> io::Result<()> {
        Err(refused())
    }

    fn remove(&self, _name: &str) -> io::Result<()> {
        Err(refused())
    }

    /// There is nothing to make durable: nothing was changed through this value.
    fn sync_dir(&self) -> io::Result<()> {
        Ok(())
    }

    fn free_bytes(&self) -> Option<u64> {
        free_of(&rustix::fs::fstatvfs(&self.handle).ok()?)
    }

    fn medium(&self) -> Medium {
        self.medium
    }

    fn location(&self) -> String {
        self.path.display().to_string()
    }
}

#[derive(Debug)]
struct ReadOnlyFile(File);

impl StorageFile for ReadOnlyFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }

    fn write_at(&self, _bytes: &[u8], _offset: u64) -> io::Result<usize> {
        Err(refused())
    }

    fn set_size(&self, _size: u64) -> io::Result<()> {
        Err(refused())
    }

    fn sync(&self) -> io::Result<()> {
        Err(refused())
    }
}
