//! What a simulated disk holds: its files and names, and of both what power loss would take.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// The unit in which a disk writes: a sector is old or new after power loss, never a mixture.
pub const SECTOR: usize = 512;

/// What becomes of that which was not synced when the power failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persist {
    /// Nothing of it survives.
    Dropped,
    /// All of it survives, even what a failed sync has lost from the cache: the device may have written
    /// it all the same.
    Kept,
    /// Each sector, each size and each change of a name survives or not, independently of the others.
    Torn {
        /// One seed gives one outcome.
        seed: u64,
    },
}

/// What reads show after a failed sync, of that which it should have made durable. Either way the pages
/// count as clean, so that a second sync succeeds and proves nothing ("Can Applications Recover from
/// fsync Failures?", ATC'20).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FailedSync {
    /// The new bytes, though they are not on the disk: ext4, XFS.
    #[default]
    KeepsNewPages,
    /// The bytes of the last sync that succeeded, and the size: btrfs.
    RevertsPages,
}

/// A file, independent of its names.
pub(super) type FileId = u64;

/// One file. Contents are shared between a disk and its images until one of them is written to.
#[derive(Clone, Debug, Default)]
pub(super) struct FileImage {
    current: Arc<Vec<u8>>,
    durable: Arc<Vec<u8>>,
    /// Sectors that the next sync makes durable, with the number of the latest write to each.
    dirty: BTreeMap<usize, u64>,
    /// Sectors that a failed sync marked clean: no sync ever makes them durable.
    forgotten: BTreeSet<usize>,
    writes: u64,
}

/// A sync that has begun: it covers what had been written by then, whatever is written meanwhile.
#[derive(Debug)]
pub(super) struct SyncTicket {
    content: Arc<Vec<u8>>,
    sectors: BTreeMap<usize, u64>,
}

impl FileImage {
    /// A file with this content, all of it durable.
    pub(super) fn durable(content: Vec<u8>) -> Self {
        let content = Arc::new(content);
        FileImage { current: Arc::clone(&content), durable: content, ..FileImage::default() }
    }

    pub(super) fn content(&self) -> &Arc<Vec<u8>> {
        &self.current
    }

    pub(super) fn write(&mut self, bytes: &[u8], offset: usize) {
        if bytes.is_empty() {
            return;
        }
        let end = offset + bytes.len();
        if end > self.current.len() {
            self.set_size(end);
        }
        Arc::make_mut(&mut self.current)[offset..end].copy_from_slice(bytes);
        self.touch(offset, end);
    }

    pub(super) fn set_size(&mut self, size: usize) {
        let old = self.current.len();
        if size == old {
            return;
        }
        Arc::make_mut(&mut self.current).resize(size, 0);
        // What is cut off lies on the disk until the next sync; what is added may lie over such remains.
        self.touch(size.min(old), size.max(old));
    }

    fn touch(&mut self, start: usize, end: usize) {
        self.writes += 1;
        for sector in start / SECTOR..end.div_ceil(SECTOR) {
            self.dirty.insert(sector, self.writes);
            self.forgotten.remove(&sector);
        }
    }

    pub(super) fn begin_sync(&self) -> SyncTicket {
        SyncTicket { content: Arc::clone(&self.current), sectors: self.dirty.clone() }
    }

    pub(super) fn finish_sync(&mut self, ticket: SyncTicket) {
        if ticket.sectors.is_empty() {
            return; // Nor has the size changed: that touches sectors too.
        }
        let durable = Arc::make_mut(&mut self.durable);
        durable.resize(ticket.content.len(), 0);
        for &sector in ticket.sectors.keys() {
            copy_sector(&ticket.content, durable, sector);
        }
        self.settle(&ticket);
    }

    /// The sync failed: as on Linux, what it should have written counts as clean from now on.
    pub(super) fn fail_sync(&mut self, ticket: &SyncTicket, how: FailedSync) {
        let lost = self.settle(ticket);
        match how {
            FailedSync::KeepsNewPages => self.forgotten.extend(lost),
            FailedSync::RevertsPages => self.revert(&lost, ticket.content.len()),
        }
    }

    /// Shows what is durable of these sectors again. The size follows, unless it has changed since the
    /// sync began with `synced_size`; what was written since then stays.
    fn revert(&mut self, sectors: &[usize], synced_size: usize) {
        if self.current.len() == synced_size {
            let still_dirty = self.dirty.keys().next_back().map_or(0, |last| (last + 1) * SECTOR);
            let size = self.durable.len().max(still_dirty.min(synced_size));
            Arc::make_mut(&mut self.current).resize(size, 0);
        }
        let current = Arc::make_mut(&mut self.current);
        for &sector in sectors {
            copy_sector(&self.durable, current, sector);
        }
    }

    /// Turns a bit around, where reads see it and on the disk, if the file has that byte.
    pub(super) fn rot(&mut self, offset: usize, bit: u8) -> bool {
        let mut has_rotted = false;
        for content in [&mut self.current, &mut self.durable] {
            if let Some(byte) = Arc::make_mut(content).get_mut(offset) {
                *byte ^= 1 << (bit % 8);
                has_rotted = true;
            }
        }
        has_rotted
    }

    /// Takes the sectors of a sync, unless written again since it began, out of the dirty ones.
    fn settle(&mut self, ticket: &SyncTicket) -> Vec<usize> {
        let unchanged = |(sector, write): (&usize, &u64)| {
            (self.dirty.get(sector) == Some(write)).then_some(*sector)
        };
        let settled: Vec<_> = ticket.sectors.iter().filter_map(unchanged).collect();
        for sector in &settled {
            self.dirty.remove(sector);
        }
        settled
    }

    /// The file as power loss leaves it.
    fn after_power_loss(&self, persist: Persist, coin: &mut Coin) -> FileImage {
        let content = match persist {
            Persist::Dropped => &self.durable,
            Persist::Kept => &self.current,
            Persist::Torn { .. } => return FileImage::durable(self.torn(coin)),
        };
        FileImage {
            current: Arc::clone(content),
            durable: Arc::clone(content),
            ..FileImage::default()
        }
    }

    fn torn(&self, coin: &mut Coin) -> Vec<u8> {
        let mut content = Vec::clone(&self.durable);
        let size = if coin.toss() { self.current.len() } else { self.durable.len() };
        content.resize(size, 0);
        for &sector in self.dirty.keys().chain(&self.forgotten) {
            if coin.toss() {
                copy_sector(&self.current, &mut content, sector);
            }
        }
        content
    }
}

/// Copies the part of a sector that lies within both; what only the target has of it becomes zero.
fn copy_sector(from: &[u8], to: &mut [u8], sector: usize) {
    let start = sector * SECTOR;
    let end = (start + SECTOR).min(to.len());
    if start < end {
        let available = from.len().clamp(start, end);
        to[start..available]
            .copy_from_slice(&from[start.min(from.len())..available.min(from.len())]);
        to[available..end].fill(0);
    }
}

/// A change of names that no directory sync has made durable.
#[derive(Clone, Debug)]
enum NameChange {
    Create(String, FileId),
    Rename(FileId, String, String),
    Remove(FileId, String),
}

/// A directory and its files. A removed file stays, because it may be open, until the power fails.
#[derive(Clone, Debug, Default)]
pub(super) struct DiskImage {
    files: BTreeMap<FileId, FileImage>,
    names: BTreeMap<String, FileId>,
    durable_names: BTreeMap<String, FileId>,
    pending: Vec<NameChange>,
    /// How many changes of names were ever made durable.
    settled_changes: usize,
    next_id: FileId,
    failed_sync: FailedSync,
}

impl DiskImage {
    pub(super) fn set_failed_sync(&mut self, how: FailedSync) {
        self.failed_sync = how;
    }

    pub(super) fn fail_sync(&mut self, id: FileId, ticket: &SyncTicket) {
        let how = self.failed_sync;
        self.file(id).fail_sync(ticket, how);
    }

    pub(super) fn names(&self) -> impl Iterator<Item = (&String, &FileImage)> {
        self.names.iter().map(|(name, id)| (name, &self.files[id]))
    }

    pub(super) fn id_of(&self, name: &str) -> Option<FileId> {
        self.names.get(name).copied()
    }

    /// The file, which may have lost its name since it was opened.
    pub(super) fn file(&mut self, id: FileId) -> &mut FileImage {
        self.files.entry(id).or_default()
    }

    pub(super) fn create(&mut self, name: &str) -> FileId {
        let id = self.add(FileImage::default());
        self.change(NameChange::Create(name.to_owned(), id));
        id
    }

    pub(super) fn rename(&mut self, id: FileId, from: &str, to: &str) {
        self.change(NameChange::Rename(id, from.to_owned(), to.to_owned()));
    }

    pub(super) fn remove(&mut self, id: FileId, name: &str) {
        self.change(NameChange::Remove(id, name.to_owned()));
    }

    /// Puts a file there as if it had always been there.
    pub(super) fn put(&mut self, name: &str, content: Vec<u8>) -> FileId {
        let id = self.add(FileImage::durable(content));
        self.names.insert(name.to_owned(), id);
        self.durable_names.insert(name.to_owned(), id);
        id
    }

    /// Takes a file away as if it had never been there.
    pub(super) fn take(&mut self, name: &str) {
        self.names.remove(name);
        self.durable_names.remove(name);
    }

    fn add(&mut self, file: FileImage) -> FileId {
        self.next_id += 1;
        self.files.insert(self.next_id, file);
        self.next_id
    }

    fn change(&mut self, change: NameChange) {
        apply(&mut self.names, &change);
        self.pending.push(change);
    }

    /// How many changes of names a directory sync that begins now will cover.
    pub(super) fn begin_sync_dir(&self) -> usize {
        self.settled_changes + self.pending.len()
    }

    pub(super) fn finish_sync_dir(&mut self, covered: usize) {
        let count = covered.saturating_sub(self.settled_changes);
        for change in self.pending.drain(..count) {
            apply(&mut self.durable_names, &change);
        }
        self.settled_changes += count;
    }

    pub(super) fn bytes(&self) -> u64 {
        self.names().map(|(_, file)| file.content().len() as u64).sum()
    }

    /// The disk as power loss leaves it.
    pub(super) fn after_power_loss(&self, persist: Persist) -> DiskImage {
        let mut coin = Coin::new(persist);
        let mut names = self.durable_names.clone();
        for change in &self.pending {
            let survives = match persist {
                Persist::Dropped => false,
                Persist::Kept => true,
                Persist::Torn { .. } => coin.toss(),
            };
            if survives {
                apply(&mut names, change);
            }
        }
        let mut files = BTreeMap::new();
        for id in names.values() {
            files.entry(*id).or_insert_with(|| self.files[id].after_power_loss(persist, &mut coin));
        }
        DiskImage {
            files,
            durable_names: names.clone(),
            names,
            next_id: self.next_id,
            failed_sync: self.failed_sync,
            ..DiskImage::default()
        }
    }
}

/// Applies a change, unless the name it begins with is that of another file: power loss can take the
/// change that should have come before.
fn apply(names: &mut BTreeMap<String, FileId>, change: &NameChange) {
    match change {
        NameChange::Create(name, id) => {
            names.insert(name.clone(), *id);
        }
        NameChange::Rename(id, from, to) if names.get(from) == Some(id) => {
            names.remove(from);
            names.insert(to.clone(), *id);
        }
        NameChange::Remove(id, name) if names.get(name) == Some(id) => {
            names.remove(name);
        }
        NameChange::Rename(..) | NameChange::Remove(..) => {}
    }
}

/// A coin that falls the same way for the same seed (splitmix64).
struct Coin(u64);

impl Coin {
    fn new(persist: Persist) -> Coin {
        match persist {
            Persist::Torn { seed } => Coin(seed),
            Persist::Dropped | Persist::Kept => Coin(0),
        }
    }

    fn toss(&mut self) -> bool {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (bits ^ (bits >> 31)) & 1 == 1
    }
}
