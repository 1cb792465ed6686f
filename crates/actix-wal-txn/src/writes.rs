//! What one transaction writes, until it commits.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::store::{Budget, KeyRange, Write};
use crate::workspace::{Rows, WorkError, WorkLimits};

/// The writes of a transaction, which it reads before anything else.
#[derive(Debug)]
pub(crate) struct Writes {
    by_key: BTreeMap<Bytes, Option<Bytes>>,
    bytes: usize,
    limits: WorkLimits,
}

impl Writes {
    pub(crate) fn new(limits: WorkLimits) -> Self {
        Writes { by_key: BTreeMap::new(), bytes: 0, limits }
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
        self.by_key.insert(key, value);
        Ok(())
    }

    /// What it does to a key, if anything.
    pub(crate) fn of(&self, key: &[u8]) -> Option<&Option<Bytes>> {
        self.by_key.get(key)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_key.is_empty()
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
        for (key, value) in self.by_key.range::<[u8], _>(covered.bounds()) {
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

    /// In the order of keys.
    pub(crate) fn into_vec(self) -> Vec<Write> {
        self.by_key.into_iter().map(|(key, value)| Write { key, value }).collect()
    }
}
