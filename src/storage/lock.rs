//! The lock of a directory: `flock`, and a table of the directories that this process has locked.
//!
//! The table knows which locks belong to a log that is ending, so that the next `open` can wait for it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;
use rustix::io::Errno;
use tracing::warn;

use crate::error::Holder;

/// How long an opener sleeps before it looks again whether anybody still waits for it.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Answers for how long an opener that is ready to wait for so long should wait: not at all while the log is in use.
/// It may block, for a few seconds at most.
pub(crate) type EndsWithin = Box<dyn Fn(Duration) -> Duration + Send + Sync>;

/// What an opener that finds the directory locked is ready to do.
pub(crate) struct Patience<'a> {
    /// How long it waits for a log of this process that is ending.
    pub(crate) at_most: Duration,
    /// Whether anybody still wants the directory.
    pub(crate) is_wanted: &'a dyn Fn() -> bool,
}

/// Why a directory could not be locked.
#[derive(Debug)]
pub(crate) enum LockError {
    Held(Holder),
    Io(io::Error),
}

impl From<io::Error> for LockError {
    fn from(error: io::Error) -> Self {
        LockError::Io(error)
    }
}

/// A directory by its device and inode: it keeps them when it is renamed.
pub(super) type Identity = (rustix::fs::Dev, u64);

/// What this process knows of a lock that it holds.
#[derive(Default)]
struct Entry {
    ends_within: OnceLock<EndsWithin>,
}

static HELD: Mutex<BTreeMap<Identity, Arc<Entry>>> = Mutex::new(BTreeMap::new());
static FREED: Condvar = Condvar::new();

fn held() -> MutexGuard<'static, BTreeMap<Identity, Arc<Entry>>> {
    // Every change is one insert or one remove, so a panic elsewhere leaves nothing half done.
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The open directory that bears the lock, shared by everything that can still write.
pub(super) struct Locked {
    handle: File,
    identity: Identity,
    entry: Arc<Entry>,
    /// A forked child that lives on without `exec` has this value too, but not the lock.
    owner: u32,
}

impl std::fmt::Debug for Locked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Locked").field(&self.handle).finish()
    }
}

impl Locked {
    /// Locks a directory, waiting for as long as `patience` says if its log is ending.
    pub(super) fn new(handle: File, patience: &Patience<'_>) -> Result<Locked, LockError> {
        let stat = rustix::fs::fstat(&handle).map_err(io::Error::from)?;
        let identity = (stat.st_dev, stat.st_ino);
        let began = Instant::now();
        loop {
            if !(patience.is_wanted)() {
                return Err(LockError::Held(Holder::Ending));
            }
            let entry = match try_lock(&handle, identity)? {
                Ok(entry) => {
                    let owner = std::process::id();
                    return Ok(Locked { handle, identity, entry, owner });
                }
                Err(None) => {
                    return Err(LockError::Held(holder_of(identity).unwrap_or(Holder::Unknown)));
                }
                Err(Some(entry)) => entry,
            };
            // Asked without the table locked: the answer may take a while.
            let ask = entry.ends_within.get();
            let ends_within = ask.map_or(Duration::ZERO, |ask| ask(patience.at_most));
            if ends_within.is_zero() {
                return Err(LockError::Held(Holder::ThisProcess));
            }
            if began.elapsed() >= ends_within {
                return Err(LockError::Held(Holder::Ending));
            }
            wait_for(identity, &entry);
        }
    }

    /// Notes when the log that holds this lock will end.
    pub(super) fn ends_within(&self, ask: EndsWithin) {
        // One log holds a lock, and says this once.
        let _ = self.entry.ends_within.set(ask);
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.handle.sync_all()
    }
}

impl AsFd for Locked {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }
}

/// Unlocks rather than rely on closing: a child process that is being started has a copy of the descriptor
/// until it calls `exec`, and the lock would last as long.
impl Drop for Locked {
    fn drop(&mut self) {
        if self.owner != std::process::id() {
            return;
        }
        let mut held = held();
        if let Err(error) = rustix::fs::flock(&self.handle, FlockOperation::Unlock) {
            warn!(%error, "the directory of the log can not be unlocked before it is closed");
        }
        held.remove(&self.identity);
        FREED.notify_all();
    }
}

/// Locks the directory, or answers with what this process knows of its holder.
///
/// The table is locked meanwhile, as it is when a lock is given back: what holds a lock in this process is in it.
fn try_lock(
    handle: &File,
    identity: Identity,
) -> io::Result<Result<Arc<Entry>, Option<Arc<Entry>>>> {
    let mut held = held();
    match rustix::fs::flock(handle, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {
            let entry = Arc::default();
            held.insert(identity, Arc::clone(&entry));
            Ok(Ok(entry))
        }
        Err(Errno::WOULDBLOCK) => Ok(Err(held.get(&identity).map(Arc::clone))),
        Err(errno) => Err(errno.into()),
    }
}

/// Waits until this lock is given back, or for a moment.
fn wait_for(identity: Identity, entry: &Arc<Entry>) {
    let held = held();
    if held.get(&identity).is_some_and(|there| Arc::ptr_eq(there, entry)) {
        drop(FREED.wait_timeout(held, LOOK_AGAIN));
    }
}

/// The process that holds the lock of a directory, if the kernel lists one. A hint: the kernel may number devices and
/// processes in another way here.
pub(super) fn holder_of((device, inode): Identity) -> Option<Holder> {
    let locks = std::fs::read_to_string("/proc/locks").unwrap_or_default();
    let place =
        format!("{:02x}:{:02x}:{inode}", rustix::fs::major(device), rustix::fs::minor(device));
    Some(match flock_holder(&locks, &place)? {
        id if id == std::process::id() => Holder::ThisProcess,
        0 => Holder::Unknown,
        id => Holder::Process(id),
    })
}

/// Finds `1: FLOCK  ADVISORY  WRITE 4711 08:01:131 0 EOF`. A process of another namespace has the id 0 there.
fn flock_holder(locks: &str, place: &str) -> Option<u32> {
    locks.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        match fields[..] {
            [_, "FLOCK", _, "WRITE", id, at, ..] if at == place => id.parse().ok(),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p20_the_holder_of_a_lock_is_found_in_what_the_kernel_lists() {
        let locks = "1: POSIX  ADVISORY  WRITE 12 08:01:131 0 EOF\n\
                     2: -> FLOCK  ADVISORY  WRITE 13 08:01:131 0 EOF\n\
                     3: FLOCK  ADVISORY  READ 14 08:01:131 0 EOF\n\
                     4: FLOCK  ADVISORY  WRITE 15 08:01:13 0 EOF\n\
                     5: FLOCK  ADVISORY  WRITE 4711 08:01:131 0 EOF\n\
                     6: FLOCK  ADVISORY  WRITE 0 fe:00:7 0 EOF\n\
                     garbage\n";
        assert_eq!(flock_holder(locks, "08:01:131"), Some(4711));
        assert_eq!(flock_holder(locks, "fe:00:7"), Some(0), "a process of another namespace");
        assert_eq!(flock_holder(locks, "08:01:999"), None);
        assert_eq!(flock_holder("", "08:01:131"), None);
    }
}
