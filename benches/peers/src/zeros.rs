//! Files that are allocated and written before they are needed, so that a sync has no metadata to write.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// The page cache keeps a file in folios as large as the writes that made it, and a sync looks through all of each folio
/// that was touched. With folios of a MiB a small write is some microseconds slower, with those of a page a large write
/// takes half as long again; in between nothing is lost either way, so this is the fastest that a disk can be had.
const PIECE: usize = 64 << 10;

/// A new file of zeros that is on the disk already, for small writes.
pub fn zero_filled(path: &Path, size: u64) -> io::Result<File> {
    zero_filled_in(PIECE, path, size)
}

/// The same, written in pieces of this size: for writes as large as that, large folios are the faster ones.
pub fn zero_filled_in(piece: usize, path: &Path, size: u64) -> io::Result<File> {
    let file = File::options().read(true).write(true).create_new(true).open(path)?;
    let zeros = vec![0; piece];
    let mut at = 0;
    while at < size {
        let next = (size - at).min(zeros.len() as u64);
        file.write_all_at(&zeros[..next as usize], at)?;
        at += next;
    }
    file.sync_all()?;
    Ok(file)
}

/// Waits until everything that was written to this file system is on the disk: what an engine has prepared and
/// not synced is not to be paid for by its first commits.
pub fn settle(place: &Path) -> io::Result<()> {
    Ok(nix::unistd::syncfs(File::open(place)?)?)
}

/// How many MiB an engine should prepare that can do so only before it starts: more than it writes in a run.
pub fn enough_mib(size: usize) -> u32 {
    if size <= 1024 { 256 } else { 1024 }
}
