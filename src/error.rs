//! What can go wrong: one enum per operation, each error with its place and its cause.
//!
//! Two questions matter to a caller, and every error answers both: *may the record be in the log?*
//! (see [`CommitError`]) and *what can be done about it?* (the last sentence of the message).

mod class;

use std::sync::Arc;
use std::{fmt, io};

use thiserror::Error;

pub use self::class::FaultClass;
use crate::lsn::{Lsn, LsnRange};

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
pub fn is_no_space(error: &io::Error) -> bool {
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

/// Why the log does not take or finish appends.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum Cause {
    /// A write or a sync failed.
    #[error("{0}")]
    Io(IoFault),
    /// The disk is full.
    #[error("the disk is full: {0}")]
    NoSpace(IoFault),
    /// The process or the system has too little of something: threads, file descriptors, memory. The log
    /// waits, and resumes by itself.
    #[error(
        "short of {what}: {fault}; raise the limit or give some back, the log goes on by itself",
        what = .0.short_of(),
        fault = .0
    )]
    Shortage(IoFault),
    /// Something else went wrong before the log was over the first fault.
    #[error("{first}; after that: {last}")]
    Followed {
        /// What went wrong first.
        first: Arc<Cause>,
        /// What went wrong last.
        last: Arc<Cause>,
    },
    /// A sync did not return in time.
    #[error("a sync has not returned for {seconds} s")]
    Stalled {
        /// How long it had been running.
        seconds: u64,
    },
    /// Code panicked.
    #[error("the {place} panicked: {message}")]
    Panic {
        /// Which thread or actor.
        place: &'static str,
        /// What the panic said.
        message: String,
    },
    /// An earlier life of the log ended before the record was durable.
    #[error("an earlier life of the log ended before it was durable")]
    EarlierLife,
    /// An actor of the log was stopped, or its Arbiter was.
    #[error("the {actor} was stopped")]
    Stopped {
        /// Which actor.
        actor: &'static str,
    },
    /// An invariant of the log was broken: a defect, in the log or in an actor that stands in for one.
    #[error("an invariant was broken: {what}")]
    Broken {
        /// Which invariant.
        what: String,
    },
    /// The log has been closed, or its last handle dropped.
    #[error("the log was closed")]
    Closed,
}

/// A setting that can not be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{setting} is {value}, but {rule}")]
pub struct ConfigError {
    /// Which setting.
    pub setting: &'static str,
    /// Its value.
    pub value: String,
    /// What it must be.
    pub rule: String,
}

/// Why an append was refused. Nothing of it is in the log, now or later ("not durable"), with the one
/// exception of [`AppendError::Unknown`].
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum AppendError {
    /// As much is in flight as the configuration allows. Wait for outcomes, then try again. Under
    /// [`OverloadPolicy::Wait`](crate::OverloadPolicy) only when the log gives up while the append waits.
    #[error(
        "overloaded: {entries} records and {bytes} bytes are in flight already; wait for outcomes, then try again"
    )]
    Overloaded {
        /// Records in flight.
        entries: usize,
        /// Bytes in flight.
        bytes: usize,
    },
    /// The record, or the group, is larger than the log can ever take: see
    /// [`WalConfig::in_flight_bytes`](crate::WalConfig::in_flight_bytes). Sizes are as encoded, with a few
    /// bytes beside each payload.
    #[error(
        "too large: {size} {unit} exceed the limit of {limit}; split it, or configure a larger one"
    )]
    TooLarge {
        /// How large it is.
        size: u64,
        /// The limit, in the same unit.
        limit: u64,
        /// What is counted: "bytes" or "records".
        unit: &'static str,
    },
    /// The permit in the message is not for this append: it was given for other records or fewer bytes,
    /// or by another log.
    #[error(
        "the permit is for {permit_entries} records and {permit_bytes} bytes of one log, the append has {entries} and {bytes}; acquire one for exactly this append"
    )]
    WrongPermit {
        /// The records of the permit.
        permit_entries: usize,
        /// The bytes of the permit.
        permit_bytes: usize,
        /// The records of the append.
        entries: usize,
        /// The bytes of the append, encoded.
        bytes: usize,
    },
    /// A group without records.
    #[error("an atomic group needs at least one record")]
    EmptyGroup,
    /// The disk is full. Appends resume by themselves when space returns; a checkpoint makes some.
    #[error("no space: {0}; appends resume when space returns")]
    NoSpace(IoFault),
    /// The log recovers from a fault. It will be back, or poisoned. Under
    /// [`OverloadPolicy::Wait`](crate::OverloadPolicy) only when the log gives up while the append waits.
    #[error("unavailable for the moment: {cause}")]
    Unavailable {
        /// Which fault.
        cause: Cause,
    },
    /// Restarts did not help, or can not. The log stays readable; open it again once the cause is mended.
    #[error("poisoned: {cause}; mend the cause and open the log again")]
    Poisoned {
        /// The first fault since the last epoch, and the latest.
        cause: Cause,
    },
    /// The log is closed.
    #[error("closed: {cause}")]
    Closed {
        /// Why.
        cause: Cause,
    },
    /// `append_record`: the value could not be encoded.
    #[error("the value can not be encoded: {0}")]
    Encode(#[from] EncodeError),
    /// A blocking call on the thread of an Arbiter, where it could wait for itself for ever.
    #[error(
        "a blocking call on the thread of an Arbiter would stop the actors it waits for; await `commit` instead"
    )]
    WouldBlockArbiter,
    /// The Appender went away while the append was on its way: it may or may not have an LSN.
    #[error("unknown whether it was appended: {cause}")]
    Unknown {
        /// Why.
        cause: Cause,
    },
}

/// Why a record is not, or not yet known to be, durable.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum CommitError {
    /// It was refused before it had an LSN; only with [`AppendError::Unknown`] may it be in the log. See
    /// [`is_not_durable`](Self::is_not_durable).
    #[error(transparent)]
    Refused(#[from] AppendError),
    /// It is certainly not in the log, now or after any restart. It may be appended again.
    #[error("LSN {lsn} is not durable: {cause}")]
    NotDurable {
        /// The LSN it had.
        lsn: Lsn,
        /// Why.
        cause: Cause,
    },
    /// It may or may not be in the log. The watermark, or the next open, may tell.
    #[error("unknown whether LSN {lsn} is durable: {cause}")]
    Unknown {
        /// Its LSN.
        lsn: Lsn,
        /// Why.
        cause: Cause,
    },
    /// No record has this LSN, so there is nothing to wait for.
    #[error("LSN {lsn} was never assigned; the next one is {next}")]
    NeverAssigned {
        /// The LSN asked for.
        lsn: Lsn,
        /// The LSN the next append will get.
        next: Lsn,
    },
}

impl CommitError {
    /// Whether the record is certainly not in the log, now or after any restart.
    pub fn is_not_durable(&self) -> bool {
        match self {
            CommitError::Refused(refused) => !matches!(refused, AppendError::Unknown { .. }),
            CommitError::NotDurable { .. } | CommitError::NeverAssigned { .. } => true,
            CommitError::Unknown { .. } => false,
        }
    }
}

/// Damage that recovery refuses to skip.
#[derive(Clone, Debug, Error)]
#[error("segment {segment}, offset {offset}, LSN {lsn}: {kind}")]
pub struct Damage {
    /// The sequence number of the segment.
    pub segment: u64,
    /// The offset in it, in bytes.
    pub offset: u64,
    /// The LSN of the first record that can not be read, as far as it is known.
    pub lsn: Lsn,
    /// What is wrong.
    pub kind: DamageKind,
}

/// Kinds of damage.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum DamageKind {
    /// A segment is not there, although the others say that there must be one: later ones begin, or the one
    /// before ends, where its records are missing; or its number is left out right behind the end of the log.
    #[error("the segment is missing")]
    MissingSegment,
    /// A segment lies under the name of another one, or twice.
    #[error("the file is segment {found} under another name")]
    SwappedSegment {
        /// The sequence number in its header.
        found: u64,
    },
    /// A segment belongs to another log.
    #[error("the file belongs to log {found}, this is log {expected}")]
    ForeignSegment {
        /// The id of this log.
        expected: String,
        /// The id in the header.
        found: String,
    },
    /// A segment is shorter than it was.
    #[error("the file has {found} bytes of {expected}")]
    ShortenedSegment {
        /// The size in its header, in bytes.
        expected: u64,
        /// The size of the file, in bytes.
        found: u64,
    },
    /// The first block of a file is not a segment header.
    #[error("{reason}")]
    SegmentHeader {
        /// Why not.
        reason: String,
    },
    /// A frame that was durable once is damaged.
    #[error("{reason}{}", .proof.map(|at| format!(", although a later frame at offset {at} proves that it was durable")).unwrap_or_default())]
    Frame {
        /// What is wrong with it.
        reason: String,
        /// The offset of a later frame that proves it.
        proof: Option<u64>,
    },
    /// Two segments contradict each other.
    #[error("the segment contradicts the ones before: {what}")]
    Contradiction {
        /// What does not fit.
        what: String,
    },
}

/// Why a log could not be opened. Nothing was lost by trying; what was replayed to the host before the
/// error is to be thrown away, since the next attempt replays it again.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The configuration is not valid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Another process, or another handle in this one, has the directory open.
    #[error(
        "{directory} is in use by another log, in this process or another one; close that first"
    )]
    Locked {
        /// The directory.
        directory: String,
    },
    /// An I/O error.
    #[error(transparent)]
    Io(#[from] IoFault),
    /// Acknowledged records are damaged or missing. Restore the segment from a copy, or choose
    /// `DamagePolicy::Salvage` to cut the log there.
    #[error(
        "damaged: {0}; restore it from a copy, or open with the salvage policy to cut the log there"
    )]
    Damaged(#[from] Damage),
    /// A later version of the crate wrote the log.
    #[error("{file}: {reason}")]
    NewerVersion {
        /// The segment.
        file: String,
        /// What it claims.
        reason: String,
    },
    /// The host wants to replay from an LSN that a checkpoint has released.
    #[error(
        "replay from LSN {from} is not possible: a checkpoint has released everything up to {released}"
    )]
    Released {
        /// The LSN asked for.
        from: Lsn,
        /// The low-water mark.
        released: Lsn,
    },
    /// The actor that records are replayed to refused them or went away.
    #[error("the replay was refused by its receiver: {reason}")]
    Replay {
        /// What it said.
        reason: String,
    },
    /// A thread could not be started, or an actor was stopped while the log was opening. Nothing of the log
    /// runs then; with [`Cause::Shortage`] try again later.
    #[error("the log could not be started: {0}")]
    Start(Cause),
}

/// Why nothing was checkpointed.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The LSN is not durable yet.
    #[error("LSN {lsn} is not durable yet, only up to {durable}; wait for it, then checkpoint")]
    NotDurable {
        /// The LSN asked for.
        lsn: Lsn,
        /// The watermark.
        durable: Lsn,
    },
    /// The log is closed, or was poisoned.
    #[error("the log takes no checkpoint: {cause}")]
    Closed {
        /// Why.
        cause: Cause,
    },
}

/// Why records could not be read.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum ReadError {
    /// A checkpoint has released the records.
    #[error("everything up to LSN {released} was released by a checkpoint; read from {} or later", .released.next())]
    Released {
        /// The low-water mark.
        released: Lsn,
    },
    /// The reader made no progress for longer than its lease, and its records may be gone.
    #[error(
        "the reader's lease on LSN {lsn} has run out; read faster, or configure a longer lease"
    )]
    LeaseExpired {
        /// Where it stood.
        lsn: Lsn,
    },
    /// An I/O error.
    #[error(transparent)]
    Io(#[from] IoFault),
    /// The records are damaged.
    #[error("damaged: {0}")]
    Damaged(#[from] Damage),
    /// The log is closed.
    #[error("the log is closed: {cause}")]
    Closed {
        /// Why.
        cause: Cause,
    },
}

/// Why a close was not clean. Acknowledged records are safe; the next open repairs what is left.
#[derive(Clone, Debug, Error)]
#[error("the log did not close cleanly: {cause}{}", describe_unresolved(.unresolved))]
pub struct CloseError {
    /// Why.
    pub cause: Cause,
    /// The LSNs whose outcome is not known.
    pub unresolved: Option<LsnRange>,
}

fn describe_unresolved(unresolved: &Option<LsnRange>) -> String {
    unresolved.map(|range| format!("; unresolved LSNs: {range}")).unwrap_or_default()
}

/// A value that could not be encoded as a record.
#[derive(Clone, Debug, Error)]
#[error("{0}")]
pub struct EncodeError(pub String);

/// Bytes that could not be decoded as a record.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct DecodeError(pub String);
