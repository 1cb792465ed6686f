//! How many keys begin with the same bytes, known without looking at them.

use std::collections::HashMap;

/// Keys that have a value in the newest state, by their first bytes.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// How many bytes; zero if nothing is counted.
    length: usize,
    by_prefix: HashMap<u64, u64>,
}

/// As many bytes as fit into the word that is looked up.
const LONGEST: usize = size_of::<u64>();

impl Counts {
    pub(super) fn by_first(length: usize) -> Self {
        Counts { length: length.min(LONGEST), by_prefix: HashMap::new() }
    }

    /// A key has a value from now on, or has none any more. Most changes are neither.
    pub(super) fn change(&mut self, key: &[u8], had: bool, has: bool) {
        if had == has || self.length == 0 {
            return;
        }
        let Some(prefix) = key.get(..self.length) else {
            return;
        };
        let count = self.by_prefix.entry(word(prefix)).or_default();
        *count = if has { *count + 1 } else { count.saturating_sub(1) };
    }

    /// `None` if keys are not counted by so many bytes.
    pub(super) fn of(&self, prefix: &[u8]) -> Option<u64> {
        let is_counted = self.length > 0 && prefix.len() == self.length;
        is_counted.then(|| self.by_prefix.get(&word(prefix)).copied().unwrap_or(0))
    }
}

fn word(prefix: &[u8]) -> u64 {
    prefix.iter().fold(0, |word, byte| word << 8 | u64::from(*byte))
}
