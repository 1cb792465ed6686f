//! Disks that this machine does not have: a directory in which each sync takes a given time.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use actix_wal::storage::{self, Directory, Storage, StorageFile};

/// A directory whose syncs sleep instead of syncing. Nothing in it survives a power loss.
#[derive(Debug)]
pub(crate) struct Slow {
    inner: Directory,
    sync: Duration,
}

impl Slow {
    /// Opens, or creates, the directory at `path`.
    pub(crate) fn open(path: &Path, sync: Duration) -> io::Result<Arc<dyn Storage>> {
        Ok(Arc::new(Slow { inner: Directory::open(path)?, sync }))
    }
}

impl storage::Forward for Slow {
    fn inner(&self) -> &dyn Storage {
        &self.inner
    }

    fn file(&self, _: &str, inner: Box<dyn StorageFile>) -> Box<dyn StorageFile> {
        Box::new(SlowFile { inner, sync: self.sync })
    }

    fn sync_dir(&self) -> io::Result<()> {
        sleep(self.sync);
        Ok(())
    }
}

#[derive(Debug)]
struct SlowFile {
    inner: Box<dyn StorageFile>,
    sync: Duration,
}

impl storage::ForwardFile for SlowFile {
    fn inner(&self) -> &dyn StorageFile {
        &*self.inner
    }

    fn sync(&self) -> io::Result<()> {
        sleep(self.sync);
        Ok(())
    }
}
