//! What a simulated disk holds: its files and names, and of both what power loss would take.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::Random;

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
    /// Each sector, each size and each change of a name survives or not, independently of the others. Of
    /// a sector or a size that changed several times since the last sync, any state may be found.
    Torn {
        /// One seed gives one outcome.
        seed: u64,
    },
    /// Like `Torn`, but a sector that was being written can also hold bytes that nobody wrote.
    Garbled {
        /// One seed gives one outcome.
        seed: u64,
    },
    /// One of all that `Torn` may give, by its number: to look at each of them, where they are few.
    Chosen {
        /// Below [`SimDisk::possible_images`](super::SimDisk::possible_images); 0 is `Dropped`.
        number: u64,
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
    /// What unsynced writes left in a sector before the latest one, each with its number.
    superseded: BTreeMap<usize, Vec<(u64, Sector)>>,
    /// The sizes that the file had since the last sync, each with the number of the write that ended it.
    old_sizes: Vec<(u64, usize)>,
    writes: u64,
}

/// A whole sector; what lies behind the end of its file is zero.
type Sector = [u8; SECTOR];

/// A sync that has begun: it covers what had been written by then, whatever is written meanwhile.
#[derive(Debug)]
pub(super) struct SyncTicket {
    content: Arc<Vec<u8>>,
    sectors: BTreeMap<usize, u64>,
    writes: u64,
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
        self.touch(offset, end);
        Arc::make_mut(&mut self.current)[offset..end].copy_from_slice(bytes);
    }

    pub(super) fn set_size(&mut self, size: usize) {
        let old = self.current.len();
        if size == old {
            return;
        }
        // What is cut off lies on the disk until the next sync; what is added may lie over such remains.
        self.touch(size.min(old), size.max(old));
        self.old_sizes.push((self.writes, old));
        Arc::make_mut(&mut self.current).resize(size, 0);
    }

    /// Sectors are about to change. What a write that was not synced left there may be on the disk.
    fn touch(&mut self, start: usize, end: usize) {
        self.writes += 1;
        for sector in start / SECTOR..end.div_ceil(SECTOR) {
            let before = self.dirty.insert(sector, self.writes);
            let forgotten = self.forgotten.remove(&sector).then_some(0);
            if let Some(write) = before.or(forgotten) {
                let content = sector_of(&self.current, sector);
                self.superseded.entry(sector).or_default().push((write, content));
            }
        }
    }

    pub(super) fn begin_sync(&self) -> SyncTicket {
        let (content, sectors) = (Arc::clone(&self.current), self.dirty.clone());
        SyncTicket { content, sectors, writes: self.writes }
    }

    pub(super) fn finish_sync(&mut self, ticket: SyncTicket) {
        if ticket.sectors.is_empty() {
            return; // Nor has the size changed: that touches sectors too.
        }
        let durable = Arc::make_mut(&mut self.durable);
        durable.resize(ticket.content.len(), 0);
        for (&sector, &write) in &ticket.sectors {
            put_sector(durable, sector, &sector_of(&ticket.content, sector));
            if let Some(versions) = self.superseded.get_mut(&sector) {
                versions.retain(|(older, _)| *older > write);
            }
        }
        self.old_sizes.retain(|(write, _)| *write > ticket.writes);
        self.settle(&ticket);
    }

    /// The sync failed: as on Linux, what it should have written counts as clean from now on.
    pub(super) fn fail_sync(&mut self, ticket: &SyncTicket, how: FailedSync) {
        let lost = self.settle(ticket);
        match how {
            FailedSync::KeepsNewPages => self.forgotten.extend(lost),
            FailedSync::RevertsPages => self.revert(&lost, ticket),
        }
    }

    /// Shows what is durable of these sectors again. The size follows, unless it has changed since the
    /// sync began; what was written since then stays.
    fn revert(&mut self, sectors: &[usize], ticket: &SyncTicket) {
        let synced_size = ticket.content.len();
        if self.current.len() == synced_size {
            let still_dirty = self.dirty.keys().next_back().map_or(0, |last| (last + 1) * SECTOR);
            let size = self.durable.len().max(still_dirty.min(synced_size));
            Arc::make_mut(&mut self.current).resize(size, 0);
        }
        let current = Arc::make_mut(&mut self.current);
        for &sector in sectors {
            put_sector(current, sector, &sector_of(&self.durable, sector));
            self.superseded.remove(&sector);
        }
        self.old_sizes.retain(|(write, _)| *write > ticket.writes);
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
    fn after_power_loss(&self, chance: &mut Chance) -> FileImage {
        let content = match chance.persist {
            Persist::Dropped => &self.durable,
            Persist::Kept => &self.current,
            _ if self.is_decided() => &self.durable,
            _ => &Arc::new(self.torn(chance)),
        };
        FileImage {
            current: Arc::clone(content),
            durable: Arc::clone(content),
            ..FileImage::default()
        }
    }

    fn is_decided(&self) -> bool {
        self.dirty.is_empty() && self.forgotten.is_empty() && self.old_sizes.is_empty()
    }

    fn torn(&self, chance: &mut Chance) -> Vec<u8> {
        let mut content = Vec::clone(&self.durable);
        let sizes = self.old_sizes.iter().map(|(_, size)| *size);
        let sizes = distinct([content.len()].into_iter().chain(sizes).chain([self.current.len()]));
        content.resize(sizes[chance.one_of(sizes.len())], 0);
        for &sector in self.dirty.keys().chain(&self.forgotten) {
            let versions = self.versions(sector);
            let found = versions[chance.one_of(versions.len())];
            // A sector that was only cut off was never being written.
            let was_written = sector * SECTOR < self.current.len();
            let found = chance.garbage().filter(|_| was_written).unwrap_or(found);
            put_sector(&mut content, sector, &found);
        }
        content
    }

    /// What may be found of a sector, beginning with what is durable.
    fn versions(&self, sector: usize) -> Vec<Sector> {
        let superseded = self.superseded.get(&sector).into_iter().flatten();
        let older = superseded.map(|(_, content)| *content);
        let [durable, current] = [&self.durable, &self.current].map(|of| sector_of(of, sector));
        distinct([durable].into_iter().chain(older).chain([current]))
    }
}

/// What is left if all but the first of what is the same is left out.
fn distinct<T: PartialEq>(all: impl Iterator<Item = T>) -> Vec<T> {
    let mut kept = Vec::new();
    for one in all {
        if !kept.contains(&one) {
            kept.push(one);
        }
    }
    kept
}

fn sector_of(content: &[u8], sector: usize) -> Sector {
    let mut found = [0; SECTOR];
    let rest = content.get(sector * SECTOR..).unwrap_or_default();
    let len = rest.len().min(SECTOR);
    found[..len].copy_from_slice(&rest[..len]);
    found
}

/// Puts as much of a sector in its place as there is room for.
fn put_sector(content: &mut [u8], sector: usize, found: &Sector) {
    let room = content.get_mut(sector * SECTOR..).unwrap_or_default();
    let len = room.len().min(SECTOR);
    room[..len].copy_from_slice(&found[..len]);
}

/// A change of names that no directory sync has made durable.
#[derive(Clone, Debug)]
enum NameChange {
    Create(String, FileId),
    Rename(FileId, String, String),
    Remove(FileId, String),
}

impl NameChange {
    fn file(&self) -> FileId {
        match self {
            NameChange::Create(_, id) | NameChange::Rename(id, ..) | NameChange::Remove(id, _) => {
                *id
            }
        }
    }
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
        self.decide(&mut Chance::new(persist))
    }

    /// How many numbers [`Persist::Chosen`] takes here.
    pub(super) fn possible_images(&self) -> u64 {
        let mut chance = Chance::new(Persist::Chosen { number: 0 });
        self.decide(&mut chance);
        chance.possible
    }

    fn decide(&self, chance: &mut Chance) -> DiskImage {
        let mut names = self.durable_names.clone();
        let mut ids: BTreeSet<_> = names.values().copied().collect();
        for change in &self.pending {
            ids.insert(change.file());
            if chance.survives() {
                apply(&mut names, change);
            }
        }
        // Every file that may have a name: what there is to decide must not depend on what was decided.
        let after = |id| (id, self.files[&id].after_power_loss(chance));
        let mut files: BTreeMap<_, _> = ids.into_iter().map(after).collect();
        files.retain(|id, _| names.values().any(|named| named == id));
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

/// Decides what survives, one piece after the other: always the same way for the same [`Persist`].
struct Chance {
    persist: Persist,
    random: Random,
    /// What is left of the number of a chosen image.
    number: u64,
    /// Among how many images was chosen so far.
    possible: u64,
}

impl Chance {
    fn new(persist: Persist) -> Chance {
        let number = match persist {
            Persist::Torn { seed: number }
            | Persist::Garbled { seed: number }
            | Persist::Chosen { number } => number,
            Persist::Dropped | Persist::Kept => 0,
        };
        Chance { persist, random: Random::new(number), number, possible: 1 }
    }

    /// Which of so many states is found on the disk. They begin with the one that is durable.
    fn one_of(&mut self, count: usize) -> usize {
        let count = count as u64;
        self.possible = self.possible.saturating_mul(count);
        let index = match self.persist {
            Persist::Dropped => 0,
            Persist::Kept => count - 1,
            Persist::Torn { .. } | Persist::Garbled { .. } => self.random.below(count),
            Persist::Chosen { .. } => {
                let index = self.number % count;
                self.number /= count;
                index
            }
        };
        index as usize
    }

    fn survives(&mut self) -> bool {
        self.one_of(2) == 1
    }

    /// What a sector holds, now and then, if the power failed in the middle of its write.
    fn garbage(&mut self) -> Option<Sector> {
        let is_garbled = matches!(self.persist, Persist::Garbled { .. });
        if !is_garbled || !self.random.number().is_multiple_of(3) {
            return None;
        }
        let mut garbage = [0; SECTOR];
        garbage.fill_with(|| self.random.number() as u8);
        Some(garbage)
    }
}
