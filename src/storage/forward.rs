//! Storages over other storages: a wrapper says what it changes, and all else goes to what is below it.

use std::{fmt, io};

use super::{FileEntry, Medium, Storage, StorageFile};

/// A [`Storage`] over another one. Each operation goes to [`inner`](Self::inner) unless it is overridden, and
/// each file that is created or opened goes through [`file`](Self::file).
///
/// Every type with this trait is a [`Storage`]. Do not import the trait, name it by its path as below: where both
/// traits are in scope, a call such as `keeper.list()` is ambiguous.
///
/// ```
/// use std::{io, sync::Arc};
/// use actix_wal::storage::{self, Storage};
///
/// /// A directory on which removing files fails.
/// #[derive(Debug)]
/// struct Keeper(Arc<dyn Storage>);
///
/// impl storage::Forward for Keeper {
///     fn inner(&self) -> &dyn Storage {
///         &*self.0
///     }
///
///     fn remove(&self, _: &str) -> io::Result<()> {
///         Err(io::ErrorKind::PermissionDenied.into())
///     }
/// }
/// # fn on(disk: Arc<dyn Storage>) -> Arc<dyn Storage> { Arc::new(Keeper(disk)) }
/// ```
pub trait Forward: Send + Sync + fmt::Debug {
    /// The storage below.
    fn inner(&self) -> &dyn Storage;

    /// What is given out for a file of the storage below, which was created or opened as `name`: by default
    /// that file itself.
    fn file(&self, name: &str, inner: Box<dyn StorageFile>) -> Box<dyn StorageFile> {
        let _ = name;
        inner
    }

    /// See [`Storage::list`].
    fn list(&self) -> io::Result<Vec<FileEntry>> {
        self.inner().list()
    }

    /// See [`Storage::list_folder`].
    fn list_folder(&self, name: &str) -> io::Result<Vec<FileEntry>> {
        self.inner().list_folder(name)
    }

    /// See [`Storage::create`].
    fn create(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        self.inner().create(name).map(|file| self.file(name, file))
    }

    /// See [`Storage::open`].
    fn open(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        self.inner().open(name).map(|file| self.file(name, file))
    }

    /// See [`Storage::rename`].
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.inner().rename(from, to)
    }

    /// See [`Storage::remove`].
    fn remove(&self, name: &str) -> io::Result<()> {
        self.inner().remove(name)
    }

    /// See [`Storage::sync_dir`].
    fn sync_dir(&self) -> io::Result<()> {
        self.inner().sync_dir()
    }

    /// See [`Storage::free_bytes`].
    fn free_bytes(&self) -> Option<u64> {
        self.inner().free_bytes()
    }

    /// See [`Storage::medium`].
    fn medium(&self) -> Medium {
        self.inner().medium()
    }

    /// See [`Storage::location`].
    fn location(&self) -> String {
        self.inner().location()
    }
}

impl<T: Forward> Storage for T {
    fn list(&self) -> io::Result<Vec<FileEntry>> {
        Forward::list(self)
    }

    fn list_folder(&self, name: &str) -> io::Result<Vec<FileEntry>> {
        Forward::list_folder(self, name)
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        Forward::create(self, name)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        Forward::open(self, name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        Forward::rename(self, from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        Forward::remove(self, name)
    }

    fn sync_dir(&self) -> io::Result<()> {
        Forward::sync_dir(self)
    }

    fn free_bytes(&self) -> Option<u64> {
        Forward::free_bytes(self)
    }

    fn medium(&self) -> Medium {
        Forward::medium(self)
    }

    fn location(&self) -> String {
        Forward::location(self)
    }
}

/// The same for a [`StorageFile`]: each operation goes to [`inner`](Self::inner) unless it is overridden.
pub trait ForwardFile: Send + Sync + fmt::Debug {
    /// The file below.
    fn inner(&self) -> &dyn StorageFile;

    /// See [`StorageFile::size`].
    fn size(&self) -> io::Result<u64> {
        self.inner().size()
    }

    /// See [`StorageFile::read_at`].
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.inner().read_at(buffer, offset)
    }

    /// See [`StorageFile::write_at`].
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.inner().write_at(bytes, offset)
    }

    /// See [`StorageFile::set_size`].
    fn set_size(&self, size: u64) -> io::Result<()> {
        self.inner().set_size(size)
    }

    /// See [`StorageFile::sync`].
    fn sync(&self) -> io::Result<()> {
        self.inner().sync()
    }
}

impl<T: ForwardFile> StorageFile for T {
    fn size(&self) -> io::Result<u64> {
        ForwardFile::size(self)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        ForwardFile::read_at(self, buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        ForwardFile::write_at(self, bytes, offset)
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        ForwardFile::set_size(self, size)
    }

    fn sync(&self) -> io::Result<()> {
        ForwardFile::sync(self)
    }
}
