//! Signs: what is named like a file of a log and is none. Absence is never read as emptiness: a directory with
//! such a name is not taken for an empty one, nor for a log that ends before it (promise P20).

use std::io::ErrorKind;

use super::survey::{Survey, possible};
use crate::config::Existence;
use crate::error::{Damage, DamageKind, IoFault, IoOp, Loss, OpenError, Sign};
use crate::format::segment::{FileKind, file_kind};
use crate::lsn::Lsn;
use crate::storage::{EntryKind, FileEntry};

/// The name of something that is no file of this log, but like one.
#[derive(Debug)]
pub(super) struct Found {
    name: String,
    segment: u64,
    sign: Sign,
}

/// What an entry of the directory is a sign of, if its name is like that of a file of a log.
fn sign_of(entry: &FileEntry) -> Option<Found> {
    let (segment, sign) = match file_kind(&entry.name) {
        FileKind::Segment(segment) | FileKind::Scratch(segment) | FileKind::SetAside(segment)
            if entry.kind != EntryKind::File =>
        {
            (segment, Sign::NotAFile { what: describe(entry.kind) })
        }
        FileKind::Scratch(segment) => (segment, Sign::Unfinished),
        FileKind::SetAside(segment) => (segment, Sign::SetAside),
        FileKind::Alike(segment) => (segment, Sign::OtherName),
        FileKind::Segment(_) | FileKind::Other => return None,
    };
    Some(Found { name: entry.name.clone(), segment, sign })
}

fn describe(kind: EntryKind) -> &'static str {
    match kind {
        EntryKind::File => "a file",
        EntryKind::Folder => "a folder",
        EntryKind::Link => "a symbolic link",
        EntryKind::Other => "a pipe, a socket or a device",
    }
}

/// The segments of a directory, and whatever else it holds.
pub(super) struct Listed<'a> {
    /// The number of the newest segment; `None` if there is none.
    pub(super) newest: Option<u64>,
    pub(super) entries: &'a [FileEntry],
}

impl Listed<'_> {
    /// The names that are like those of a log, in order.
    fn signs(&self) -> Vec<Found> {
        let mut found: Vec<_> = self.entries.iter().filter_map(sign_of).collect();
        found.sort_by(|one, other| one.name.cmp(&other.name));
        found
    }

    /// Whether the log can not have been without a segment that this may be.
    fn is_missed(&self, found: &Found) -> bool {
        let is_behind = self.newest.is_none_or(|newest| possible(found.segment) > newest);
        match found.sign {
            // Where a segment is missing, or is to be prepared.
            Sign::NotAFile { .. } => match file_kind(&found.name) {
                FileKind::SetAside(_) => is_behind,
                _ => true,
            },
            // A first segment may have been under way when the power failed.
            Sign::Unfinished => self.newest.is_none() && found.segment > 1,
            _ => is_behind,
        }
    }
}

impl Survey<'_> {
    /// Refuses a directory in which something stands for a segment that is not there, and one without a log
    /// where the settings ask for one.
    pub(super) fn check_signs(&mut self, listed: &Listed<'_>) -> Result<(), OpenError> {
        self.signs = listed.signs();
        if let Some(found) = self.signs.iter().find(|found| listed.is_missed(found)) {
            return Err(self.refuse(found));
        }
        if listed.newest.is_some() {
            return Ok(());
        }
        self.look_into_folders(listed)?;
        match self.config.existence {
            Existence::MayBegin => Ok(()),
            Existence::MustExist => Err(OpenError::NoLog { directory: self.storage.location() }),
        }
    }

    /// Looks for a log that was moved one folder deeper, or that the directory was mounted one folder above.
    fn look_into_folders(&self, listed: &Listed<'_>) -> Result<(), OpenError> {
        let may_be_folder =
            |entry: &&FileEntry| matches!(entry.kind, EntryKind::Folder | EntryKind::Link);
        for folder in listed.entries.iter().filter(may_be_folder) {
            let inner = match self.storage.list_folder(&folder.name) {
                Ok(inner) => inner,
                // A link to something else, or to nothing.
                Err(_) if folder.kind == EntryKind::Link => continue,
                // Gone since; or `lost+found` and the like, which the log has no business in.
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::NotFound | ErrorKind::PermissionDenied
                    ) =>
                {
                    continue;
                }
                Err(error) => {
                    return Err(IoFault::new(IoOp::List, &folder.name, None, error).into());
                }
            };
            let alike =
                inner.iter().filter_map(|entry| Some((segment_of(&entry.name)?, &entry.name)));
            if let Some((segment, name)) = alike.min() {
                let name = format!("{}/{name}", folder.name);
                return Err(self.refuse(&Found { name, segment, sign: Sign::Deeper }));
            }
        }
        Ok(())
    }

    /// A segment is not there; or it is, under another name.
    pub(super) fn missing(&self, segment: u64, lsn: Lsn, loss: Loss) -> OpenError {
        let stands_for = |found: &&Found| found.segment == segment && found.sign == Sign::OtherName;
        match self.signs.iter().find(stands_for) {
            Some(found) => self.refuse(found),
            None => {
                Damage { segment, offset: 0, lsn, loss, kind: DamageKind::MissingSegment }.into()
            }
        }
    }

    fn refuse(&self, found: &Found) -> OpenError {
        let Found { name, segment, sign } = found;
        OpenError::SignsOfLog {
            directory: self.storage.location(),
            name: name.clone(),
            segment: *segment,
            sign: *sign,
        }
    }
}

fn segment_of(name: &str) -> Option<u64> {
    match file_kind(name) {
        FileKind::Segment(segment)
        | FileKind::Scratch(segment)
        | FileKind::SetAside(segment)
        | FileKind::Alike(segment) => Some(segment),
        FileKind::Other => None,
    }
}
