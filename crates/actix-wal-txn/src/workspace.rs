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
mod tests {
    use std::ops::Bound;
    use std::time::Duration;

    use super::*;
    use crate::store::Limits;

    /// A store in which each of these keys has the value "0", and nobody is at work.
    fn store_of(keys: &[&'static str]) -> Store {
        let mut store = Store::new(Limits::default());
        let writes: Vec<_> = keys.iter().map(|key| put(key, "0")).collect();
        store.install(&writes).unwrap();
        store.durable(Lsn::FIRST);
        store
    }

    fn put(key: &'static str, value: &'static str) -> Write {
        Write { key: key.into(), value: Some(value.into()) }
    }

    fn begin(store: &mut Store, isolation: Isolation) -> Workspace {
        Workspace::new(store.snapshot(Duration::ZERO), isolation, WorkLimits::default())
    }

    fn commit(of: Workspace, store: &mut Store, watches: &mut Watches) -> Result<(), WorkError> {
        of.check(store)?;
        let writes = of.into_writes();
        watches.note(&writes);
        store.install(&writes)?;
        Ok(())
    }

    fn keys(rows: &Rows) -> Vec<&[u8]> {
        rows.rows.iter().map(|(key, _)| &key[..]).collect()
    }

    const SMALL: Budget = Budget { keys: 2, bytes: usize::MAX };

    #[test]
    fn p25_the_first_committer_wins_though_it_is_not_durable_yet_and_blind() {
        for isolation in [Isolation::Snapshot, Isolation::Serializable] {
            let (mut store, mut watches) = (store_of(&["a"]), Watches::default());
            let mut first = begin(&mut store, isolation);
            let mut second = begin(&mut store, isolation);
            first.write(put("a", "1")).unwrap();
            second.write(put("a", "2")).unwrap();
            commit(first, &mut store, &mut watches).unwrap();
            let lost = commit(second, &mut store, &mut watches).unwrap_err();
            let (key, snapshot) = ("a".into(), Lsn::FIRST);
            assert_eq!(lost, WorkError::WriteConflict { key, snapshot });
        }
    }

    #[test]
    fn write_skew_commits_under_snapshot_isolation_and_not_when_serializable() {
        for (isolation, commits) in [(Isolation::Snapshot, true), (Isolation::Serializable, false)]
        {
            let (mut store, mut watches) = (store_of(&["a", "b"]), Watches::default());
            let mut first = begin(&mut store, isolation);
            let mut second = begin(&mut store, isolation);
            for of in [&mut first, &mut second] {
                of.get(&store, &"a".into()).unwrap();
                of.get(&store, &"b".into()).unwrap();
            }
            first.write(put("a", "1")).unwrap();
            second.write(put("b", "2")).unwrap();
            commit(first, &mut store, &mut watches).unwrap();
            let second = commit(second, &mut store, &mut watches);
            assert_eq!(second.is_ok(), commits, "{isolation:?}: {second:?}");
        }
    }

    /// A serializable transaction reads the range in one piece or two, and writes elsewhere; another one writes `key`
    /// before the read or after it.
    fn phantom(key: &'static str, is_late: bool, pieces: usize) -> Result<(), WorkError> {
        let (mut store, mut watches) = (store_of(&["a", "b", "d", "z"]), Watches::default());
        let mut reader = begin(&mut store, Isolation::Serializable);
        let mut writer = begin(&mut store, Isolation::Snapshot);
        writer.write(put(key, "1")).unwrap();
        if !is_late {
            commit(writer, &mut store, &mut watches).unwrap();
            writer = begin(&mut store, Isolation::Snapshot);
        }
        let mut range =
            KeyRange { from: Bound::Included("b".into()), to: Bound::Excluded("z".into()) };
        for _ in 0..pieces {
            let budget = Budget { keys: 1, bytes: usize::MAX };
            let rows = reader.scan(&store, &mut watches, &range, budget).unwrap();
            range = range.behind(rows.next.unwrap());
        }
        reader.write(put("z", "2")).unwrap();
        commit(writer, &mut store, &mut watches).unwrap();
        commit(reader, &mut store, &mut watches)
    }

    #[test]
    fn a_key_that_appears_in_a_range_that_was_read_is_a_conflict_and_elsewhere_it_is_none() {
        for is_late in [false, true] {
            // What was read ends at `b` after one piece, and at `d` after two.
            for (key, pieces, commits) in [
                ("a", 1, true),
                ("b", 1, false),
                ("c", 1, true),
                ("c", 2, false),
                ("d", 2, false),
                ("e", 2, true),
            ] {
                let result = phantom(key, is_late, pieces);
                let refused = Err(WorkError::RangeConflict { snapshot: Lsn::FIRST });
                let expected = if commits { Ok(()) } else { refused };
                assert_eq!(result, expected, "{key} in {pieces}, late: {is_late}");
            }
        }
    }

    /// A serializable transaction reads ten keys with two cursors in turn, a key at a time, and writes elsewhere.
    fn two_cursors(store: &mut Store, watches: &mut Watches) -> Result<Workspace, WorkError> {
        let mut reader = begin(store, Isolation::Serializable);
        reader.write(put("z", "1"))?;
        let half = |from: &'static str, to: &'static str| KeyRange {
            from: Bound::Included(from.into()),
            to: Bound::Excluded(to.into()),
        };
        let mut ranges = [Some(half("a", "f")), Some(half("k", "p"))];
        while ranges.iter().any(Option::is_some) {
            for range in &mut ranges {
                let Some(now) = range.take() else { continue };
                let budget = Budget { keys: 1, bytes: usize::MAX };
                let rows = reader.scan(store, watches, &now, budget)?;
                *range = rows.next.map(|last| now.behind(last));
            }
        }
        Ok(reader)
    }

    const TEN: [&str; 10] = ["a", "b", "c", "d", "e", "k", "l", "m", "n", "o"];

    #[test]
    fn p16_the_pieces_of_a_scan_are_watched_as_one_range() {
        let mut store = store_of(&TEN);
        let mut watches = Watches::default();
        let reader = two_cursors(&mut store, &mut watches).unwrap();
        assert_eq!(watches.len(), 2);
        drop(reader);
        // Other ranges would be too many.
        let mut watches = Watches::new(2);
        let _stays = two_cursors(&mut store, &mut watches).unwrap();
        let refused = two_cursors(&mut store, &mut watches).unwrap_err();
        assert_eq!(refused, WorkError::TooManyRanges(TooManyRanges { limit: 2 }));
    }

    #[test]
    fn p25_a_change_in_any_piece_of_a_scan_is_a_conflict_and_between_two_scans_it_is_none() {
        for (key, commits) in TEN.iter().map(|key| (*key, false)).chain([
            ("bb", false),
            ("ee", false),
            ("k0", false),
            ("oo", false),
            ("0", true),
            ("f", true),
            ("j", true),
            ("p", true),
        ]) {
            let (mut store, mut watches) = (store_of(&TEN), Watches::default());
            let reader = two_cursors(&mut store, &mut watches).unwrap();
            let mut writer = begin(&mut store, Isolation::Snapshot);
            writer.write(put(key, "1")).unwrap();
            commit(writer, &mut store, &mut watches).unwrap();
            let result = commit(reader, &mut store, &mut watches);
            assert_eq!(result.is_ok(), commits, "{key}: {result:?}");
        }
    }

    #[test]
    fn p25_a_conflict_whose_traces_may_have_been_collected_is_a_conflict() {
        for (isolation, reads) in [(Isolation::Snapshot, false), (Isolation::Serializable, true)] {
            let (mut store, mut watches) = (store_of(&["a", "b"]), Watches::default());
            let mut old = begin(&mut store, isolation);
            if reads {
                old.get(&store, &"a".into()).unwrap();
            }
            old.write(put(if reads { "b" } else { "a" }, "1")).unwrap();
            let mut deletes = begin(&mut store, isolation);
            deletes.write(Write { key: "a".into(), value: None }).unwrap();
            commit(deletes, &mut store, &mut watches).unwrap();
            store.durable(Lsn::new(2));
            // Above the age limit of its snapshot, and with it goes the tombstone.
            store.collect(Duration::from_secs(3600), 10);
            assert_eq!(store.changed(b"a"), None);
            let refused = commit(old, &mut store, &mut watches).unwrap_err();
            let too_old = StoreError::SnapshotTooOld { lsn: Lsn::FIRST, horizon: Lsn::new(2) };
            assert_eq!(refused, WorkError::Store(too_old));
        }
    }

    #[test]
    fn untracked_reads_and_transactions_that_write_nothing_are_never_in_conflict() {
        let (mut store, mut watches) = (store_of(&["a"]), Watches::default());
        let mut untracked = begin(&mut store, Isolation::Serializable);
        let mut reader = begin(&mut store, Isolation::Serializable);
        let mut writer = begin(&mut store, Isolation::Snapshot);
        untracked.get_untracked(&store, &"a".into()).unwrap();
        untracked.scan_untracked(&store, &KeyRange::all(), SMALL).unwrap();
        untracked.write(put("b", "1")).unwrap();
        reader.get(&store, &"a".into()).unwrap();
        reader.scan(&store, &mut watches, &KeyRange::all(), SMALL).unwrap();
        writer.write(put("a", "1")).unwrap();
        commit(writer, &mut store, &mut watches).unwrap();
        commit(untracked, &mut store, &mut watches).unwrap();
        commit(reader, &mut store, &mut watches).unwrap();
    }

    #[test]
    fn its_own_writes_come_first_and_pieces_hold_no_more_than_their_budget() {
        let (mut store, mut watches) = (store_of(&["b", "d", "f"]), Watches::default());
        let mut of = begin(&mut store, Isolation::Snapshot);
        for key in ["a", "c", "e", "g"] {
            of.write(put(key, "1")).unwrap();
        }
        of.write(Write { key: "d".into(), value: None }).unwrap();
        assert_eq!(of.get(&store, &"d".into()), Ok(None));
        assert_eq!(of.get(&store, &"c".into()), Ok(Some("1".into())));

        let (mut range, mut seen) = (KeyRange::all(), Vec::new());
        loop {
            let rows = of.scan(&store, &mut watches, &range, SMALL).unwrap();
            assert!(rows.rows.len() <= 2, "{rows:?}");
            seen.extend(keys(&rows).concat());
            let Some(last) = rows.next else { break };
            range = range.behind(last);
        }
        assert_eq!(seen, b"abcefg");
    }

    #[test]
    fn p16_a_transaction_is_bounded_and_what_is_past_its_bound_is_not_in_it() {
        let store = &mut store_of(&[]);
        let limits = WorkLimits { keys: 2, bytes: 10, reads: 1 };
        let snapshot = store.snapshot(Duration::ZERO);
        let mut of = Workspace::new(snapshot, Isolation::Serializable, limits);
        of.write(put("a", "1234")).unwrap();
        of.write(put("b", "1234")).unwrap();
        for (write, what, limit) in [(put("c", ""), "keys", 2), (put("a", "12345"), "bytes", 10)] {
            assert_eq!(of.write(write), Err(WorkError::TooLarge { what, limit }));
        }
        of.write(put("a", "1")).unwrap();
        of.get(store, &"a".into()).unwrap();
        of.get(store, &"x".into()).unwrap();
        let refused = of.get(store, &"y".into());
        assert_eq!(refused, Err(WorkError::TooLarge { what: "reads", limit: 1 }));
        assert_eq!(of.into_writes(), [put("a", "1"), put("b", "1234")]);
    }
}
