//! A storage that fails where its plan says so.

use std::{
    fmt, io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use super::{SimDisk, names::Names};
use crate::storage::{self, FileEntry, Storage, StorageFile};

/// Error numbers that tests inject, as this system counts them.
pub mod errno {
    use rustix::io::Errno;

    /// A device fault.
    pub const EIO: i32 = Errno::IO.raw_os_error();
    /// No space left.
    pub const ENOSPC: i32 = Errno::NOSPC.raw_os_error();
    /// No quota left.
    pub const EDQUOT: i32 = Errno::DQUOT.raw_os_error();
    /// The file system is read-only.
    pub const EROFS: i32 = Errno::ROFS.raw_os_error();
    /// Not permitted by the mode.
    pub const EACCES: i32 = Errno::ACCESS.raw_os_error();
    /// Not permitted at all.
    pub const EPERM: i32 = Errno::PERM.raw_os_error();
    /// The file would be too large.
    pub const EFBIG: i32 = Errno::FBIG.raw_os_error();
    /// No memory, or no thread, for the moment.
    pub const EAGAIN: i32 = Errno::AGAIN.raw_os_error();
    /// No memory.
    pub const ENOMEM: i32 = Errno::NOMEM.raw_os_error();
    /// The process has no descriptor left.
    pub const EMFILE: i32 = Errno::MFILE.raw_os_error();
    /// The system has no descriptor left.
    pub const ENFILE: i32 = Errno::NFILE.raw_os_error();
    /// Interrupted by a signal: not a fault.
    pub const EINTR: i32 = Errno::INTR.raw_os_error();
}

/// The operations that can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultOp {
    /// [`Storage::create`]
    Create,
    /// [`Storage::open`]
    Open,
    /// [`StorageFile::read_at`]
    Read,
    /// [`StorageFile::write_at`]
    Write,
    /// [`StorageFile::sync`]
    Sync,
    /// [`Storage::sync_dir`]
    SyncDir,
    /// [`Storage::rename`]; the file is the one under its old name.
    Rename,
    /// [`Storage::remove`]
    Remove,
    /// [`StorageFile::set_size`]
    SetSize,
    /// [`StorageFile::size`]
    Size,
    /// [`Storage::list`], which has the name `""`, and [`Storage::list_folder`].
    List,
    /// [`Storage::free_bytes`]; it has the name `""`. Where it fails the free space is not known.
    FreeBytes,
}

/// An operation that is about to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation<'a> {
    /// What kind of operation.
    pub op: FaultOp,
    /// The current name of its file; `""` where it has none.
    pub file: &'a str,
    /// Where it begins, if it reads or writes; the new size, if it sets one.
    pub offset: u64,
    /// How many bytes it reads or writes.
    pub len: usize,
}

impl<'a> Operation<'a> {
    fn on(op: FaultOp, file: &'a str) -> Self {
        Operation { op, file, offset: 0, len: 0 }
    }
}

impl fmt::Display for Operation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Operation { op, file, offset, len } = self;
        match op {
            FaultOp::Create => write!(f, "create {file}"),
            FaultOp::Open => write!(f, "open {file}"),
            FaultOp::Read => write!(f, "read {len} bytes of {file} at {offset}"),
            FaultOp::Write => write!(f, "write {len} bytes to {file} at {offset}"),
            FaultOp::Sync => write!(f, "sync {file}"),
            FaultOp::SyncDir => write!(f, "sync directory"),
            FaultOp::Rename => write!(f, "rename {file}"),
            FaultOp::Remove => write!(f, "remove {file}"),
            FaultOp::SetSize => write!(f, "set size of {file} to {offset}"),
            FaultOp::Size => write!(f, "size of {file}"),
            FaultOp::List => write!(f, "list"),
            FaultOp::FreeBytes => write!(f, "free space"),
        }
    }
}

/// What happens to an operation that a rule matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultEffect {
    /// It is not done, and fails with this error number (see [`errno`]).
    Fail(i32),
    /// It is done, and its success reported as this error number.
    FailAfter(i32),
    /// A read or write of at most this many bytes; other operations are just done.
    Short(usize),
    /// A read or write of at most `done` bytes that fails all the same, as a device does that gives up in
    /// the middle: nobody is told how far it came. Other operations fail and are not done.
    FailPart {
        /// How many bytes are read or written.
        done: usize,
        /// What it fails with.
        errno: i32,
    },
    /// It waits until [`FaultPlan::release`], then is done.
    Stuck,
    /// It waits for this time, then is done.
    Delay(Duration),
    /// It panics instead.
    Panic,
}

/// Which operations are hit, and how. Of several rules that match, the one added first decides.
pub struct FaultRule {
    op: FaultOp,
    effect: FaultEffect,
    is_file: Box<dyn Fn(&str) -> bool + Send>,
    skip: u64,
    times: u64,
}

impl fmt::Debug for FaultRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let FaultRule { op, effect, skip, times, .. } = self;
        write!(f, "{effect:?} on {op:?}, {times} times after {skip}")
    }
}

impl FaultRule {
    /// Every operation of this kind, from now on and always.
    pub fn on(op: FaultOp, effect: FaultEffect) -> FaultRule {
        FaultRule { op, effect, is_file: Box::new(|_| true), skip: 0, times: u64::MAX }
    }

    /// Only files whose current name is accepted. What is about the directory, and a removed file,
    /// have the name `""`.
    pub fn file(mut self, is_file: impl Fn(&str) -> bool + Send + 'static) -> FaultRule {
        self.is_file = Box::new(is_file);
        self
    }

    /// Lets this many matching operations pass first.
    pub fn after(mut self, count: u64) -> FaultRule {
        self.skip = count;
        self
    }

    /// Hits this many matching operations at most.
    pub fn times(mut self, count: u64) -> FaultRule {
        self.times = count;
        self
    }

    /// Whether this operation is hit.
    fn hits(&mut self, op: FaultOp, file: &str) -> bool {
        if self.op != op || self.times == 0 || !(self.is_file)(file) {
            return false;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        self.times -= 1;
        true
    }
}

/// The faults to come, and a handle to what is stuck. Clones are the same plan.
#[derive(Clone, Debug, Default)]
pub struct FaultPlan(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<PlanState>,
    changed: Condvar,
}

/// Decides about one operation at a time.
type Decide = dyn Fn(&Operation<'_>) -> Option<FaultEffect> + Send + Sync;

#[derive(Default)]
struct PlanState {
    rules: Vec<FaultRule>,
    decide: Option<Arc<Decide>>,
    stuck: usize,
    /// Grows with each release: who got stuck before may go on.
    releases: u64,
    hits: u64,
}

impl fmt::Debug for PlanState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PlanState { rules, stuck, releases, hits, .. } = self;
        write!(f, "{rules:?}, {stuck} stuck after {releases} releases, {hits} hits")
    }
}

impl FaultPlan {
    /// A plan without faults.
    pub fn new() -> FaultPlan {
        FaultPlan::default()
    }

    /// Adds a rule, which holds at once.
    pub fn add(&self, rule: FaultRule) {
        self.state().rules.push(rule);
    }

    /// Asks about every operation that no rule hits, just before it is done. The function may do anything
    /// meanwhile, also with the same storage.
    pub fn decide(
        &self,
        decide: impl Fn(&Operation<'_>) -> Option<FaultEffect> + Send + Sync + 'static,
    ) {
        self.state().decide = Some(Arc::new(decide));
    }

    /// Takes all rules back. What is stuck stays stuck.
    pub fn clear(&self) {
        self.state().rules.clear();
    }

    /// How many operations were hit so far.
    pub fn hits(&self) -> u64 {
        self.state().hits
    }

    /// Lets everything go on that is stuck now. The rule stands: clear it first, or what comes next
    /// will be stuck again.
    pub fn release(&self) {
        self.state().releases += 1;
        self.0.changed.notify_all();
    }

    /// Waits until an operation is stuck; `false` if none is within the time.
    pub fn wait_until_stuck(&self, at_most: Duration) -> bool {
        let wait = |state: &mut PlanState| state.stuck == 0;
        let waited = self.0.changed.wait_timeout_while(self.state(), at_most, wait);
        waited.unwrap_or_else(PoisonError::into_inner).0.stuck > 0
    }

    fn state(&self) -> MutexGuard<'_, PlanState> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What happens to this operation, and how many releases there were when it was hit: one that comes
    /// right after that is meant for it.
    fn effect_on(&self, operation: &Operation<'_>) -> (Option<FaultEffect>, u64) {
        let (ruled, decide, releases) = {
            let mut state = self.state();
            let rule = state.rules.iter_mut().find_map(|rule| {
                let hit = rule.hits(operation.op, operation.file);
                hit.then_some(rule.effect)
            });
            (rule, state.decide.clone(), state.releases)
        };
        let effect = ruled.or_else(|| decide.and_then(|decide| decide(operation)));
        self.state().hits += u64::from(effect.is_some());
        (effect, releases)
    }

    /// Waits for a release after the first `before` ones.
    fn be_stuck(&self, before: u64) {
        let mut state = self.state();
        state.stuck += 1;
        self.0.changed.notify_all();
        let waited = self.0.changed.wait_while(state, |state| state.releases == before);
        waited.unwrap_or_else(PoisonError::into_inner).stuck -= 1;
    }

    /// Does one operation, as the plan has it. `limit` is how many bytes a read or write may do.
    fn perform<T>(
        &self,
        operation: Operation<'_>,
        action: impl FnOnce(usize) -> io::Result<T>,
    ) -> io::Result<T> {
        let (effect, releases) = self.effect_on(&operation);
        match effect {
            None => return action(usize::MAX),
            Some(FaultEffect::Fail(errno)) => return Err(io::Error::from_raw_os_error(errno)),
            Some(FaultEffect::FailAfter(errno)) => {
                action(usize::MAX)?;
                return Err(io::Error::from_raw_os_error(errno));
            }
            Some(FaultEffect::Short(limit)) => return action(limit),
            Some(FaultEffect::FailPart { done, errno }) => {
                if matches!(operation.op, FaultOp::Read | FaultOp::Write) {
                    action(done)?;
                }
                return Err(io::Error::from_raw_os_error(errno));
            }
            Some(FaultEffect::Stuck) => self.be_stuck(releases),
            Some(FaultEffect::Delay(time)) => thread::sleep(time),
            Some(FaultEffect::Panic) => panic!("injected panic at {operation}"),
        }
        action(usize::MAX)
    }
}

/// A [`Storage`] that does what a [`FaultPlan`] says, and otherwise what the storage below it does.
#[derive(Debug)]
pub struct FaultyStorage {
    inner: Arc<dyn Storage>,
    shared: Arc<FaultyShared>,
}

struct FaultyShared {
    plan: FaultPlan,
    names: Mutex<Names>,
    /// The disk that forgets what a failed sync did not write.
    disk: Option<SimDisk>,
}

impl fmt::Debug for FaultyShared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.plan.fmt(f)
    }
}

impl FaultyStorage {
    /// Faults over any storage. An injected failure of a sync leaves the file to be synced again.
    pub fn new(inner: Arc<dyn Storage>, plan: FaultPlan) -> FaultyStorage {
        FaultyStorage::build(inner, plan, None)
    }

    /// Mounts a simulated disk with faults over it. An injected failure of a sync does what it does on
    /// Linux: see [`FailedSync`](super::FailedSync).
    ///
    /// # Errors
    /// Those of [`SimDisk::mount`].
    pub fn mount(disk: &SimDisk, plan: FaultPlan) -> io::Result<FaultyStorage> {
        let inner = disk.mount()?;
        Ok(FaultyStorage::build(inner, plan, Some(disk.clone())))
    }

    fn build(inner: Arc<dyn Storage>, plan: FaultPlan, disk: Option<SimDisk>) -> FaultyStorage {
        let names = Mutex::default();
        FaultyStorage { inner, shared: Arc::new(FaultyShared { plan, names, disk }) }
    }

    fn perform<T>(
        &self,
        op: FaultOp,
        name: &str,
        action: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        self.shared.plan.perform(Operation::on(op, name), |_| action())
    }

    fn file(&self, inner: Box<dyn StorageFile>, id: u64) -> Box<dyn StorageFile> {
        Box::new(FaultyFile { inner, id, shared: Arc::clone(&self.shared) })
    }
}

impl FaultyShared {
    fn names(&self) -> MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl storage::Forward for FaultyStorage {
    fn inner(&self) -> &dyn Storage {
        &*self.inner
    }

    fn list(&self) -> io::Result<Vec<FileEntry>> {
        self.perform(FaultOp::List, "", || self.inner.list())
    }

    fn list_folder(&self, name: &str) -> io::Result<Vec<FileEntry>> {
        self.perform(FaultOp::List, name, || self.inner.list_folder(name))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        let file = self.perform(FaultOp::Create, name, || self.inner.create(name))?;
        let id = self.shared.names().create(name);
        Ok(self.file(file, id))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        let file = self.perform(FaultOp::Open, name, || self.inner.open(name))?;
        let id = self.shared.names().open(name);
        Ok(self.file(file, id))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.perform(FaultOp::Rename, from, || {
            self.inner.rename(from, to)?;
            self.shared.names().rename(from, to);
            Ok(())
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.perform(FaultOp::Remove, name, || {
            self.inner.remove(name)?;
            self.shared.names().remove(name);
            Ok(())
        })
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.perform(FaultOp::SyncDir, "", || self.inner.sync_dir())
    }

    fn free_bytes(&self) -> Option<u64> {
        self.perform(FaultOp::FreeBytes, "", || Ok(self.inner.free_bytes())).ok().flatten()
    }
}

#[derive(Debug)]
struct FaultyFile {
    inner: Box<dyn StorageFile>,
    id: u64,
    shared: Arc<FaultyShared>,
}

impl FaultyFile {
    fn name(&self) -> String {
        let names = self.shared.names();
        names.name_of(self.id).unwrap_or_default().to_owned()
    }

    fn perform<T>(
        &self,
        op: FaultOp,
        offset: u64,
        len: usize,
        action: impl FnOnce(usize) -> io::Result<T>,
    ) -> io::Result<T> {
        let operation = Operation { op, file: &self.name(), offset, len };
        self.shared.plan.perform(operation, action)
    }
}

impl StorageFile for FaultyFile {
    fn size(&self) -> io::Result<u64> {
        self.perform(FaultOp::Size, 0, 0, |_| self.inner.size())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.perform(FaultOp::Read, offset, buffer.len(), |limit| {
            let count = buffer.len().min(limit);
            self.inner.read_at(&mut buffer[..count], offset)
        })
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.perform(FaultOp::Write, offset, bytes.len(), |limit| {
            let count = bytes.len().min(limit);
            self.inner.write_at(&bytes[..count], offset)
        })
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        self.perform(FaultOp::SetSize, size, 0, |_| self.inner.set_size(size))
    }

    fn sync(&self) -> io::Result<()> {
        let synced = self.perform(FaultOp::Sync, 0, 0, |_| self.inner.sync());
        if let (Err(_), Some(disk)) = (&synced, &self.shared.disk) {
            disk.forget_dirty(&self.name());
        }
        synced
    }
}

#[cfg(test)]
mod tests;
