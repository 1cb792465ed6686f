//! What was done and seen, by name: a run that saw none of it proves little.

use std::collections::BTreeMap;

#[derive(Clone, Debug, Default)]
pub struct Counts(BTreeMap<&'static str, u64>);

impl Counts {
    pub fn count(&mut self, what: &'static str, times: u64) {
        *self.0.entry(what).or_default() += times;
    }

    pub fn add(&mut self, other: &Counts) {
        other.0.iter().for_each(|(what, times)| self.count(what, *times));
    }

    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.0.iter().map(|(what, times)| (*what, *times))
    }

    pub fn of(&self, what: &str) -> u64 {
        self.0.get(what).copied().unwrap_or_default()
    }

    /// Panics if one of these was seen less often.
    pub fn assert_seen(&self, at_least: u64, all: impl IntoIterator<Item = &'static str>) {
        for what in all {
            assert!(self.of(what) >= at_least, "too few {what}: {self:#?}");
        }
    }
}
