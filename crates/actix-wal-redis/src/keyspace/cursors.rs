//! Where each `SCAN` goes on.

use std::collections::BTreeMap;

use bytes::Bytes;

/// So many of them go on at once.
const PLACES: usize = 4096;
/// So many bytes their keys may have, all together.
const BYTES: usize = 16 << 20;

/// The keys behind which scans go on, by the cursors that clients were given. The oldest ones are forgotten: a scan with a
/// cursor that is not known begins again, so that it gives some keys twice and misses none.
#[derive(Debug)]
pub(crate) struct Cursors {
    places: BTreeMap<u64, Bytes>,
    bytes: usize,
    next: u64,
}

impl Cursors {
    /// None yet. The number is a random one: a cursor that was given before a restart must not be one of ours, which would
    /// go on elsewhere.
    pub(super) fn new(random: u64) -> Self {
        // Scripts keep cursors in floating-point numbers of 53 bits.
        Cursors { places: BTreeMap::new(), bytes: 0, next: 1 + (random >> 12) }
    }

    /// The key behind which a scan goes on; `None` from the beginning.
    pub(crate) fn place(&self, cursor: u64) -> Option<Bytes> {
        self.places.get(&cursor).cloned()
    }

    /// A cursor for a scan that goes on behind this key.
    pub(crate) fn add(&mut self, key: Bytes) -> u64 {
        let cursor = self.next;
        self.next += 1;
        self.bytes += key.len();
        self.places.insert(cursor, key);
        while self.places.len() > PLACES || (self.bytes > BYTES && self.places.len() > 1) {
            let oldest = self.places.pop_first();
            self.bytes -= oldest.map_or(0, |(_, key)| key.len());
        }
        cursor
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_stays_until_newer_ones_take_its_place() {
        let mut cursors = Cursors::new(u64::MAX);
        let first = cursors.add("a".into());
        assert!(first > 0 && first < 1 << 53);
        assert_eq!(cursors.place(first), Some("a".into()));
        assert_eq!(cursors.place(first), Some("a".into()), "a client may ask twice");
        assert_eq!((cursors.place(0), cursors.place(first + 1)), (None, None));
        for _ in 1..PLACES {
            cursors.add("b".into());
        }
        assert!(cursors.place(first).is_some());
        let last = cursors.add("c".into());
        assert_eq!((cursors.place(first), cursors.place(last)), (None, Some("c".into())));
    }

    #[test]
    fn long_keys_push_out_more_and_the_newest_stays() {
        let mut cursors = Cursors::new(0);
        let small = cursors.add("a".into());
        let long = cursors.add(vec![0; BYTES - 1].into());
        assert!(cursors.place(small).is_some());
        let longer = cursors.add(vec![0; BYTES + 1].into());
        assert_eq!((cursors.place(small), cursors.place(long)), (None, None));
        assert!(cursors.place(longer).is_some());
        let next = cursors.add("b".into());
        assert_eq!(cursors.place(longer), None);
        assert!(cursors.place(next).is_some());
        assert_eq!(cursors.bytes, 1);
    }
}
