//! Which snapshots are kept, and up to where the log may be released.

use actix_wal::Lsn;

/// The snapshots that are known to be good: written and synced by this process, or read to their end. Others in the
/// folder count for nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kept {
    newest: Option<Lsn>,
    older: Option<Lsn>,
}

impl Kept {
    /// The one that was recovered from.
    pub(crate) fn recovered(newest: Option<Lsn>) -> Self {
        Kept { newest, older: None }
    }

    /// What it is once another one, at a higher LSN, is durable.
    pub(crate) fn with(self, lsn: Lsn) -> Self {
        Kept { newest: Some(lsn), older: self.newest }
    }

    /// All of them: others are to be removed.
    pub(crate) fn all(self) -> Vec<Lsn> {
        self.newest.into_iter().chain(self.older).collect()
    }

    /// Up to where the log may be released: the newest one may turn out to be bad. With only one, nothing may be.
    pub(crate) fn releases(self) -> Option<Lsn> {
        self.older
    }

    /// The newest one.
    pub(crate) fn newest(self) -> Option<Lsn> {
        self.newest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p19_the_log_is_released_up_to_the_older_of_two_and_not_before_there_are_two() {
        let [one, two, three] = [1, 2, 3].map(Lsn::new);
        let mut kept = Kept::recovered(None);
        assert_eq!(kept.releases(), None);
        kept = kept.with(one);
        assert_eq!((kept.releases(), kept.all()), (None, vec![one]));
        kept = kept.with(two);
        assert_eq!((kept.releases(), kept.all()), (Some(one), vec![two, one]));
        kept = kept.with(three);
        assert_eq!((kept.releases(), kept.all()), (Some(two), vec![three, two]));
    }
}
