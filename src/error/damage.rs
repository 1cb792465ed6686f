//! What is wrong with the files of a log, whether records are missing, and what to do.

use std::fmt;

use thiserror::Error;

use crate::lsn::Lsn;

/// Damage that recovery refuses to skip.
#[derive(Clone, Debug)]
pub struct Damage {
    /// The sequence number of the segment.
    pub segment: u64,
    /// The offset in it, in bytes.
    pub offset: u64,
    /// The LSN of the first record that can not be read; [`Lsn::NONE`] where only the others could tell.
    pub lsn: Lsn,
    /// Whether records are missing.
    pub loss: Loss,
    /// What is wrong.
    pub kind: DamageKind,
}

/// Whether records are missing from a damaged log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Loss {
    /// What was durable from the LSN of the damage on can not be read.
    Certain,
    /// Up to the LSN of the damage nothing is missing. Whether more was durable can not be told.
    Possible,
    /// Nothing is known to be missing: a file is not where it belongs.
    None,
}

impl Damage {
    /// The name of the file.
    pub fn file(&self) -> String {
        format!("{:020}.wal", self.segment)
    }

    /// What to do about it.
    pub fn remedy(&self) -> String {
        let file = self.file();
        match &self.kind {
            DamageKind::MissingSegment => {
                format!("put it back, or restore the log from a copy; {SALVAGE} ends the log before it")
            }
            DamageKind::SwappedSegment { found } => format!(
                "give the file back its name {found:020}.wal if that is free, or move it away, and put segment {} in its place",
                self.segment
            ),
            DamageKind::ForeignSegment { .. } => {
                "move it away, and put the segment of this log in its place if there is one".to_owned()
            }
            DamageKind::NoSuchNumber => "move it away".to_owned(),
            DamageKind::ShortenedSegment { expected, .. } if self.loss == Loss::Possible => format!(
                "if a copy left out the zeros at its end, give them back (truncate -s {expected} {file}), else restore it from a copy; {SALVAGE} ends the log here"
            ),
            DamageKind::EmptySegment => {
                "restore it from a copy, or move it away if it was put here by hand and never was a segment".to_owned()
            }
            DamageKind::SegmentHeader { .. } => format!(
                "restore it from a copy; {SALVAGE} opens the log without it, and keeps the file aside"
            ),
            _ => format!(
                "restore it from a copy; {SALVAGE} ends the log before it, and keeps the rest aside"
            ),
        }
    }
}

/// For who has no copy.
const SALVAGE: &str = "without one, an open with DamagePolicy::Salvage";

impl std::error::Error for Damage {}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file())?;
        if self.offset > 0 {
            write!(f, ", offset {}", self.offset)?;
        }
        write!(f, ": {}", self.kind)?;
        let lsn = self.lsn;
        match self.loss {
            Loss::None => f.write_str("; no record is known to be missing"),
            Loss::Certain if lsn.is_none() => f.write_str("; its records can not be read"),
            Loss::Certain => write!(f, "; what was durable from LSN {lsn} on can not be read"),
            Loss::Possible if lsn.is_none() => {
                f.write_str("; whether it held records can not be told")
            }
            Loss::Possible => {
                write!(f, "; whether there were records from LSN {lsn} on can not be told")
            }
        }
    }
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
    /// The file holds nothing. A segment has a header before it has its name.
    #[error("the file is empty, which a segment never is")]
    EmptySegment,
    /// The first block of a file is not a segment header.
    #[error("{reason}")]
    SegmentHeader {
        /// Why not.
        reason: String,
    },
    /// No segment ever has the sequence number in the name.
    #[error("no segment ever has this sequence number")]
    NoSuchNumber,
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

impl DamageKind {
    /// One word for it, for programs. It stays what it is.
    pub fn name(&self) -> &'static str {
        match self {
            DamageKind::MissingSegment => "missing-segment",
            DamageKind::SwappedSegment { .. } => "swapped-segment",
            DamageKind::ForeignSegment { .. } => "foreign-segment",
            DamageKind::ShortenedSegment { .. } => "shortened-segment",
            DamageKind::EmptySegment => "empty-segment",
            DamageKind::SegmentHeader { .. } => "segment-header",
            DamageKind::NoSuchNumber => "no-such-number",
            DamageKind::Frame { .. } => "frame",
            DamageKind::Contradiction { .. } => "contradiction",
        }
    }
}

/// Why a name in a directory is a sign of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Sign {
    /// It is the name of a file of the log, and what bears it is no regular file.
    #[error(
        "is {what}, and a log has regular files only; put the file itself in its place, or move it out of the directory if it belongs to no log"
    )]
    NotAFile {
        /// What it is.
        what: &'static str,
    },
    /// It is like the name of a segment that is not there: compressed, a backup, in capital letters.
    #[error(
        "is named like a segment of a log, and that segment is not here; give it back its content and its name, or move it out of the directory if it belongs to no log"
    )]
    OtherName,
    /// There is no segment in the directory, but there is one in a folder of it.
    #[error(
        "lies in a folder, and the directory has no segment itself; open the folder or move its files up, or move it out of the directory to begin a new log here"
    )]
    Deeper,
    /// It is what a salvage set aside, without the segments that were written after it.
    #[error(
        "was set aside by a salvage, and the segments that were written after it are not here; put them back, or move it out of the directory to begin a new log here"
    )]
    SetAside,
    /// It was being prepared to follow on segments that are not there.
    #[error(
        "was being prepared, and the segments before it are not here; put them back, or move it out of the directory to begin a new log here"
    )]
    Unfinished,
}
