//! Controls that fit a seam: something between the log and its disk, its clock or its queue that breaks one
//! promise of theirs. The log itself is as it is.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix_wal::storage::{self, FileEntry, Storage, StorageFile};
use actix_wal::testkit::internals::engine::intake::entry::{Entry, Payload, QueueItem};
use actix_wal::testkit::internals::engine::state::requests::QueueReceiver;
use actix_wal::testkit::internals::runtime::clock::{Clock, Tick};
use crossbeam_channel::unbounded;

use test_support::simulation::{SOUND, Seams};

/// A control: its name, the promise that it breaks, and what is put into the seam.
pub(crate) type Control = (&'static str, &'static str, Seams);

/// A disk that lies in this way.
macro_rules! lie {
    ($lie:ident) => {
        Seams { storage: |inner| Liar::over(inner, Lie::$lie), ..SOUND }
    };
}

/// All of them.
pub(crate) const CONTROLS: &[Control] = &[
    ("a sync does nothing and says Ok", "P1", lie!(NoSync)),
    ("a sync is done with the next operation", "P1", lie!(LateSync)),
    ("a directory sync does nothing", "P1", lie!(NoDirSync)),
    ("every other directory sync does nothing", "P1", lie!(RareDirSync)),
    ("a failed sync is tried again, and hidden", "P7", lie!(Retry)),
    ("a failed write is swallowed", "P1", lie!(Swallow)),
    ("a write is torn, and said to be whole", "P1", lie!(TornWrite)),
    ("a write goes to the next block", "P1", lie!(Misdirect)),
    ("a read shows zeros", "P2", lie!(Zeros)),
    ("a short read is said to be whole", "P2", lie!(ShortRead)),
    ("a rename is not done", "P1", lie!(NoRename)),
    ("a list leaves out the newest file", "P1", lie!(Forget)),
    ("a list leaves out the oldest file", "P1", lie!(ForgetOldest)),
    ("the clock stands still", "P6", Seams { clock: |_| Arc::new(Stopped), ..SOUND }),
    ("the queue mixes up two records", "P9", Seams { queue: |queue| pump(queue, swap), ..SOUND }),
    (
        "the queue gives the first record of a group twice",
        "P3",
        Seams { queue: |queue| pump(queue, shorten), ..SOUND },
    ),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lie {
    NoSync,
    LateSync,
    NoDirSync,
    RareDirSync,
    Retry,
    Swallow,
    TornWrite,
    Misdirect,
    Zeros,
    ShortRead,
    NoRename,
    Forget,
    ForgetOldest,
}

type SharedFile = Arc<dyn StorageFile>;

/// A storage that lies in one way.
#[derive(Clone, Debug)]
struct Liar {
    inner: Arc<dyn Storage>,
    lie: Lie,
    late: Arc<Mutex<Late>>,
}

/// What it has said to have done.
#[derive(Debug, Default)]
struct Late {
    files: Vec<SharedFile>,
    /// Whether the last directory sync did nothing.
    directory: bool,
    writes: u32,
}

impl Liar {
    fn over(inner: Arc<dyn Storage>, lie: Lie) -> Arc<dyn Storage> {
        Arc::new(Liar { inner, lie, late: Arc::default() })
    }

    fn late(&self) -> MutexGuard<'_, Late> {
        self.late.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does what it has said to have done.
    fn catch_up(&self) {
        self.late().files.drain(..).for_each(|file| drop(file.sync()));
    }

    fn wrap(&self, inner: Box<dyn StorageFile>) -> Box<dyn StorageFile> {
        Box::new(LyingFile { inner: Arc::from(inner), liar: self.clone() })
    }

    /// Whether this write is one of the few that go wrong.
    fn goes_wrong(&self) -> bool {
        let mut late = self.late();
        late.writes += 1;
        late.writes.is_multiple_of(5)
    }
}

impl storage::Forward for Liar {
    fn inner(&self) -> &dyn Storage {
        &*self.inner
    }

    fn list(&self) -> io::Result<Vec<FileEntry>> {
        let mut files = self.inner.list()?;
        files.sort_by(|one, other| one.name.cmp(&other.name));
        match self.lie {
            Lie::Forget => drop(files.pop()),
            Lie::ForgetOldest => drop(files.drain(..files.len().min(1))),
            _ => {}
        }
        Ok(files)
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        self.catch_up();
        Ok(self.wrap(self.inner.create(name)?))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn StorageFile>> {
        self.catch_up();
        Ok(self.wrap(self.inner.open(name)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.catch_up();
        if self.lie == Lie::NoRename { Ok(()) } else { self.inner.rename(from, to) }
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.catch_up();
        self.inner.remove(name)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.catch_up();
        match self.lie {
            Lie::NoDirSync => Ok(()),
            Lie::RareDirSync => {
                let mut late = self.late();
                late.directory = !late.directory;
                if late.directory { Ok(()) } else { self.inner.sync_dir() }
            }
            _ => self.inner.sync_dir(),
        }
    }
}

#[derive(Debug)]
struct LyingFile {
    inner: SharedFile,
    liar: Liar,
}

impl storage::ForwardFile for LyingFile {
    fn inner(&self) -> &dyn StorageFile {
        &*self.inner
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.liar.catch_up();
        let read = self.inner.read_at(buffer, offset)?;
        match self.liar.lie {
            Lie::Zeros => buffer[..read].iter_mut().skip(1024).for_each(|byte| *byte = 0),
            Lie::ShortRead if read < buffer.len() => return Ok(buffer.len()),
            _ => {}
        }
        Ok(read)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.liar.catch_up();
        match self.liar.lie {
            Lie::Swallow => Ok(self.inner.write_at(bytes, offset).unwrap_or(bytes.len())),
            Lie::TornWrite if self.liar.goes_wrong() => {
                self.inner.write_at(&bytes[..bytes.len() / 2], offset)?;
                Ok(bytes.len())
            }
            Lie::Misdirect if self.liar.goes_wrong() => self.inner.write_at(bytes, offset + 512),
            _ => self.inner.write_at(bytes, offset),
        }
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        self.liar.catch_up();
        self.inner.set_size(size)
    }

    fn sync(&self) -> io::Result<()> {
        self.liar.catch_up();
        match self.liar.lie {
            Lie::NoSync => Ok(()),
            Lie::LateSync => {
                self.liar.late().files.push(Arc::clone(&self.inner));
                Ok(())
            }
            Lie::Retry => self.inner.sync().or_else(|_| self.inner.sync()),
            _ => self.inner.sync(),
        }
    }
}

/// A clock on which nothing is ever due.
#[derive(Debug)]
struct Stopped;

impl Clock for Stopped {
    fn now(&self) -> Tick {
        Tick::ZERO
    }

    fn wall_us(&self) -> u64 {
        0
    }

    fn random(&self) -> u64 {
        7
    }
}

/// Hands the queue on, changed.
fn pump(queue: QueueReceiver, change: fn(Vec<Entry>) -> Vec<Entry>) -> QueueReceiver {
    let (sender, receiver) = unbounded();
    actix::spawn(async move {
        loop {
            let (mut entries, mut nudged) = (Vec::new(), false);
            for item in queue.try_iter() {
                match item {
                    QueueItem::Entries(some) => entries.extend(some),
                    QueueItem::Nudge => nudged = true,
                }
            }
            let entries = change(entries).into_iter().map(|entry| QueueItem::Entries(vec![entry]));
            let sent = entries.chain(nudged.then_some(QueueItem::Nudge));
            if sent.map(|item| sender.send(item)).any(|sent| sent.is_err()) {
                return;
            }
            actix::clock::sleep(Duration::from_millis(3)).await;
        }
    });
    receiver
}

/// Gives the first two records of the same kind each the place of the other.
fn swap(mut entries: Vec<Entry>) -> Vec<Entry> {
    if let [one, other, ..] = &mut entries[..]
        && one.payload.count() == other.payload.count()
    {
        std::mem::swap(&mut one.payload, &mut other.payload);
    }
    entries
}

/// Puts the first record of a group in the place of its last.
fn shorten(mut entries: Vec<Entry>) -> Vec<Entry> {
    for entry in &mut entries {
        if let Payload::Group(records) = &mut entry.payload
            && let [first, .., last] = &mut records[..]
        {
            *last = first.clone();
        }
    }
    entries
}
