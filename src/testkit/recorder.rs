//! A storage that writes down what is done to it, in one order, to cut the power at every step afterwards.
//!
//! The order is the conservative one, whatever the threads do:
//!
//! * A change (write, size, name) stands where it *began*: from there on it may be on the disk.
//! * A sync stands where it *ended*, before its caller knows: from there on something is durable. It covers
//!   at least the changes that had ended when it began; see [`Op::Sync`].
//! * A mark stands where the test set it. So an acknowledgement that is marked when it arrives comes after
//!   the sync that it rests on.

use std::{
    fmt, io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;

use super::{Cuts, Persist, SimDisk, names::Names};
use crate::storage::{self, EntryKind, FileEntry, Medium, Storage, StorageFile, read_exact_at};

/// Something that a test wants to find again in the order of operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// What it says, such as `"acknowledged"`.
    pub kind: &'static str,
    /// Of what, such as an LSN.
    pub value: u64,
}

/// One recorded operation. Files are told apart by number, which a rename does not change; the names are
/// those of the moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are those of the operations")]
pub enum Op {
    Create {
        file: u64,
        name: String,
    },
    Rename {
        file: u64,
        from: String,
        to: String,
    },
    Remove {
        file: u64,
        name: String,
    },
    /// Only the bytes that were really written.
    Write {
        file: u64,
        name: String,
        offset: u64,
        bytes: Bytes,
    },
    SetSize {
        file: u64,
        name: String,
        size: u64,
    },
    /// Covers the changes of the file at positions below `covers`, and no others.
    Sync {
        file: u64,
        name: String,
        covers: usize,
        ok: bool,
    },
    /// Covers the changes of names at positions below `covers`, and no others.
    SyncDir {
        covers: usize,
        ok: bool,
    },
    Mark(Mark),
    /// Stands where an operation began that then failed and changed nothing.
    Nothing,
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let result = |ok: &bool| if *ok { "" } else { ": failed" };
        match self {
            Op::Create { name, .. } => write!(f, "create {name}"),
            Op::Rename { from, to, .. } => write!(f, "rename {from} to {to}"),
            Op::Remove { name, .. } => write!(f, "remove {name}"),
            Op::Write { name, offset, bytes, .. } => {
                write!(f, "write {name} at {offset}, {} bytes", bytes.len())
            }
            Op::SetSize { name, size, .. } => write!(f, "set size of {name} to {size}"),
            Op::Sync { name, ok, .. } => write!(f, "sync {name}{}", result(ok)),
            Op::SyncDir { ok, .. } => write!(f, "sync directory{}", result(ok)),
            Op::Mark(mark) => write!(f, "{} {}", mark.kind, mark.value),
            Op::Nothing => write!(f, "nothing"),
        }
    }
}

/// A file that was there when the recording began.
#[derive(Clone, Debug)]
pub(super) struct BaseFile {
    pub(super) id: u64,
    pub(super) name: String,
    pub(super) content: Vec<u8>,
}

/// The operations so far. Clones are the same log.
#[derive(Clone, Debug)]
pub struct OpLog(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    base: Vec<BaseFile>,
    medium: Medium,
    state: Mutex<LogState>,
}

#[derive(Debug, Default)]
struct LogState {
    ops: Vec<Op>,
    /// The positions of changes that have begun and not ended, each with its target.
    in_flight: Vec<(Target, usize)>,
    names: Names,
}

/// What a sync is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    File(u64),
    Directory,
}

impl LogState {
    fn begin(&mut self, target: Target, op: Op) -> usize {
        self.ops.push(op);
        let position = self.ops.len() - 1;
        self.in_flight.push((target, position));
        position
    }

    /// A change has ended; if it failed it is struck out.
    fn end(&mut self, position: usize, ok: bool) {
        self.in_flight.retain(|(_, begun)| *begun != position);
        if !ok {
            self.ops[position] = Op::Nothing;
        }
    }

    /// A write turned out to be a short one.
    fn shorten(&mut self, position: usize, written: usize) {
        if let Op::Write { bytes, .. } = &mut self.ops[position] {
            bytes.truncate(written);
        }
    }

    /// Up to where a sync that begins now covers every change of its target.
    fn covered(&self, target: Target) -> usize {
        let same = self.in_flight.iter().filter(|(other, _)| *other == target);
        let first = same.map(|(_, position)| *position).min();
        first.unwrap_or(self.ops.len())
    }

    fn name_of(&self, id: u64) -> String {
        self.names.name_of(id).unwrap_or("(removed)").to_owned()
    }
}

impl OpLog {
    /// How many operations and marks were recorded.
    pub fn len(&self) -> usize {
        self.state().ops.len()
    }

    /// Whether nothing was recorded yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The operations and marks so far.
    pub fn ops(&self) -> Vec<Op> {
        self.state().ops.clone()
    }

    /// The operations and marks so far as lines to read and to compare.
    pub fn lines(&self) -> Vec<String> {
        self.state().ops.iter().map(Op::to_string).collect()
    }

    /// Records that something happened: the test knows of it now.
    pub fn mark(&self, kind: &'static str, value: u64) {
        self.state().ops.push(Op::Mark(Mark { kind, value }));
    }

    /// The disk as it may be found if the power failed after the first `prefix` operations. It replays
    /// all of them: for many prefixes use [`Self::cuts`].
    pub fn image(&self, prefix: usize, persist: Persist) -> SimDisk {
        let mut cuts = self.cuts();
        while cuts.position() < prefix && cuts.advance() {}
        cuts.image(persist)
    }

    /// A walk over all prefixes of what is recorded now; it stands before the first operation.
    pub fn cuts(&self) -> Cuts {
        Cuts::new(self.ops(), &self.0.base, self.0.medium)
    }

    fn state(&self) -> MutexGuard<'_, LogState> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records a change where it begins, does it, and strikes it out if it failed.
    fn change<T>(
        &self,
        target: Target,
        op: Op,
        action: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        let position = self.state().begin(target, op);
        let done = action();
        self.state().end(position, done.is_ok());
        done
    }
}

/// A [`Storage`] that records in an [`OpLog`] what is done through it.
///
/// With faults in play it belongs below them: it should see what reaches the disk.
#[derive(Debug)]
pub struct Recorder {
    inner: Arc<dyn Storage>,
    log: OpLog,
}

impl Recorder {
    /// Records what is done to `inner` from now on. What lies there already counts as durable.
    ///
    /// # Errors
    /// If the files that lie there can not be read.
    pub fn new(inner: Arc<dyn Storage>) -> io::Result<Recorder> {
        let mut state = LogState::default();
        let mut base = Vec::new();
        let is_file = |entry: &FileEntry| entry.kind == EntryKind::File;
        for FileEntry { name, size, .. } in inner.list()?.into_iter().filter(is_file) {
            let mut content = vec![0; usize::try_from(size).map_err(io::Error::other)?];
            read_exact_at(&*inner.open(&name)?, &mut content, 0)?;
            let id = state.names.create(&name);
            base.push(BaseFile { id, name, content });
        }
        let log =
            OpLog(Arc::new(Shared { base, medium: inner.medium(), state: Mutex::new(state) }));
        Ok(Recorder { inner, log })
    }

    /// The log, which goes on recording.
    pub fn log(&self) -> OpLog {
        self.log.clone()
    }

    fn file(&self, inner: Box<dyn StorageFile>, id: u64) -> Box<dyn StorageFile> {
        Box::new(RecordedFile { inner, id, log: self.log.clone() })
    }
}

impl storage::Forward for Recorder {
    fn inner(&self) -> &dyn Storage {
        &*self.inner
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        // Its number is known only to us until it exists, so a failure costs a number and nothing else.
        let file = self.log.state().names.reserve();
        let op = Op::Create { file, name: name.to_owned() };
        let created = self.log.change(Target::Directory, op, || self.inner.create(name))?;
        self.log.state().names.insert(name, file);
        Ok(self.file(created, file))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        let file = self.inner.open(name)?;
        let id = self.log.state().names.open(name);
        Ok(self.file(file, id))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let op = Op::Rename {
            file: self.log.state().names.open(from),
            from: from.to_owned(),
            to: to.to_owned(),
        };
        self.log.change(Target::Directory, op, || self.inner.rename(from, to))?;
        self.log.state().names.rename(from, to);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let op = Op::Remove { file: self.log.state().names.open(name), name: name.to_owned() };
        self.log.change(Target::Directory, op, || self.inner.remove(name))?;
        self.log.state().names.remove(name);
        Ok(())
    }

    fn sync_dir(&self) -> io::Result<()> {
        let covers = self.log.state().covered(Target::Directory);
        let synced = self.inner.sync_dir();
        let ok = synced.is_ok();
        self.log.state().ops.push(Op::SyncDir { covers, ok });
        synced
    }
}

#[derive(Debug)]
struct RecordedFile {
    inner: Box<dyn StorageFile>,
    id: u64,
    log: OpLog,
}

impl storage::ForwardFile for RecordedFile {
    fn inner(&self) -> &dyn StorageFile {
        &*self.inner
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let file = self.id;
        let name = self.log.state().name_of(file);
        let op = Op::Write { file, name, offset, bytes: Bytes::copy_from_slice(bytes) };
        let position = self.log.state().begin(Target::File(file), op);
        let written = self.inner.write_at(bytes, offset);
        let mut state = self.log.state();
        state.shorten(position, *written.as_ref().unwrap_or(&0));
        state.end(position, written.is_ok());
        written
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        let file = self.id;
        let name = self.log.state().name_of(file);
        let op = Op::SetSize { file, name, size };
        self.log.change(Target::File(file), op, || self.inner.set_size(size))
    }

    fn sync(&self) -> io::Result<()> {
        let file = self.id;
        let covers = self.log.state().covered(Target::File(file));
        let synced = self.inner.sync();
        let ok = synced.is_ok();
        let mut state = self.log.state();
        let name = state.name_of(file);
        state.ops.push(Op::Sync { file, name, covers, ok });
        synced
    }
}

#[cfg(test)]
mod tests;
