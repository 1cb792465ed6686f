//! The rows and tokens at a durable LSN, in pieces.

use std::mem;

use actix_wal::Lsn;

use crate::snapshot_file::Section;
use crate::store::{Budget, KeyRange, Snapshot, Store, StoreError, View};
use crate::tokens::Tokens;
use crate::two_phase::participant::Branches;

/// How much is looked at for one piece: well below a millisecond of the actor's time.
pub(crate) const PIECE: Budget = Budget { keys: 512, bytes: 256 << 10 };

/// Where an export is: at rows, then at tokens, then at what is prepared, then at its end. It keeps the versions that it shows.
#[derive(Debug)]
pub(crate) struct Export {
    snapshot: Snapshot,
    /// What two-phase commit has to keep, at the same LSN.
    branches: Branches,
    at: At,
}

#[derive(Debug)]
enum At {
    Rows(KeyRange),
    /// Behind the token of the commit at this LSN.
    Tokens(Lsn),
    Branches,
    End,
}

impl Export {
    pub(crate) fn new(snapshot: Snapshot, branches: Branches) -> Self {
        Export { snapshot, branches, at: At::Rows(KeyRange::all()) }
    }

    /// The LSN that it shows.
    pub(crate) fn lsn(&self) -> Lsn {
        self.snapshot.lsn()
    }

    /// The next piece; `None` at the end. A token that is forgotten while this goes on is left out: a commit that
    /// comes later has taken its place, and recovery replays that one.
    ///
    /// # Errors
    /// The snapshot is too old.
    pub(crate) fn next(
        &mut self,
        store: &Store,
        tokens: &Tokens,
    ) -> Result<Option<Section>, StoreError> {
        match &mut self.at {
            At::Rows(range) => {
                let piece = store.scan(range, View::At(&self.snapshot), PIECE)?;
                self.at = match piece.next {
                    Some(last) => At::Rows(range.behind(last)),
                    None => At::Tokens(Lsn::NONE),
                };
                Ok(Some(Section::Rows(piece.rows)))
            }
            At::Tokens(behind) => {
                let these = tokens.committed_in(*behind, self.snapshot.lsn(), PIECE.keys);
                self.at = match these.last() {
                    Some((_, last)) if these.len() == PIECE.keys => At::Tokens(*last),
                    _ => At::Branches,
                };
                Ok(Some(Section::Tokens { tokens: these, complete: tokens.is_complete() }))
            }
            At::Branches => {
                self.at = At::End;
                let branches = mem::take(&mut self.branches);
                Ok((!branches.is_empty()).then_some(Section::Branches(branches)))
            }
            At::End => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::store::{Limits, Write};
    use crate::tokens::Token;

    fn commit(store: &mut Store, tokens: &mut Tokens, lsn: u64, value: &'static str) {
        // From the last key to the first, so that they run into the export.
        let key = format!("key {:04}", 1999 - lsn % 2000).into();
        store.install(vec![Write { key, value: Some(value.into()) }]).unwrap();
        store.durable(Lsn::new(lsn));
        tokens.committed(Token::new(lsn.to_string()).unwrap(), Lsn::new(lsn));
    }

    #[test]
    fn p25_an_export_shows_one_lsn_whatever_commits_while_it_goes_on() {
        let mut store = Store::new(Limits::default());
        let mut tokens = Tokens::new(1500, true);
        (1..=2000).for_each(|lsn| commit(&mut store, &mut tokens, lsn, "old"));
        let mut export = Export::new(store.snapshot(Duration::ZERO), Branches::default());
        let (mut rows, mut found, mut is_complete) = (Vec::new(), Vec::new(), true);
        let mut lsn = 2000;
        while let Some(piece) = export.next(&store, &tokens).unwrap() {
            match piece {
                Section::Rows(more) => rows.extend(more),
                Section::Branches(_) => {}
                Section::Tokens { tokens, complete } => {
                    is_complete = complete;
                    found.extend(tokens);
                }
            }
            for _ in 0..100 {
                lsn += 1;
                commit(&mut store, &mut tokens, lsn, "new");
            }
            while store.collect(Duration::ZERO, 100) {}
        }
        assert_eq!(rows.len(), 2000);
        assert!(rows.iter().all(|row| row.value == "old" && row.stamp.lsn() <= Some(export.lsn())));
        assert!(found.iter().all(|(_, lsn)| *lsn <= export.lsn()) && !is_complete);
        // The replay of what came later forgets as many as were left out.
        let left_out = 1500 - found.len() as u64;
        assert!(left_out > 0 && left_out <= lsn - 2000, "{left_out}");
        assert_eq!(found.last().unwrap().1, export.lsn());
    }
}
