//! Storages that break one rule each.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

use actix_wal::storage::{
    self, EntryKind, FileEntry, Storage, StorageFile, read_exact_at, write_all_at,
};
use actix_wal::testkit::storage_contract::Place;
use actix_wal::testkit::{Persist, SimDisk};

test_support::caught_by! {
    IsNotEmpty => "a_new_place_is_empty_and_can_be_named",
    HasNoName => "a_new_place_is_empty_and_can_be_named",
    HasNoSpace => "a_new_place_is_empty_and_can_be_named",
    CreateTruncates => "create_refuses_a_name_that_exists",
    CreateRefusesInOtherWords => "create_refuses_a_name_that_exists",
    OpenCreates => "open_finds_what_exists_and_nothing_else",
    OpenFailsInOtherWords => "open_finds_what_exists_and_nothing_else",
    HandlesCache => "a_file_is_the_same_through_every_handle",
    RenameReplaces => "rename_never_replaces",
    RenameKeepsTheOldName => "rename_moves_the_file",
    RemoveForgives => "remove_takes_the_name_away",
    RemoveEmpties => "remove_takes_the_name_away",
    ListHasNoSizes => "list_tells_every_name_and_size",
    ListsFilesOnly => "list_tells_what_is_no_file",
    SeesNoFolders => "list_tells_what_is_no_file",
    FilesGoByName => "open_files_survive_rename_and_removal",
    ReadsFailAtTheEnd => "reads_end_at_the_end",
    ReadsAreEmptyBeforeTheEnd => "reads_end_at_the_end",
    WritesAppend => "writes_land_at_their_offset",
    WritesTruncate => "writes_land_at_their_offset",
    HolesHoldRubbish => "what_was_never_written_reads_as_zeros",
    NeverCuts => "set_size_cuts_and_extends",
    CleanSyncFails => "syncs_succeed_and_change_nothing",
    PositionIsShared => "threads_work_at_the_same_time",
    LockEndsWithTheStorage => "a_place_has_one_owner_until_the_last_file_is_closed",
    ForgetsWhenDropped => "the_next_owner_finds_what_was_written",
    SyncLies => "synced_bytes_survive_power_loss",
    SyncDirLies => "synced_names_survive_power_loss",
    RenameTakesTwoSteps => "a_renamed_file_keeps_one_of_its_names",
    BlocksAreLarger => "unsynced_writes_leave_synced_blocks_alone",
}

/// A place whose storage is right but for one thing, or right.
pub(crate) struct WrongPlace {
    disk: SimDisk,
    wrong: Option<Wrong>,
    lent: Mutex<Lent>,
}

/// For the lock that ends with the storage: the disk, and who has it.
#[derive(Default)]
struct Lent {
    mounted: Option<Arc<dyn Storage>>,
    to: Weak<WrongStorage>,
}

impl WrongPlace {
    pub(crate) fn new(wrong: Option<Wrong>) -> WrongPlace {
        let disk = SimDisk::new();
        if wrong == Some(Wrong::IsNotEmpty) {
            disk.write_file("lost+found", "");
        }
        WrongPlace::on(disk, wrong)
    }

    fn on(disk: SimDisk, wrong: Option<Wrong>) -> WrongPlace {
        WrongPlace { disk, wrong, lent: Mutex::default() }
    }

    fn lend(&self) -> io::Result<Arc<dyn Storage>> {
        let Lent { mounted, to } = &mut *self.lent.lock().expect("no panic");
        if to.upgrade().is_some() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let inner = match mounted {
            Some(mounted) => Arc::clone(mounted),
            None => Arc::clone(mounted.insert(self.disk.mount()?)),
        };
        let storage = Arc::new(WrongStorage { inner, wrong: self.wrong });
        *to = Arc::downgrade(&storage);
        Ok(storage)
    }
}

impl Place for WrongPlace {
    fn open(&self) -> io::Result<Arc<dyn Storage>> {
        let inner = match self.wrong {
            Some(Wrong::LockEndsWithTheStorage) => return self.lend(),
            Some(Wrong::ForgetsWhenDropped) => {
                let inner = self.disk.mount()?;
                self.disk.names().iter().for_each(|name| self.disk.remove_file(name));
                inner
            }
            _ => self.disk.mount()?,
        };
        Ok(Arc::new(WrongStorage { inner, wrong: self.wrong }))
    }

    fn put(&self, name: &str, kind: EntryKind) -> bool {
        self.disk.put_other(name, kind);
        true
    }

    fn after_power_loss(&self, seed: u64) -> Option<Box<dyn Place>> {
        let image = self.disk.crash(Persist::Torn { seed });
        let content = |persist| self.disk.crash(persist).read_file("a");
        if self.wrong == Some(Wrong::BlocksAreLarger)
            && content(Persist::Dropped) != content(Persist::Kept)
            && let Some(mut content) = image.read_file("a")
        {
            content[..100].fill(0);
            image.write_file("a", content);
        }
        Some(Box::new(WrongPlace::on(
            image,
            self.wrong.filter(|wrong| *wrong != Wrong::ForgetsWhenDropped),
        )))
    }
}

#[derive(Debug)]
struct WrongStorage {
    inner: Arc<dyn Storage>,
    wrong: Option<Wrong>,
}

impl WrongStorage {
    fn is(&self, wrong: Wrong) -> bool {
        self.wrong == Some(wrong)
    }

    fn exists(&self, name: &str) -> io::Result<bool> {
        Ok(self.list()?.iter().any(|entry| entry.name == name))
    }

    fn file(&self, name: &str, inner: Box<dyn StorageFile>) -> Box<dyn StorageFile> {
        Box::new(WrongFile {
            inner,
            wrong: self.wrong,
            storage: Arc::clone(&self.inner),
            name: name.to_owned(),
            cache: Mutex::default(),
            position: AtomicU64::new(0),
            dirty: AtomicBool::new(true),
        })
    }

    fn copy(&self, from: &str, to: &str) -> io::Result<()> {
        let source = self.inner.open(from)?;
        let mut content = vec![0; source.size()? as usize];
        read_exact_at(&*source, &mut content, 0)?;
        let target = self.inner.create(to)?;
        write_all_at(&*target, &content, 0)?;
        target.sync()
    }
}

impl storage::Forward for WrongStorage {
    fn inner(&self) -> &dyn Storage {
        &*self.inner
    }

    fn list(&self) -> io::Result<Vec<FileEntry>> {
        let mut entries = self.inner.list()?;
        if self.is(Wrong::ListHasNoSizes) {
            entries.iter_mut().for_each(|entry| entry.size = 0);
        }
        if self.is(Wrong::ListsFilesOnly) {
            entries.retain(|entry| entry.kind == EntryKind::File);
        }
        Ok(entries)
    }

    fn list_folder(&self, name: &str) -> io::Result<Vec<FileEntry>> {
        let entries = self.inner.list_folder(name)?;
        Ok(if self.is(Wrong::SeesNoFolders) { Vec::new() } else { entries })
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        if self.exists(name)? && self.is(Wrong::CreateTruncates) {
            let file = self.inner.open(name)?;
            file.set_size(0)?;
            return Ok(self.file(name, file));
        }
        if self.exists(name)? && self.is(Wrong::CreateRefusesInOtherWords) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        Ok(self.file(name, self.inner.create(name)?))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        if !self.exists(name)? && self.is(Wrong::OpenCreates) {
            return storage::Forward::create(self, name);
        }
        if !self.exists(name)? && self.is(Wrong::OpenFailsInOtherWords) {
            return Err(io::Error::other("no such file"));
        }
        Ok(self.file(name, self.inner.open(name)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        if self.is(Wrong::RenameReplaces) && self.exists(to)? {
            self.inner.remove(to)?;
        }
        if self.is(Wrong::RenameKeepsTheOldName) {
            return self.copy(from, to);
        }
        if self.is(Wrong::RenameTakesTwoSteps) && self.exists(from)? && !self.exists(to)? {
            self.copy(from, to)?;
            return self.inner.remove(from);
        }
        self.inner.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        if self.is(Wrong::RemoveForgives) && !self.exists(name)? {
            return Ok(());
        }
        if self.is(Wrong::RemoveEmpties) {
            return self.inner.open(name)?.set_size(0);
        }
        self.inner.remove(name)
    }

    fn sync_dir(&self) -> io::Result<()> {
        if self.is(Wrong::SyncDirLies) { Ok(()) } else { self.inner.sync_dir() }
    }

    fn free_bytes(&self) -> Option<u64> {
        if self.is(Wrong::HasNoSpace) { Some(0) } else { self.inner.free_bytes() }
    }

    fn location(&self) -> String {
        if self.is(Wrong::HasNoName) { String::new() } else { self.inner.location() }
    }
}

#[derive(Debug)]
struct WrongFile {
    inner: Box<dyn StorageFile>,
    wrong: Option<Wrong>,
    storage: Arc<dyn Storage>,
    name: String,
    cache: Mutex<Option<Vec<u8>>>,
    position: AtomicU64,
    dirty: AtomicBool,
}

impl WrongFile {
    fn is(&self, wrong: Wrong) -> bool {
        self.wrong == Some(wrong)
    }

    /// The content that this handle has seen first.
    fn cached(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut cache = self.cache.lock().expect("no panic");
        if cache.is_none() {
            let mut content = vec![0; self.inner.size()? as usize];
            read_exact_at(&*self.inner, &mut content, 0)?;
            *cache = Some(content);
        }
        let content = cache.as_deref().unwrap_or_default();
        let rest = content.get(offset as usize..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }
}

impl storage::ForwardFile for WrongFile {
    fn inner(&self) -> &dyn StorageFile {
        &*self.inner
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        match self.wrong {
            Some(Wrong::HandlesCache) => self.cached(buffer, offset),
            Some(Wrong::FilesGoByName) => self.storage.open(&self.name)?.read_at(buffer, offset),
            Some(Wrong::ReadsFailAtTheEnd) if offset >= self.inner.size()? => {
                Err(io::ErrorKind::UnexpectedEof.into())
            }
            Some(Wrong::ReadsAreEmptyBeforeTheEnd) if offset + 1 == self.inner.size()? => Ok(0),
            _ => self.inner.read_at(buffer, offset),
        }
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.dirty.store(true, Ordering::SeqCst);
        match self.wrong {
            Some(Wrong::WritesAppend) => self.inner.write_at(bytes, self.inner.size()?),
            Some(Wrong::WritesTruncate) => {
                let written = self.inner.write_at(bytes, offset)?;
                self.inner.set_size(offset + written as u64)?;
                Ok(written)
            }
            Some(Wrong::HolesHoldRubbish) if offset > self.inner.size()? => {
                storage::ForwardFile::set_size(self, offset)?;
                self.inner.write_at(bytes, offset)
            }
            Some(Wrong::PositionIsShared) => {
                self.position.store(offset, Ordering::SeqCst);
                std::thread::yield_now();
                self.inner.write_at(bytes, self.position.load(Ordering::SeqCst))
            }
            _ => self.inner.write_at(bytes, offset),
        }
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        self.dirty.store(true, Ordering::SeqCst);
        let old = self.inner.size()?;
        if self.is(Wrong::NeverCuts) && size < old {
            return Ok(());
        }
        self.inner.set_size(size)?;
        if self.is(Wrong::HolesHoldRubbish) && size > old {
            write_all_at(&*self.inner, &vec![0xaa; (size - old) as usize], old)?;
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let was_dirty = self.dirty.swap(false, Ordering::SeqCst);
        match self.wrong {
            Some(Wrong::CleanSyncFails) if !was_dirty => Err(io::Error::other("nothing to sync")),
            Some(Wrong::SyncLies) => Ok(()),
            _ => self.inner.sync(),
        }
    }
}
