//! Making one segment ready: all the space it will need, its header durable, its name durable.
//!
//! A segment gets its final name only once its content is durable, and counts as prepared only once the
//! name is durable too. So a file that bears a segment's name is complete, whenever the power failed.

use std::{io, sync::Arc};

use crate::error::{FaultClass, IoFault, IoOp, is_no_space};

use crate::storage::{Storage, StorageFile, write_all_at};

/// How many zeros go into one write. The page cache keeps what was written at once in one piece, and the sync
/// of a small frame in a large piece takes longer.
const ZEROS: usize = 64 << 10;

/// What to prepare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrepareJob {
    /// The name the segment gets once it is durable.
    pub name: String,
    /// The name it has until then. What bears it already is a leftover, and removed.
    pub temp_name: String,
    /// How large the segment is to be.
    pub size: u64,
    /// What stands at its beginning.
    pub header: Vec<u8>,
    /// Whether to write zeros up to `size`; without them the file ends after its header and grows.
    pub zero_fill: bool,
    /// An old segment of the same size that nobody needs, to be overwritten instead of a new file.
    pub recycle: Option<String>,
    /// The block size of the log: the first write into the segment begins at a multiple of it.
    pub block_size: usize,
}

/// Why a segment could not be prepared.
#[derive(Clone, Debug, thiserror::Error)]
#[error("can not {op} {file} while preparing a segment")]
pub struct PrepareFault {
    /// What failed: a verb.
    pub op: &'static str,
    /// The name of the file it failed on.
    pub file: String,
    /// Whether the segment's name is taken, or may be after power loss, so that nothing else should be
    /// prepared under it.
    pub name_taken: bool,
    /// The cause.
    #[source]
    pub source: Arc<io::Error>,
}

impl PrepareFault {
    /// Whether there is just no space (`ENOSPC`) or no quota (`EDQUOT`) left.
    pub fn is_no_space(&self) -> bool {
        is_no_space(&self.source)
    }

    /// What kind of fault it is.
    pub fn class(&self) -> FaultClass {
        FaultClass::of(&self.source)
    }

    /// The same, for those who do not care how a segment is made.
    pub fn to_io_fault(&self) -> IoFault {
        let said = Said { op: self.op, source: Arc::clone(&self.source) };
        let source = io::Error::new(self.source.kind(), said);
        IoFault::new(IoOp::Prepare, &self.file, None, source)
    }

    fn at(op: &'static str, file: &str) -> impl FnOnce(io::Error) -> PrepareFault {
        let file = file.to_owned();
        move |source| PrepareFault { op, file, name_taken: false, source: Arc::new(source) }
    }
}

/// An I/O error and what was being done. The number of the error stays within reach.
#[derive(Debug, thiserror::Error)]
#[error("can not {op} it: {source}")]
struct Said {
    op: &'static str,
    source: Arc<io::Error>,
}

/// Prepares one segment in one call and gives it back open, durable under its final name.
///
/// # Errors
/// What failed, and on which file. Nothing of the attempt is kept: the unfinished file and the one that
/// was to be recycled are removed, as far as the storage still lets us.
pub fn prepare(
    storage: &dyn Storage,
    job: &PrepareJob,
) -> Result<Box<dyn StorageFile>, PrepareFault> {
    let mut preparation = Preparation::new(job.clone());
    loop {
        if let Some(file) = preparation.step(storage, u64::MAX)? {
            return Ok(file);
        }
    }
}

/// A segment that is being prepared, one piece of zeros after the other. Commits share the device: a sync of
/// theirs waits for the zeros that are on their way, so a preparer without hurry writes small pieces.
#[derive(Debug)]
pub(super) struct Preparation {
    job: PrepareJob,
    /// The temporary file; `None` before the first step.
    file: Option<Box<dyn StorageFile>>,
    /// How many zeros are still to be written, in bytes.
    zeros_left: u64,
}

impl Preparation {
    /// Nothing was done for this job yet.
    pub(super) fn new(job: PrepareJob) -> Self {
        let zeros_left = if job.zero_fill && job.recycle.is_none() { job.size } else { 0 };
        Preparation { job, file: None, zeros_left }
    }

    /// The name that the segment gets.
    pub(super) fn name(&self) -> &str {
        &self.job.name
    }

    /// How many zeros are still to be written, in bytes.
    pub(super) fn zeros_left(&self) -> u64 {
        self.zeros_left
    }

    /// Writes and syncs at most `piece` bytes of zeros. With the last of them the segment is complete: it is
    /// given back open, durable under its final name.
    ///
    /// # Errors
    /// What failed, and on which file. Nothing of the attempt is kept: the unfinished file and the one that
    /// was to be recycled are removed, as far as the storage still lets us.
    pub(super) fn step(
        &mut self,
        storage: &dyn Storage,
        piece: u64,
    ) -> Result<Option<Box<dyn StorageFile>>, PrepareFault> {
        let stepped = self.try_step(storage, piece);
        if stepped.is_err() {
            self.file = None;
            discard(storage, &self.job);
        }
        stepped
    }

    /// Removes what there is of it, as far as the storage lets us.
    pub(super) fn give_up(self, storage: &dyn Storage) {
        drop(self.file);
        discard(storage, &self.job);
    }

    fn try_step(
        &mut self,
        storage: &dyn Storage,
        piece: u64,
    ) -> Result<Option<Box<dyn StorageFile>>, PrepareFault> {
        let job = &self.job;
        let file = match self.file.take() {
            Some(file) => file,
            None => begin(storage, job)?,
        };
        let zeros = self.zeros_left.min(piece);
        fill_with_zeros(&*file, job.size - self.zeros_left, zeros)
            .map_err(PrepareFault::at("zero-fill", &job.temp_name))?;
        self.zeros_left -= zeros;
        let is_last = self.zeros_left == 0;
        if is_last && job.recycle.is_none() {
            write_all_at(&*file, &job.header, 0)
                .map_err(PrepareFault::at("write", &job.temp_name))?;
        }
        file.sync().map_err(PrepareFault::at("sync", &job.temp_name))?;
        if is_last {
            publish(storage, job)?;
            return Ok(Some(file));
        }
        self.file = Some(file);
        Ok(None)
    }
}

/// Opens the temporary file: a new one, or an old segment.
fn begin(storage: &dyn Storage, job: &PrepareJob) -> Result<Box<dyn StorageFile>, PrepareFault> {
    let temp = &job.temp_name;
    match storage.remove(temp) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(PrepareFault::at("remove", temp)(error));
        }
        _ => {}
    }
    if let Some(old_name) = &job.recycle {
        return take_over(storage, job, old_name);
    }
    if job.zero_fill {
        check_space(storage, job.size).map_err(PrepareFault::at("find space for", temp))?;
    }
    storage.create(temp).map_err(PrepareFault::at("create", temp))
}

/// A full disk is better found out before it is filled to the last byte, again at every attempt: others
/// write there too. Where the free space is not known, the write finds out.
fn check_space(storage: &dyn Storage, size: u64) -> io::Result<()> {
    if let Some(free) = storage.free_bytes().filter(|free| *free < size) {
        let message = format!("{size} bytes are needed, {free} are free");
        return Err(io::Error::new(io::ErrorKind::StorageFull, message));
    }
    Ok(())
}

fn fill_with_zeros(file: &dyn StorageFile, mut offset: u64, count: u64) -> io::Result<()> {
    let zeros = vec![0; ZEROS.min(usize::try_from(count).unwrap_or(ZEROS))];
    let end = offset + count;
    while offset < end {
        let rest = usize::try_from(end - offset).unwrap_or(ZEROS);
        let chunk = &zeros[..rest.min(ZEROS)];
        write_all_at(file, chunk, offset)?;
        offset += chunk.len() as u64;
    }
    Ok(())
}

/// Turns an old segment into the temporary file.
fn take_over(
    storage: &dyn Storage,
    job: &PrepareJob,
    old_name: &str,
) -> Result<Box<dyn StorageFile>, PrepareFault> {
    let temp = &job.temp_name;
    storage.rename(old_name, temp).map_err(PrepareFault::at("rename", old_name))?;
    // Before a byte changes: power loss must not bring the old name back over the new content.
    storage.sync_dir().map_err(PrepareFault::at("sync the directory of", temp))?;
    let file = storage.open(temp).map_err(PrepareFault::at("open", temp))?;
    let size = file.size().map_err(PrepareFault::at("measure", temp))?;
    if size != job.size {
        let message = format!("it has {size} bytes instead of {}", job.size);
        return Err(PrepareFault::at("recycle", temp)(io::Error::new(
            io::ErrorKind::InvalidData,
            message,
        )));
    }
    // The header's blocks and the block after them, where the first frame of the old life lies.
    let blank = (job.header.len().next_multiple_of(job.block_size) + job.block_size) as u64;
    let mut front = vec![0; usize::try_from(blank.min(size)).unwrap_or(job.header.len())];
    front[..job.header.len()].copy_from_slice(&job.header);
    write_all_at(&*file, &front, 0).map_err(PrepareFault::at("write", temp))?;
    Ok(file)
}

/// Gives the durable content its final name, durably.
fn publish(storage: &dyn Storage, job: &PrepareJob) -> Result<(), PrepareFault> {
    let name = &job.name;
    if let Err(error) = storage.rename(&job.temp_name, name) {
        return Err(PrepareFault {
            name_taken: is_taken(storage, name),
            ..PrepareFault::at("rename to", name)(error)
        });
    }
    if let Err(error) = storage.sync_dir() {
        // Of no use: nobody knows whether the name is durable. But it stays, and costs one block: to
        // recovery, a number that is left out is a segment that was lost.
        let _ = storage.open(name).and_then(|file| file.set_size(job.header.len() as u64));
        return Err(PrepareFault {
            name_taken: true,
            ..PrepareFault::at("sync the directory of", name)(error)
        });
    }
    Ok(())
}

/// Whether a file bears the name. If the storage does not say, the next attempt asks again: a rename
/// never replaces, and a number that is left out without a file is taken for a lost segment.
fn is_taken(storage: &dyn Storage, name: &str) -> bool {
    storage.list().is_ok_and(|files| files.iter().any(|file| file.name == name))
}

/// Removes what a failed attempt may have left. It is best effort: the fault at hand is the one to
/// report, the next attempt removes the temporary file again, and so does the next open.
fn discard(storage: &dyn Storage, job: &PrepareJob) {
    let _ = storage.remove(&job.temp_name);
    if let Some(old_name) = &job.recycle {
        let _ = storage.remove(old_name);
    }
}

#[cfg(test)]
mod tests;
