//! A transaction that is sent whole, and runs on the newest versions, durable or not.

use bytes::Bytes;

use crate::store::{Budget, CommitNo, KeyRange, Piece, Store, View, Write};
use crate::watches::{NewWatch, WatchedKey, Watches};
use crate::workspace::{Rows, WorkError, WorkLimits};
use crate::writes::Writes;

/// The newest state, as a transaction that is sent whole sees it: it runs alone, so it has no conflicts, and its own
/// writes come first. What it has read must not be told before all of that is durable, whatever it does with it.
#[derive(Debug)]
pub struct Latest<'a> {
    store: &'a Store,
    writes: Writes,
    /// The newest commit that it has seen anything of and that is not durable yet.
    seen: Option<CommitNo>,
    /// How many more keys it may look at: nobody else is served meanwhile.
    looks_left: usize,
    limits: WorkLimits,
    watches: Vec<NewWatch>,
    /// How many more keys may be watched.
    watches_left: usize,
}

/// What a transaction leaves when it has run.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) writes: Vec<Write>,
    /// The commit that must be durable before what it has read is told.
    pub(crate) seen: Option<CommitNo>,
    pub(crate) watches: Vec<NewWatch>,
}

impl<'a> Latest<'a> {
    pub(crate) fn new(store: &'a Store, limits: WorkLimits, watches_left: usize) -> Self {
        Latest {
            store,
            writes: Writes::new(limits),
            seen: None,
            looks_left: limits.reads,
            limits,
            watches: Vec::new(),
            watches_left,
        }
    }

    /// The value of a key; `None` if it has none.
    ///
    /// # Errors
    /// The transaction has read more than one may.
    pub fn get(&mut self, key: &[u8]) -> Result<Option<Bytes>, WorkError> {
        if let Some(own) = self.writes.of(key) {
            return Ok(own.clone());
        }
        self.look(1)?;
        let Some((value, stamp)) = self.store.newest(key)? else {
            return Ok(None);
        };
        self.seen = self.seen.max(stamp.waits_for());
        Ok(value.cloned())
    }

    /// The same for a look at the value, which costs less than a value to keep.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub fn peek(&mut self, key: &[u8]) -> Result<Option<&Bytes>, WorkError> {
        self.look(1)?;
        if self.writes.of(key).is_some() {
            return Ok(self.writes.of(key).and_then(Option::as_ref));
        }
        let Some((value, stamp)) = self.store.newest(key)? else {
            return Ok(None);
        };
        self.seen = self.seen.max(stamp.waits_for());
        Ok(value)
    }

    /// Rows from the beginning of a range, as many as the budget allows, with its own writes among them.
    ///
    /// # Errors
    /// The transaction has read more than one may.
    pub fn scan(&mut self, range: &KeyRange, budget: Budget) -> Result<Rows, WorkError> {
        let keys = budget.keys.min(self.looks_left.max(1));
        let budget = Budget { keys, ..budget };
        let Piece { rows, changed, next, looked } = self.store.scan(range, View::Latest, budget)?;
        self.seen = self.seen.max(changed.and_then(|stamp| stamp.waits_for()));
        self.look(looked)?;
        let rows = Rows { rows: rows.into_iter().map(|row| (row.key, row.value)).collect(), next };
        Ok(self.writes.over(rows, range, budget))
    }

    /// How many keys begin with these bytes, its own writes included. It costs no search where the store
    /// [counts](Store::count_by_first) by so many bytes. What is counted is told when all that is in the store is durable.
    ///
    /// # Errors
    /// A prepared transaction may change the count.
    pub fn count(&mut self, prefix: &[u8]) -> Result<u64, WorkError> {
        let range = KeyRange::prefix(Bytes::copy_from_slice(prefix));
        self.store.check_unlocked_range(&range)?;
        self.see_all();
        let mut count = self.store.count(prefix);
        for (key, has) in self.writes.with_prefix(prefix) {
            match (self.store.has_value(key), has) {
                (true, false) => count -= 1,
                (false, true) => count += 1,
                _ => {}
            }
        }
        Ok(count)
    }

    /// What the versions of all keys take, in bytes, without its own writes:
    /// [`Usage::bytes`](crate::store::Usage::bytes).
    pub fn held(&self) -> usize {
        self.store.held()
    }

    /// Its answer waits until everything is durable that was put in before it, whether it has read that or not.
    pub fn see_all(&mut self) {
        self.seen = self.seen.max(self.store.newest_commit());
    }

    /// Watches a key from the moment at which this transaction has run: until the answer is dropped, it says whether another
    /// one has written the key. So a later transaction can be made to depend on what this one has read, without a
    /// transaction that stays open. It does not read the key.
    ///
    /// # Errors
    /// [`Watches::KEYS`] are watched.
    pub fn watch(&mut self, key: Bytes) -> Result<WatchedKey, WorkError> {
        let (what, limit) = ("watched keys", Watches::KEYS);
        self.watches_left =
            self.watches_left.checked_sub(1).ok_or(WorkError::TooLarge { what, limit })?;
        let watch = NewWatch::new(key);
        let watched = watch.watched();
        self.watches.push(watch);
        Ok(watched)
    }

    fn look(&mut self, keys: usize) -> Result<(), WorkError> {
        let (what, limit) = ("reads", self.limits.reads);
        self.looks_left =
            self.looks_left.checked_sub(keys).ok_or(WorkError::TooLarge { what, limit })?;
        Ok(())
    }

    /// Sets a key, or deletes it.
    ///
    /// # Errors
    /// The transaction has written too much; this write is not among them.
    pub fn write(&mut self, write: Write) -> Result<(), WorkError> {
        self.writes.add(write)
    }

    pub(crate) fn finish(self) -> Finished {
        let Latest { writes, seen, watches, .. } = self;
        Finished { writes: writes.into_vec(), seen, watches }
    }
}
