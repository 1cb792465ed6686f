//! Controls that fit no seam: small patches to the sources of the log.

#[path = "patches_disk.rs"]
mod disk;
#[path = "patches_log.rs"]
mod log;
#[path = "patches_recovery.rs"]
mod recovery;
#[path = "patches_time.rs"]
mod time;

/// One deliberate bug.
#[derive(Debug)]
pub(crate) struct Patch {
    pub(crate) name: &'static str,
    /// The promise that it breaks.
    pub(crate) promise: &'static str,
    pub(crate) edits: &'static [Edit],
}

/// A text that is there once, and what takes its place.
#[derive(Debug)]
pub(crate) struct Edit {
    pub(crate) file: &'static str,
    pub(crate) find: &'static str,
    pub(crate) replace: &'static str,
}

/// All of them.
pub(crate) fn all() -> impl Iterator<Item = &'static Patch> {
    [disk::PATCHES, log::PATCHES, recovery::PATCHES, time::PATCHES].into_iter().flatten()
}

const fn edit(file: &'static str, find: &'static str, replace: &'static str) -> Edit {
    Edit { file, find, replace }
}
