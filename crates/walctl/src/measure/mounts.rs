//! Which mount a directory lies on: `/proc/self/mountinfo`, see proc(5).

use std::path::{Path, PathBuf};

/// One line of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MountLine {
    /// The device number, such as `8:2`. Several file systems give a number that names no block device.
    pub(crate) number: String,
    /// Where it is mounted.
    pub(crate) place: PathBuf,
    /// The type, such as `ext4`.
    pub(crate) kind: String,
    /// What is mounted: `/dev/sda2`, or any word.
    pub(crate) source: String,
    /// The options of the mount and of its file system.
    pub(crate) options: Vec<String>,
}

/// The mount that `directory` lies on. `directory` is absolute and without links, `number` is its device number.
///
/// The deepest mount point above the directory is the one; of several at one place the last, which hides the others. A
/// mount of another device may be hidden by one above it, so one with the number of the directory comes first. A
/// subvolume of btrfs has a number that no mount has.
pub(crate) fn mount_of(mountinfo: &str, directory: &Path, number: &str) -> Option<MountLine> {
    let above =
        mountinfo.lines().filter_map(parse).filter(|line| directory.starts_with(&line.place));
    above.max_by_key(|line| (line.number == number, line.place.components().count()))
}

/// `36 35 98:0 /root /mnt rw,noatime master:1 - ext3 /dev/root rw,errors=continue`
fn parse(line: &str) -> Option<MountLine> {
    let (mount, system) = line.split_once(" - ")?;
    let mut mount = mount.split(' ').skip(2);
    let (number, _root, place) = (mount.next()?, mount.next()?, mount.next()?);
    let of_mount = mount.next()?;
    let mut system = system.split(' ');
    let (kind, source) = (system.next()?, system.next()?);
    let of_system = system.next().unwrap_or_default();
    let mut options: Vec<String> = Vec::new();
    for option in of_mount.split(',').chain(of_system.split(',')).filter(|it| !it.is_empty()) {
        if !options.iter().any(|known| known == option) {
            options.push(option.to_owned());
        }
    }
    Some(MountLine {
        number: number.to_owned(),
        place: PathBuf::from(unescape(place)),
        kind: kind.to_owned(),
        source: unescape(source),
        options,
    })
}

/// A blank in a name is written as `\040`, and so are the other characters that would end a field.
fn unescape(field: &str) -> String {
    let marks = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    marks.iter().fold(field.to_owned(), |field, (mark, it)| field.replace(mark, it))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard
25 24 0:23 / /dev/shm rw - tmpfs first rw
30 25 0:27 / /dev/shm rw - tmpfs second rw,size=1k
40 27 8:2 /sub /srv/my\\040data rw,noatime shared:1 - xfs /dev/sda2 rw,noatime,nobarrier
41 27 8:3 / /srv/my\\040data/deep rw - xfs /dev/sda3 rw
no line at all
";

    fn found(directory: &str, number: &str) -> MountLine {
        mount_of(MOUNTS, Path::new(directory), number).expect("there is a root")
    }

    #[test]
    fn the_deepest_mount_is_the_one_and_of_two_at_one_place_the_last() {
        assert_eq!(found("/home/x", "254:0").source, "/dev/vda");
        assert_eq!(found("/dev/shm/x", "0:27").source, "second");
        assert_eq!(found("/dev/shm/x", "0:99").source, "second", "btrfs has numbers of its own");
        assert_eq!(found("/srv/my data/wal", "8:2").source, "/dev/sda2");
        assert_eq!(found("/srv/my data/deep", "8:2").source, "/dev/sda2", "8:3 is hidden");
        assert_eq!(found("/srv/my database", "254:0").source, "/dev/vda", "no part of a name");
    }

    #[test]
    fn options_of_mount_and_file_system_are_listed_once() {
        let mount = found("/srv/my data", "8:2");
        assert_eq!(mount.options, ["rw", "noatime", "nobarrier"]);
        assert_eq!((mount.kind.as_str(), mount.number.as_str()), ("xfs", "8:2"));
    }
}
