//! The commits that are on their way into the log, and the answers that wait for them.
//!
//! A plain type around the [`Store`]. It guards promise P25: no answer reveals a commit that a crash could still lose. A
//! transaction on the newest versions may see what is not durable; so its answer is kept back until that is, whether it
//! wrote anything or not.
//!
//! The order of everything is that in which commits are put into the log. They become durable in that order. If one
//! fails, then all that were put in after it fail as well, since they may build on it: their versions are taken out at
//! once, and the log, which refuses what builds on an epoch that has ended, ensures that none of them becomes durable. What
//! is put in later builds on none of them. The log may report failures in any order.
//!
//! A commit of which nobody knows yet, because the log has given up waiting for a disk, is answered so. It stays in the
//! store, and so does what was put in after it, until the log knows.

use std::collections::{BTreeMap, VecDeque};

use actix_wal::{Cause, CommitError, Lsn};

use crate::latest::{Finished, Latest};
use crate::store::{CommitNo, Store, StoreError, Write};
use crate::watches::{NewWatch, Watches};
use crate::workspace::WorkLimits;

/// What became of what an answer waits for.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// Everything that it tells is durable. Its own commit, if it has one, is at this LSN.
    Durable(Option<Lsn>),
    /// Its own commit is not durable, or nobody knows.
    Failed(CommitError),
    /// It has seen a commit that failed. It has no effect, and what it has read never was.
    SawFailed(CommitError),
}

/// Answers, in the order in which they can be given.
pub type Answers<A> = Vec<(A, Verdict)>;

/// Why nothing can be put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PutError {
    /// The log has made a commit durable after one that it failed, and that one may be what it builds on.
    #[error(
        "the commit at LSN {lsn} is durable though one before it is not: the state in memory is not that of the log; \
         restart, which recovers what the log holds"
    )]
    Contradiction {
        /// The commit that should have failed.
        lsn: Lsn,
    },
    /// The store refuses.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a transaction on the newest versions has done.
#[derive(Debug)]
pub struct Ran<T, E> {
    /// What it gave.
    pub result: Result<T, E>,
    /// What it writes; nothing if it failed.
    pub writes: Vec<Write>,
    /// The newest commit that it has seen anything of, unless all of that is durable.
    pub seen: Option<CommitNo>,
    /// The keys that it watches from now on: to be [watched](Commits::watch) when its writes have been put in.
    pub watches: Vec<NewWatch>,
}

impl<T, E> Ran<T, E> {
    /// One that has no effect.
    pub(crate) fn failed(error: E) -> Self {
        Ran { result: Err(error), writes: Vec::new(), seen: None, watches: Vec::new() }
    }
}

/// A commit that is on its way.
#[derive(Debug)]
struct OnTheWay<A> {
    number: CommitNo,
    /// `None` if it has been answered, with "unknown".
    own: Option<A>,
    /// What has to be undone at once if it fails. It is told nothing else.
    watch: Option<A>,
    /// Answers of others that have seen it, and nothing later.
    others: Vec<A>,
    /// Where the log may still say what has become of it, after it has said "unknown".
    unknown_at: Option<Lsn>,
}

/// A commit that was taken out of the store.
#[derive(Debug)]
struct TakenBack<A> {
    own: A,
    /// As for one on its way.
    unknown_at: Option<Lsn>,
}

impl<A> OnTheWay<A> {
    fn new(number: CommitNo, own: A, watch: Option<A>) -> Self {
        OnTheWay { number, own: Some(own), watch, others: Vec::new(), unknown_at: None }
    }
}

/// The commits on their way, and the store. `A` is an answer that waits, such as the sender to a client.
#[derive(Debug)]
pub struct Commits<A> {
    store: Store,
    watches: Watches,
    /// In the order of the log; those of the store that are open.
    on_the_way: VecDeque<OnTheWay<A>>,
    /// Those that were taken out of the store because one before them failed. The log has yet to say that they failed too.
    taken_back: BTreeMap<CommitNo, TakenBack<A>>,
    /// One of those is durable all the same.
    contradiction: Option<Lsn>,
}

impl<A> Commits<A> {
    /// Nothing on its way yet, over what was recovered.
    pub fn new(store: Store) -> Self {
        Commits {
            store,
            watches: Watches::default(),
            on_the_way: VecDeque::new(),
            taken_back: BTreeMap::new(),
            contradiction: None,
        }
    }

    /// With at most so many [ranges](Watches) of serializable transactions; by default there are
    /// [`Watches::LIMIT`].
    pub fn watching(mut self, limit: usize) -> Self {
        self.watches = Watches::new(limit);
        self
    }

    /// The store, to read from it.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The store, to open snapshots of it, and to collect.
    pub fn store_mut(&mut self) -> &mut Store {
        &mut self.store
    }

    /// The store, and the ranges that are watched.
    pub fn to_scan(&mut self) -> (&Store, &mut Watches) {
        (&self.store, &mut self.watches)
    }

    /// Runs a transaction on the newest versions. If it writes, [`put`](Self::put) takes that; otherwise its answer is
    /// to be [kept back](Self::keep_back).
    pub fn run<T, E>(
        &mut self,
        limits: WorkLimits,
        run: impl FnOnce(&mut Latest<'_>) -> Result<T, E>,
    ) -> Ran<T, E> {
        let room = self.watches.room_for_keys();
        let mut latest = Latest::new(&self.store, limits, room);
        let result = run(&mut latest);
        let Finished { writes, seen, watches } = latest.finish();
        match result {
            // Why it fails may tell what it has seen.
            Err(error) => Ran { seen, ..Ran::failed(error) },
            result => Ran { result, writes, seen, watches },
        }
    }

    /// Watches these keys from now on.
    pub fn watch(&mut self, watches: Vec<NewWatch>) {
        watches.into_iter().for_each(|watch| self.watches.watch_key(watch));
    }

    /// Installs a commit, which must be put into the log now, before anything else is. Its answer is given when its
    /// outcome is known.
    ///
    /// # Errors
    /// Nothing is installed, and the answer is given back.
    pub fn put(&mut self, writes: Vec<Write>, answer: A) -> Result<CommitNo, (A, PutError)> {
        if let Err(contradiction) = self.check() {
            return Err((answer, contradiction));
        }
        // If it is refused, somebody was warned for nothing.
        self.watches.note(&writes);
        match self.store.install(writes) {
            Err(refused) => Err((answer, refused.into())),
            Ok(number) => {
                self.on_the_way.push_back(OnTheWay::new(number, answer, None));
                Ok(number)
            }
        }
    }

    /// The same for a record that can not be refused for what it writes: it completes a transaction that was prepared, or
    /// writes nothing. `watch` comes out with [`Verdict::SawFailed`] as soon as it, or one before it, has failed: for what
    /// has to be undone before anything else happens.
    ///
    /// # Errors
    /// The log has contradicted itself. Nothing is installed, and the answer is given back.
    pub(crate) fn put_decided(
        &mut self,
        writes: &[Write],
        answer: A,
        watch: Option<A>,
    ) -> Result<CommitNo, (A, PutError)> {
        if let Err(contradiction) = self.check() {
            return Err((answer, contradiction));
        }
        self.watches.note(writes);
        let number = self.store.install_decided(writes.to_vec());
        self.on_the_way.push_back(OnTheWay::new(number, answer, watch));
        Ok(number)
    }

    /// The log did not even take the commit that was installed last, which nobody has seen yet: it is undone, and its
    /// answer given back.
    pub fn undo(&mut self, commit: CommitNo) -> Option<A> {
        self.on_the_way.back().filter(|newest| newest.number == commit)?;
        let OnTheWay { number, own, others, .. } = self.on_the_way.pop_back()?;
        debug_assert!(others.is_empty(), "{number:?} has been seen");
        self.store.fail_from(number);
        own
    }

    /// Keeps an answer back until what it has seen is durable.
    ///
    /// # Errors
    /// It can be given now: all of that is durable.
    pub fn keep_back(&mut self, seen: Option<CommitNo>, answer: A) -> Result<(), A> {
        match seen.and_then(|seen| self.on_the_way.get_mut(self.place(seen)?)) {
            Some(commit) => {
                commit.others.push(answer);
                Ok(())
            }
            None => Err(answer),
        }
    }

    fn place(&self, commit: CommitNo) -> Option<usize> {
        // Mostly it is the oldest.
        if self.on_the_way.front().is_some_and(|oldest| oldest.number == commit) {
            return Some(0);
        }
        self.on_the_way.binary_search_by_key(&commit, |on_the_way| on_the_way.number).ok()
    }

    /// The log has said what became of a commit. Of several that it reports at once, the oldest comes first.
    pub fn settled(&mut self, commit: CommitNo, outcome: Result<Lsn, CommitError>) -> Answers<A> {
        if let Some(TakenBack { own, .. }) = self.taken_back.remove(&commit) {
            return vec![(own, self.take_back(outcome))];
        }
        match (self.place(commit), outcome) {
            (None, _) => Answers::new(),
            (Some(at), Err(CommitError::Unknown { lsn, cause })) => self.unknown(at, lsn, cause),
            (Some(at), Err(failed)) => self.fail(at, failed),
            (Some(0), Ok(lsn)) => self.durable(lsn),
            (Some(at), Ok(lsn)) => self.overtaken(at, lsn),
        }
    }

    /// Nobody knows yet: all who wait for it are told so, and it stays.
    fn unknown(&mut self, at: usize, lsn: Lsn, cause: Cause) -> Answers<A> {
        let Some(commit) = self.on_the_way.get_mut(at) else { return Answers::new() };
        commit.unknown_at = Some(lsn);
        let unknown = CommitError::Unknown { lsn, cause };
        let own = commit.own.take().map(|own| (own, Verdict::Failed(unknown.clone())));
        let others = commit.others.drain(..).map(|it| (it, Verdict::SawFailed(unknown.clone())));
        own.into_iter().chain(others).collect()
    }

    /// What settles a commit that was answered with "unknown", such as its token, once the log knows.
    pub fn put_back(&mut self, commit: CommitNo, own: A) {
        if let Some(commit) = self.place(commit).and_then(|at| self.on_the_way.get_mut(at)) {
            commit.own = Some(own);
        }
    }

    /// The log has got on: it may know now what has become of commits that were answered with "unknown". To be called
    /// before it says more of later ones.
    pub fn resolve(
        &mut self,
        outcome: impl Fn(Lsn) -> Option<Result<(), CommitError>>,
    ) -> Answers<A> {
        let mut answers = Answers::new();
        // In the order of the log: the next one only after the oldest.
        while let Some(lsn) = self.on_the_way.front().and_then(|oldest| oldest.unknown_at) {
            match outcome(lsn) {
                Some(Ok(())) => answers.extend(self.durable(lsn)),
                Some(Err(failed)) if failed.is_not_durable() => {
                    answers.extend(self.fail(0, failed))
                }
                _ => break,
            }
        }
        answers.extend(self.resolve_taken_back(outcome));
        answers
    }

    /// The same for those that were taken back: nothing else will settle one that was answered with "unknown" before.
    fn resolve_taken_back(
        &mut self,
        outcome: impl Fn(Lsn) -> Option<Result<(), CommitError>>,
    ) -> Answers<A> {
        let known = self.taken_back.iter().filter_map(|(commit, taken_back)| {
            let lsn = taken_back.unknown_at?;
            let outcome = outcome(lsn)?;
            let is_known = outcome.as_ref().map_or_else(CommitError::is_not_durable, |()| true);
            is_known.then(|| (*commit, outcome.map(|()| lsn)))
        });
        let known: Vec<_> = known.collect();
        known.into_iter().flat_map(|(commit, outcome)| self.settled(commit, outcome)).collect()
    }

    /// The log has given up waiting: nobody should wait on for what it does not know.
    pub fn give_up(&mut self, cause: &Cause) -> Answers<A> {
        let mut answers = Answers::new();
        for commit in &mut self.on_the_way {
            let Some(lsn) = commit.unknown_at else { continue };
            let unknown = CommitError::Unknown { lsn, cause: cause.clone() };
            let others = commit.others.drain(..);
            answers.extend(others.map(|it| (it, Verdict::SawFailed(unknown.clone()))));
        }
        answers
    }

    /// One is durable before those that were put in before it. The store can not show that: it is answered, and those
    /// after it are taken back.
    fn overtaken(&mut self, at: usize, lsn: Lsn) -> Answers<A> {
        self.contradiction = Some(lsn);
        let what = "a commit is durable before one that was put in before it".to_owned();
        let mut answers =
            self.fail(at, CommitError::Unknown { lsn, cause: Cause::Broken { what } });
        answers.iter_mut().take(1).for_each(|own| own.1 = Verdict::Durable(Some(lsn)));
        answers
    }

    /// Whether the store shows what the log holds.
    ///
    /// # Errors
    /// The log has contradicted itself. What is read then may lack commits that were answered.
    pub fn check(&self) -> Result<(), PutError> {
        self.contradiction.map_or(Ok(()), |lsn| Err(PutError::Contradiction { lsn }))
    }

    /// The oldest of them is durable.
    fn durable(&mut self, lsn: Lsn) -> Answers<A> {
        let Some(OnTheWay { own, others, .. }) = self.on_the_way.pop_front() else {
            return Answers::new();
        };
        self.store.durable(lsn);
        let own = own.map(|own| (own, Verdict::Durable(Some(lsn))));
        let others = others.into_iter().map(|other| (other, Verdict::Durable(None)));
        own.into_iter().chain(others).collect()
    }

    /// Takes out of the store what failed and all that came after it.
    fn fail(&mut self, at: usize, failed: CommitError) -> Answers<A> {
        let mut answers = Answers::new();
        let first = self.on_the_way.get(at).map(|first| first.number);
        if let Some(first) = first {
            self.store.fail_from(first);
            self.watches.note_failure();
        }
        for OnTheWay { number, own, watch, others, unknown_at } in self.on_the_way.drain(at..) {
            match own {
                Some(own) if Some(number) == first => {
                    answers.push((own, Verdict::Failed(failed.clone())));
                }
                own => {
                    let taken_back = own.map(|own| (number, TakenBack { own, unknown_at }));
                    self.taken_back.extend(taken_back);
                }
            }
            let others = watch.into_iter().chain(others);
            answers.extend(others.map(|it| (it, Verdict::SawFailed(failed.clone()))));
        }
        answers
    }

    /// One that came after one that failed.
    fn take_back(&mut self, outcome: Result<Lsn, CommitError>) -> Verdict {
        match outcome {
            Err(failed) => Verdict::Failed(failed),
            Ok(lsn) => {
                self.contradiction = Some(lsn);
                Verdict::Durable(Some(lsn))
            }
        }
    }

    /// How many commits the log has not settled yet.
    pub fn len(&self) -> usize {
        self.on_the_way.len() + self.taken_back.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests;
