//! Which disk this is.

use std::path::Path;

use nix::sys::statfs::{FsType, TMPFS_MAGIC, statfs};

/// The names of the file systems that are usual.
const NAMES: &[(i64, &str)] = &[
    (0x0102_1994, "tmpfs"),
    (0xef53, "ext4"),
    (0x5846_5342, "xfs"),
    (0x9123_683e, "btrfs"),
    (0x794c_7630, "overlayfs"),
    (0x2fc1_2fc1, "zfs"),
    (0x6969, "nfs"),
];

/// The file system and the processors, in words.
pub fn describe(path: &Path) -> String {
    let name = match statfs(path) {
        Ok(statistics) => {
            let FsType(magic) = statistics.filesystem_type();
            let known = NAMES.iter().find(|(known, _)| *known == magic);
            known.map_or_else(|| format!("file system {magic:#x}"), |(_, name)| (*name).to_owned())
        }
        Err(error) => format!("file system unknown ({error})"),
    };
    format!("{name}, {} processors", cores())
}

/// Says loudly that nothing is measured here.
pub fn warn_if_memory(path: &Path) {
    if statfs(path).is_ok_and(|statistics| statistics.filesystem_type() == TMPFS_MAGIC) {
        eprintln!(
            "WARNING: {} is on tmpfs, which is memory. A sync costs nothing there and proves nothing: these \
             figures say nothing about durable commits. Choose a directory on a disk with --dir.",
            path.display()
        );
    }
}

/// How many processors this process may use.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
