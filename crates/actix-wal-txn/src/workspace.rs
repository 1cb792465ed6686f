//! One interactive transaction: what it has read and written, until it commits.
//!
//! A plain type, as the store is. It reads a snapshot of what is durable, its own writes first, and keeps its writes to
//! itself. [`check`](Workspace::check) decides whether it may commit:
//!
//! * by **snapshot isolation**, unless a key that it writes has changed since its snapshot: the first committer wins
//!   (Berenson et al., *A Critique of ANSI SQL Isolation Levels*, SIGMOD 1995). Blind writes count too;
//! * by **serializability**, also unless a key or a range that it has read has changed since then (Yabandeh and Gómez
//!   Ferro, *A Critique of Snapshot Isolation*, EuroSys 2012: without such changes the order of commits is a serial
//!   one). A transaction that writes nothing needs no check: it is in its place at its snapshot.
//!
//! Changes that are not durable yet count as well. Keys are compared with the store when it commits; ranges are watched
//! from the moment they are read, by [`Watches`], since looking for changed keys in them would take as long as reading
//! them again.

use std::collections::{BTreeSet, HashMap};
use std::ops::Bound;

use actix_wal::Lsn;
use bytes::Bytes;

use crate::store::{Budget, KeyRange, Reads, Snapshot, Stamp, Store, StoreError, View, Write};
use crate::watches::{TooManyRanges, Watched, Watches};
use crate::writes::Writes;

/// What a transaction is protected from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// From others that write the same keys. Write skew is possible.
    #[default]
    Snapshot,
    /// From everything: as if one transaction had run after the other.
    Serializable,
}

/// The bounds of one transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkLimits {
    /// How many keys it may write.
    pub keys: usize,
    /// How many bytes its writes may take, keys and values.
    pub bytes: usize,
    /// How many keys and ranges it may have read in ways that are checked at its commit.
    pub reads: usize,
}

impl Default for WorkLimits {
    /// 100,000 keys, 16 MiB, 100,000 reads.
    fn default() -> Self {
        WorkLimits { keys: 100_000, bytes: 16 << 20, reads: 100_000 }
    }
}

/// Why a transaction can not go on. It has no effect, and its client may begin another one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WorkError {
    /// Somebody else has changed a key since the snapshot, and was first.
    #[error("key {} was changed by another transaction since LSN {snapshot}; begin again", .key.escape_ascii())]
    WriteConflict {
        /// The key.
        key: Bytes,
        /// What the transaction saw.
        snapshot: Lsn,
    },
    /// Somebody else has changed a key that this transaction has read.
    #[error("key {} was read at LSN {snapshot} and has changed since; begin again", .key.escape_ascii())]
    ReadConflict {
        /// The key.
        key: Bytes,
        /// What the transaction saw.
        snapshot: Lsn,
    },
    /// Somebody else has changed a key in a range that this transaction has read.
    #[error("a range that was read at LSN {snapshot} has changed since; begin again")]
    RangeConflict {
        /// What the transaction saw.
        snapshot: Lsn,
    },
    /// It writes or reads more than one transaction may.
    #[error("the transaction has more than {limit} {what}; split it, or raise the limit")]
    TooLarge {
        /// Of what.
        what: &'static str,
        /// The bound.
        limit: usize,
    },
    /// Serializable transactions have read too many ranges, all of them together. The transaction goes on: this read is
    /// not a part of it.
    #[error(transparent)]
    TooManyRanges(#[from] TooManyRanges),
    /// The store refuses.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Some of the rows of a scan, in the order of keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rows {
    /// Keys and values.
    pub rows: Vec<(Bytes, Bytes)>,
    /// Where the next piece begins: behind this key. `None`: this was the last one.
    pub next: Option<Bytes>,
}

/// One transaction. See the [module](self).
#[derive(Debug)]
pub struct Workspace {
    snapshot: Snapshot,
    isolation: Isolation,
    limits: WorkLimits,
    writes: Writes,
    /// Keys that were read from the snapshot. Only for serializable ones.
    reads: BTreeSet<Bytes>,
    ranges: Vec<(KeyRange, Watched)>,
    /// Those of them that the next piece of a scan goes on with, by the last key that was seen.
    unfinished: HashMap<Bytes, usize>,
}

impl Workspace {
    /// A transaction that sees this snapshot.
    pub fn new(snapshot: Snapshot, isolation: Isolation, limits: WorkLimits) -> Self {
        Workspace {
            snapshot,
            isolation,
            limits,
            writes: Writes::new(limits),
            reads: BTreeSet::new(),
            ranges: Vec::new(),
            unfinished: HashMap::new(),
        }
    }

    /// The LSN that it sees.
    pub fn snapshot(&self) -> Lsn {
        self.snapshot.lsn()
    }

    /// Whether it has written nothing.
    pub fn is_read_only(&self) -> bool {
        self.writes.is_empty()
    }

    /// The value of a key; `None` if it has none.
    ///
    /// # Errors
    /// The snapshot is too old, or the transaction has read too much.
    pub fn get(&mut self, store: &Store, key: &Bytes) -> Result<Option<Bytes>, WorkError> {
        let value = self.get_untracked(store, key)?;
        if self.isolation == Isolation::Serializable && self.writes.of(key).is_none() {
            self.reads.insert(key.clone());
            self.check_reads()?;
        }
        Ok(value)
    }

    /// The same, but a later change of the key is no reason to refuse the commit.
    ///
    /// # Errors
    /// The snapshot is too old.
    pub fn get_untracked(&self, store: &Store, key: &Bytes) -> Result<Option<Bytes>, WorkError> {
        if let Some(own) = self.writes.of(key) {
            return Ok(own.clone());
        }
        Ok(store.get(key, View::At(&self.snapshot))?.and_then(|found| found.value))
    }

    /// Rows from the beginning of a range, as many as the budget allows, with its own writes among them.
    ///
    /// # Errors
    /// The snapshot is too old, the transaction has read too much, or too many ranges are watched.
    pub fn scan(
        &mut self,
        store: &Store,
        watches: &mut Watches,
        range: &KeyRange,
        budget: Budget,
    ) -> Result<Rows, WorkError> {
        let (rows, changed) = self.piece(store, range, budget)?;
        if self.isolation == Isolation::Serializable {
            let is_changed = changed > Some(Stamp::of(self.snapshot()));
            self.track(watches, range, rows.next.clone(), is_changed)?;
            self.check_reads()?;
        }
        Ok(rows)
    }

    /// Watches what a piece of a scan has seen of a range: up to this key, or all of it. What lies behind the piece may
    /// change. A piece that begins where another one has ended is watched together with that.
    fn track(
        &mut self,
        watches: &mut Watches,
        range: &KeyRange,
        last: Option<Bytes>,
        is_changed: bool,
    ) -> Result<(), WorkError> {
        let seen = last.clone().map_or_else(|| range.clone(), |last| range.through(last));
        let before = match &range.from {
            Bound::Excluded(before) => self.unfinished.remove(before),
            _ => None,
        };
        let at = before.unwrap_or(self.ranges.len());
        match self.ranges.get_mut(at) {
            Some((range, watched)) => {
                range.to = seen.to.clone();
                watches.extend(watched, seen.to, is_changed);
            }
            None => {
                let watched = watches.watch(seen.clone(), is_changed)?;
                self.ranges.push((seen, watched));
            }
        }
        self.unfinished.extend(last.map(|last| (last, at)));
        Ok(())
    }

    /// The same, but a later change in the range is no reason to refuse the commit.
    ///
    /// # Errors
    /// The snapshot is too old.
    pub fn scan_untracked(
        &self,
        store: &Store,
        range: &KeyRange,
        budget: Budget,
    ) -> Result<Rows, WorkError> {
        Ok(self.piece(store, range, budget)?.0)
    }

    /// A piece, and the latest change of any key in it, seen or not.
    fn piece(
        &self,
        store: &Store,
        range: &KeyRange,
        budget: Budget,
    ) -> Result<(Rows, Option<Stamp>), WorkError> {
        let piece = store.scan(range, View::At(&self.snapshot), budget)?;
        let rows = piece.rows.into_iter().map(|row| (row.key, row.value)).collect();
        let rows = Rows { rows, next: piece.next };
        Ok((self.writes.over(rows, range, budget), piece.changed))
    }

    fn check_reads(&self) -> Result<(), WorkError> {
        let (what, limit) = ("reads", self.limits.reads);
        let is_over = self.reads.len() + self.ranges.len() > limit;
        if is_over { Err(WorkError::TooLarge { what, limit }) } else { Ok(()) }
    }

    /// Sets a key, or deletes it, when the transaction commits.
    ///
    /// # Errors
    /// The transaction has written too much; this write is not among them.
    pub fn write(&mut self, write: Write) -> Result<(), WorkError> {
        self.writes.add(write)
    }

    /// Whether it may commit now: nothing that it rests on has changed.
    ///
    /// # Errors
    /// The conflict; or the snapshot is too old, so that the traces of one may have been collected.
    pub fn check(&self, store: &Store) -> Result<(), WorkError> {
        if self.is_read_only() { Ok(()) } else { self.check_all(store) }
    }

    fn check_all(&self, store: &Store) -> Result<(), WorkError> {
        store.check(View::At(&self.snapshot))?;
        let snapshot = self.snapshot();
        let has_changed = |key: &&Bytes| store.changed(key) > Some(Stamp::of(snapshot));
        if let Some(key) = self.writes.keys().find(has_changed) {
            return Err(WorkError::WriteConflict { key: key.clone(), snapshot });
        }
        if let Some(key) = self.reads.iter().find(has_changed) {
            return Err(WorkError::ReadConflict { key: key.clone(), snapshot });
        }
        if self.ranges.iter().any(|(_, watched)| watched.is_changed()) {
            return Err(WorkError::RangeConflict { snapshot });
        }
        // What a prepared transaction writes counts as changed, as soon as it is decided.
        self.reads.iter().try_for_each(|key| store.check_unlocked(key))?;
        self.ranges.iter().try_for_each(|(range, _)| store.check_unlocked_range(range))?;
        Ok(())
    }

    /// Whether it may be prepared now. One that only reads is checked too if it is serializable: what it has read has to
    /// stay until the whole transaction is decided.
    ///
    /// # Errors
    /// As for [`check`](Self::check).
    pub fn check_branch(&self, store: &Store) -> Result<(), WorkError> {
        if self.is_read_only() && self.reads.is_empty() && self.ranges.is_empty() {
            return Ok(());
        }
        self.check_all(store)
    }

    /// What it writes, and what it has read that has to stay. Both are empty for one that leaves when it is asked to
    /// prepare.
    pub fn into_branch(self) -> (Vec<Write>, Reads) {
        let keys = self.reads.into_iter().collect();
        let ranges = self.ranges.into_iter().map(|(range, _)| range).collect();
        (self.writes.into_vec(), Reads { keys, ranges })
    }

    /// What it writes, in the order of keys.
    pub fn into_writes(self) -> Vec<Write> {
        self.writes.into_vec()
    }
}

#[cfg(test)]
mod tests;
