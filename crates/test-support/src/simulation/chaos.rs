//! A storage on which anything may fail, in front of a disk that forgets what a failed sync has not written.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use actix_wal::storage::{self, FileEntry, Storage, StorageFile};
use actix_wal::testkit::{FaultEffect, FaultOp, FaultPlan, FaultRule, FaultyStorage, errno};

use super::hang::at_sync;
use super::world::{Refuses, World};

/// What can be wrong with an operation, how often it is drawn, and under which name it is counted.
const FAULTS: &[(FaultOp, FaultEffect, &str, u64)] = &[
    (FaultOp::Write, FaultEffect::Fail(errno::EIO), "write: EIO", 6),
    (FaultOp::Write, FaultEffect::FailAfter(errno::EIO), "write: done, EIO", 4),
    (
        FaultOp::Write,
        FaultEffect::FailPart { done: 700, errno: errno::EIO },
        "write: in part, EIO",
        6,
    ),
    (FaultOp::Write, FaultEffect::Fail(errno::ENOSPC), "write: ENOSPC", 3),
    (FaultOp::Write, FaultEffect::Fail(errno::EDQUOT), "write: EDQUOT", 3),
    (FaultOp::Write, FaultEffect::Fail(errno::EINTR), "write: EINTR", 6),
    (FaultOp::Write, FaultEffect::Short(300), "write: short", 6),
    (FaultOp::Write, FaultEffect::Panic, "write: panic", 3),
    (FaultOp::Sync, FaultEffect::Fail(errno::EIO), "sync: EIO", 8),
    (FaultOp::Sync, FaultEffect::FailAfter(errno::EIO), "sync: done, EIO", 4),
    (FaultOp::Sync, FaultEffect::Fail(errno::ENOSPC), "sync: ENOSPC", 3),
    (FaultOp::Sync, FaultEffect::Fail(errno::ENOMEM), "sync: ENOMEM", 3),
    (FaultOp::Sync, FaultEffect::Fail(errno::EINTR), "sync: EINTR", 3),
    (FaultOp::Sync, FaultEffect::Panic, "sync: panic", 3),
    (FaultOp::SyncDir, FaultEffect::Fail(errno::EIO), "directory sync: EIO", 8),
    (FaultOp::SyncDir, FaultEffect::FailAfter(errno::EIO), "directory sync: done, EIO", 4),
    (FaultOp::SyncDir, FaultEffect::Fail(errno::ENOSPC), "directory sync: ENOSPC", 3),
    (FaultOp::SyncDir, FaultEffect::Fail(errno::EINTR), "directory sync: EINTR", 3),
    (FaultOp::Create, FaultEffect::Fail(errno::EIO), "create: EIO", 4),
    (FaultOp::Create, FaultEffect::FailAfter(errno::EIO), "create: done, EIO", 4),
    (FaultOp::Create, FaultEffect::Fail(errno::ENOSPC), "create: ENOSPC", 4),
    (FaultOp::Create, FaultEffect::Fail(errno::EMFILE), "create: EMFILE", 4),
    (FaultOp::Create, FaultEffect::Fail(errno::EINTR), "create: EINTR", 4),
    (FaultOp::Open, FaultEffect::Fail(errno::EIO), "open: EIO", 6),
    (FaultOp::Open, FaultEffect::Fail(errno::EINTR), "open: EINTR", 4),
    (FaultOp::Read, FaultEffect::Fail(errno::EIO), "read: EIO", 3),
    (
        FaultOp::Read,
        FaultEffect::FailPart { done: 700, errno: errno::EIO },
        "read: in part, EIO",
        3,
    ),
    (FaultOp::Read, FaultEffect::Fail(errno::EINTR), "read: EINTR", 6),
    (FaultOp::Read, FaultEffect::Short(100), "read: short", 6),
    (FaultOp::Rename, FaultEffect::Fail(errno::EIO), "rename: EIO", 6),
    (FaultOp::Rename, FaultEffect::FailAfter(errno::EIO), "rename: done, EIO", 6),
    (FaultOp::Rename, FaultEffect::Fail(errno::ENOSPC), "rename: ENOSPC", 4),
    (FaultOp::Remove, FaultEffect::Fail(errno::EIO), "remove: EIO", 8),
    (FaultOp::Remove, FaultEffect::FailAfter(errno::EIO), "remove: done, EIO", 6),
    (FaultOp::SetSize, FaultEffect::Fail(errno::EIO), "set size: EIO", 8),
    (FaultOp::SetSize, FaultEffect::FailAfter(errno::EIO), "set size: done, EIO", 8),
    (FaultOp::SetSize, FaultEffect::Fail(errno::ENOSPC), "set size: ENOSPC", 8),
    (FaultOp::Size, FaultEffect::Fail(errno::EIO), "size: EIO", 8),
    (FaultOp::List, FaultEffect::Fail(errno::EIO), "list: EIO", 8),
    (FaultOp::FreeBytes, FaultEffect::Fail(errno::EIO), "free space: EIO", 8),
];

/// Whether an operation that is interrupted is just done again, so that it is no fault.
fn goes_on_after_a_signal(op: FaultOp) -> bool {
    matches!(op, FaultOp::Read | FaultOp::Write)
}

/// Once in how many operations of this kind something is wrong, where it is once in `usually` of them all. Some
/// are done seldom; and what only an open does fails less often, or few logs would open at the first attempt.
fn once_in(usually: u64, op: FaultOp) -> u64 {
    match op {
        FaultOp::SyncDir | FaultOp::Rename => usually.div_ceil(3),
        FaultOp::Create => usually.div_ceil(2),
        FaultOp::SetSize => usually.div_ceil(12),
        FaultOp::FreeBytes | FaultOp::List | FaultOp::Size => 3 * usually,
        _ => usually,
    }
}

/// The kinds of faults, as they are counted.
pub fn kinds() -> impl Iterator<Item = &'static str> {
    FAULTS.iter().map(|(_, _, name, _)| *name)
}

/// Draws a fault for an operation just before it is done.
#[derive(Clone, Debug)]
struct Dice {
    world: Arc<World>,
    plan: FaultPlan,
}

impl Dice {
    fn roll(&self, op: FaultOp, what: std::fmt::Arguments<'_>) {
        match op {
            FaultOp::Read | FaultOp::Open => self.world.event(what),
            // They change nothing, and are done all the time.
            FaultOp::Size | FaultOp::List | FaultOp::FreeBytes => {}
            _ => self.world.operation(op, what),
        }
        if op == FaultOp::Sync {
            self.world.catch_up();
        }
        if op == FaultOp::Write && self.world.refuses_writes() {
            self.world.refused();
            return self.plan.add(FaultRule::on(op, FaultEffect::Fail(errno::ENOSPC)).times(1));
        }
        if !self.world.may_fail() {
            return;
        }
        if !self.world.once_in(once_in(self.world.weather().faults, op)) {
            return;
        }
        let possible = || FAULTS.iter().filter(|fault| fault.0 == op);
        let mut drawn = self.world.below(possible().map(|fault| fault.3).sum::<u64>().max(1));
        for (_, effect, name, weight) in possible() {
            if drawn < *weight {
                self.world.count(name);
                self.world.event(*name);
                if op == FaultOp::Sync && matches!(effect, FaultEffect::Fail(_)) {
                    self.world.sync_fails();
                }
                match effect {
                    // Neither is a fault.
                    FaultEffect::Short(_) => {}
                    FaultEffect::Fail(errno::EINTR) if goes_on_after_a_signal(op) => {}
                    FaultEffect::Fail(
                        errno::ENOSPC | errno::EDQUOT | errno::EMFILE | errno::ENOMEM,
                    ) => self.world.refused(),
                    _ => self.world.fault(),
                }
                self.plan.add(FaultRule::on(op, *effect).times(1));
                return;
            }
            drawn -= weight;
        }
    }
}

/// See the [module](self).
#[derive(Debug)]
pub struct Chaos {
    inner: Arc<dyn Storage>,
    dice: Dice,
}

impl Chaos {
    /// Over `inner`, which sits on the disk of this life.
    pub fn mount(world: &Arc<World>, wrap: Wrap) -> io::Result<Arc<dyn Storage>> {
        let plan = FaultPlan::new();
        let inner = wrap(Arc::new(FaultyStorage::mount(&world.disk(), plan.clone())?));
        let dice = Dice { world: Arc::clone(world), plan };
        Ok(Arc::new(Chaos { inner, dice }))
    }
}

/// Puts something between the log and its disk.
pub type Wrap = fn(Arc<dyn Storage>) -> Arc<dyn Storage>;

impl storage::Forward for Chaos {
    fn inner(&self) -> &dyn Storage {
        &*self.inner
    }

    fn list(&self) -> io::Result<Vec<FileEntry>> {
        self.dice.roll(FaultOp::List, format_args!("list"));
        self.inner.list()
    }

    fn list_folder(&self, name: &str) -> io::Result<Vec<FileEntry>> {
        self.dice.roll(FaultOp::List, format_args!("list folder {name}"));
        self.inner.list_folder(name)
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        self.dice.roll(FaultOp::Create, format_args!("create {name}"));
        self.file(name, self.inner.create(name)?)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        self.dice.roll(FaultOp::Open, format_args!("open {name}"));
        self.file(name, self.inner.open(name)?)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.dice.roll(FaultOp::Rename, format_args!("rename {from} to {to}"));
        self.inner.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.dice.roll(FaultOp::Remove, format_args!("remove {name}"));
        self.inner.remove(name)
    }

    fn sync_dir(&self) -> io::Result<()> {
        at_sync();
        self.dice.roll(FaultOp::SyncDir, format_args!("sync directory"));
        self.inner.sync_dir()
    }

    fn free_bytes(&self) -> Option<u64> {
        self.dice.roll(FaultOp::FreeBytes, format_args!("free space"));
        self.inner.free_bytes()
    }
}

impl Chaos {
    fn file(&self, name: &str, inner: Box<dyn StorageFile>) -> io::Result<Box<dyn StorageFile>> {
        let (name, dice) = (name.trim_end_matches(".tmp").to_owned(), self.dice.clone());
        Ok(Box::new(ChaosFile { name, inner, dice }))
    }
}

#[derive(Debug)]
struct ChaosFile {
    /// The one it was opened under, or will soon have.
    name: String,
    inner: Box<dyn StorageFile>,
    dice: Dice,
}

impl StorageFile for ChaosFile {
    fn size(&self) -> io::Result<u64> {
        self.dice.roll(FaultOp::Size, format_args!("size of {}", self.name));
        self.inner.size()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let what = format_args!("read {} bytes of {} at {offset}", buffer.len(), self.name);
        self.dice.roll(FaultOp::Read, what);
        self.inner.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let what = format_args!("write {} bytes to {} at {offset}", bytes.len(), self.name);
        self.dice.roll(FaultOp::Write, what);
        self.dice.world.writes(&self.name);
        self.inner.write_at(bytes, offset)
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        self.dice.roll(FaultOp::SetSize, format_args!("set size of {} to {size}", self.name));
        self.inner.set_size(size)
    }

    fn sync(&self) -> io::Result<()> {
        at_sync();
        self.dice.roll(FaultOp::Sync, format_args!("sync {}", self.name));
        self.dice.world.syncs(&self.name, || self.inner.sync())
    }
}

/// A spell during which the disk is full, now and then.
pub async fn fill_the_disk(world: Arc<World>) {
    loop {
        actix::clock::sleep(Duration::from_millis(2_000 + world.below(10_000))).await;
        if world.is_all_well() {
            return;
        }
        let (what, name) = match world.below(3) {
            0 => (Refuses::Writes, "disk full: no write"),
            _ => (Refuses::Growth, "disk full"),
        };
        world.count(name);
        world.event(name);
        world.refuse(what);
        actix::clock::sleep(Duration::from_millis(500 + world.below(5_000))).await;
        world.event("the disk has space");
        world.refuse(Refuses::Nothing);
    }
}
