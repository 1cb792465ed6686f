//! Looks at the files of a log without owning them: for tools, and for a second look at what recovery says.
//!
//! [`LogFiles`] reads and never writes, takes no lock, and works beside a running log. It reads with the code that recovery
//! reads with, so that both call the same bytes sound.
//!
//! | to know | ask | which reads |
//! |---|---|---|
//! | what is there | [`LogFiles::overview`] | two headers of each segment, and those of the last one's frames |
//! | whether it is sound | [`LogFiles::check`] | every live byte |
//! | whether the disk is | [`LogFiles::check_deep`] | every live byte, and released segments |
//! | what was appended | [`LogFiles::frames`] | frames, from an LSN on |
//! | what a salvage would cost | [`LogFiles::preview_salvage`] | all frames |
//! | a copy of it | [`LogFiles::copy_to`] | every live byte |
//!
//! What an owner writes meanwhile may be seen or not, and is not known to be durable before a later frame says so.
//!
//! ```no_run
//! use actix_wal::inspect::LogFiles;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let files = LogFiles::open("data/wal")?;
//! let findings = files.check(&mut |_| {})?;
//! for problem in &findings.problems {
//!     println!("{problem}; {}", problem.remedy());
//! }
//! # Ok(()) }
//! ```

mod check;
mod copy;
mod frames;
mod outline;
mod overview;
mod released;
mod salvage;
mod walk;

use std::path::Path;
use std::sync::Arc;

pub use check::{Findings, Problem, Severity};
pub use copy::{Copied, CopyError};
pub use frames::{FrameView, Frames, LogItem};
pub use outline::Outline;
pub use overview::{OtherFile, Overview, SegmentOverview, SegmentState, Started};
pub use salvage::SalvagePreview;

pub use crate::engine::recovery::Progress;
use crate::error::{Holder, IoFault, IoOp, OpenError};
use crate::lsn::Lsn;
use crate::storage::{ReadOnly, Storage};

/// The files of one log, opened for reading only. A value of this type keeps nobody from opening, writing or removing
/// them.
#[derive(Clone, Debug)]
pub struct LogFiles {
    storage: Arc<dyn Storage>,
    directory: Option<Arc<ReadOnly>>,
}

impl LogFiles {
    /// The log in the directory at `path`.
    ///
    /// # Errors
    /// It is not there, is no directory, or may not be read. Whether there is a log in it, the calls tell.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, IoFault> {
        let path = path.as_ref();
        let opened = ReadOnly::open(path);
        let location = path.display().to_string();
        let directory = Arc::new(
            opened.map_err(|error| IoFault::new(IoOp::OpenDirectory, location, None, error))?,
        );
        Ok(LogFiles { storage: Arc::clone(&directory) as _, directory: Some(directory) })
    }

    /// The log in any storage. Nothing in it is changed. A [`Directory`](crate::storage::Directory) would lock it: see
    /// [`open`](Self::open).
    pub fn on(storage: Arc<dyn Storage>) -> Self {
        LogFiles { storage, directory: None }
    }

    /// The process that has the log open, as far as the kernel tells. A hint, and old when it arrives: only
    /// opening the log tells for sure.
    pub fn owner(&self) -> Option<Holder> {
        self.directory.as_ref()?.owner()
    }

    /// What the headers say: segments, LSNs, epochs, sizes. A thousand segments take milliseconds.
    ///
    /// # Errors
    /// The directory or a file can not be read. Damage is no error: it stands at the segment.
    pub fn overview(&self) -> Result<Overview, IoFault> {
        overview::take(&*self.storage)
    }

    /// Reads every live byte and finds all that is wrong, also behind the first damage. It says "clean" or "torn" of
    /// exactly the logs that an open would call so, for it does what an open does before that writes anything.
    ///
    /// `progress` is called with the bytes that were read.
    ///
    /// # Errors
    /// The directory or a file can not be read. Damage is no error: it is found.
    pub fn check(&self, progress: &mut dyn FnMut(Progress)) -> Result<Findings, IoFault> {
        check::check(self, progress)
    }

    /// The same, and reads as well what no open does: segments that a checkpoint has released and that are not removed yet.
    /// What is damaged there is no loss, but shows what the disk is worth.
    ///
    /// # Errors
    /// Those of [`check`](Self::check).
    pub fn check_deep(&self, progress: &mut dyn FnMut(Progress)) -> Result<Findings, IoFault> {
        let mut findings = self.check(progress)?;
        released::check(self, &mut findings, progress)?;
        Ok(findings)
    }

    /// The live frames from the one that holds `from` on, or what comes first behind that.
    ///
    /// # Errors
    /// The directory or a file can not be read.
    pub fn frames(&self, from: Lsn) -> Result<Frames, IoFault> {
        Ok(Frames::new(self.clone(), self.overview()?, from))
    }

    /// Copies the live part of the log, up to `until` or to its end, into a new directory at `to`. Beside an owner the copy
    /// ends at a moment of the call. It is checked before it gets its name; the log is the same one, so never let both be
    /// written to.
    ///
    /// A copy that ends at an LSN ends exactly there: of the last frame only the records up to it are written. The format
    /// does not say where a group of records ends that was appended as one: give the LSN of its last record.
    ///
    /// # Errors
    /// See [`CopyError`]. What was begun lies in `to` with `.partial` behind its name; the next copy there removes it.
    pub fn copy_to(
        &self,
        to: impl AsRef<Path>,
        until: Option<Lsn>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Copied, CopyError> {
        copy::copy(self, to.as_ref(), until, progress)
    }

    /// What an open under [`DamagePolicy::Salvage`](crate::DamagePolicy) would cost; `None` if the log opens without it.
    /// Nothing is changed. Beside an owner it may see a frame that is being written as damage.
    ///
    /// # Errors
    /// A salvage would fail, too: there is no log, a newer version wrote it, or a file is there under another name.
    pub fn preview_salvage(&self) -> Result<Option<SalvagePreview>, OpenError> {
        salvage::preview(self)
    }

    pub(crate) fn storage(&self) -> &Arc<dyn Storage> {
        &self.storage
    }
}

impl From<OpenError> for Problem {
    fn from(error: OpenError) -> Self {
        Problem::new(error)
    }
}
