//! A directory in memory that knows what power loss would take.

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use super::copying::Copying;
pub use super::image::SECTOR;
use super::image::{DiskImage, FailedSync, FileId, Persist};
use crate::storage::{EntryKind, FileEntry, Medium, Storage, StorageFile};

/// How much a disk holds unless told otherwise: more than a test will write.
const DEFAULT_CAPACITY: u64 = 1 << 40;

/// A simulated disk with one directory. Clones are the same disk.
///
/// It is as unkind as the [storage contract](crate::storage) allows: bytes survive only after a sync of
/// their file, names only after a sync of the directory, and syncing a file does nothing for its name.
///
/// The space in use is the sum of the sizes of all files, holes included. On a disk that is
/// [`Medium::CopyOnWrite`] overwriting needs free space too, as it does on such file systems.
#[derive(Clone, Debug)]
pub struct SimDisk(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    mounted: AtomicBool,
}

#[derive(Clone, Debug)]
struct State {
    image: DiskImage,
    /// What is no file, by name; and what lies in a folder, as `folder/name`.
    others: BTreeMap<String, EntryKind>,
    capacity: u64,
    medium: Medium,
}

impl State {
    fn free(&self) -> u64 {
        self.capacity.saturating_sub(self.image.bytes())
    }

    /// What is no file in the directory (`""`) or in a folder of it.
    fn others_in(&self, folder: &str) -> Vec<FileEntry> {
        let inner = |(name, kind): (&String, &EntryKind)| {
            let (place, name) = name.rsplit_once('/').unwrap_or(("", name));
            (place == folder).then(|| FileEntry { name: name.to_owned(), size: 0, kind: *kind })
        };
        self.others.iter().filter_map(inner).collect()
    }
}

impl Default for SimDisk {
    fn default() -> Self {
        SimDisk::new()
    }
}

impl SimDisk {
    /// An empty disk that overwrites in place.
    pub fn new() -> SimDisk {
        SimDisk::with_medium(Medium::InPlace)
    }

    /// An empty disk of this kind.
    pub fn with_medium(medium: Medium) -> SimDisk {
        SimDisk::from_state(State {
            image: DiskImage::default(),
            others: BTreeMap::new(),
            capacity: DEFAULT_CAPACITY,
            medium,
        })
    }

    /// The same disk, with reads that show this after a failed sync. So do its images and forks.
    pub fn with_failed_sync(self, how: FailedSync) -> SimDisk {
        self.state().image.set_failed_sync(how);
        self
    }

    fn from_state(state: State) -> SimDisk {
        SimDisk(Arc::new(Shared { state: Mutex::new(state), mounted: AtomicBool::new(false) }))
    }

    /// The disk as a storage, which has one owner at a time (promise P20).
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] while another mount, or a file opened through it, is alive.
    pub fn mount(&self) -> io::Result<Arc<dyn Storage>> {
        if self.0.mounted.swap(true, Ordering::AcqRel) {
            let message = "the simulated disk has another owner";
            return Err(io::Error::new(io::ErrorKind::WouldBlock, message));
        }
        let lock = Arc::new(MountLock(self.clone()));
        Ok(Arc::new(Mount { lock }))
    }

    /// Another disk, as this one would be found if the power failed now. This one goes on.
    pub fn crash(&self, persist: Persist) -> SimDisk {
        let state = self.state();
        let image = state.image.after_power_loss(persist);
        SimDisk::from_state(State { image, ..state.clone() })
    }

    /// How many disks [`Persist::Chosen`] can choose from if the power fails now: every state of every
    /// sector, size and name that is not durable, with every state of every other. `u64::MAX` if there are
    /// more. Some may be equal, where what survives of a file decides nothing because its name does not.
    pub fn possible_images(&self) -> u64 {
        self.state().image.possible_images()
    }

    /// Another disk in the same state, what is not durable yet included: as a process leaves it that is
    /// killed while the power stays on. This one goes on.
    pub fn fork(&self) -> SimDisk {
        SimDisk::from_state(self.state().clone())
    }

    /// Sets how many bytes the files can have together.
    pub fn set_capacity(&self, bytes: u64) {
        self.state().capacity = bytes;
    }

    /// The names of all files, sorted.
    pub fn names(&self) -> Vec<String> {
        let state = self.state();
        state.image.names().map(|(name, _)| name.clone()).collect()
    }

    /// The content of a file as a read shows it, durable or not.
    pub fn read_file(&self, name: &str) -> Option<Vec<u8>> {
        let mut state = self.state();
        let id = state.image.id_of(name)?;
        Some(Vec::clone(state.image.file(id).content()))
    }

    /// Puts a file there, content and name durable, in place of what bore the name. To do damage, read a
    /// file, change it, and write it back.
    pub fn write_file(&self, name: &str, content: impl Into<Vec<u8>>) {
        self.state().image.put(name, content.into());
    }

    /// Puts something there that is no file of the directory, durably: a folder, a link, a pipe; or as
    /// `folder/name` an empty file in a folder. The log can do nothing with it.
    pub fn put_other(&self, name: &str, kind: EntryKind) {
        self.state().others.insert(name.to_owned(), kind);
    }

    /// Takes a file away, durably.
    pub fn remove_file(&self, name: &str) {
        self.state().image.take(name);
    }

    /// What Linux does upon a failed sync of the file: everything unsynced in it counts as clean from
    /// now on, and no later sync makes it durable. Reads show it still, or no more: see [`FailedSync`].
    pub fn forget_dirty(&self, name: &str) {
        let mut state = self.state();
        if let Some(id) = state.image.id_of(name) {
            let ticket = state.image.file(id).begin_sync();
            state.image.fail_sync(id, &ticket);
        }
    }

    /// Bit rot: turns one bit of what is synced around. `false` if the file has no such byte.
    pub fn rot(&self, name: &str, offset: u64, bit: u8) -> bool {
        let mut state = self.state();
        let place = state.image.id_of(name).zip(usize::try_from(offset).ok());
        place.is_some_and(|(id, offset)| state.image.file(id).rot(offset, bit))
    }

    /// Begins to copy the directory file by file, as `cp -r` would while the log goes on. The seed says
    /// in which order.
    pub fn begin_copy(&self, seed: u64) -> Copying {
        Copying::new(self.clone(), seed)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A test that panicked did so between operations: each leaves the state whole.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Direct access, for who replays operations one by one.
    pub(super) fn with_image<T>(&self, change: impl FnOnce(&mut DiskImage) -> T) -> T {
        change(&mut self.state().image)
    }
}

/// Held by a mount and by every file opened through it.
#[derive(Debug)]
struct MountLock(SimDisk);

impl Drop for MountLock {
    fn drop(&mut self) {
        self.0.0.mounted.store(false, Ordering::Release);
    }
}

#[derive(Debug)]
struct Mount {
    lock: Arc<MountLock>,
}

impl Mount {
    fn state(&self) -> MutexGuard<'_, State> {
        self.lock.0.state()
    }

    fn file(&self, id: FileId) -> Box<dyn StorageFile> {
        Box::new(SimFile { lock: Arc::clone(&self.lock), id })
    }
}

impl Storage for Mount {
    fn list(&self) -> io::Result<Vec<FileEntry>> {
        let state = self.state();
        let entries = state.image.names().map(|(name, file)| FileEntry {
            name: name.clone(),
            size: file.content().len() as u64,
            kind: EntryKind::File,
        });
        Ok(entries.chain(state.others_in("")).collect())
    }

    fn list_folder(&self, name: &str) -> io::Result<Vec<FileEntry>> {
        let state = self.state();
        match state.others.get(name) {
            Some(EntryKind::Folder) => Ok(state.others_in(name)),
            Some(_) => Err(io::ErrorKind::NotADirectory.into()),
            None if state.image.id_of(name).is_some() => Err(io::ErrorKind::NotADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        let mut state = self.state();
        refuse_existing(&state, name)?;
        let id = state.image.create(name);
        Ok(self.file(id))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        find(&self.state(), name).map(|id| self.file(id))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        let id = find(&state, from)?;
        refuse_existing(&state, to)?;
        state.image.rename(id, from, to);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        let id = find(&state, name)?;
        state.image.remove(id, name);
        Ok(())
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut state = self.state();
        let covered = state.image.begin_sync_dir();
        state.image.finish_sync_dir(covered);
        Ok(())
    }

    fn free_bytes(&self) -> Option<u64> {
        Some(self.state().free())
    }

    fn medium(&self) -> Medium {
        self.state().medium
    }

    fn location(&self) -> String {
        "simulated disk".to_owned()
    }
}

fn find(state: &State, name: &str) -> io::Result<FileId> {
    if state.others.contains_key(name) {
        return Err(io::Error::other(format!("{name} is no regular file")));
    }
    let id = state.image.id_of(name);
    id.ok_or_else(|| io::ErrorKind::NotFound.into())
}

fn refuse_existing(state: &State, name: &str) -> io::Result<()> {
    match state.image.id_of(name).is_some() || state.others.contains_key(name) {
        true => Err(io::ErrorKind::AlreadyExists.into()),
        false => Ok(()),
    }
}

#[derive(Debug)]
struct SimFile {
    lock: Arc<MountLock>,
    id: FileId,
}

impl SimFile {
    fn state(&self) -> MutexGuard<'_, State> {
        self.lock.0.state()
    }

    fn size_in(&self, state: &mut State) -> u64 {
        state.image.file(self.id).content().len() as u64
    }
}

impl StorageFile for SimFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.size_in(&mut self.state()))
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.state();
        let content = state.image.file(self.id).content();
        let start = to_memory(offset)?.min(content.len());
        let count = buffer.len().min(content.len() - start);
        buffer[..count].copy_from_slice(&content[start..start + count]);
        Ok(count)
    }

    /// On a full disk writes what fits, like a file system does, and fails if that is nothing.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let mut state = self.state();
        let in_place = if state.medium == Medium::CopyOnWrite {
            0
        } else {
            self.size_in(&mut state).saturating_sub(offset)
        };
        let room = in_place.saturating_add(state.free());
        let count = bytes.len().min(to_memory(room).unwrap_or(usize::MAX));
        if count == 0 && !bytes.is_empty() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let file = state.image.file(self.id);
        file.write(&bytes[..count], to_memory(offset)?);
        Ok(count)
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        let mut state = self.state();
        if size.saturating_sub(self.size_in(&mut state)) > state.free() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        state.image.file(self.id).set_size(to_memory(size)?);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.state();
        let file = state.image.file(self.id);
        let ticket = file.begin_sync();
        file.finish_sync(ticket);
        Ok(())
    }
}

fn to_memory(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge.into())
}

#[cfg(test)]
mod tests;
