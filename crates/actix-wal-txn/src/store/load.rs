//! Building a store from the rows of a snapshot file.

use actix_wal::Lsn;
use bytes::Bytes;

use super::chain::{Chain, Version};
use super::key::Key;
use super::{ChainId, Limits, Row, Store, StoreError, VERSION_BYTES, key_bytes};

/// From this many bytes on a value gets memory of its own. Shorter ones share that of their block, if they are most of it: it
/// stays until the last of them is gone.
const OWN_MEMORY: usize = 256;

/// A store that is being built from rows in the order of their keys, several times faster than by commits.
#[derive(Debug)]
pub struct Loading {
    store: Store,
    index: Vec<(Key, ChainId)>,
}

impl Loading {
    /// The state at a durable LSN, of about so many rows.
    pub fn new(limits: Limits, lsn: Lsn, rows: usize) -> Self {
        let mut store = Store::new(limits);
        store.durable = lsn;
        // What was overwritten before is not in a snapshot.
        store.horizon = lsn;
        store.chains.reserve(rows);
        Loading { store, index: Vec::with_capacity(rows) }
    }

    /// Adds rows, in the order of keys over all calls, each key once.
    ///
    /// # Errors
    /// [`StoreError::Overloaded`]: they do not fit.
    pub fn add(&mut self, rows: Vec<Row>) -> Result<(), StoreError> {
        let shares = is_mostly_short(&rows);
        for Row { key, value, stamp } in rows {
            let needed = key_bytes(key.len()) + VERSION_BYTES + value.len();
            if self.store.bytes + needed > self.store.limits.bytes {
                let (held, limit, pinned) = (self.store.bytes, self.store.limits.bytes, 0);
                return Err(StoreError::Overloaded { held, needed, limit, pinned });
            }
            let key = Key::copied(&key);
            debug_assert!(self.index.last().is_none_or(|(last, _)| *last < key));
            let mut chain = Chain::new(key.clone());
            let is_shared = shares && value.len() < OWN_MEMORY;
            let value = if is_shared { value } else { Bytes::copy_from_slice(&value) };
            chain.push(Version { at: stamp, value: Some(value) });
            // Four billion keys do not fit into memory.
            let id = self.store.chains.insert(chain) as ChainId;
            self.index.push((key, id));
            self.store.bytes += needed;
        }
        Ok(())
    }

    /// The store with all of them.
    pub fn finish(self) -> Store {
        let Loading { mut store, index } = self;
        store.versions = index.len();
        // Of what is in order already the map is built from left to right, with full nodes.
        store.index = index.into_iter().collect();
        store.hints.make_room_for(store.chains.len());
        store
    }
}

/// Whether short values are at least half of the bytes of these rows, which come from one block.
fn is_mostly_short(rows: &[Row]) -> bool {
    let short = rows.iter().map(|row| row.value.len()).filter(|length| *length < OWN_MEMORY);
    let all: usize = rows.iter().map(|row| row.key.len() + row.value.len()).sum();
    2 * short.sum::<usize>() >= all
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::store::{Budget, KeyRange, Stamp, View, Write};

    fn rows(count: u64) -> Vec<Row> {
        let row = |at: u64| Row {
            key: Bytes::from(format!("key {at:06}")),
            value: vec![7; if at.is_multiple_of(10) { 300 } else { 3 }].into(),
            stamp: Stamp::of(Lsn::new(at + 1)),
        };
        (0..count).map(row).collect()
    }

    #[test]
    fn p25_a_loaded_store_is_the_one_that_its_commits_would_have_made() {
        let (limits, rows) = (Limits::default(), rows(1000));
        let (mut by_commits, mut loading) =
            (Store::new(limits), Loading::new(limits, Lsn::new(1000), 9));
        for (row, lsn) in rows.iter().zip(1..) {
            let (key, value) = (row.key.clone(), Some(row.value.clone()));
            by_commits.install(vec![Write { key, value }]).unwrap();
            by_commits.durable(Lsn::new(lsn));
        }
        rows.chunks(64).for_each(|block| loading.add(block.to_vec()).unwrap());
        let mut loaded = loading.finish();
        assert_eq!(loaded.usage(), by_commits.usage());
        for store in [&mut loaded, &mut by_commits] {
            let (all, budget) = (KeyRange::all(), Budget { keys: 5000, bytes: usize::MAX });
            assert_eq!(store.scan(&all, View::Latest, budget).unwrap().rows, rows);
            // It goes on as any other: what is overwritten is collected.
            let before = store.snapshot(Duration::ZERO);
            store.install(vec![Write { key: rows[5].key.clone(), value: None }]).unwrap();
            store.durable(Lsn::new(1001));
            let found = store.get(&rows[5].key, View::At(&before)).unwrap().unwrap();
            assert_eq!((found.value.as_ref(), found.stamp), (Some(&rows[5].value), rows[5].stamp));
            drop(before);
            assert!(!store.collect(Duration::ZERO, 10));
            assert_eq!((store.usage().keys, store.usage().pinned), (999, 0));
        }
        assert_eq!(loaded.usage(), by_commits.usage());
    }

    /// A block stays in memory as long as anything of it is there.
    #[test]
    fn p16_only_short_values_that_are_most_of_their_block_share_its_memory() {
        for (long, shares) in [(0, true), (100, true), (5_000, false)] {
            let block = Bytes::from(vec![b'z'; 10_000]);
            let row = |at: usize, length| Row {
                key: block.slice(at..at + 40),
                value: block.slice(at + 40..at + 40 + length),
                stamp: Stamp::of(Lsn::FIRST),
            };
            let mut loading = Loading::new(Limits::default(), Lsn::new(10), 2);
            let mut rows = vec![row(0, 200), row(300, long)];
            rows[0].key = Bytes::from_static(b"a");
            loading.add(rows).unwrap();
            let store = loading.finish();
            let found = store.get(b"a", View::Latest).unwrap().unwrap().value.unwrap();
            assert_eq!(block.as_ptr_range().contains(&found.as_ptr()), shares, "beside {long}");
            let long_key = store.chains.iter().last().unwrap().1.key.bytes().as_ptr();
            assert!(!block.as_ptr_range().contains(&long_key));
        }
    }

    #[test]
    fn p16_rows_that_do_not_fit_are_refused() {
        let limits = Limits { bytes: 10_000, ..Limits::default() };
        let refused = Loading::new(limits, Lsn::new(1000), 9).add(rows(1000)).unwrap_err();
        assert!(matches!(refused, StoreError::Overloaded { limit: 10_000, .. }), "{refused}");
    }
}
