//! A real directory, locked for as long as anything may write to it (promise P20).

use std::{
    fs::File,
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::FileExt,
    },
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags, StatVfs},
    io::Errno,
};
use tracing::warn;

use super::lock::{EndsWithin, LockError, Locked, Patience};
use super::{EntryKind, FileEntry, Medium, Storage, StorageFile, filesystem::identify};

/// What a directory and a file are created with, before the process's umask is applied.
const DIRECTORY_MODE: Mode = Mode::from_raw_mode(0o750);
const FILE_MODE: Mode = Mode::from_raw_mode(0o640);

/// A [`Storage`] in a directory of a Unix file system.
///
/// The lock is `flock` on the directory itself: no lock file can be left behind, removed or copied, and
/// the kernel releases it when its holder dies. It is held until the `Directory` *and every file opened
/// through it* are dropped, so that a thread stuck in a sync keeps other owners out for as long as it
/// could still write.
///
/// All names are resolved relative to the open directory: renaming it, or a folder above it, changes
/// nothing for its owner; removing it makes `create` fail with [`io::ErrorKind::NotFound`].
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    handle: Arc<Locked>,
    medium: Medium,
}

impl Directory {
    /// Opens and locks the directory at `path`; creates it, durably, with the folders that lead to it.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] at once if it has an owner, in this process or another; otherwise
    /// the error of creating, opening or locking it.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Directory> {
        Directory::open_now(path.as_ref(), true)
    }

    /// Opens and locks the directory at `path`, and creates nothing.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if it is not there; otherwise as [`open`](Self::open).
    pub fn open_existing(path: impl AsRef<Path>) -> io::Result<Directory> {
        Directory::open_now(path.as_ref(), false)
    }

    fn open_now(path: &Path, may_create: bool) -> io::Result<Directory> {
        let now = Patience { at_most: Duration::ZERO, is_wanted: &|| true };
        Directory::open_when_free(path, may_create, &now).map_err(|error| match error {
            LockError::Io(error) => error,
            LockError::Held(holder) => {
                let message = format!("the log in {} has another owner: {holder}", path.display());
                io::Error::new(io::ErrorKind::WouldBlock, message)
            }
        })
    }

    /// The same, but waits if the owner is a log of this process that is ending. Blocks for as long.
    pub(crate) fn open_when_free(
        path: &Path,
        may_create: bool,
        patience: &Patience<'_>,
    ) -> Result<Directory, LockError> {
        if may_create {
            create_durably(path)?;
        } else {
            open_directory(path)?;
            sync_name(path, false)?;
        }
        let handle = Locked::new(open_directory(path)?, patience)?;
        let (name, medium) = identify(&handle);
        if medium == Medium::Memory {
            warn!(path = %path.display(), "the log lies on {name}: nothing in it survives power loss");
        }
        Ok(Directory { path: path.to_owned(), handle: Arc::new(handle), medium })
    }

    /// Notes when the log in this directory will end, for openers that can wait.
    pub(crate) fn ends_within(&self, ask: EndsWithin) {
        self.handle.ends_within(ask);
    }

    fn open_file(&self, name: &str, flags: OFlags) -> io::Result<Box<dyn StorageFile>> {
        check_name(name)?;
        let flags = flags | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&self.handle, name, flags, FILE_MODE)?;
        Ok(Box::new(DirectoryFile { file: File::from(fd), _lock: Arc::clone(&self.handle) }))
    }
}

impl Storage for Directory {
    fn list(&self) -> io::Result<Vec<FileEntry>> {
        list(&self.handle)
    }

    fn list_folder(&self, name: &str) -> io::Result<Vec<FileEntry>> {
        list_folder(&self.handle, name)
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        self.open_file(name, OFlags::CREATE | OFlags::EXCL)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        self.open_file(name, OFlags::empty())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        check_name(from)?;
        check_name(to)?;
        rename_without_replacing(&self.handle, from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        check_name(name)?;
        Ok(rustix::fs::unlinkat(&self.handle, name, AtFlags::empty())?)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.handle.sync()
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
struct DirectoryFile {
    file: File,
    /// The directory stays locked while anyone can write to one of its files.
    _lock: Arc<Locked>,
}

impl StorageFile for DirectoryFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.file.write_at(bytes, offset)
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        self.file.set_len(size)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

/// The same of a folder in it, or of what a link in it leads to.
pub(super) fn list_folder(folder: impl AsFd, name: &str) -> io::Result<Vec<FileEntry>> {
    check_name(name)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    list(rustix::fs::openat(folder, name, flags, Mode::empty())?)
}

/// Names that are not UTF-8 are listed as near to them as UTF-8 comes: no log has such names.
pub(super) fn list(folder: impl AsFd) -> io::Result<Vec<FileEntry>> {
    let mut entries = Vec::new();
    for entry in Dir::read_from(&folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        match rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => entries.push(FileEntry {
                name: name.to_string_lossy().into_owned(),
                size: stat.st_size as u64,
                kind: kind_of(FileType::from_raw_mode(stat.st_mode)),
            }),
            // Removed since its name was read.
            Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(entries)
}

fn kind_of(file_type: FileType) -> EntryKind {
    match file_type {
        FileType::RegularFile => EntryKind::File,
        FileType::Directory => EntryKind::Folder,
        FileType::Symlink => EntryKind::Link,
        _ => EntryKind::Other,
    }
}

/// A file system of no size at all has not filled in the answer (some FUSE file systems, unlimited tmpfs).
pub(super) fn free_of(stat: &StatVfs) -> Option<u64> {
    (stat.f_blocks > 0).then(|| stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// What keeps a directory from being opened or created at `path`, and why: a file in its place or in that of
/// a folder above, a link that leads nowhere, or the folder that does not let us.
pub(crate) fn obstacle(path: &Path) -> Option<(PathBuf, Obstacle)> {
    let here = path.ancestors().filter(|path| !path.as_os_str().is_empty());
    let here = here.chain([Path::new(".")]);
    let (found, link) =
        here.filter_map(|path| Some((path, path.symlink_metadata().ok()?))).next()?;
    let obstacle = match found.metadata() {
        Ok(target) if target.is_dir() => Obstacle::Folder,
        Ok(_) => Obstacle::File,
        Err(_) if link.is_symlink() => Obstacle::DeadLink,
        Err(_) => return None,
    };
    Some((found.to_owned(), obstacle))
}

/// What is in the way of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// Something that is no folder.
    File,
    /// A symbolic link to nothing.
    DeadLink,
    /// The folder itself, or the nearest one above it: it does not let us.
    Folder,
}

/// Creates the directory at `path` and what is missing above it, each name durable before anything is
/// created below it.
///
/// The name that was already there is synced too: the process that created it may have died between
/// creating and syncing, and all that is written below would hang on a name that power loss can take.
fn create_durably(path: &Path) -> io::Result<()> {
    let mut created = rustix::fs::mkdir(path, DIRECTORY_MODE);
    if created == Err(Errno::NOENT)
        && let Some(parent) = path.parent()
    {
        create_durably(parent)?;
        created = rustix::fs::mkdir(path, DIRECTORY_MODE);
    }
    let is_new = match created {
        Ok(()) => true,
        Err(Errno::EXIST) => false,
        // Where nothing may be created the directory can exist all the same.
        Err(Errno::ROFS | Errno::ACCESS) if path.exists() => false,
        Err(error) => return Err(error.into()),
    };
    sync_name(path, is_new)
}

/// Makes the name of the directory durable.
fn sync_name(path: &Path, is_new: bool) -> io::Result<()> {
    match sync_parent(path) {
        // A folder that we did not write to, and may not read, is its owner's to sync.
        Err(error) if !is_new && error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        synced => synced,
    }
}

fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => open_directory(Path::new("."))?.sync_all(),
        Some(parent) => open_directory(parent)?.sync_all(),
        None => Ok(()),
    }
}

fn open_directory(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd: OwnedFd = rustix::fs::open(path, flags, Mode::empty())?;
    Ok(File::from(fd))
}

/// Renames in one step, or answers [`io::ErrorKind::AlreadyExists`].
#[cfg(any(target_os = "linux", target_vendor = "apple"))]
fn rename_without_replacing(directory: impl AsFd, from: &str, to: &str) -> io::Result<()> {
    let directory = directory.as_fd();
    let flags = rustix::fs::RenameFlags::NOREPLACE;
    match rustix::fs::renameat_with(directory, from, directory, to, flags) {
        // Old kernels and some file systems (NFS, FUSE, ZFS) do not know the flag.
        Err(Errno::INVAL | Errno::NOSYS) => rename_after_looking(directory, from, to),
        renamed => Ok(renamed?),
    }
}

#[cfg(not(any(target_os = "linux", target_vendor = "apple")))]
fn rename_without_replacing(directory: impl AsFd, from: &str, to: &str) -> io::Result<()> {
    rename_after_looking(directory, from, to)
}

/// Looks, then renames. Nobody can create the name between the two: we hold the lock.
fn rename_after_looking(directory: impl AsFd, from: &str, to: &str) -> io::Result<()> {
    let directory = directory.as_fd();
    match rustix::fs::statat(directory, to, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
        Err(Errno::NOENT) => Ok(rustix::fs::renameat(directory, from, directory, to)?),
        Err(error) => Err(error.into()),
    }
}

/// Files lie in the directory, not below or above it.
pub(super) fn check_name(name: &str) -> io::Result<()> {
    if name.is_empty() || name == "." || name == ".." || name.contains('/') {
        let message = format!("{name:?} is not the name of a file");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renaming_on_a_file_system_without_the_flag_does_not_replace_either() {
        let folder = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let handle = open_directory(folder.path()).unwrap();
        std::fs::write(folder.path().join("a"), "a").unwrap();
        std::fs::write(folder.path().join("b"), "b").unwrap();

        let refused = rename_after_looking(&handle, "a", "b").unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
        rename_after_looking(&handle, "a", "c").unwrap();
        assert_eq!(std::fs::read(folder.path().join("b")).unwrap(), b"b");
        assert_eq!(std::fs::read(folder.path().join("c")).unwrap(), b"a");
    }

    #[test]
    fn names_that_lead_out_of_the_directory_are_refused() {
        for name in ["", ".", "..", "a/b", "/a"] {
            assert_eq!(check_name(name).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        }
        check_name("0000000001.wal").unwrap();
    }
}
