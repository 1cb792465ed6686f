//! What prepared transactions keep locked until they are decided.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::scan::KeyRange;
use super::{StoreError, Write};
use crate::two_phase::GlobalId;

/// What a serializable transaction has read: it may not change before the transaction is decided.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reads {
    /// Single keys.
    pub keys: Vec<Bytes>,
    /// Ranges of keys.
    pub ranges: Vec<KeyRange>,
}

impl Reads {
    /// Whether it has read nothing that has to stay.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.ranges.is_empty()
    }
}

/// The locks of all prepared transactions. A key that one of them writes is neither read at its newest version nor
/// written; a key that one has read is not written.
#[derive(Debug, Default)]
pub(super) struct Locks {
    writes: BTreeMap<Bytes, GlobalId>,
    reads: BTreeMap<Bytes, SmallVec<[GlobalId; 1]>>,
    ranges: Vec<(KeyRange, GlobalId)>,
}

impl Locks {
    pub(super) fn lock(&mut self, id: GlobalId, writes: &[Write], reads: &Reads) {
        self.writes.extend(writes.iter().map(|write| (write.key.clone(), id)));
        for key in &reads.keys {
            self.reads.entry(key.clone()).or_default().push(id);
        }
        self.ranges.extend(reads.ranges.iter().map(|range| (range.clone(), id)));
    }

    /// Takes the locks back. Those of another transaction stay.
    pub(super) fn unlock(&mut self, id: GlobalId, writes: &[Write], reads: &Reads) {
        for Write { key, .. } in writes {
            if self.writes.get(key) == Some(&id) {
                self.writes.remove(key);
            }
        }
        for key in &reads.keys {
            let Some(readers) = self.reads.get_mut(key) else { continue };
            readers.retain(|reader| *reader != id);
            if readers.is_empty() {
                self.reads.remove(key);
            }
        }
        if !reads.ranges.is_empty() {
            self.ranges.retain(|(_, reader)| *reader != id);
        }
    }

    pub(super) fn check_read(&self, key: &[u8]) -> Result<(), StoreError> {
        self.writes.get(key).map_or(Ok(()), |id| Err(StoreError::Prepared { id: *id }))
    }

    /// Also finds keys that have no version yet.
    pub(super) fn check_scan(&self, range: &KeyRange) -> Result<(), StoreError> {
        if self.writes.is_empty() || range.is_empty() {
            return Ok(());
        }
        let mut locked = self.writes.range::<[u8], _>(range.bounds());
        locked.next().map_or(Ok(()), |(_, id)| Err(StoreError::Prepared { id: *id }))
    }

    pub(super) fn check_write(&self, key: &[u8]) -> Result<(), StoreError> {
        self.check_read(key)?;
        let by_key = self.reads.get(key).and_then(|readers| readers.first());
        let by_range = || self.ranges.iter().find(|(range, _)| range.contains(key));
        match by_key.or_else(|| by_range().map(|(_, id)| id)) {
            Some(id) => Err(StoreError::Prepared { id: *id }),
            None => Ok(()),
        }
    }

    /// How many keys and ranges are locked.
    pub(super) fn len(&self) -> usize {
        let readers = self.reads.values().map(SmallVec::len).sum::<usize>();
        self.writes.len() + readers + self.ranges.len()
    }
}
