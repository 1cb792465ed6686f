//! A directory that is copied while somebody writes to it.

use std::collections::VecDeque;

use super::{SimDisk, image::FileId};

/// A copy in progress, as `cp -r` makes one: the names are read when it begins, each file is opened under
/// its name when its turn comes, and read piece by piece. So files are copied at different moments, one
/// that was renamed or removed in between is left out, and at any time the last one is there in part.
///
/// ```
/// # use actix_wal::testkit::SimDisk;
/// let disk = SimDisk::new();
/// disk.write_file("a", "abcd");
/// let mut copying = disk.begin_copy(1);
/// copying.advance(2);
/// assert_eq!(copying.copied().read_file("a").unwrap(), b"ab");
/// ```
#[derive(Debug)]
pub struct Copying {
    from: SimDisk,
    /// The files that are still to be opened.
    names: VecDeque<String>,
    open: Option<Open>,
    done: Vec<(String, Vec<u8>)>,
}

/// A file that is being copied, whatever becomes of its name meanwhile.
#[derive(Debug)]
struct Open {
    name: String,
    file: FileId,
    content: Vec<u8>,
}

impl Copying {
    pub(super) fn new(from: SimDisk, seed: u64) -> Copying {
        let mut names = from.names();
        // The order in which a directory is read is that of some hash of the names.
        names.sort_by_key(|name| {
            let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
            name.bytes().fold(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15), mix)
        });
        Copying { from, names: names.into(), open: None, done: Vec::new() }
    }

    /// Copies the next piece, of at most so many bytes of one file, as they are now. `false` when
    /// everything is copied.
    pub fn advance(&mut self, bytes: usize) -> bool {
        let Some(mut open) = self.open.take().or_else(|| self.open_next()) else {
            return false;
        };
        let is_done = self.from.with_image(|image| {
            let source = image.file(open.file).content();
            let rest = source.get(open.content.len()..).unwrap_or_default();
            let piece = bytes.min(rest.len());
            open.content.extend_from_slice(&rest[..piece]);
            piece == rest.len()
        });
        if is_done {
            self.done.push((open.name, open.content));
        } else {
            self.open = Some(open);
        }
        true
    }

    fn open_next(&mut self) -> Option<Open> {
        while let Some(name) = self.names.pop_front() {
            if let Some(file) = self.from.with_image(|image| image.id_of(&name)) {
                return Some(Open { name, file, content: Vec::new() });
            }
        }
        None
    }

    /// The copy as it is now, all of it durable.
    pub fn copied(&self) -> SimDisk {
        let copy = SimDisk::new();
        let open = self.open.iter().map(|open| (&open.name, &open.content));
        for (name, content) in self.done.iter().map(|(name, content)| (name, content)).chain(open) {
            copy.write_file(name, content.clone());
        }
        copy
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::write_all_at;

    fn copy_all(copying: &mut Copying) -> SimDisk {
        while copying.advance(1) {}
        copying.copied()
    }

    #[test]
    fn each_file_is_copied_as_it_is_when_its_turn_comes_and_piece_by_piece() {
        let disk = SimDisk::new();
        let storage = disk.mount().unwrap();
        for name in ["a", "b"] {
            write_all_at(&*storage.create(name).unwrap(), b"old", 0).unwrap();
        }
        let mut copying = disk.begin_copy(0);
        assert!(copying.advance(1));
        for name in ["a", "b"] {
            write_all_at(&*storage.open(name).unwrap(), b"NEW!", 0).unwrap();
        }
        let copied = copy_all(&mut copying);
        let mut contents = ["a", "b"].map(|name| copied.read_file(name).unwrap());
        contents.sort();
        assert_eq!(contents, [b"NEW!".to_vec(), b"oEW!".to_vec()]);
    }

    #[test]
    fn a_name_that_goes_before_its_turn_is_left_out_and_one_that_goes_later_is_not() {
        let disk = SimDisk::new();
        disk.write_file("a", "abc");
        disk.write_file("b", "abc");
        let storage = disk.mount().unwrap();
        let mut copying = disk.begin_copy(0);
        assert!(copying.advance(1));
        let under_way = copying.copied().names();
        for name in ["a", "b"] {
            storage.rename(name, &format!("{name}2")).unwrap();
        }
        let copied = copy_all(&mut copying);
        assert_eq!(copied.names(), under_way);
        assert_eq!(copied.read_file(&under_way[0]).unwrap(), b"abc");
    }

    #[test]
    fn the_seed_gives_the_order() {
        let disk = SimDisk::new();
        let names = ["1.wal", "2.wal", "3.wal", "4.wal"];
        names.iter().for_each(|name| disk.write_file(name, "x"));
        let first = |seed| {
            let mut copying = disk.begin_copy(seed);
            assert!(copying.advance(1));
            copying.copied().names()
        };
        let firsts: std::collections::BTreeSet<_> = (0..50).map(first).collect();
        assert_eq!(firsts.len(), names.len());
        assert_eq!(first(3), first(3));
    }
}
