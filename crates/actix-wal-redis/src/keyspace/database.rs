//! What the commands of one client see: the keys of a database.

use std::ops::Bound;
use std::sync::Arc;

use actix_wal_txn::error::TxnError;
use actix_wal_txn::latest::Latest;
use actix_wal_txn::store::{Budget, KeyRange, Write};
use actix_wal_txn::workspace::WorkError;
use bytes::{BufMut, Bytes, BytesMut};
use smallvec::SmallVec;

use super::directory::{DATABASES, DIRECTORY, DUE, Directory, KeyspaceId};
use super::host::Host;
use super::value::Value;
use super::watch::Watch;
use crate::resp::Reply;

/// Why a command does nothing.
#[derive(Debug)]
pub enum Fault {
    /// What its client is told. The other commands of a transaction go on.
    Error(Reply),
    /// All of the transaction has no effect.
    Txn(TxnError),
}

impl From<WorkError> for Fault {
    fn from(error: WorkError) -> Self {
        Fault::Txn(error.into())
    }
}

impl From<Reply> for Fault {
    fn from(error: Reply) -> Self {
        Fault::Error(error)
    }
}

/// A database, as one transaction sees it: it runs alone, on the newest state.
#[derive(Debug)]
pub struct Database<'a, 'l> {
    latest: &'a mut Latest<'l>,
    host: &'a Host,
    index: usize,
    id: KeyspaceId,
    /// The time at which the transaction runs, in milliseconds since 1970. It is the same for all of it.
    now: u64,
}

/// Keys in the order of their bytes, and where the next piece begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The keys and values, without those that have expired.
    pub rows: Vec<(Bytes, Value)>,
    /// The next piece begins behind this key. `None`: this was the last one.
    pub next: Option<Bytes>,
}

/// A key of the store, for a look.
type Path = SmallVec<[u8; 64]>;

impl<'a, 'l> Database<'a, 'l> {
    /// The database with this number, below [`DATABASES`].
    ///
    /// # Errors
    /// What is stored is none of ours, or the transaction does too much.
    pub fn select(
        latest: &'a mut Latest<'l>,
        host: &'a Host,
        index: usize,
        now: u64,
    ) -> Result<Self, Fault> {
        debug_assert!(index < DATABASES);
        let stored = latest.get(DIRECTORY)?;
        let id = Directory::look_up(stored.as_ref(), index).ok_or_else(|| foreign(DIRECTORY))?;
        Ok(Database { latest, host, index, id, now })
    }

    /// Another database in the same transaction.
    ///
    /// # Errors
    /// As for [`select`](Self::select).
    pub fn other(&mut self, index: usize) -> Result<Database<'_, 'l>, Fault> {
        Database::select(self.latest, self.host, index, self.now)
    }

    /// What is known beside the data.
    pub fn host(&self) -> &'a Host {
        self.host
    }

    /// Its number.
    pub fn index(&self) -> usize {
        self.index
    }

    /// The time at which the transaction runs, in milliseconds since 1970.
    pub fn now(&self) -> u64 {
        self.now
    }

    /// The value of a key, which counts as an access. One that has expired is deleted, in the log too: a client that was told
    /// that it is gone does not see it again, whatever the clock does.
    ///
    /// # Errors
    /// What is stored is none of ours, or the transaction does too much.
    pub fn get(&mut self, key: &[u8]) -> Result<Option<Value>, Fault> {
        let path = self.path(key);
        self.host.touch(&path, self.now);
        self.read(&path)
    }

    /// The same for a command that only looks at the key, so that it stays idle.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub fn peek(&mut self, key: &[u8]) -> Result<Option<Value>, Fault> {
        self.read(&self.path(key))
    }

    /// For how many seconds the key was not accessed, at least.
    pub fn idle(&self, key: &[u8]) -> u32 {
        self.host.idle(&self.path(key), self.now)
    }

    /// Sets a key, whatever it was, and returns what it was.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub fn set(&mut self, key: &[u8], value: Value) -> Result<Option<Value>, Fault> {
        let path = self.store_key(key);
        self.host.touch(&path, self.now);
        let before = self.read(&path)?;
        self.put(path, before.as_ref().and_then(Value::expires), value)?;
        Ok(before)
    }

    /// Sets a key of which [`get`](Self::get) has just given this.
    ///
    /// # Errors
    /// The transaction does too much.
    pub fn replace(
        &mut self,
        key: &[u8],
        before: Option<&Value>,
        value: Value,
    ) -> Result<(), Fault> {
        self.put(self.store_key(key), before.and_then(Value::expires), value)
    }

    fn put(&mut self, path: Bytes, from: Option<u64>, value: Value) -> Result<(), Fault> {
        let to = value.expires();
        if from != to {
            self.forget_due(from, &path)?;
            if let Some(to) = to {
                self.write(due(to, &path), Some(Bytes::new()))?;
            }
        }
        self.write(path, Some(value.into_stored()))
    }

    /// Deletes a key, and returns what it was.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub fn remove(&mut self, key: &[u8]) -> Result<Option<Value>, Fault> {
        let path = self.store_key(key);
        let before = self.read(&path)?;
        if let Some(before) = &before {
            self.delete(path, before.expires())?;
        }
        Ok(before)
    }

    /// Keys and values from behind this key on, or from the beginning; so many are looked at, expired ones included.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub fn scan(&mut self, behind: Option<&[u8]>, keys: usize) -> Result<Found, Fault> {
        let from = behind.map_or(Bound::Unbounded, Bound::Excluded);
        self.scan_prefix(b"", from, keys)
    }

    /// The same among the keys that begin with these bytes.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub fn scan_prefix(
        &mut self,
        prefix: &[u8],
        from: Bound<&[u8]>,
        keys: usize,
    ) -> Result<Found, Fault> {
        let mut range = KeyRange::prefix(self.store_key(prefix));
        match from.map(|key| self.store_key(key)) {
            Bound::Unbounded => {}
            bound => range.from = bound,
        }
        let found = self.latest.scan(&range, Budget { keys, bytes: usize::MAX })?;
        let mut rows = Vec::with_capacity(found.rows.len());
        for (path, stored) in found.rows {
            if let Some(value) = self.alive(&path, stored)? {
                rows.push((path.slice(PREFIX..), value));
            }
        }
        Ok(Found { rows, next: found.next.map(|path| path.slice(PREFIX..)) })
    }

    /// How many keys there are, with those that have expired and were not deleted yet.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub fn count(&mut self) -> Result<u64, Fault> {
        Ok(self.latest.count(&self.id.0.to_be_bytes())?)
    }

    /// Which keyspace each database shows.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub fn directory(&mut self) -> Result<Directory, Fault> {
        read_directory(self.latest)
    }

    /// Changes which keyspace each database shows; also for this one. A watched key that was there before, or is after, has
    /// changed.
    ///
    /// # Errors
    /// The transaction does too much.
    pub fn set_directory(&mut self, directory: &Directory) -> Result<(), Fault> {
        let before = self.directory()?;
        let shows_another = |watch: &Arc<Watch>| {
            before.keyspace(watch.database) != directory.keyspace(watch.database)
        };
        let mut watches = self.host.watches().live();
        watches.retain(shows_another);
        for watch in watches.split_off(watches.len().min(LOOKS)) {
            // As many looks as one transaction may take are not for these. They are safe if they warn for nothing.
            watch.touch();
        }
        for watch in watches {
            let (from, to) = (before.keyspace(watch.database), directory.keyspace(watch.database));
            let was_there = self.keyspace(watch.database, from).peek(&watch.key)?.is_some();
            let mut after = self.keyspace(watch.database, to);
            if was_there || after.peek(&watch.key)?.is_some() {
                watch.touch();
            } else {
                let path = Bytes::copy_from_slice(&after.path(&watch.key));
                watch.add_place(after.latest.watch(path)?);
            }
        }
        self.id = directory.keyspace(self.index);
        self.write(Bytes::from_static(DIRECTORY), Some(directory.stored()))
    }

    fn keyspace(&mut self, index: usize, id: KeyspaceId) -> Database<'_, 'l> {
        Database { latest: self.latest, host: self.host, index, id, now: self.now }
    }

    /// Watches a key, which is looked at: what this transaction does is seen, and what later ones do is not missed.
    ///
    /// # Errors
    /// As for [`get`](Self::get); or too many keys are watched.
    pub fn watch(&mut self, key: &[u8]) -> Result<Arc<Watch>, Fault> {
        let existed = self.peek(key)?.is_some();
        let place = self.latest.watch(Bytes::copy_from_slice(&self.path(key)))?;
        let watch = Watch::new(self.index, Bytes::copy_from_slice(key), existed, place);
        let watch = Arc::new(watch);
        self.host.watches().add(&watch);
        Ok(watch)
    }

    /// Whether a watched key, of any database, has changed or has expired. It is looked at, so that what is answered is
    /// durable then.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub fn is_changed(&mut self, watch: &Watch) -> Result<bool, Fault> {
        let is_there = self.other(watch.database)?.peek(&watch.key)?.is_some();
        Ok(watch.is_touched() || (watch.existed && !is_there))
    }

    fn path(&self, key: &[u8]) -> Path {
        let mut path = Path::from_slice(&self.id.0.to_be_bytes());
        path.extend_from_slice(key);
        path
    }

    /// The same to be stored: its bytes are copied once.
    fn store_key(&self, key: &[u8]) -> Bytes {
        let mut path = BytesMut::with_capacity(PREFIX + key.len());
        path.put_u32(self.id.0);
        path.put_slice(key);
        path.freeze()
    }

    fn read(&mut self, path: &[u8]) -> Result<Option<Value>, Fault> {
        match self.latest.get(path)? {
            Some(stored) => self.alive(path, stored),
            None => Ok(None),
        }
    }

    /// The value that is stored at this key, unless its time is over: then the key is deleted. As in Redis, the millisecond of
    /// that time still belongs to it.
    fn alive(&mut self, path: &[u8], stored: Bytes) -> Result<Option<Value>, Fault> {
        let value = Value::from_stored(stored).ok_or_else(|| foreign(path))?;
        match value.expires() {
            Some(at) if at < self.now => {
                self.host.count_expired(1);
                self.delete(Bytes::copy_from_slice(path), Some(at))?;
                Ok(None)
            }
            _ => Ok(Some(value)),
        }
    }

    fn delete(&mut self, path: Bytes, expires: Option<u64>) -> Result<(), Fault> {
        self.forget_due(expires, &path)?;
        self.write(path, None)
    }

    fn forget_due(&mut self, expires: Option<u64>, path: &[u8]) -> Result<(), Fault> {
        expires.map_or(Ok(()), |at| self.write(due(at, path), None))
    }

    fn write(&mut self, key: Bytes, value: Option<Bytes>) -> Result<(), Fault> {
        Ok(self.latest.write(Write { key, value })?)
    }
}

/// At so many watched keys a change of the directory looks.
const LOOKS: usize = 10_000;

/// How many bytes stand before a key.
pub(crate) const PREFIX: usize = size_of::<u32>();

/// Where it is noted that a key of the store expires at this time.
pub(super) fn due(at: u64, path: &[u8]) -> Bytes {
    let mut due = BytesMut::with_capacity(PREFIX + 8 + path.len());
    due.put_u32(DUE);
    due.put_u64(at);
    due.put_slice(path);
    due.freeze()
}

/// Which keyspace each database shows.
pub(super) fn read_directory(latest: &mut Latest<'_>) -> Result<Directory, Fault> {
    let Some(stored) = latest.get(DIRECTORY)? else {
        return Ok(Directory::default());
    };
    Directory::from_stored(stored).ok_or_else(|| foreign(DIRECTORY))
}

pub(super) fn foreign(path: &[u8]) -> Fault {
    Fault::Txn(TxnError::aborted(format!(
        "what is stored at {} is not of this server: is this another program's log?",
        path.escape_ascii()
    )))
}
