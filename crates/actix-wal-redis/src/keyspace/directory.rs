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

/// Which keyspace each database shows, and which are to be emptied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    shown: [u32; DATABASES],
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
        if stored.len() < 4 * (DATABASES + 1) || !stored.len().is_multiple_of(4) {
            return None;
        }
        let mut shown = [0; DATABASES];
        shown.iter_mut().for_each(|shown| *shown = stored.get_u32());
        let next = stored.get_u32();
        let flushed = std::iter::from_fn(|| stored.try_get_u32().ok()).collect();
        Some(Directory { shown, next, flushed })
    }

    /// The keyspace of a database, straight from the stored directory; that of the default one if none is stored.
    pub(super) fn look_up(stored: Option<&Bytes>, database: usize) -> Option<KeyspaceId> {
        let Some(stored) = stored else {
            return Some(KeyspaceId(FIRST + database as u32));
        };
        let at = 4 * database;
        let id = stored.get(at..at + 4)?.try_into().ok()?;
        Some(KeyspaceId(u32::from_be_bytes(id)))
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
        self.shown[database] = self.next;
        self.next += 1;
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
