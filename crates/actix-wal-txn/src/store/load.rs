//! Building a store from the rows of a snapshot file.

use actix_wal::Lsn;
use bytes::Bytes;

use super::chain::{Chain, Version};
use super::{ChainId, KEY_BYTES, Limits, Row, Store, StoreError, VERSION_BYTES};

/// From this many bytes on a key or a value gets memory of its own. Shorter ones share that of their block: it stays until
/// the last of them is gone, so what they hold beyond their own bytes has to be little beside what each counts for.
const OWN_MEMORY: usize = 256;

/// A store that is being built from rows in the order of their keys, several times faster than by commits.
#[derive(Debug)]
pub struct Loading {
    store: Store,
    index: Vec<(Bytes, ChainId)>,
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
        for Row { key, value, stamp } in rows {
            let needed = KEY_BYTES + key.len() + VERSION_BYTES + value.len();
            if self.store.bytes + needed > self.store.limits.bytes {
                let (held, limit, pinned) = (self.store.bytes, self.store.limits.bytes, 0);
                return Err(StoreError::Overloaded { held, needed, limit, pinned });
            }
            let key = own(key);
            debug_assert!(self.index.last().is_none_or(|(last, _)| *last < key));
            let mut chain = Chain::new(key.clone());
            chain.push(Version { at: stamp, value: Some(own(value)) });
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
        store
    }
}

fn own(bytes: Bytes) -> Bytes {
    if bytes.len() < OWN_MEMORY { bytes } else { Bytes::copy_from_slice(&bytes) }
}
