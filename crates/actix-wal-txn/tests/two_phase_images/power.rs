//! Disks of several machines whose operations have one order, and the state of all of them after each.
//!
//! An operation ends before the next one begins, on whatever disk: so what is there after one of them, and what clients
//! have been told by then, could be there when the power fails everywhere at once. That a disk works on several operations
//! at a time is the matter of the tests of the log.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use std::{io, thread};

use actix_wal::storage::{self, Storage, StorageFile};
use actix_wal::testkit::SimDisk;

use super::two_phase_sites::transfers::Told;

/// What a slow sync takes.
const SLOW: Duration = Duration::from_millis(4);

/// All that clients have been told.
pub(crate) type AllTold = BTreeMap<u64, Told>;

/// A moment at which the power may fail.
#[derive(Clone, Debug)]
pub(crate) struct Cut {
    /// With what is not durable on them.
    pub(crate) disks: Vec<SimDisk>,
    pub(crate) told: Arc<AllTold>,
    /// The last operation.
    pub(crate) after: String,
}

#[derive(Debug)]
struct Recorded {
    disks: Vec<SimDisk>,
    /// The sides whose syncs take longer than those of others.
    slow: Range<usize>,
    told: Arc<AllTold>,
    cuts: Vec<Cut>,
}

/// The disks, and what is recorded of them. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Power(Arc<Mutex<Recorded>>);

impl Power {
    pub(crate) fn new(disks: Vec<SimDisk>, told: Arc<AllTold>) -> Self {
        Power(Arc::new(Mutex::new(Recorded { disks, slow: 0..0, told, cuts: Vec::new() })))
    }

    fn lock(&self) -> MutexGuard<'_, Recorded> {
        self.0.lock().unwrap()
    }

    /// All disks, mounted. What is done to them is recorded or not.
    pub(crate) fn storages(&self, is_recorded: bool) -> Vec<Arc<dyn Storage>> {
        let disks = self.lock().disks.clone();
        let mount = |(side, disk): (usize, SimDisk)| {
            let inner = disk.mount().unwrap();
            if !is_recorded {
                return inner;
            }
            Arc::new(OneByOne { inner, at: Place { power: self.clone(), side } })
        };
        disks.into_iter().enumerate().map(mount).collect()
    }

    /// A client has its answer. There is no other state of the disks between that and the operation before it.
    pub(crate) fn tell(&self, n: u64, told: Told) {
        let mut recorded = self.lock();
        Arc::make_mut(&mut recorded.told).insert(n, told);
        let told = Arc::clone(&recorded.told);
        if let Some(last) = recorded.cuts.last_mut() {
            last.told = told;
        }
    }

    pub(crate) fn told(&self) -> Arc<AllTold> {
        Arc::clone(&self.lock().told)
    }

    /// From now on the syncs of these sides take longer: what is said before its sync has ended is far by then.
    pub(crate) fn slow_down(&self, sides: Range<usize>) {
        self.lock().slow = sides;
    }

    /// A cut after each operation that was recorded.
    pub(crate) fn cuts(&self) -> Vec<Cut> {
        self.lock().cuts.clone()
    }
}

#[derive(Clone, Debug)]
struct Place {
    power: Power,
    side: usize,
}

impl Place {
    fn step<T>(&self, what: &str, operation: impl FnOnce() -> T) -> T {
        let mut recorded = self.power.lock();
        let done = operation();
        let disks = match recorded.cuts.last() {
            Some(last) => {
                let mut disks = last.disks.clone();
                disks[self.side] = recorded.disks[self.side].fork();
                disks
            }
            None => recorded.disks.iter().map(SimDisk::fork).collect(),
        };
        let (told, after) = (Arc::clone(&recorded.told), format!("{what} of side {}", self.side));
        recorded.cuts.push(Cut { disks, told, after });
        done
    }
}

#[derive(Debug)]
struct OneByOne {
    inner: Arc<dyn Storage>,
    at: Place,
}

impl storage::Forward for OneByOne {
    fn inner(&self) -> &dyn Storage {
        &*self.inner
    }

    fn file(&self, name: &str, inner: Box<dyn StorageFile>) -> Box<dyn StorageFile> {
        Box::new(File { inner, name: name.to_owned(), at: self.at.clone() })
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        let created = self.at.step(&format!("create {name}"), || self.inner.create(name))?;
        Ok(self.file(name, created))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.at.step(&format!("rename {from} to {to}"), || self.inner.rename(from, to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.at.step(&format!("remove {name}"), || self.inner.remove(name))
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.at.step("sync directory", || self.inner.sync_dir())
    }
}

#[derive(Debug)]
struct File {
    inner: Box<dyn StorageFile>,
    /// The one that it was opened by.
    name: String,
    at: Place,
}

impl storage::ForwardFile for File {
    fn inner(&self) -> &dyn StorageFile {
        &*self.inner
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let what = format!("write {} at {offset}, {} bytes", self.name, bytes.len());
        self.at.step(&what, || self.inner.write_at(bytes, offset))
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        self.at.step(&format!("set size of {}", self.name), || self.inner.set_size(size))
    }

    fn sync(&self) -> io::Result<()> {
        if self.at.power.lock().slow.contains(&self.at.side) {
            thread::sleep(SLOW);
        }
        self.at.step(&format!("sync {}", self.name), || self.inner.sync())
    }
}
