//! Tests of one transaction at its snapshot.

use std::ops::Bound;
use std::time::Duration;

use super::*;
use crate::store::Limits;

/// A store in which each of these keys has the value "0", and nobody is at work.
fn store_of(keys: &[&'static str]) -> Store {
    let mut store = Store::new(Limits::default());
    let writes: Vec<_> = keys.iter().map(|key| put(key, "0")).collect();
    store.install(writes.clone()).unwrap();
    store.durable(Lsn::FIRST);
    store
}

fn put(key: &'static str, value: &'static str) -> Write {
    Write { key: key.into(), value: Some(value.into()) }
}

fn begin(store: &mut Store, isolation: Isolation) -> Workspace {
    Workspace::new(store.snapshot(Duration::ZERO), isolation, WorkLimits::default())
}

fn commit(of: Workspace, store: &mut Store, watches: &mut Watches) -> Result<(), WorkError> {
    of.check(store)?;
    let writes = of.into_writes();
    watches.note(&writes);
    store.install(writes.clone())?;
    Ok(())
}

fn keys(rows: &Rows) -> Vec<&[u8]> {
    rows.rows.iter().map(|(key, _)| &key[..]).collect()
}

const SMALL: Budget = Budget { keys: 2, bytes: usize::MAX };

#[test]
fn p25_the_first_committer_wins_though_it_is_not_durable_yet_and_blind() {
    for isolation in [Isolation::Snapshot, Isolation::Serializable] {
        let (mut store, mut watches) = (store_of(&["a"]), Watches::default());
        let mut first = begin(&mut store, isolation);
        let mut second = begin(&mut store, isolation);
        first.write(put("a", "1")).unwrap();
        second.write(put("a", "2")).unwrap();
        commit(first, &mut store, &mut watches).unwrap();
        let lost = commit(second, &mut store, &mut watches).unwrap_err();
        let (key, snapshot) = ("a".into(), Lsn::FIRST);
        assert_eq!(lost, WorkError::WriteConflict { key, snapshot });
    }
}

#[test]
fn write_skew_commits_under_snapshot_isolation_and_not_when_serializable() {
    for (isolation, commits) in [(Isolation::Snapshot, true), (Isolation::Serializable, false)] {
        let (mut store, mut watches) = (store_of(&["a", "b"]), Watches::default());
        let mut first = begin(&mut store, isolation);
        let mut second = begin(&mut store, isolation);
        for of in [&mut first, &mut second] {
            of.get(&store, &"a".into()).unwrap();
            of.get(&store, &"b".into()).unwrap();
        }
        first.write(put("a", "1")).unwrap();
        second.write(put("b", "2")).unwrap();
        commit(first, &mut store, &mut watches).unwrap();
        let second = commit(second, &mut store, &mut watches);
        assert_eq!(second.is_ok(), commits, "{isolation:?}: {second:?}");
    }
}

/// A serializable transaction reads the range in one piece or two, and writes elsewhere; another one writes `key`
/// before the read or after it.
fn phantom(key: &'static str, is_late: bool, pieces: usize) -> Result<(), WorkError> {
    let (mut store, mut watches) = (store_of(&["a", "b", "d", "z"]), Watches::default());
    let mut reader = begin(&mut store, Isolation::Serializable);
    let mut writer = begin(&mut store, Isolation::Snapshot);
    writer.write(put(key, "1")).unwrap();
    if !is_late {
        commit(writer, &mut store, &mut watches).unwrap();
        writer = begin(&mut store, Isolation::Snapshot);
    }
    let mut range = KeyRange { from: Bound::Included("b".into()), to: Bound::Excluded("z".into()) };
    for _ in 0..pieces {
        let budget = Budget { keys: 1, bytes: usize::MAX };
        let rows = reader.scan(&store, &mut watches, &range, budget).unwrap();
        range = range.behind(rows.next.unwrap());
    }
    reader.write(put("z", "2")).unwrap();
    commit(writer, &mut store, &mut watches).unwrap();
    commit(reader, &mut store, &mut watches)
}

#[test]
fn a_key_that_appears_in_a_range_that_was_read_is_a_conflict_and_elsewhere_it_is_none() {
    for is_late in [false, true] {
        // What was read ends at `b` after one piece, and at `d` after two.
        for (key, pieces, commits) in [
            ("a", 1, true),
            ("b", 1, false),
            ("c", 1, true),
            ("c", 2, false),
            ("d", 2, false),
            ("e", 2, true),
        ] {
            let result = phantom(key, is_late, pieces);
            let refused = Err(WorkError::RangeConflict { snapshot: Lsn::FIRST });
            let expected = if commits { Ok(()) } else { refused };
            assert_eq!(result, expected, "{key} in {pieces}, late: {is_late}");
        }
    }
}

/// A serializable transaction reads ten keys with two cursors in turn, a key at a time, and writes elsewhere.
fn two_cursors(store: &mut Store, watches: &mut Watches) -> Result<Workspace, WorkError> {
    let mut reader = begin(store, Isolation::Serializable);
    reader.write(put("z", "1"))?;
    let half = |from: &'static str, to: &'static str| KeyRange {
        from: Bound::Included(from.into()),
        to: Bound::Excluded(to.into()),
    };
    let mut ranges = [Some(half("a", "f")), Some(half("k", "p"))];
    while ranges.iter().any(Option::is_some) {
        for range in &mut ranges {
            let Some(now) = range.take() else { continue };
            let budget = Budget { keys: 1, bytes: usize::MAX };
            let rows = reader.scan(store, watches, &now, budget)?;
            *range = rows.next.map(|last| now.behind(last));
        }
    }
    Ok(reader)
}

const TEN: [&str; 10] = ["a", "b", "c", "d", "e", "k", "l", "m", "n", "o"];

#[test]
fn p16_the_pieces_of_a_scan_are_watched_as_one_range() {
    let mut store = store_of(&TEN);
    let mut watches = Watches::default();
    let reader = two_cursors(&mut store, &mut watches).unwrap();
    assert_eq!(watches.len(), 2);
    drop(reader);
    // Other ranges would be too many.
    let mut watches = Watches::new(2);
    let _stays = two_cursors(&mut store, &mut watches).unwrap();
    let refused = two_cursors(&mut store, &mut watches).unwrap_err();
    assert_eq!(refused, WorkError::TooManyRanges(TooManyRanges { limit: 2 }));
}

#[test]
fn p25_a_change_in_any_piece_of_a_scan_is_a_conflict_and_between_two_scans_it_is_none() {
    for (key, commits) in TEN.iter().map(|key| (*key, false)).chain([
        ("bb", false),
        ("ee", false),
        ("k0", false),
        ("oo", false),
        ("0", true),
        ("f", true),
        ("j", true),
        ("p", true),
    ]) {
        let (mut store, mut watches) = (store_of(&TEN), Watches::default());
        let reader = two_cursors(&mut store, &mut watches).unwrap();
        let mut writer = begin(&mut store, Isolation::Snapshot);
        writer.write(put(key, "1")).unwrap();
        commit(writer, &mut store, &mut watches).unwrap();
        let result = commit(reader, &mut store, &mut watches);
        assert_eq!(result.is_ok(), commits, "{key}: {result:?}");
    }
}

#[test]
fn p25_a_conflict_whose_traces_may_have_been_collected_is_a_conflict() {
    for (isolation, reads) in [(Isolation::Snapshot, false), (Isolation::Serializable, true)] {
        let (mut store, mut watches) = (store_of(&["a", "b"]), Watches::default());
        let mut old = begin(&mut store, isolation);
        if reads {
            old.get(&store, &"a".into()).unwrap();
        }
        old.write(put(if reads { "b" } else { "a" }, "1")).unwrap();
        let mut deletes = begin(&mut store, isolation);
        deletes.write(Write { key: "a".into(), value: None }).unwrap();
        commit(deletes, &mut store, &mut watches).unwrap();
        store.durable(Lsn::new(2));
        // Above the age limit of its snapshot, and with it goes the tombstone.
        store.collect(Duration::from_secs(3600), 10);
        assert_eq!(store.changed(b"a"), None);
        let refused = commit(old, &mut store, &mut watches).unwrap_err();
        let too_old = StoreError::SnapshotTooOld { lsn: Lsn::FIRST, horizon: Lsn::new(2) };
        assert_eq!(refused, WorkError::Store(too_old));
    }
}

#[test]
fn untracked_reads_and_transactions_that_write_nothing_are_never_in_conflict() {
    let (mut store, mut watches) = (store_of(&["a"]), Watches::default());
    let mut untracked = begin(&mut store, Isolation::Serializable);
    let mut reader = begin(&mut store, Isolation::Serializable);
    let mut writer = begin(&mut store, Isolation::Snapshot);
    untracked.get_untracked(&store, &"a".into()).unwrap();
    untracked.scan_untracked(&store, &KeyRange::all(), SMALL).unwrap();
    untracked.write(put("b", "1")).unwrap();
    reader.get(&store, &"a".into()).unwrap();
    reader.scan(&store, &mut watches, &KeyRange::all(), SMALL).unwrap();
    writer.write(put("a", "1")).unwrap();
    commit(writer, &mut store, &mut watches).unwrap();
    commit(untracked, &mut store, &mut watches).unwrap();
    commit(reader, &mut store, &mut watches).unwrap();
}

#[test]
fn its_own_writes_come_first_and_pieces_hold_no_more_than_their_budget() {
    let (mut store, mut watches) = (store_of(&["b", "d", "f"]), Watches::default());
    let mut of = begin(&mut store, Isolation::Snapshot);
    for key in ["a", "c", "e", "g"] {
        of.write(put(key, "1")).unwrap();
    }
    of.write(Write { key: "d".into(), value: None }).unwrap();
    assert_eq!(of.get(&store, &"d".into()), Ok(None));
    assert_eq!(of.get(&store, &"c".into()), Ok(Some("1".into())));

    let (mut range, mut seen) = (KeyRange::all(), Vec::new());
    loop {
        let rows = of.scan(&store, &mut watches, &range, SMALL).unwrap();
        assert!(rows.rows.len() <= 2, "{rows:?}");
        seen.extend(keys(&rows).concat());
        let Some(last) = rows.next else { break };
        range = range.behind(last);
    }
    assert_eq!(seen, b"abcefg");
}

#[test]
fn p16_a_transaction_is_bounded_and_what_is_past_its_bound_is_not_in_it() {
    let store = &mut store_of(&[]);
    let limits = WorkLimits { keys: 2, bytes: 10, reads: 1 };
    let snapshot = store.snapshot(Duration::ZERO);
    let mut of = Workspace::new(snapshot, Isolation::Serializable, limits);
    of.write(put("a", "1234")).unwrap();
    of.write(put("b", "1234")).unwrap();
    for (write, what, limit) in [(put("c", ""), "keys", 2), (put("a", "12345"), "bytes", 10)] {
        assert_eq!(of.write(write), Err(WorkError::TooLarge { what, limit }));
    }
    of.write(put("a", "1")).unwrap();
    of.get(store, &"a".into()).unwrap();
    of.get(store, &"x".into()).unwrap();
    let refused = of.get(store, &"y".into());
    assert_eq!(refused, Err(WorkError::TooLarge { what: "reads", limit: 1 }));
    assert_eq!(of.into_writes(), [put("a", "1"), put("b", "1234")]);
}
