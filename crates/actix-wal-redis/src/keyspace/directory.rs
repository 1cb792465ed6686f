//! Which keyspace each database shows.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// How many databases there are.
pub const DATABASES: usize = 16;

/// The number of a keyspace: the first four bytes of its keys in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyspaceId(pub(super) u32);

/// The key of the directory in the store.
pub(super) const DIRECTORY: &[u8] = &[0, 0, 0, 0];
/// What the keys of the times begin with at which keys expire.
pub(super) const DUE: u32 = 1;
/// The first number of a keyspace.
const FIRST: u32 = 16;

/// The bytes of one that has nothing to be emptied.
const SHORTEST: usize = 4 * (DATABASES + 1);

/// Which keyspace each database shows, and which are to be emptied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    shown: [u32; DATABASES],
    /// From here on a number is looked for that no keyspace has.
    next: u32,
    /// Those that no database shows any more, and that may still have keys.
    flushed: Vec<u32>,
}

impl Default for Directory {
    fn default() -> Self {
        let mut shown = [0; DATABASES];
        shown.iter_mut().zip(FIRST..).for_each(|(shown, id)| *shown = id);
        Directory { shown, next: FIRST + DATABASES as u32, flushed: Vec::new() }
    }
}

impl Directory {
    /// That of a stored value. `None`: it is none of ours.
    pub(super) fn from_stored(mut stored: Bytes) -> Option<Self> {
        if stored.len() < SHORTEST || !stored.len().is_multiple_of(4) {
            return None;
        }
        let mut shown = [0; DATABASES];
        shown.iter_mut().for_each(|shown| *shown = stored.get_u32());
        let next = stored.get_u32();
        let flushed: Vec<_> = std::iter::from_fn(|| stored.try_get_u32().ok()).collect();
        // The other numbers are not those of keyspaces.
        let is_ours = shown.iter().chain(&flushed).all(|id| *id >= FIRST);
        is_ours.then_some(Directory { shown, next, flushed })
    }

    /// The keyspace of a database, straight from the stored directory; that of the default one if none is stored.
    pub(super) fn look_up(stored: Option<&Bytes>, database: usize) -> Option<KeyspaceId> {
        let Some(stored) = stored else {
            return Some(KeyspaceId(FIRST + database as u32));
        };
        if stored.len() < SHORTEST {
            return None;
        }
        let at = 4 * database;
        let id = u32::from_be_bytes(stored.get(at..at + 4)?.try_into().ok()?);
        (id >= FIRST).then_some(KeyspaceId(id))
    }

    /// As it is stored.
    pub(super) fn stored(&self) -> Bytes {
        let mut stored = BytesMut::with_capacity(4 * (DATABASES + 1 + self.flushed.len()));
        self.shown.iter().for_each(|id| stored.put_u32(*id));
        stored.put_u32(self.next);
        self.flushed.iter().for_each(|id| stored.put_u32(*id));
        stored.freeze()
    }

    /// The keyspace that a database shows.
    pub fn keyspace(&self, database: usize) -> KeyspaceId {
        KeyspaceId(self.shown[database])
    }

    /// Exchanges what two databases show.
    pub fn swap(&mut self, one: usize, other: usize) {
        self.shown.swap(one, other);
    }

    /// A database shows a new keyspace. The old one is to be emptied.
    pub fn flush(&mut self, database: usize) {
        self.flushed.push(self.shown[database]);
        self.shown[database] = self.unused();
    }

    /// A number that no keyspace has. A program that flushes for days comes to the last one, and then again to the first: one
    /// that was emptied has no keys left.
    fn unused(&mut self) -> u32 {
        loop {
            let id = self.next.max(FIRST);
            self.next = id.wrapping_add(1);
            if !self.shown.contains(&id) && !self.flushed.contains(&id) {
                return id;
            }
        }
    }

    /// A keyspace that is to be emptied.
    pub fn flushed(&self) -> Option<KeyspaceId> {
        self.flushed.first().copied().map(KeyspaceId)
    }

    /// It has been emptied.
    pub fn emptied(&mut self, id: KeyspaceId) {
        self.flushed.retain(|flushed| *flushed != id.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_comes_back_from_its_stored_bytes_and_no_other_bytes_are_one() {
        let mut directory = Directory::default();
        directory.flush(3);
        directory.swap(3, 15);
        directory.flush(0);
        let stored = directory.stored();
        assert_eq!(Directory::from_stored(stored.clone()), Some(directory.clone()));
        for database in 0..DATABASES {
            let shown = directory.keyspace(database);
            assert_eq!(Directory::look_up(Some(&stored), database), Some(shown));
            let default = Directory::default().keyspace(database);
            assert_eq!(Directory::look_up(None, database), Some(default));
        }
        assert_eq!(directory.flushed(), Some(KeyspaceId(FIRST + 3)));
        directory.emptied(KeyspaceId(FIRST + 3));
        assert_eq!(directory.flushed(), Some(KeyspaceId(FIRST)));
        for foreign in [Bytes::new(), stored.slice(1..), stored.slice(..64), vec![0; 68].into()] {
            assert_eq!(Directory::from_stored(foreign), None);
        }
        assert_eq!(Directory::look_up(Some(&Bytes::from_static(b"abc")), 0), None);
        assert_eq!(Directory::look_up(Some(&Bytes::from(vec![0; 68])), 0), None);
    }

    #[test]
    fn a_number_is_not_given_twice_even_after_the_last_one() {
        let mut directory = Directory { next: u32::MAX - 1, ..Directory::default() };
        for id in [u32::MAX - 1, u32::MAX, FIRST + DATABASES as u32] {
            directory.flush(0);
            assert_eq!(directory.keyspace(0), KeyspaceId(id));
        }
        let used: Vec<_> = directory.shown.iter().chain(&directory.flushed).collect();
        let mut once = used.clone();
        once.sort();
        once.dedup();
        assert_eq!(once.len(), used.len());
    }
}
