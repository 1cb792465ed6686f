//! The world, in one small trait: a directory of files, with *sync* as a verb of its own.
//!
//! Everything above this module believes exactly what is written here about a disk:
//!
//! * bytes written survive power loss only once [`StorageFile::sync`] of that file has returned `Ok`;
//! * names (create, rename, remove) survive only once [`Storage::sync_dir`] has returned `Ok`;
//! * after a failed sync nothing is known about the bytes it should have covered, and a second sync that
//!   succeeds proves nothing about them.
//!
//! A storage of another kind is put to the test by `testkit::storage_contract`.

mod directory;
mod filesystem;
mod forward;
mod lock;
#[cfg_attr(not(any(test, feature = "testkit")), allow(unreachable_pub))]
pub(crate) mod metered;
mod read_only;

use std::{fmt, io};

pub use directory::Directory;
pub(crate) use directory::{Obstacle, obstacle};
pub use filesystem::filesystem_name;
pub use forward::{Forward, ForwardFile};
pub(crate) use lock::{LockError, Patience};
pub(crate) use metered::{IoCounts, Metered};
pub use read_only::ReadOnly;

/// One directory that holds one log. The holder of a value of this type owns the directory: real
/// directories are locked when they are opened, and unlocked when the value and every file opened through
/// it have been dropped (promise P20).
pub trait Storage: Send + Sync + fmt::Debug {
    /// All that lies in the directory, in no particular order: its files, and whatever else has a name there.
    fn list(&self) -> io::Result<Vec<FileEntry>>;

    /// The same of a folder in the directory, or of what a symbolic link in it leads to. A log has no folders:
    /// recovery looks into them before it begins a new log, since one may have been moved there.
    ///
    /// # Errors
    /// It is none, or can not be read.
    fn list_folder(&self, name: &str) -> io::Result<Vec<FileEntry>>;

    /// Creates `name`, which must not exist, for reading and writing.
    fn create(&self, name: &str) -> io::Result<Box<dyn StorageFile>>;

    /// Opens `name`, which must exist, for reading and writing.
    fn open(&self, name: &str) -> io::Result<Box<dyn StorageFile>>;

    /// Renames `from` to `to`; fails with [`io::ErrorKind::AlreadyExists`] rather than replace a file.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes `name`.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes every create, rename and remove so far durable.
    fn sync_dir(&self) -> io::Result<()>;

    /// Bytes that can still be allocated, or `None` where the storage does not know. It is a hint that saves
    /// useless writes on a full disk: without it the write decides.
    fn free_bytes(&self) -> Option<u64>;

    /// What kind of file system this is.
    fn medium(&self) -> Medium;

    /// The path or name of the directory, for messages.
    fn location(&self) -> String;
}

/// One open file of a [`Storage`].
pub trait StorageFile: Send + Sync + fmt::Debug {
    /// Its size in bytes.
    fn size(&self) -> io::Result<u64>;

    /// Reads at `offset` into `buffer`; may read less than asked, and reads nothing at the end.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes at `offset`; may write less than asked. Nothing of it is durable before [`Self::sync`].
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;

    /// Cuts or extends (with zeros) the file.
    fn set_size(&self, size: u64) -> io::Result<()>;

    /// Makes everything written so far, and the size, durable (`fdatasync`).
    fn sync(&self) -> io::Result<()>;
}

/// A name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileEntry {
    /// The name, without any folder.
    pub name: String,
    /// The size in bytes, if it is a file.
    pub size: u64,
    /// What bears the name.
    pub kind: EntryKind,
}

/// What bears a name in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum EntryKind {
    /// A regular file: all that a log consists of.
    File,
    /// A folder.
    Folder,
    /// A symbolic link, whatever it leads to.
    Link,
    /// A pipe, a socket or a device.
    Other,
}

/// What kind of file system a directory lies on, as far as a log has to care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Medium {
    /// Files are overwritten in place (ext4, XFS): zero-filled and recycled segments pay.
    InPlace,
    /// Every write goes to a new place (btrfs, zfs): zero-filling and recycling are useless.
    CopyOnWrite,
    /// A memory file system (tmpfs, ramfs): nothing on it survives power loss.
    Memory,
}

/// Reads exactly `buffer.len()` bytes, going on after short reads and `EINTR`.
///
/// # Errors
/// [`io::ErrorKind::UnexpectedEof`] if the file ends before; otherwise the error of the read.
pub fn read_exact_at(
    file: &dyn StorageFile,
    mut buffer: &mut [u8],
    mut offset: u64,
) -> io::Result<()> {
    while !buffer.is_empty() {
        match file.read_at(buffer, offset) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => {
                buffer = &mut buffer[read..];
                offset += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Writes all of `bytes`, going on after short writes and `EINTR`, which are not faults.
///
/// # Errors
/// [`io::ErrorKind::WriteZero`] if the file takes nothing more; otherwise the error of the write.
pub fn write_all_at(file: &dyn StorageFile, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write_at(bytes, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                bytes = &bytes[written..];
                offset += written as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
