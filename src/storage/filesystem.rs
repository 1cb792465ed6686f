//! Which file system a directory lies on, and what that means for a log.

use std::{fs::File, io, os::fd::AsFd, path::Path};

use super::Medium;

/// The file systems known by the magic number that `statfs` gives for them.
///
/// An overlay does not tell what lies below it; like everything unknown it is taken for
/// [`Medium::InPlace`], where a wrong guess costs some useless zeros and never a record.
#[cfg(target_os = "linux")]
const KNOWN: &[(u32, &str, Medium)] = &[
    (0x0000_ef53, "ext4", Medium::InPlace), // ext2 and ext3 share the number
    (0x5846_5342, "xfs", Medium::InPlace),
    (0x9123_683e, "btrfs", Medium::CopyOnWrite),
    (0x2fc1_2fc1, "zfs", Medium::CopyOnWrite),
    (0xca45_1a4e, "bcachefs", Medium::CopyOnWrite),
    (0xf2f5_2010, "f2fs", Medium::CopyOnWrite), // a log itself: nothing is overwritten in place
    (0x0000_3434, "nilfs", Medium::CopyOnWrite),
    (0x0102_1994, "tmpfs", Medium::Memory),
    (0x8584_58f6, "ramfs", Medium::Memory),
    (0x794c_7630, "overlay", Medium::InPlace),
    (0x3153_464a, "jfs", Medium::InPlace),
    (0x5265_4973, "reiserfs", Medium::InPlace),
    (0x0000_4d44, "vfat", Medium::InPlace),
    (0x2011_bab0, "exfat", Medium::InPlace),
    (0x5346_544e, "ntfs", Medium::InPlace),
    (0x7366_746e, "ntfs3", Medium::InPlace),
    (0x0000_6969, "nfs", Medium::InPlace),
    (0xff53_4d42, "cifs", Medium::InPlace),
    (0xfe53_4d42, "smb2", Medium::InPlace),
    (0x6573_5546, "fuse", Medium::InPlace),
    (0x0102_1997, "9p", Medium::InPlace),
];

/// What people call the file system that `path` lies on: `"ext4"`, `"xfs"`, `"btrfs"`, `"tmpfs"`,
/// `"overlay"` and so on, or `"unknown (0x..)"` with the number that the kernel gives for it, or `"unknown"`
/// if it gives none.
///
/// # Errors
/// The error of opening `path`, which must exist and be readable.
pub fn filesystem_name(path: impl AsRef<Path>) -> io::Result<String> {
    Ok(identify(&File::open(path)?).0)
}

/// The name and the kind of the file system that `fd` lies on. One that does not answer is unknown.
#[cfg(target_os = "linux")]
pub(super) fn identify(fd: impl AsFd) -> (String, Medium) {
    match rustix::fs::fstatfs(fd) {
        // Magic numbers have 32 bits, but `f_type` is a signed word of the machine's width.
        Ok(stat) => named(stat.f_type as u32),
        Err(_) => ("unknown".to_owned(), Medium::InPlace),
    }
}

/// Without Linux's magic numbers every file system is taken for one that overwrites in place.
#[cfg(not(target_os = "linux"))]
pub(super) fn identify(_fd: impl AsFd) -> (String, Medium) {
    ("unknown".to_owned(), Medium::InPlace)
}

#[cfg(target_os = "linux")]
fn named(magic: u32) -> (String, Medium) {
    match KNOWN.iter().find(|(known, ..)| *known == magic) {
        Some((_, name, medium)) => ((*name).to_owned(), *medium),
        None => (format!("unknown ({magic:#x})"), Medium::InPlace),
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn file_systems_are_told_apart_by_their_magic_number() {
        assert_eq!(named(0xef53), ("ext4".to_owned(), Medium::InPlace));
        assert_eq!(named(0x9123_683e).1, Medium::CopyOnWrite);
        assert_eq!(named(0x0102_1994).1, Medium::Memory);
    }

    #[test]
    fn an_unknown_file_system_is_named_by_its_number_and_taken_for_in_place() {
        assert_eq!(named(0xabcd), ("unknown (0xabcd)".to_owned(), Medium::InPlace));
    }

    #[test]
    fn no_magic_number_is_listed_twice() {
        for (index, (magic, ..)) in KNOWN.iter().enumerate() {
            assert!(KNOWN[..index].iter().all(|(other, ..)| other != magic), "{magic:#x}");
        }
    }

    #[test]
    fn a_memory_file_system_gives_its_name() {
        assert_eq!(filesystem_name("/dev/shm").unwrap(), "tmpfs");
    }
}
