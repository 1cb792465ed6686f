//! A transaction that is sent whole, and runs on the newest versions, durable or not.

use bytes::Bytes;

use crate::store::{Budget, CommitNo, KeyRange, Piece, Store, View, Write};
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
}

impl<'a> Latest<'a> {
    pub(crate) fn new(store: &'a Store, limits: WorkLimits) -> Self {
        let writes = Writes::new(limits);
        Latest { store, writes, seen: None, looks_left: limits.reads, limits }
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
        let Some(found) = self.store.get(key, View::Latest)? else {
            return Ok(None);
        };
        self.seen = self.seen.max(found.stamp.waits_for());
        Ok(found.value)
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

    /// What it writes, and the commit that must be durable before what it has read is told.
    pub(crate) fn finish(self) -> (Vec<Write>, Option<CommitNo>) {
        (self.writes.into_vec(), self.seen)
    }
}
