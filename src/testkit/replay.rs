//! Recorded operations played back onto a simulated disk, with the power cut after each.

use std::collections::BTreeMap;

use super::{
    Copying, Mark, Op, Persist, SimDisk,
    image::{DiskImage, FailedSync, FileId, SyncTicket},
    recorder::BaseFile,
};
use crate::storage::Medium;

/// A walk over the prefixes of an [`OpLog`](super::OpLog).
///
/// Each step costs what its operation costs, and an image shares its content with the walk until one of
/// the two writes: walking the whole log is linear in its bytes.
///
/// ```
/// # use actix_wal::{storage::Storage, testkit::{Persist, Recorder, SimDisk}};
/// # let recorder = Recorder::new(SimDisk::new().mount().unwrap()).unwrap();
/// # let log = recorder.log();
/// let mut cuts = log.cuts();
/// while cuts.advance() {
///     let disk = cuts.image(Persist::Torn { seed: 1 });
///     // Recover from the disk; everything that `cuts.marks()` acknowledges must be there.
/// }
/// ```
#[derive(Debug)]
pub struct Cuts {
    ops: Vec<Op>,
    position: usize,
    disk: SimDisk,
    marks: Vec<Mark>,
    /// The number of each file in the log, and on the disk.
    files: BTreeMap<u64, FileId>,
    /// At each position the syncs that begin there, by the position at which they end.
    beginning: BTreeMap<usize, Vec<usize>>,
    under_way: BTreeMap<usize, Ticket>,
}

/// What a sync covers that has begun.
#[derive(Debug)]
enum Ticket {
    File(FileId, SyncTicket),
    Directory(usize),
}

impl Cuts {
    pub(super) fn new(ops: Vec<Op>, base: &[BaseFile], medium: Medium) -> Cuts {
        let disk = SimDisk::with_medium(medium);
        let mut files = BTreeMap::new();
        for file in base {
            let put = |image: &mut DiskImage| image.put(&file.name, file.content.clone());
            files.insert(file.id, disk.with_image(put));
        }
        let mut beginning: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (position, op) in ops.iter().enumerate() {
            if let Op::Sync { covers, .. } | Op::SyncDir { covers, .. } = op {
                beginning.entry(*covers).or_default().push(position);
            }
        }
        Cuts {
            ops,
            position: 0,
            disk,
            marks: Vec::new(),
            files,
            beginning,
            under_way: BTreeMap::new(),
        }
    }

    /// The same walk over a disk with reads that show this after a failed sync.
    pub fn with_failed_sync(self, how: FailedSync) -> Cuts {
        self.disk.with_image(|image| image.set_failed_sync(how));
        self
    }

    /// Goes on by one operation; `false` at the end.
    pub fn advance(&mut self) -> bool {
        let Some(op) = self.ops.get(self.position).cloned() else {
            return false;
        };
        for end in self.beginning.remove(&self.position).unwrap_or_default() {
            self.begin_sync(end);
        }
        self.apply(op);
        self.position += 1;
        true
    }

    /// How many operations lie before the cut.
    pub fn position(&self) -> usize {
        self.position
    }

    /// The last operation before the cut.
    pub fn last_op(&self) -> Option<&Op> {
        self.position.checked_sub(1).map(|last| &self.ops[last])
    }

    /// The marks before the cut.
    pub fn marks(&self) -> &[Mark] {
        &self.marks
    }

    /// The disk as it may be found if the power fails here.
    pub fn image(&self, persist: Persist) -> SimDisk {
        self.disk.crash(persist)
    }

    /// How many disks may be found if the power fails here; see [`SimDisk::possible_images`]. Where they
    /// are few, look at each:
    ///
    /// ```
    /// # use actix_wal::{storage::Storage, testkit::{Persist, Recorder, SimDisk}};
    /// # let recorder = Recorder::new(SimDisk::new().mount().unwrap()).unwrap();
    /// # let cuts = recorder.log().cuts();
    /// for number in 0..cuts.possible_images().min(1024) {
    ///     let disk = cuts.image(Persist::Chosen { number });
    /// }
    /// ```
    pub fn possible_images(&self) -> u64 {
        self.disk.possible_images()
    }

    /// The disk as a process finds it that starts after another one was killed here, with the power on:
    /// everything can be read, durable or not.
    pub fn killed(&self) -> SimDisk {
        self.disk.fork()
    }

    /// Begins to copy the directory, as `cp -r` would while the walk goes on: see
    /// [`SimDisk::begin_copy`].
    pub fn begin_copy(&self, seed: u64) -> Copying {
        self.disk.begin_copy(seed)
    }

    fn begin_sync(&mut self, end: usize) {
        let ticket = match &self.ops[end] {
            Op::Sync { file, .. } => self.files.get(file).map(|&id| {
                let ticket = self.disk.with_image(|image| image.file(id).begin_sync());
                Ticket::File(id, ticket)
            }),
            _ => {
                let covered = self.disk.with_image(|image| image.begin_sync_dir());
                Some(Ticket::Directory(covered))
            }
        };
        if let Some(ticket) = ticket {
            self.under_way.insert(end, ticket);
        }
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Create { file, name } => {
                let id = self.disk.with_image(|image| image.create(&name));
                self.files.insert(file, id);
            }
            Op::Rename { file, from, to } => {
                self.on_file(file, |image, id| image.rename(id, &from, &to));
            }
            Op::Remove { file, name } => self.on_file(file, |image, id| image.remove(id, &name)),
            Op::Write { file, offset, bytes, .. } => self.on_file(file, |image, id| {
                image.file(id).write(&bytes, in_memory(offset));
            }),
            Op::SetSize { file, size, .. } => {
                self.on_file(file, |image, id| image.file(id).set_size(in_memory(size)));
            }
            Op::Sync { ok, .. } | Op::SyncDir { ok, .. } => self.end_sync(ok),
            Op::Mark(mark) => self.marks.push(mark),
            Op::Nothing => {}
        }
    }

    fn on_file(&self, file: u64, change: impl FnOnce(&mut DiskImage, FileId)) {
        if let Some(&id) = self.files.get(&file) {
            self.disk.with_image(|image| change(image, id));
        }
    }

    fn end_sync(&mut self, ok: bool) {
        let ticket = self.under_way.remove(&self.position);
        self.disk.with_image(|image| match ticket {
            Some(Ticket::File(id, ticket)) if ok => image.file(id).finish_sync(ticket),
            Some(Ticket::File(id, ticket)) => image.fail_sync(id, &ticket),
            Some(Ticket::Directory(covered)) if ok => image.finish_sync_dir(covered),
            Some(Ticket::Directory(_)) | None => {}
        });
    }
}

/// The recorded write went through memory, so its offset fits.
fn in_memory(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}
