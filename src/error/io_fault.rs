//! I/O errors, with what was being done, and where.

use std::sync::Arc;
use std::{fmt, io};

use super::FaultClass;

/// What was being done to a file when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum IoOp {
    /// Opening or locking the directory.
    OpenDirectory,
    /// Listing the directory.
    List,
    /// Creating a file.
    Create,
    /// Opening a file.
    Open,
    /// Reading a file.
    Read,
    /// Writing a file.
    Write,
    /// Making a file durable.
    Sync,
    /// Making the names in the directory durable.
    SyncDirectory,
    /// Renaming a file.
    Rename,
    /// Removing a file.
    Remove,
    /// Cutting a file to its live end.
    Truncate,
    /// Preparing a segment ahead of need.
    Prepare,
    /// Starting a thread of the log; the file is its name.
    StartThread,
}

impl fmt::Display for IoOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            IoOp::OpenDirectory => "opening the directory",
            IoOp::List => "listing",
            IoOp::Create => "creating",
            IoOp::Open => "opening",
            IoOp::Read => "reading",
            IoOp::Write => "writing",
            IoOp::Sync => "syncing",
            IoOp::SyncDirectory => "syncing the directory",
            IoOp::Rename => "renaming",
            IoOp::Remove => "removing",
            IoOp::Truncate => "truncating",
            IoOp::Prepare => "preparing",
            IoOp::StartThread => "starting the thread",
        })
    }
}

/// An I/O error with its place.
#[derive(Clone, Debug)]
pub struct IoFault {
    /// What was being done.
    pub op: IoOp,
    /// The file or directory.
    pub file: String,
    /// The offset in the file, where there is one.
    pub offset: Option<u64>,
    /// What the operating system said.
    pub source: Arc<io::Error>,
}

impl IoFault {
    /// An I/O error at this place.
    pub fn new(op: IoOp, file: impl Into<String>, offset: Option<u64>, source: io::Error) -> Self {
        IoFault { op, file: file.into(), offset, source: Arc::new(source) }
    }

    /// Whether the disk, or the quota, is full. That passes when space is freed, and is never a fault
    /// of the device.
    pub fn is_no_space(&self) -> bool {
        is_no_space(&self.source)
    }
}

/// Whether an I/O error means that the disk, or the quota, is full.
pub(crate) fn is_no_space(error: &io::Error) -> bool {
    FaultClass::of(error) == FaultClass::NoSpace
}

impl fmt::Display for IoFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.op, self.file)?;
        if let Some(offset) = self.offset {
            write!(f, " at offset {offset}")?;
        }
        write!(f, ": {}", self.source)?;
        match self.source.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                f.write_str("; the log has to be able to write in its directory")
            }
            _ => Ok(()),
        }
    }
}

impl std::error::Error for IoFault {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.source)
    }
}
