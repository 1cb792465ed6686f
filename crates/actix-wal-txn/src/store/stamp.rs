//! When a version was committed: its LSN, or its place among the commits that are not durable yet.

use std::fmt;

use actix_wal::Lsn;

/// The number of a commit in this life of the store: 0, 1, 2 and so on, in the order in which they were installed,
/// which is that of their LSNs. No number is used twice, also if its commit fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommitNo(
    /// The number.
    pub u64,
);

impl CommitNo {
    /// The one after it.
    pub fn next(self) -> Self {
        CommitNo(self.0 + 1)
    }
}

/// When a version was committed. Whatever is not durable yet is later than all that is: commits become durable in the
/// order in which they are put into the log.
///
/// One word, since there is one in each version: the highest bit says that it is a [`CommitNo`] and no LSN.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp(u64);

const PENDING: u64 = 1 << 63;

impl Stamp {
    /// That of a durable commit.
    pub(crate) fn of(lsn: Lsn) -> Self {
        debug_assert!(lsn.get() < PENDING || lsn == Lsn::MAX);
        Stamp(lsn.get() & !PENDING)
    }

    /// That of a commit which has been put into the log, and is not durable yet.
    pub(crate) fn pending(commit: CommitNo) -> Self {
        Stamp(PENDING | commit.0)
    }

    /// The LSN, once the commit is durable.
    pub fn lsn(self) -> Option<Lsn> {
        (self.0 & PENDING == 0).then(|| Lsn::new(self.0))
    }

    /// The commit that must be durable before anybody is told what was read here; `None` if it is.
    pub fn waits_for(self) -> Option<CommitNo> {
        (self.0 & PENDING != 0).then_some(CommitNo(self.0 & !PENDING))
    }
}

impl fmt::Debug for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.waits_for() {
            Some(commit) => commit.fmt(f),
            None => Lsn::new(self.0).fmt(f),
        }
    }
}
