//! Which file bears which name now: an open file keeps its identity when it is renamed.

use std::collections::BTreeMap;

/// The names of the files that a decorator has met.
#[derive(Debug, Default)]
pub(super) struct Names {
    by_name: BTreeMap<String, u64>,
    last_id: u64,
}

impl Names {
    /// A new file under this name.
    pub(super) fn create(&mut self, name: &str) -> u64 {
        let id = self.reserve();
        self.insert(name, id);
        id
    }

    /// The number of a file that is about to be created.
    pub(super) fn reserve(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// The file with this number now bears this name.
    pub(super) fn insert(&mut self, name: &str, id: u64) {
        self.by_name.insert(name.to_owned(), id);
    }

    /// The file that bears this name, a new one if none is known.
    pub(super) fn open(&mut self, name: &str) -> u64 {
        let known = self.by_name.get(name).copied();
        known.unwrap_or_else(|| self.create(name))
    }

    pub(super) fn rename(&mut self, from: &str, to: &str) {
        let id = self.open(from);
        self.by_name.remove(from);
        self.by_name.insert(to.to_owned(), id);
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.by_name.remove(name);
    }

    /// The name of a file; none once it was removed.
    pub(super) fn name_of(&self, id: u64) -> Option<&str> {
        let mut names = self.by_name.iter();
        names.find_map(|(name, file)| (*file == id).then_some(name.as_str()))
    }
}
