//! Versions of keys in memory: the newest state, and snapshots of what is durable.
//!
//! A plain type, without actor, lock or clock: its owner calls it. It holds for each key the versions that somebody
//! may still read, in the order of their LSNs, which are the timestamps of their commits. A commit passes two
//! steps, each in one call and in the order of the log:
//!
//! | call | since then |
//! |---|---|
//! | [`install`](Store::install) | a reader of the newest state sees all of it; no snapshot does |
//! | [`durable`](Store::durable) | it has its LSN, snapshots that are opened show it, and nothing takes it out any more |
//!
//! or it [fails](Store::fail_from), with everything that was installed after it: what came later may build on it.
//! Versions that no snapshot can show any more are [collected](Store::collect), a few at a time.

mod chain;
mod counts;
mod hints;
mod key;
mod load;
mod locks;
mod scan;
mod snapshots;
mod stamp;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use actix_wal::Lsn;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use slab::Slab;
use smallvec::SmallVec;

use self::chain::{Chain, Version};
use self::counts::Counts;
use self::hints::Hints;
use self::key::Key;
pub use self::load::Loading;
use self::locks::Locks;
pub use self::locks::Reads;
pub use self::scan::{Budget, KeyRange, Piece, Row};
pub use self::snapshots::Snapshot;
use self::snapshots::Snapshots;
pub use self::stamp::{CommitNo, Stamp};
use crate::two_phase::GlobalId;

/// What one commit does to one key: sets it to a value, or deletes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Write {
    /// The key.
    pub key: Bytes,
    /// Its new value; `None` deletes the key.
    pub value: Option<Bytes>,
}

/// What a reader sees.
#[derive(Clone, Copy, Debug)]
pub enum View<'a> {
    /// The newest versions, durable or not. What has been read there must not be told before it is durable.
    Latest,
    /// What was durable when the snapshot was opened.
    At(&'a Snapshot),
}

/// A value, or that there is none, and the commit that made it so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The value; `None` if the key is deleted.
    pub value: Option<Bytes>,
    /// When that was committed.
    pub stamp: Stamp,
}

/// The bounds of a [`Store`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How much memory the versions may take, in bytes, by [`Usage::bytes`].
    pub bytes: usize,
    /// How old a snapshot may grow. What it shows is kept no longer than that.
    pub snapshot_age: Duration,
}

impl Default for Limits {
    /// A gigabyte, and a minute.
    fn default() -> Self {
        Limits { bytes: 1 << 30, snapshot_age: Duration::from_secs(60) }
    }
}

/// Why the store refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The versions of this commit would take more memory than is allowed. Nothing was installed.
    #[error(
        "the store holds {held} bytes and the commit needs {needed} more, of {limit} that are allowed; {pinned} of \
         them are old versions, kept for snapshots: end those, delete keys, or raise the limit"
    )]
    Overloaded {
        /// What all versions take.
        held: usize,
        /// What those of the commit would take.
        needed: usize,
        /// The bound.
        limit: usize,
        /// How much of what is held are versions that only snapshots show.
        pinned: usize,
    },
    /// What this snapshot shows may have been collected.
    #[error(
        "the snapshot at LSN {lsn} is too old: versions up to LSN {horizon} may have been collected; begin again"
    )]
    SnapshotTooOld {
        /// Where the snapshot is.
        lsn: Lsn,
        /// Up to where versions have been collected.
        horizon: Lsn,
    },
    /// A transaction over several logs is prepared and not decided, and holds a key that is asked for.
    #[error(
        "the key is held by transaction {id}, which is prepared and not decided yet; try again when it is decided"
    )]
    Prepared {
        /// That transaction.
        id: GlobalId,
    },
}

/// What a [`Store`] holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Keys, with those that are deleted but not collected yet.
    pub keys: usize,
    /// Versions of all keys.
    pub versions: usize,
    /// What they take, in bytes: keys, values and what is needed to find them, by an estimate.
    pub bytes: usize,
    /// How much of it are versions that have been overwritten, or deletions: what snapshots keep.
    pub pinned: usize,
    /// Commits that are not durable yet.
    pub open_commits: usize,
    /// Snapshots that are open.
    pub snapshots: usize,
    /// The oldest of them.
    pub oldest_snapshot: Option<Lsn>,
    /// When that was opened, by the host's clock.
    pub oldest_since: Option<Duration>,
    /// Keys and ranges that prepared transactions keep locked.
    pub locks: usize,
}

/// Versions of keys. See the [module](self).
#[derive(Debug)]
pub struct Store {
    limits: Limits,
    index: BTreeMap<Key, ChainId>,
    chains: Slab<Chain>,
    /// Commits that are not durable yet, oldest first.
    open: VecDeque<OpenCommit>,
    next_commit: CommitNo,
    durable: Lsn,
    snapshots: Snapshots,
    /// Keys with old versions, by the commit that made them old.
    garbage: VecDeque<Garbage>,
    /// Up to where has been collected: what is older may be gone.
    horizon: Lsn,
    versions: usize,
    bytes: usize,
    pinned: usize,
    locks: Locks,
    counts: Counts,
    hints: Hints,
}

type ChainId = u32;

#[derive(Debug)]
struct OpenCommit {
    number: CommitNo,
    chains: SmallVec<[ChainId; 2]>,
}

#[derive(Debug)]
struct Garbage {
    since: Lsn,
    chain: ChainId,
}

/// What a version takes beside its value: its slot, and what an allocation of its own costs.
const VERSION_BYTES: usize = size_of::<Version>() + 16;

/// What a key of so many bytes takes: its place in the index, whose nodes are two thirds full, its chain, and two hints.
fn key_bytes(length: usize) -> usize {
    let place = (size_of::<Key>() + size_of::<ChainId>()) * 3 / 2;
    place + size_of::<Chain>() + 2 * size_of::<ChainId>() + Key::allocated(length)
}

impl Store {
    /// An empty store.
    pub fn new(limits: Limits) -> Self {
        Store {
            limits,
            index: BTreeMap::new(),
            chains: Slab::new(),
            open: VecDeque::new(),
            next_commit: CommitNo::default(),
            durable: Lsn::NONE,
            snapshots: Snapshots::default(),
            garbage: VecDeque::new(),
            horizon: Lsn::NONE,
            versions: 0,
            bytes: 0,
            pinned: 0,
            locks: Locks::default(),
            counts: Counts::default(),
            hints: Hints::default(),
        }
    }

    /// Installs what a commit writes, as it is put into the log. Of two writes to one key the last one counts.
    ///
    /// # Errors
    /// [`StoreError::Overloaded`] or [`StoreError::Prepared`]; then nothing is installed, and the commit must not be put
    /// into the log.
    pub fn install(&mut self, writes: Vec<Write>) -> Result<CommitNo, StoreError> {
        self.make_sure_of_room(&writes)?;
        writes.iter().try_for_each(|write| self.locks.check_write(&write.key))?;
        Ok(self.install_decided(writes))
    }

    /// The same for a transaction that can not be refused any more, because it has been decided to commit. Its own locks
    /// have kept others from its keys, and its room was checked when it was prepared.
    pub(crate) fn install_decided(&mut self, writes: Vec<Write>) -> CommitNo {
        let number = self.next_commit;
        self.next_commit = number.next();
        let at = Stamp::pending(number);
        let mut chains = SmallVec::with_capacity(writes.len());
        for Write { key, value } in writes {
            let id = self.chain_of(&key);
            let version = Version { at, value };
            let chain = &mut self.chains[id as usize];
            self.counts.change(&key, chain.has_value(), version.value.is_some());
            let earlier = chain.withdraw(at);
            self.versions += 1;
            self.bytes += version.bytes();
            chain.push(version);
            match earlier {
                Some(earlier) => self.forget(&earlier),
                None => chains.push(id),
            }
        }
        self.open.push_back(OpenCommit { number, chains });
        number
    }

    /// Locks what a transaction that is to be prepared writes and has read.
    ///
    /// # Errors
    /// [`StoreError::Overloaded`] or [`StoreError::Prepared`]; then nothing is locked.
    pub(crate) fn lock(
        &mut self,
        id: GlobalId,
        writes: &[Write],
        reads: &Reads,
    ) -> Result<(), StoreError> {
        self.make_sure_of_room(writes)?;
        writes.iter().try_for_each(|write| self.locks.check_write(&write.key))?;
        reads.keys.iter().try_for_each(|key| self.locks.check_read(key))?;
        reads.ranges.iter().try_for_each(|range| self.locks.check_scan(range))?;
        self.locks.lock(id, writes, reads);
        Ok(())
    }

    /// The same for one that can not be refused: it is prepared already.
    pub(crate) fn lock_prepared(&mut self, id: GlobalId, writes: &[Write], reads: &Reads) {
        self.locks.lock(id, writes, reads);
    }

    /// Takes the locks of a transaction back.
    pub(crate) fn unlock(&mut self, id: GlobalId, writes: &[Write], reads: &Reads) {
        self.locks.unlock(id, writes, reads);
    }

    /// Whether no prepared transaction writes this key.
    pub(crate) fn check_unlocked(&self, key: &[u8]) -> Result<(), StoreError> {
        self.locks.check_read(key)
    }

    /// Whether no prepared transaction writes in this range.
    pub(crate) fn check_unlocked_range(&self, range: &KeyRange) -> Result<(), StoreError> {
        self.locks.check_scan(range)
    }

    /// From now on keys are counted by so many of their first bytes, at most eight, so that
    /// [`count`](Self::count) needs no search. Those that are there are looked at once.
    pub fn count_by_first(&mut self, bytes: usize) {
        let mut counts = Counts::by_first(bytes);
        for (_, chain) in &self.chains {
            counts.change(chain.key.bytes(), false, chain.has_value());
        }
        self.counts = counts;
    }

    /// How many keys that begin with these bytes have a value in the newest state, durable or not. What has been counted
    /// must not be told before [all of it](Self::newest_commit) is durable. Where they are not
    /// [counted](Self::count_by_first) they are looked at, all of them.
    pub fn count(&self, prefix: &[u8]) -> u64 {
        self.counts.of(prefix).unwrap_or_else(|| {
            let range = KeyRange::prefix(Bytes::copy_from_slice(prefix));
            let chains = self.index.range::<[u8], _>(range.bounds());
            chains.filter(|(_, id)| self.chains[**id as usize].has_value()).count() as u64
        })
    }

    /// Whether a key has a value in the newest state.
    pub(crate) fn has_value(&self, key: &[u8]) -> bool {
        self.find(key).is_some_and(|id| self.chains[id as usize].has_value())
    }

    /// The newest commit that is not durable yet.
    pub fn newest_commit(&self) -> Option<CommitNo> {
        self.open.back().map(|open| open.number)
    }

    /// What all versions take, in bytes: [`Usage::bytes`].
    pub(crate) fn held(&self) -> usize {
        self.bytes
    }

    fn make_sure_of_room(&self, writes: &[Write]) -> Result<(), StoreError> {
        let value = |write: &Write| write.value.as_ref().map_or(0, Bytes::len);
        let most = |write: &Write| VERSION_BYTES + value(write) + key_bytes(write.key.len());
        let most: usize = writes.iter().map(most).sum();
        // Most commits fit even if all of their keys were new, and that costs no search.
        let limit = self.limits.bytes;
        if self.bytes + most <= limit {
            return Ok(());
        }
        // A full store has to let itself be emptied. There are no more such tombstones than keys with a value.
        let is_deleted = |write: &Write| write.value.is_none() && self.has_value(&write.key);
        if writes.iter().all(is_deleted) {
            return Ok(());
        }
        let known = writes.iter().filter(|write| self.find(&write.key).is_some());
        let needed = most - known.map(|write| key_bytes(write.key.len())).sum::<usize>();
        if self.bytes + needed <= limit {
            return Ok(());
        }
        let (held, pinned) = (self.bytes, self.pinned);
        Err(StoreError::Overloaded { held, needed, limit, pinned })
    }

    /// The chain of a key; a new one if it has none.
    fn chain_of(&mut self, key: &Bytes) -> ChainId {
        if let Some(id) = self.find(key) {
            return id;
        }
        let stored = Key::new(key);
        // Four billion keys do not fit into memory.
        let id = self.chains.insert(Chain::new(stored.clone())) as ChainId;
        self.index.insert(stored, id);
        self.hints.make_room_for(self.chains.len());
        self.bytes += key_bytes(key.len());
        id
    }

    /// The oldest commit that is open is durable, at this LSN.
    pub fn durable(&mut self, lsn: Lsn) {
        debug_assert!(lsn > self.durable, "{lsn} after {}", self.durable);
        // Without a snapshot nobody can see what is old: it needs no second look.
        let is_seen = !self.garbage.is_empty() || self.snapshots.oldest().is_some();
        if let Some(OpenCommit { number, chains }) = self.open.pop_front() {
            let pending = Stamp::pending(number);
            for id in chains {
                let chain = &mut self.chains[id as usize];
                chain.settle(pending, lsn);
                let old: usize = chain.made_old_by(lsn).map(Version::bytes).sum();
                if old > 0 {
                    self.pinned += old;
                    let garbage = Garbage { since: lsn, chain: id };
                    if is_seen {
                        self.garbage.push_back(garbage);
                    } else {
                        self.horizon = lsn;
                        self.collect_chain(garbage);
                    }
                }
            }
        }
        self.durable = lsn;
    }

    /// Takes a commit out that is not in the log, and all that were installed after it, before anything reads again.
    /// Returns how many that were.
    pub fn fail_from(&mut self, commit: CommitNo) -> usize {
        let keep = self.open.partition_point(|open| open.number < commit);
        let failed = self.open.len() - keep;
        while self.open.len() > keep
            && let Some(OpenCommit { number, chains }) = self.open.pop_back()
        {
            for id in chains {
                let chain = &mut self.chains[id as usize];
                let had = chain.has_value();
                if let Some(version) = chain.withdraw(Stamp::pending(number)) {
                    self.counts.change(chain.key.bytes(), had, chain.has_value());
                    self.forget(&version);
                }
                self.chains[id as usize].shrink();
                self.remove_if_empty(id);
            }
        }
        failed
    }

    fn forget(&mut self, version: &Version) {
        self.versions -= 1;
        self.bytes -= version.bytes();
    }

    fn remove_if_empty(&mut self, id: ChainId) {
        if self.chains.get(id as usize).is_some_and(Chain::is_empty) {
            let chain = self.chains.remove(id as usize);
            self.index.remove(&chain.key);
            self.bytes -= key_bytes(chain.key.bytes().len());
        }
    }

    /// Opens a snapshot of what is durable. `now` is the time of the host's clock.
    pub fn snapshot(&mut self, now: Duration) -> Snapshot {
        self.snapshot_kept_for(now, self.limits.snapshot_age)
    }

    /// The same with an age limit of its own: for a reader that has to come to its end.
    pub fn snapshot_kept_for(&mut self, now: Duration, age: Duration) -> Snapshot {
        self.snapshots.open(self.durable, now, age)
    }

    /// What the view shows of a key; `None` if it never had a value, or its deletion has been collected.
    ///
    /// # Errors
    /// [`StoreError::SnapshotTooOld`]; or [`StoreError::Prepared`], since of the newest state nobody knows what it is.
    pub fn get(&self, key: &[u8], view: View<'_>) -> Result<Option<Found>, StoreError> {
        self.check(view)?;
        if let View::Latest = view {
            self.locks.check_read(key)?;
        }
        let chain = self.find(key).map(|id| &self.chains[id as usize]);
        let version = chain.and_then(|chain| chain.seen_by(view));
        Ok(version.map(|version| Found { value: version.value.clone(), stamp: version.at }))
    }

    /// The newest value of a key, for a look, and when it was committed.
    ///
    /// # Errors
    /// As for [`get`](Self::get) of the newest state.
    pub(crate) fn newest(&self, key: &[u8]) -> Result<Option<(Option<&Bytes>, Stamp)>, StoreError> {
        self.locks.check_read(key)?;
        let newest = self.find(key).and_then(|id| self.chains[id as usize].newest());
        Ok(newest.map(|version| (version.value.as_ref(), version.at)))
    }

    /// The chain of a key.
    fn find(&self, key: &[u8]) -> Option<ChainId> {
        let hint = self.hints.of(key);
        let is_it = |chain: &Chain| chain.key.bytes() == key;
        if self.chains.get(hint.get() as usize).is_some_and(is_it) {
            return Some(hint.get());
        }
        let id = *self.index.get(key)?;
        hint.set(id);
        Some(id)
    }

    /// When the key was changed last, durable or not: later than a snapshot means that a commit has come in between.
    pub fn changed(&self, key: &[u8]) -> Option<Stamp> {
        let id = self.find(key)?;
        self.chains[id as usize].newest().map(|version| version.at)
    }

    /// Reads keys in order, at most as many as the budget allows. The next piece begins [behind](KeyRange::behind) the
    /// key in [`Piece::next`].
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub fn scan(
        &self,
        range: &KeyRange,
        view: View<'_>,
        budget: Budget,
    ) -> Result<Piece, StoreError> {
        self.check(view)?;
        let mut piece = Piece::default();
        if range.is_empty() {
            return Ok(piece);
        }
        let mut bytes = 0;
        for (_, id) in self.index.range::<[u8], _>(range.bounds()) {
            piece.looked += 1;
            let chain = &self.chains[*id as usize];
            piece.changed = piece.changed.max(chain.newest().map(|newest| newest.at));
            if let Some(Version { at, value: Some(value) }) = chain.seen_by(view) {
                let key = chain.key.to_bytes();
                bytes += key.len() + value.len();
                piece.rows.push(Row { key, value: value.clone(), stamp: *at });
            }
            if piece.looked >= budget.keys || bytes >= budget.bytes {
                piece.next = Some(chain.key.to_bytes());
                break;
            }
        }
        if let View::Latest = view {
            let seen = piece.next.clone().map_or_else(|| range.clone(), |last| range.through(last));
            self.locks.check_scan(&seen)?;
        }
        Ok(piece)
    }

    /// Whether everything is there that the view shows, and every trace of what has changed since.
    pub(crate) fn check(&self, view: View<'_>) -> Result<(), StoreError> {
        match view {
            View::At(snapshot) if snapshot.lsn() < self.horizon => {
                let (lsn, horizon) = (snapshot.lsn(), self.horizon);
                Err(StoreError::SnapshotTooOld { lsn, horizon })
            }
            View::At(_) | View::Latest => Ok(()),
        }
    }

    /// Takes out versions that no snapshot shows: those of at most this many keys. Returns whether there are more.
    /// Snapshots above the age limit count no longer: from then on they are too old if they would miss something.
    pub fn collect(&mut self, now: Duration, keys: usize) -> bool {
        let bound = self.snapshots.oldest_at(now).map_or(self.durable, |(lsn, _)| lsn);
        for _ in 0..keys {
            let Some(garbage) = pop_front_if(&mut self.garbage, |old| old.since <= bound) else {
                return false;
            };
            self.horizon = self.horizon.max(garbage.since);
            self.collect_chain(garbage);
        }
        self.garbage.front().is_some_and(|garbage| garbage.since <= bound)
    }

    fn collect_chain(&mut self, Garbage { since, chain }: Garbage) {
        // An entry may have outlived its chain, or its number may be that of another key by now.
        let Some(versions) = self.chains.get_mut(chain as usize) else {
            return;
        };
        for version in versions.collect(since) {
            self.versions -= 1;
            self.bytes -= version.bytes();
            self.pinned -= version.bytes();
        }
        versions.shrink();
        self.remove_if_empty(chain);
    }

    /// The LSN of the newest durable commit.
    pub fn durable_lsn(&self) -> Lsn {
        self.durable
    }

    /// What it holds now.
    pub fn usage(&mut self) -> Usage {
        let oldest = self.snapshots.oldest();
        Usage {
            keys: self.chains.len(),
            versions: self.versions,
            bytes: self.bytes,
            pinned: self.pinned,
            open_commits: self.open.len(),
            snapshots: self.snapshots.len(),
            oldest_snapshot: oldest.map(|(lsn, _)| lsn),
            oldest_since: oldest.map(|(_, since)| since),
            locks: self.locks.len(),
        }
    }
}

fn pop_front_if<T>(queue: &mut VecDeque<T>, is_due: impl FnOnce(&T) -> bool) -> Option<T> {
    if queue.front().is_some_and(is_due) { queue.pop_front() } else { None }
}
