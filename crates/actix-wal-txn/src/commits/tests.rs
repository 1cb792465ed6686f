//! Tests of the commits on their way.

use super::*;
use crate::store::{Limits, View};

fn put(commits: &mut Commits<u32>, key: &'static str, answer: u32) -> CommitNo {
    let write = Write { key: key.into(), value: Some("1".into()) };
    commits.put(vec![write], answer).unwrap()
}

fn failed(lsn: u64) -> Result<Lsn, CommitError> {
    Err(CommitError::NotDurable { lsn: Lsn::new(lsn), cause: Cause::Closed })
}

#[test]
fn p25_a_commit_after_a_failed_one_is_taken_back_and_one_put_in_later_is_not() {
    let mut commits = Commits::new(Store::new(Limits::default()));
    let first = put(&mut commits, "a", 1);
    let second = put(&mut commits, "b", 2);
    commits.keep_back(Some(second), 20).unwrap();
    let answers = commits.settled(first, failed(1));
    assert!(matches!(answers[..], [(1, Verdict::Failed(_)), (20, Verdict::SawFailed(_))]));

    let third = put(&mut commits, "c", 3);
    assert!(matches!(commits.settled(second, failed(2))[..], [(2, Verdict::Failed(_))]));
    let answers = commits.settled(third, Ok(Lsn::new(3)));
    assert!(matches!(answers[..], [(3, Verdict::Durable(Some(_)))]), "{answers:?}");
    for (key, is_there) in [("a", false), ("b", false), ("c", true)] {
        let found = commits.store().get(key.as_bytes(), View::Latest).unwrap();
        assert_eq!(found.is_some(), is_there, "{key}");
    }
    assert!(commits.is_empty());
}

#[test]
fn p25_a_log_that_contradicts_itself_is_written_to_no_more() {
    let mut commits = Commits::new(Store::new(Limits::default()));
    let first = put(&mut commits, "a", 1);
    let second = put(&mut commits, "b", 2);
    commits.settled(first, failed(1));
    let answers = commits.settled(second, Ok(Lsn::new(2)));
    assert!(matches!(answers[..], [(2, Verdict::Durable(Some(_)))]), "{answers:?}");
    let refused = commits.put(vec![], 3).unwrap_err();
    assert_eq!(refused, (3, PutError::Contradiction { lsn: Lsn::new(2) }));
}

#[test]
fn p6_p25_one_that_is_durable_before_an_older_one_is_answered_and_the_last() {
    let mut commits = Commits::new(Store::new(Limits::default()));
    let [first, second, third] =
        [("a", 1), ("b", 2), ("c", 3)].map(|(key, answer)| put(&mut commits, key, answer));
    commits.keep_back(Some(second), 20).unwrap();
    let answers = commits.settled(second, Ok(Lsn::new(2)));
    assert!(
        matches!(answers[..], [(2, Verdict::Durable(Some(_))), (20, Verdict::SawFailed(_))]),
        "{answers:?}"
    );
    assert!(commits.check().is_err());
    assert!(matches!(commits.settled(first, Ok(Lsn::FIRST))[..], [(1, Verdict::Durable(_))]));
    assert!(matches!(commits.settled(third, failed(3))[..], [(3, Verdict::Failed(_))]));
    assert!(commits.is_empty(), "each is answered");
}

#[test]
fn p25_what_nobody_knows_is_answered_and_stays_until_the_log_knows() {
    for is_durable in [true, false] {
        let mut commits = Commits::new(Store::new(Limits::default()));
        let [first, second] = [("a", 1), ("b", 2)].map(|(key, no)| put(&mut commits, key, no));
        commits.keep_back(Some(first), 10).unwrap();
        let unknown = Err(CommitError::Unknown { lsn: Lsn::FIRST, cause: Cause::Closed });
        let answers = commits.settled(first, unknown);
        let is_told = matches!(answers[..], [(1, Verdict::Failed(_)), (10, Verdict::SawFailed(_))]);
        assert!(is_told, "{answers:?}");
        commits.put_back(first, 11);
        commits.keep_back(Some(first), 12).unwrap();
        let given_up = commits.give_up(&Cause::Closed);
        assert!(matches!(given_up[..], [(12, Verdict::SawFailed(_))]), "{given_up:?}");
        assert!(commits.resolve(|_| None).is_empty());
        assert!(commits.store().get(b"a", View::Latest).unwrap().is_some());
        assert_eq!(commits.len(), 2);

        let known = if is_durable { Ok(()) } else { failed(1).map(drop) };
        let answers = commits.resolve(|lsn| (lsn == Lsn::FIRST).then(|| known.clone()));
        if is_durable {
            assert!(matches!(answers[..], [(11, Verdict::Durable(Some(Lsn::FIRST)))]));
            assert!(matches!(
                commits.settled(second, Ok(Lsn::new(2)))[..],
                [(2, Verdict::Durable(_))]
            ));
        } else {
            assert!(matches!(answers[..], [(11, Verdict::Failed(_))]), "{answers:?}");
            assert!(matches!(commits.settled(second, failed(2))[..], [(2, Verdict::Failed(_))]));
        }
        assert!(commits.is_empty() && commits.check().is_ok());
        for key in [b"a", b"b"] {
            let found = commits.store().get(key, View::Latest).unwrap();
            assert_eq!(found.is_some(), is_durable);
        }
    }
}

#[test]
fn p25_one_that_nobody_knew_and_that_is_taken_back_has_its_outcome_too() {
    let mut commits = Commits::new(Store::new(Limits::default()));
    for (key, at) in [("a", 1), ("b", 2)] {
        let commit = put(&mut commits, key, at);
        let lsn = Lsn::new(u64::from(at));
        let unknown = Err(CommitError::Unknown { lsn, cause: Cause::Closed });
        assert_eq!(commits.settled(commit, unknown).len(), 1);
        commits.put_back(commit, at);
    }
    let answers = commits.resolve(|lsn| Some(failed(lsn.get()).map(drop)));
    let both = matches!(answers[..], [(1, Verdict::Failed(_)), (2, Verdict::Failed(_))]);
    assert!(both && commits.is_empty(), "{answers:?}");
}

#[test]
fn what_the_log_does_not_take_is_undone() {
    let mut commits = Commits::new(Store::new(Limits::default()));
    let first = put(&mut commits, "a", 1);
    let second = put(&mut commits, "b", 2);
    assert_eq!(commits.undo(first), None, "it is not the newest");
    assert_eq!(commits.undo(second), Some(2));
    assert_eq!((commits.len(), commits.store().changed(b"b")), (1, None));
}
