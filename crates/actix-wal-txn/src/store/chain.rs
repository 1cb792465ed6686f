//! The versions of one key, oldest first.

use actix_wal::Lsn;
use bytes::Bytes;
use smallvec::SmallVec;

use super::key::Key;
use super::stamp::Stamp;
use super::{VERSION_BYTES, View};

/// What a key was set to by one commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Version {
    pub(super) at: Stamp,
    /// `None` is a tombstone: the commit deleted the key.
    pub(super) value: Option<Bytes>,
}

impl Version {
    /// What it counts for.
    pub(super) fn bytes(&self) -> usize {
        VERSION_BYTES + self.value.as_ref().map_or(0, Bytes::len)
    }
}

/// The versions of one key. Most keys have one, and a second one until a change is durable.
#[derive(Clone, Debug)]
pub(super) struct Chain {
    pub(super) key: Key,
    /// In the order of their stamps. Those without an LSN are the newest ones. Up to two lie in the chain itself.
    versions: SmallVec<[Version; 2]>,
}

impl Chain {
    pub(super) fn new(key: Key) -> Self {
        Chain { key, versions: SmallVec::new() }
    }

    pub(super) fn newest(&self) -> Option<&Version> {
        self.versions.last()
    }

    /// Whether the newest version is a value.
    pub(super) fn has_value(&self) -> bool {
        self.newest().is_some_and(|newest| newest.value.is_some())
    }

    /// The version that a view shows.
    pub(super) fn seen_by(&self, view: View<'_>) -> Option<&Version> {
        match view {
            View::Latest => self.newest(),
            View::At(snapshot) => self.versions[..self.behind(snapshot.lsn())].last(),
        }
    }

    /// Where the first version is that is newer than this LSN.
    fn behind(&self, lsn: Lsn) -> usize {
        self.versions.partition_point(|version| version.at <= Stamp::of(lsn))
    }

    pub(super) fn push(&mut self, version: Version) {
        debug_assert!(self.newest().is_none_or(|newest| newest.at < version.at));
        self.versions.push(version);
    }

    /// Gives the version of a commit that is durable its LSN.
    pub(super) fn settle(&mut self, pending: Stamp, lsn: Lsn) {
        let at = self.versions.partition_point(|version| version.at < pending);
        if let Some(version) = self.versions.get_mut(at).filter(|version| version.at == pending) {
            version.at = Stamp::of(lsn);
        }
    }

    /// Takes out the newest version, if it is that of this commit.
    pub(super) fn withdraw(&mut self, at: Stamp) -> Option<Version> {
        if self.newest().is_some_and(|newest| newest.at == at) { self.versions.pop() } else { None }
    }

    /// The versions that the durable commit at this LSN has made old: the one before its own, unless that is a
    /// tombstone, which was old from the beginning; and its own if it is one.
    pub(super) fn made_old_by(&self, lsn: Lsn) -> impl Iterator<Item = &Version> {
        let own = self.versions.partition_point(|version| version.at < Stamp::of(lsn));
        let before = own.checked_sub(1).and_then(|before| self.versions.get(before));
        let before = before.filter(|before| before.value.is_some());
        let own = self.versions.get(own).filter(|own| own.value.is_none());
        before.into_iter().chain(own)
    }

    /// Takes out what no snapshot at `horizon` or later shows: what is older than the version that is shown at the
    /// horizon, and that one too if it is a tombstone, since nothing is left below it for it to hide.
    pub(super) fn collect(&mut self, horizon: Lsn) -> impl Iterator<Item = Version> {
        let behind = self.behind(horizon);
        let shown = behind.saturating_sub(1);
        let hides_nothing = self.versions[shown..behind].iter().any(|shown| shown.value.is_none());
        self.versions.drain(..if hides_nothing { behind } else { shown })
    }

    /// Gives back the memory of versions that are gone.
    pub(super) fn shrink(&mut self) {
        if self.versions.spilled() && self.versions.len() <= self.versions.inline_size() {
            self.versions.shrink_to_fit();
        }
    }

    #[cfg(test)]
    pub(super) fn versions(&self) -> &[Version] {
        &self.versions
    }

    #[cfg(test)]
    pub(super) fn is_spilled(&self) -> bool {
        self.versions.spilled()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.versions.is_empty()
    }
}
