//! The preparer at work while the flush thread is between a write and its sync: in production they are two
//! threads; here the preparer gets its turn in the middle of a flush, always in the same places.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use actix_wal::storage::{FileEntry, Medium, Storage, StorageFile};

use super::facts::Random;
use super::world::HandSupply;

/// Who gets a turn before a sync. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Turns(Arc<Mutex<(Random, Option<HandSupply>)>>);

impl Turns {
    pub(crate) fn new(seed: u64) -> Turns {
        Turns(Arc::new(Mutex::new((Random::new(seed), None))))
    }

    pub(crate) fn give_to(&self, supply: Option<HandSupply>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1 = supply;
    }

    /// One sync in three. Not the syncs of the preparer itself.
    fn take(&self) {
        let supply = self.0.try_lock().ok().and_then(|mut turns| {
            let (random, supply) = &mut *turns;
            supply.clone().filter(|_| random.below(3) == 0)
        });
        if let Some(supply) = supply {
            supply.prepare();
        }
    }
}

/// A storage that gives turns.
#[derive(Debug)]
pub(crate) struct Meanwhile {
    pub(crate) inner: Arc<dyn Storage>,
    pub(crate) turns: Turns,
}

impl Meanwhile {
    fn file(&self, inner: Box<dyn StorageFile>) -> Box<dyn StorageFile> {
        Box::new(MeanwhileFile { inner, turns: self.turns.clone() })
    }
}

impl Storage for Meanwhile {
    fn list(&self) -> io::Result<Vec<FileEntry>> {
        self.inner.list()
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        self.inner.create(name).map(|file| self.file(file))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        self.inner.open(name).map(|file| self.file(file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.inner.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.inner.remove(name)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.inner.sync_dir()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.inner.free_bytes()
    }

    fn medium(&self) -> Medium {
        self.inner.medium()
    }

    fn location(&self) -> String {
        self.inner.location()
    }
}

#[derive(Debug)]
struct MeanwhileFile {
    inner: Box<dyn StorageFile>,
    turns: Turns,
}

impl StorageFile for MeanwhileFile {
    fn size(&self) -> io::Result<u64> {
        self.inner.size()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.inner.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.inner.write_at(bytes, offset)
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        self.inner.set_size(size)
    }

    fn sync(&self) -> io::Result<()> {
        self.turns.take();
        self.inner.sync()
    }
}
