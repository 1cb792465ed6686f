//! How much a log writes and syncs, counted where it happens.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use super::{Storage, StorageFile};

/// What a [`Metered`] storage has done so far. Counts what succeeded; every number only grows.
#[derive(Debug, Default)]
pub struct IoCounts {
    writes: AtomicU64,
    bytes_written: AtomicU64,
    file_syncs: AtomicU64,
    dir_syncs: AtomicU64,
}

impl IoCounts {
    /// Calls of [`StorageFile::write_at`].
    pub fn writes(&self) -> u64 {
        self.writes.load(Relaxed)
    }

    /// Bytes these calls took.
    pub fn bytes_written(&self) -> u64 {
        self.bytes_written.load(Relaxed)
    }

    /// Calls of [`StorageFile::sync`].
    pub fn file_syncs(&self) -> u64 {
        self.file_syncs.load(Relaxed)
    }

    /// Calls of [`Storage::sync_dir`].
    pub fn dir_syncs(&self) -> u64 {
        self.dir_syncs.load(Relaxed)
    }
}

/// A [`Storage`] that passes everything on and counts it.
#[derive(Debug)]
pub struct Metered {
    inner: Arc<dyn Storage>,
    counts: Arc<IoCounts>,
}

impl Metered {
    /// Counts what is done through the new storage to `inner`.
    pub fn new(inner: Arc<dyn Storage>) -> Metered {
        Metered { inner, counts: Arc::default() }
    }

    /// The counts, which go on counting after this call.
    pub fn counts(&self) -> Arc<IoCounts> {
        Arc::clone(&self.counts)
    }
}

impl super::Forward for Metered {
    fn inner(&self) -> &dyn Storage {
        &*self.inner
    }

    fn file(&self, _: &str, inner: Box<dyn StorageFile>) -> Box<dyn StorageFile> {
        Box::new(MeteredFile { inner, counts: self.counts() })
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.inner.sync_dir()?;
        self.counts.dir_syncs.fetch_add(1, Relaxed);
        Ok(())
    }
}

#[derive(Debug)]
struct MeteredFile {
    inner: Box<dyn StorageFile>,
    counts: Arc<IoCounts>,
}

impl super::ForwardFile for MeteredFile {
    fn inner(&self) -> &dyn StorageFile {
        &*self.inner
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let written = self.inner.write_at(bytes, offset)?;
        self.counts.writes.fetch_add(1, Relaxed);
        self.counts.bytes_written.fetch_add(written as u64, Relaxed);
        Ok(written)
    }

    fn sync(&self) -> io::Result<()> {
        self.inner.sync()?;
        self.counts.file_syncs.fetch_add(1, Relaxed);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{storage::write_all_at, testkit::SimDisk};

    #[test]
    fn writes_bytes_and_both_kinds_of_sync_are_counted() {
        let storage = Metered::new(SimDisk::new().mount().unwrap());
        let counts = storage.counts();
        let file = storage.create("a").unwrap();
        write_all_at(&*file, &[1; 700], 0).unwrap();
        write_all_at(&*file, &[2; 300], 700).unwrap();
        file.sync().unwrap();
        storage.sync_dir().unwrap();
        storage.sync_dir().unwrap();

        assert_eq!((counts.writes(), counts.bytes_written()), (2, 1000));
        assert_eq!((counts.file_syncs(), counts.dir_syncs()), (1, 2));
    }
}
