//! Keys that clients watch between `WATCH` and `EXEC`.
//!
//! The coordinator says whether a key of the store was written. What it can not say is that a database shows another keyspace:
//! so `FLUSHDB` and `SWAPDB` look at all watched keys of the databases that they change, as in Redis. A key that is neither
//! there before nor after that has not changed, and is watched where it would be now.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use actix_wal_txn::watches::WatchedKey;
use bytes::Bytes;
use smallvec::SmallVec;

/// A key that a client watches. Dropped, it is watched no more.
#[derive(Debug)]
pub struct Watch {
    pub(super) database: usize,
    pub(super) key: Bytes,
    /// Whether the key was there when the client began to watch it.
    pub(super) existed: bool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Where the key lay, and where it lies now.
    places: SmallVec<[WatchedKey; 1]>,
    is_touched: bool,
}

/// A key that has lain in more places than this counts as changed.
const PLACES: usize = 16;

impl Watch {
    pub(super) fn new(database: usize, key: Bytes, existed: bool, place: WatchedKey) -> Self {
        let state = State { places: SmallVec::from_buf([place]), is_touched: false };
        Watch { database, key, existed, state: Mutex::new(state) }
    }

    /// The database, and the key.
    pub fn place(&self) -> (usize, Bytes) {
        (self.database, self.key.clone())
    }

    /// Whether another transaction has changed the key since, as far as is seen without a look at it.
    pub(super) fn is_touched(&self) -> bool {
        let state = self.state();
        state.is_touched || state.places.iter().any(WatchedKey::is_changed)
    }

    pub(super) fn touch(&self) {
        self.state().is_touched = true;
    }

    /// The key lies in another keyspace. The transaction that brought it there may fail: so it is watched in both.
    pub(super) fn add_place(&self, place: WatchedKey) {
        let mut state = self.state();
        if state.places.len() < PLACES {
            state.places.push(place);
        } else {
            state.is_touched = true;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All keys that clients watch.
#[derive(Debug, Default)]
pub(super) struct Watches {
    all: Vec<Weak<Watch>>,
    /// At how many those that no client watches any more are taken out.
    tidy_at: usize,
}

/// Fewer are not worth a look.
const FEW: usize = 64;

impl Watches {
    pub(super) fn add(&mut self, watch: &Arc<Watch>) {
        if self.all.len() >= self.tidy_at.max(FEW) {
            self.all.retain(|watch| watch.strong_count() > 0);
            self.tidy_at = 2 * self.all.len();
        }
        self.all.push(Arc::downgrade(watch));
    }

    pub(super) fn live(&self) -> Vec<Arc<Watch>> {
        self.all.iter().filter_map(Weak::upgrade).collect()
    }
}
