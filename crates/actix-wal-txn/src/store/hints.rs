//! Where keys were found last.

use std::cell::Cell;
use std::hash::BuildHasher;

use rustc_hash::FxBuildHasher;

use super::ChainId;

/// For each of so many hashes the chain that was found last. It may be that of another key by now, or of none: who takes a
/// hint looks at the key of the chain. So a hint is never taken back, two keys may share one, and clients that choose their
/// keys badly are as slow as without it.
///
/// To search the index costs the loads of a few cache lines for each of its levels. Of the time of `SET` in pipelines that
/// was a fifth with 100,000 keys (`perf` of the server of `crates/actix-wal-redis`).
#[derive(Debug)]
pub(super) struct Hints {
    chains: Vec<Cell<ChainId>>,
}

const FEWEST: usize = 1 << 8;
/// Four megabytes. With more keys than that they are for those that are asked for often.
const MOST: usize = 1 << 20;

impl Default for Hints {
    fn default() -> Self {
        Hints { chains: vec![Cell::default(); FEWEST] }
    }
}

impl Hints {
    /// There are so many keys now. If they are too many for the hints there are, those are given up for more.
    pub(super) fn make_room_for(&mut self, keys: usize) {
        if keys > self.chains.len() && self.chains.len() < MOST {
            let room = keys.saturating_mul(2).min(MOST).next_power_of_two();
            self.chains = vec![Cell::default(); room];
        }
    }

    /// Where the chain of a key may be, and where to note it.
    pub(super) fn of(&self, key: &[u8]) -> &Cell<ChainId> {
        // There are a power of two of them.
        &self.chains[FxBuildHasher.hash_one(key) as usize & (self.chains.len() - 1)]
    }
}
