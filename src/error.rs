//! What can go wrong: one enum per operation, each error with its place and its cause.
//!
//! Two questions matter to a caller, and every error answers both: *may the record be in the log?*
//! (see [`CommitError`]) and *what can be done about it?* (the last sentence of the message).

mod class;
mod damage;
mod io_fault;

use std::sync::Arc;
use std::{fmt, io};

use thiserror::Error;

pub use self::class::FaultClass;
pub use self::damage::{Damage, DamageKind, Loss, Sign};
pub(crate) use self::io_fault::is_no_space;
pub use self::io_fault::{IoFault, IoOp};
use crate::lsn::{Epoch, Lsn, LsnRange};

/// What an LSN may mean that the log has never had.
const OLDER_COPY: &str =
    "if the log once had it, an older copy was restored: look for the newer one";

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
    /// A blocking call on the thread of an Arbiter.
    #[error("{WOULD_BLOCK}")]
    WouldBlockArbiter,
}

/// What an error says of a blocking call on the thread of an Arbiter.
const WOULD_BLOCK: &str = "a blocking call on the thread of an Arbiter would stop the actors it waits for; await the call of the same name without `_blocking`";

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
    /// It builds on an epoch of which a record was given up, or an append that builds on it refused.
    #[error(
        "it builds on epoch {epoch}, of which something was given up; wait for the outcomes of what was put in, and begin again from what is durable"
    )]
    EpochEnded {
        /// The epoch that it names.
        epoch: Epoch,
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
    /// A blocking call on the thread of an Arbiter, where it could wait for itself forever.
    #[error("{WOULD_BLOCK}")]
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
    #[error("LSN {lsn} was never assigned, the next one is {next}; {OLDER_COPY}")]
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

/// Why a log could not be opened. Nothing was lost by trying; what was replayed to the host before the
/// error is to be thrown away, since the next attempt replays it again.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The configuration is not valid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Another log has the directory open. If that log is in this process and ending, `open` has waited for it for
    /// [`give_up_after`](crate::WalConfig::give_up_after).
    #[error("{directory} is in use by {holder}")]
    Locked {
        /// The directory.
        directory: String,
        /// Who has it open, as far as that can be known.
        holder: Holder,
    },
    /// No actix System runs on this thread, and no other place was chosen for the actors of the log.
    #[error(
        "no actix System runs on this thread; await the open in one, name an Arbiter with `in_arbiter`, or give the log a thread of its own with `on_own_thread`"
    )]
    NoSystem,
    /// The tokio runtime of the System has no timers, which the log needs.
    #[error("the tokio runtime of the System has no timers; build it with `enable_time`")]
    NoTimers,
    /// A blocking open on the thread of an Arbiter, where it could wait for itself forever.
    #[error(
        "a blocking open on the thread of an Arbiter would stop the actors of that Arbiter; await the open instead"
    )]
    WouldBlockArbiter,
    /// There is no log, and the settings ask for one: [`Existence::MustExist`](crate::Existence). Nothing was
    /// created.
    #[error(
        "there is no log in {directory}, and there must be one (existence is MustExist); see whether its file system is mounted, or open it with MayBegin once to begin a log"
    )]
    NoLog {
        /// The directory.
        directory: String,
    },
    /// Something in the directory is named like a file of a log and is none, and without it the log would start empty or end
    /// early. Nothing was changed.
    #[error("{directory}: {name} {sign}")]
    SignsOfLog {
        /// The directory.
        directory: String,
        /// The name in it.
        name: String,
        /// The sequence number in the name.
        segment: u64,
        /// What is wrong with it.
        sign: Sign,
    },
    /// The directory can not be opened or created: a file is in its place or above it, a link leads nowhere, or a
    /// folder does not let us.
    #[error("{directory} can not be the directory of a log: {obstacle} {problem}")]
    InTheWay {
        /// The directory.
        directory: String,
        /// What is in the way: the directory itself, or something above it.
        obstacle: String,
        /// What is wrong with that, and what to do.
        problem: &'static str,
        /// What the operating system said.
        #[source]
        source: Arc<io::Error>,
    },
    /// An I/O error.
    #[error(transparent)]
    Io(#[from] IoFault),
    /// The log is damaged: records are missing, or may be, or a file is not where it belongs. The message says which,
    /// and what to do; see [`Damage::remedy`].
    #[error("damaged: {damage}; {}", .0.remedy(), damage = .0)]
    Damaged(#[from] Damage),
    /// A later version of the crate wrote the log.
    #[error("{file}: {reason}; open the log with a later version of actix-wal")]
    NewerVersion {
        /// The segment.
        file: String,
        /// What it claims.
        reason: String,
    },
    /// The host wants to replay from an LSN that the log has never had: `next` is the first one that it may ask
    /// for, and gives no record.
    #[error("replay from LSN {from} is not possible: the log ends before LSN {next}; {OLDER_COPY}")]
    BeyondEnd {
        /// The LSN asked for.
        from: Lsn,
        /// The LSN of the next append.
        next: Lsn,
    },
    /// The host wants to replay from an LSN that a checkpoint has released.
    #[error(
        "replay from LSN {from} is not possible: a checkpoint has released everything up to LSN {released}; replay from LSN {} or later", .released.next()
    )]
    Released {
        /// The LSN asked for.
        from: Lsn,
        /// The low-water mark.
        released: Lsn,
    },
    /// The actor or the function that records are replayed to refused them, was stopped, or panicked.
    #[error("the log is sound, but its replay ended early: {reason}")]
    Replay {
        /// What it said, or what became of it.
        reason: String,
    },
    /// A thread could not be started, or an actor was stopped while the log was opening. Nothing of the log
    /// runs then; with [`Cause::Shortage`] try again later.
    #[error("the log could not be started: {0}")]
    Start(Cause),
}

/// Who has the directory of a log open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Holder {
    /// A log in this process, which is in use.
    ThisProcess,
    /// A log in this process that was ending and did not end in time: a sync is stuck, or a reader is still there.
    Ending,
    /// The process with this id.
    Process(u32),
    /// A process that can not be named, on this machine or on another one.
    Unknown,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Holder::ThisProcess => f.write_str("another log in this process; close that first"),
            Holder::Ending => f.write_str(
                "a log of this process that has not ended yet; drop its readers, and look whether its disk hangs",
            ),
            Holder::Process(id) => write!(f, "process {id}; end that first"),
            Holder::Unknown => f.write_str("another process; end that first"),
        }
    }
}

/// Why the current segment was not completed.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum RotateError {
    /// There is no other segment to go on in: the disk is full, or can not be written. The log goes on in the
    /// current one as long as it has room.
    #[error(
        "the log can not go on in another segment: {cause}; it goes on in this one; try again after that"
    )]
    NoSegment {
        /// Why.
        cause: Cause,
    },
    /// The log is closed, or was poisoned.
    #[error("the log completes no segment any more: {cause}")]
    Closed {
        /// Why.
        cause: Cause,
    },
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
    /// No record has this LSN yet.
    #[error("LSN {lsn} was never assigned, the next one is {next}; {OLDER_COPY}")]
    NeverAssigned {
        /// The LSN asked for.
        lsn: Lsn,
        /// The LSN the next append will get.
        next: Lsn,
    },
    /// A blocking call on the thread of an Arbiter, where it could wait for itself forever.
    #[error("{WOULD_BLOCK}")]
    WouldBlockArbiter,
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
    #[error("everything up to LSN {released} was released by a checkpoint; read from LSN {} or later", .released.next())]
    Released {
        /// The low-water mark.
        released: Lsn,
    },
    /// The log has never had this LSN: `next` is the first one that may be asked for, and gives no record before
    /// one is appended.
    #[error("LSN {from} can not be read: the log ends before LSN {next}; {OLDER_COPY}")]
    BeyondEnd {
        /// The LSN asked for.
        from: Lsn,
        /// The LSN of the next append.
        next: Lsn,
    },
    /// A record of the range has an LSN, but is not durable yet.
    #[error("LSN {lsn} is not durable yet, only up to {durable}; wait for it, then read")]
    NotDurable {
        /// The last LSN of the range.
        lsn: Lsn,
        /// The watermark.
        durable: Lsn,
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
    #[error("damaged: {damage}; {}", .0.remedy(), damage = .0)]
    Damaged(#[from] Damage),
    /// A blocking call on the thread of an Arbiter, where it could wait for itself forever.
    #[error("{WOULD_BLOCK}")]
    WouldBlockArbiter,
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
