//! What the commands of one client see: the keys of a database.

use std::ops::Bound;

use actix_wal_txn::error::TxnError;
use actix_wal_txn::latest::Latest;
use actix_wal_txn::store::{Budget, KeyRange, Write};
use actix_wal_txn::workspace::WorkError;
use bytes::{BufMut, Bytes, BytesMut};
use smallvec::SmallVec;

use super::directory::{DATABASES, DIRECTORY, DUE, Directory, KeyspaceId};
use super::host::Host;
use super::value::Value;
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

    /// The value of a key. One that has expired is deleted, in the log too: nobody who was told that it is gone sees it
    /// again, whatever the clock does.
    ///
    /// # Errors
    /// What is stored is none of ours, or the transaction does too much.
    pub fn get(&mut self, key: &[u8]) -> Result<Option<Value>, Fault> {
        let path = self.path(key);
        let Some(stored) = self.latest.get(&path)? else {
            return Ok(None);
        };
        let value = Value::from_stored(stored).ok_or_else(|| foreign(&path))?;
        match value.expires() {
            Some(at) if at <= self.now => {
                self.write(&path, None)?;
                self.write(&due(at, &path), None)?;
                Ok(None)
            }
            _ => Ok(Some(value)),
        }
    }

    /// Sets a key, whatever it was, and returns what it was.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub fn set(&mut self, key: &[u8], value: Value) -> Result<Option<Value>, Fault> {
        let before = self.get(key)?;
        self.replace(key, before.as_ref(), value)?;
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
        let path = self.path(key);
        self.move_due(&path, before.and_then(Value::expires), value.expires())?;
        self.write(&path, Some(value.into_stored()))
    }

    /// Deletes a key, and returns what it was.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub fn remove(&mut self, key: &[u8]) -> Result<Option<Value>, Fault> {
        let Some(before) = self.get(key)? else {
            return Ok(None);
        };
        let path = self.path(key);
        self.move_due(&path, before.expires(), None)?;
        self.write(&path, None)?;
        Ok(Some(before))
    }

    /// Keys and values from behind this key on, or from the beginning; so many are looked at, expired ones included.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub fn scan(&mut self, behind: Option<&[u8]>, keys: usize) -> Result<Found, Fault> {
        let mut range = KeyRange::prefix(Bytes::copy_from_slice(&self.id.0.to_be_bytes()));
        if let Some(behind) = behind {
            range.from = Bound::Excluded(Bytes::copy_from_slice(&self.path(behind)));
        }
        let found = self.latest.scan(&range, Budget { keys, bytes: usize::MAX })?;
        let mut rows = Vec::with_capacity(found.rows.len());
        for (path, stored) in found.rows {
            let value = Value::from_stored(stored).ok_or_else(|| foreign(&path))?;
            match value.expires() {
                Some(at) if at <= self.now => {
                    self.write(&path, None)?;
                    self.write(&due(at, &path), None)?;
                }
                _ => rows.push((path.slice(PREFIX..), value)),
            }
        }
        Ok(Found { rows, next: found.next.map(|path| path.slice(PREFIX..)) })
    }

    /// Which keyspace each database shows.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub fn directory(&mut self) -> Result<Directory, Fault> {
        let Some(stored) = self.latest.get(DIRECTORY)? else {
            return Ok(Directory::default());
        };
        Directory::from_stored(stored).ok_or_else(|| foreign(DIRECTORY))
    }

    /// Changes which keyspace each database shows; also for this one.
    ///
    /// # Errors
    /// The transaction does too much.
    pub fn set_directory(&mut self, directory: &Directory) -> Result<(), Fault> {
        self.id = directory.keyspace(self.index);
        self.write(DIRECTORY, Some(directory.stored()))
    }

    fn path(&self, key: &[u8]) -> Path {
        let mut path = Path::from_slice(&self.id.0.to_be_bytes());
        path.extend_from_slice(key);
        path
    }

    fn move_due(&mut self, path: &[u8], from: Option<u64>, to: Option<u64>) -> Result<(), Fault> {
        if from == to {
            return Ok(());
        }
        if let Some(from) = from {
            self.write(&due(from, path), None)?;
        }
        to.map_or(Ok(()), |to| self.write(&due(to, path), Some(Bytes::new())))
    }

    fn write(&mut self, path: &[u8], value: Option<Bytes>) -> Result<(), Fault> {
        let key = Bytes::copy_from_slice(path);
        Ok(self.latest.write(Write { key, value })?)
    }
}

/// How many bytes stand before a key.
const PREFIX: usize = size_of::<u32>();

/// Where it is noted that a key of the store expires at this time.
fn due(at: u64, path: &[u8]) -> Bytes {
    let mut due = BytesMut::with_capacity(PREFIX + 8 + path.len());
    due.put_u32(DUE);
    due.put_u64(at);
    due.put_slice(path);
    due.freeze()
}

fn foreign(path: &[u8]) -> Fault {
    Fault::Txn(TxnError::aborted(format!(
        "what is stored at {} is not of this server: is this another program's log?",
        path.escape_ascii()
    )))
}
