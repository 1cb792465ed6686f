//! What one transaction writes, until it commits.

use std::collections::BTreeMap;
use std::mem;

use bytes::Bytes;

use crate::store::{Budget, KeyRange, Write};
use crate::workspace::{Rows, WorkError, WorkLimits};

/// The writes of a transaction, which it reads before anything else.
#[derive(Debug)]
pub(crate) struct Writes {
    by_key: ByKey,
    bytes: usize,
    limits: WorkLimits,
}

/// In the order of keys. Most transactions write a few, and a map would cost them more than all they do with it.
#[derive(Debug)]
enum ByKey {
    Few(Vec<Write>),
    Many(BTreeMap<Bytes, Option<Bytes>>),
}

/// So many are few.
const FEW: usize = 16;

impl ByKey {
    fn get(&self, key: &[u8]) -> Option<&Option<Bytes>> {
        match self {
            ByKey::Few(writes) => {
                writes.iter().find(|write| write.key == key).map(|write| &write.value)
            }
            ByKey::Many(map) => map.get(key),
        }
    }

    fn len(&self) -> usize {
        match self {
            ByKey::Few(writes) => writes.len(),
            ByKey::Many(map) => map.len(),
        }
    }

    fn insert(&mut self, write: Write) {
        match self {
            ByKey::Few(writes) => match writes.binary_search_by(|it| it.key.cmp(&write.key)) {
                Ok(at) => writes[at] = write,
                Err(at) if writes.len() < FEW => writes.insert(at, write),
                Err(_) => {
                    let pair = |write: Write| (write.key, write.value);
                    let all = mem::take(writes).into_iter().chain([write]);
                    *self = ByKey::Many(all.map(pair).collect());
                }
            },
            ByKey::Many(map) => {
                map.insert(write.key, write.value);
            }
        }
    }

    fn in_range(&self, range: &KeyRange) -> Vec<(&Bytes, &Option<Bytes>)> {
        match self {
            ByKey::Few(writes) => {
                let inside = writes.iter().filter(|write| range.contains(&write.key));
                inside.map(|write| (&write.key, &write.value)).collect()
            }
            ByKey::Many(map) => map.range::<[u8], _>(range.bounds()).collect(),
        }
    }

    fn keys(&self) -> impl Iterator<Item = &Bytes> {
        let (few, many) = match self {
            ByKey::Few(writes) => (Some(writes.iter().map(|write| &write.key)), None),
            ByKey::Many(map) => (None, Some(map.keys())),
        };
        few.into_iter().flatten().chain(many.into_iter().flatten())
    }
}

impl Writes {
    pub(crate) fn new(limits: WorkLimits) -> Self {
        Writes { by_key: ByKey::Few(Vec::new()), bytes: 0, limits }
    }

    /// # Errors
    /// The transaction has written too much; this write is not among them.
    pub(crate) fn add(&mut self, Write { key, value }: Write) -> Result<(), WorkError> {
        let size = |value: &Option<Bytes>| value.as_ref().map_or(0, Bytes::len);
        let before = self.by_key.get(&key).map(|earlier| key.len() + size(earlier));
        let bytes = self.bytes - before.unwrap_or(0) + key.len() + size(&value);
        if before.is_none() && self.by_key.len() >= self.limits.keys {
            return Err(WorkError::TooLarge { what: "keys", limit: self.limits.keys });
        }
        if bytes > self.limits.bytes {
            return Err(WorkError::TooLarge { what: "bytes", limit: self.limits.bytes });
        }
        self.bytes = bytes;
        self.by_key.insert(Write { key, value });
        Ok(())
    }

    /// What it does to a key, if anything.
    pub(crate) fn of(&self, key: &[u8]) -> Option<&Option<Bytes>> {
        self.by_key.get(key)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_key.len() == 0
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &Bytes> {
        self.by_key.keys()
    }

    /// A piece of a scan of this range, with its own writes among the rows.
    pub(crate) fn over(&self, rows: Rows, range: &KeyRange, budget: Budget) -> Rows {
        let Rows { rows, mut next } = rows;
        let covered = next.clone().map_or_else(|| range.clone(), |last| range.through(last));
        if self.is_empty() || covered.is_empty() {
            return Rows { rows, next };
        }
        let mut merged: BTreeMap<_, _> = rows.into_iter().collect();
        for (key, value) in self.by_key.in_range(&covered) {
            match value {
                Some(value) => merged.insert(key.clone(), value.clone()),
                None => merged.remove(key),
            };
        }
        let mut rows: Vec<_> = merged.into_iter().collect();
        // Its own writes may be more than a piece holds.
        if rows.len() > budget.keys.max(1) {
            rows.truncate(budget.keys.max(1));
            next = rows.last().map(|(key, _)| key.clone());
        }
        Rows { rows, next }
    }

    /// Those of keys that begin with these bytes.
    pub(crate) fn with_prefix(&self, prefix: &[u8]) -> impl Iterator<Item = (&Bytes, bool)> {
        let range = KeyRange::prefix(Bytes::copy_from_slice(prefix));
        let inside = self.by_key.in_range(&range).into_iter();
        inside.map(|(key, value)| (key, value.is_some()))
    }

    /// In the order of keys.
    pub(crate) fn into_vec(self) -> Vec<Write> {
        match self.by_key {
            ByKey::Few(writes) => writes,
            ByKey::Many(map) => map.into_iter().map(|(key, value)| Write { key, value }).collect(),
        }
    }
}
