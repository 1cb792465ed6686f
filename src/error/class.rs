//! What an error number means for the log: whether to wait, to try again, or to end.
//!
//! The class decides about the restart budget, the wait and the end of the log. It never decides about a
//! file: a file in which a write or a sync failed is final, whatever the number (promise P7).

use std::error::Error;
use std::io;
use std::sync::Arc;

use rustix::io::Errno;

use super::{Cause, IoFault, IoOp};

/// What kind of fault an I/O error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FaultClass {
    /// The device, or this one file. Another file may work, so the log goes on in a new segment; each such
    /// fault is charged to the restart budget.
    Device,
    /// The process or the system has no more threads, descriptors or memory. It passes: the log waits and
    /// resumes. Never charged.
    Shortage,
    /// The disk or the quota is full. It passes: the log waits and resumes. Never charged.
    NoSpace,
    /// Only an operator changes it, and no restart helps: the log is poisoned at once.
    Permanent,
}

use FaultClass::{Device, NoSpace, Permanent, Shortage};

/// Every error number that Linux documents for the calls of a log, its class, and why. A number that is
/// missing here is [`Device`]: bounded by the restart budget, and not final.
const BY_ERRNO: &[(Errno, FaultClass, &str)] = &[
    (Errno::AGAIN, Shortage, "clone: RLIMIT_NPROC, threads-max or pids.max is reached"),
    (
        Errno::NOMEM,
        Shortage,
        "the kernel has no memory for the call; nothing is wrong with the file",
    ),
    (Errno::MFILE, Shortage, "RLIMIT_NOFILE: the process has no descriptor left"),
    (Errno::NFILE, Shortage, "file-max: the system has no descriptor left"),
    (Errno::NOLCK, Shortage, "the kernel has no memory for a lock"),
    (Errno::NOSPC, NoSpace, "no block or no inode is free"),
    (Errno::DQUOT, NoSpace, "the quota is used up; freeing space helps as on a full disk"),
    (Errno::ROFS, Permanent, "the file system is read-only, also after errors=remount-ro"),
    (Errno::ACCESS, Permanent, "the directory's mode, or a security module, forbids it"),
    (Errno::PERM, Permanent, "an immutable or append-only file, a seal, a security module"),
    (
        Errno::FBIG,
        Permanent,
        "RLIMIT_FSIZE, or the largest file of the file system: every segment is as large",
    ),
    (
        Errno::NOTDIR,
        Permanent,
        "what should be a folder is a file; a restart makes no folder of it",
    ),
    (Errno::ISDIR, Permanent, "what should be a file is a folder"),
    (Errno::LOOP, Permanent, "a symbolic link where a file has to be"),
    (Errno::NAMETOOLONG, Permanent, "the path is too long; the next one is as long"),
    (Errno::XDEV, Permanent, "the name is a mount of its own: no file can be renamed to it"),
    (Errno::NOSYS, Permanent, "the kernel does not have the call"),
    (Errno::OPNOTSUPP, Permanent, "the file system does not have the call"),
    (
        Errno::INVAL,
        Permanent,
        "the file system does not take the call, or the thread its attributes",
    ),
    (Errno::IO, Device, "the device failed; a new segment may lie elsewhere on it"),
    (Errno::NXIO, Device, "the device is gone; it may be plugged in again within the budget"),
    (Errno::NODEV, Device, "as above"),
    (
        Errno::NOENT,
        Device,
        "one name is gone; the next segment has another. Without its directory every one fails",
    ),
    (Errno::EXIST, Device, "the name is taken; the next segment has another"),
    (Errno::BUSY, Device, "somebody uses this one file"),
    (Errno::TXTBSY, Device, "this one file is being executed, or is a swap file"),
    (Errno::MLINK, Device, "about one name"),
    (Errno::NOTEMPTY, Device, "about one name"),
    (Errno::OVERFLOW, Device, "about one file"),
    (Errno::STALE, Device, "a network file system has lost this handle; a new file has another"),
    (Errno::TIMEDOUT, Device, "a network file system or a path to the device; it may come back"),
    (Errno::NOLINK, Device, "as above"),
    (Errno::REMOTEIO, Device, "as EIO, at the other end"),
    (Errno::UCLEAN, Device, "the file system found itself damaged (EFSCORRUPTED)"),
    (Errno::BADMSG, Device, "the file system found a wrong checksum (EFSBADCRC)"),
    (
        Errno::INTR,
        Device,
        "reads and writes go on after it; a sync that was interrupted did not happen",
    ),
    (Errno::DESTADDRREQ, Device, "of sockets; it can not be, so the budget bounds it"),
    (Errno::BADF, Device, "a defect, so the budget bounds it"),
    (Errno::FAULT, Device, "a defect, so the budget bounds it"),
    (Errno::SPIPE, Device, "a defect, so the budget bounds it"),
    (Errno::PIPE, Device, "of pipes; it can not be, so the budget bounds it"),
    (Errno::DEADLK, Device, "of locks that wait; it can not be, so the budget bounds it"),
];

/// Errors that bear no number: a storage that a host has written, or one of a test.
const BY_KIND: &[(io::ErrorKind, FaultClass)] = &[
    (io::ErrorKind::WouldBlock, Shortage),
    (io::ErrorKind::OutOfMemory, Shortage),
    (io::ErrorKind::StorageFull, NoSpace),
    (io::ErrorKind::QuotaExceeded, NoSpace),
    (io::ErrorKind::ReadOnlyFilesystem, Permanent),
    (io::ErrorKind::PermissionDenied, Permanent),
    (io::ErrorKind::FileTooLarge, Permanent),
    (io::ErrorKind::NotADirectory, Permanent),
    (io::ErrorKind::IsADirectory, Permanent),
    (io::ErrorKind::CrossesDevices, Permanent),
    (io::ErrorKind::Unsupported, Permanent),
];

impl FaultClass {
    /// The class of an I/O error: by its number, or where it has none by its kind.
    pub fn of(error: &io::Error) -> FaultClass {
        let class = match errno(error) {
            Some(number) => BY_ERRNO
                .iter()
                .find(|(errno, ..)| errno.raw_os_error() == number)
                .map(|(_, class, _)| *class),
            None => BY_KIND.iter().find(|(kind, _)| *kind == error.kind()).map(|(_, class)| *class),
        };
        class.unwrap_or(Device)
    }

    /// Whether it passes without anybody touching the log, so that the log waits for it.
    pub fn passes(self) -> bool {
        matches!(self, Shortage | NoSpace)
    }
}

/// The number of an error, also of one that somebody has wrapped to say where it happened.
fn errno(error: &io::Error) -> Option<i32> {
    if let Some(number) = error.raw_os_error() {
        return Some(number);
    }
    let mut inner = error.get_ref().map(|inner| inner as &(dyn Error + 'static));
    while let Some(error) = inner {
        if let Some(found) = error.downcast_ref::<io::Error>() {
            return errno(found);
        }
        if let Some(found) = error.downcast_ref::<Arc<io::Error>>() {
            return errno(found);
        }
        inner = error.source();
    }
    None
}

impl IoFault {
    /// What kind of fault it is.
    pub fn class(&self) -> FaultClass {
        FaultClass::of(&self.source)
    }

    /// The error number of the operating system, also where somebody has wrapped the error; `None` for an error
    /// without one.
    pub fn errno(&self) -> Option<i32> {
        errno(&self.source)
    }

    /// The system refused a thread of this name.
    pub(crate) fn no_thread(name: &str, source: io::Error) -> Self {
        IoFault::new(IoOp::StartThread, name, None, source)
    }

    /// What there is too little of, if it is a [`FaultClass::Shortage`].
    pub(super) fn short_of(&self) -> &'static str {
        let errno = errno(&self.source);
        let is = |other: Errno| errno == Some(other.raw_os_error());
        match self.op {
            IoOp::StartThread => "threads",
            _ if is(Errno::MFILE) => "file descriptors",
            _ if is(Errno::NFILE) => "file descriptors of the system",
            _ if is(Errno::NOLCK) => "locks",
            _ if is(Errno::NOMEM) || self.source.kind() == io::ErrorKind::OutOfMemory => "memory",
            _ => "a resource",
        }
    }
}

impl Cause {
    /// What kind of fault it is; of several in a row, the latest. All but I/O errors count as
    /// [`FaultClass::Device`].
    pub fn class(&self) -> FaultClass {
        match self {
            Cause::Io(fault) | Cause::NoSpace(fault) | Cause::Shortage(fault) => fault.class(),
            Cause::Followed { last, .. } => last.class(),
            _ => Device,
        }
    }

    /// Whether the disk is full, which passes when space is freed.
    pub fn is_no_space(&self) -> bool {
        self.class() == NoSpace
    }

    /// The latest fault, if it is that the disk is full.
    pub(crate) fn no_space(&self) -> Option<&IoFault> {
        match self {
            Cause::NoSpace(fault) => Some(fault),
            Cause::Followed { last, .. } => last.no_space(),
            _ => None,
        }
    }

    /// The first fault stays what is shown first; of those after it, the latest is kept.
    pub(crate) fn followed_by(self, last: Cause) -> Cause {
        let first = match self {
            Cause::Followed { first, .. } => first,
            first => Arc::new(first),
        };
        let last = match last {
            Cause::Followed { last, .. } => last,
            last => Arc::new(last),
        };
        if first.to_string() == last.to_string() {
            return Arc::unwrap_or_clone(first);
        }
        Cause::Followed { first, last }
    }
}

impl From<IoFault> for Cause {
    fn from(fault: IoFault) -> Self {
        match fault.class() {
            NoSpace => Cause::NoSpace(fault),
            Shortage => Cause::Shortage(fault),
            Device | Permanent => Cause::Io(fault),
        }
    }
}

#[cfg(test)]
mod tests;
