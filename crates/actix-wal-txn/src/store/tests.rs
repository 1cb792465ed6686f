//! The store against a model that keeps every commit forever, and the orders that are easy to get wrong.

use std::collections::BTreeSet;

use actix_wal::testkit::Random;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn write(key: &'static str, value: &'static str) -> Write {
    Write { key: key.into(), value: Some(value.into()) }
}

fn delete(key: &'static str) -> Write {
    Write { key: key.into(), value: None }
}

/// A store with one durable commit for each of these, from LSN 1 on.
fn store_of(commits: &[&[Write]]) -> Store {
    let mut store = Store::new(Limits::default());
    for (writes, lsn) in commits.iter().zip(1..) {
        commit(&mut store, writes, lsn);
    }
    store
}

fn commit(store: &mut Store, writes: &[Write], lsn: u64) {
    store.install(writes.to_vec()).unwrap();
    store.durable(Lsn::new(lsn));
}

fn value(store: &Store, key: &str, view: View<'_>) -> Option<Bytes> {
    store.get(key.as_bytes(), view).unwrap().and_then(|found| found.value)
}

#[test]
fn p25_a_snapshot_shows_nothing_that_was_not_durable_when_it_was_opened() {
    let mut store = store_of(&[&[write("a", "1")]]);
    let commit = store.install(vec![write("a", "2"), write("b", "2")]).unwrap();
    let before = store.snapshot(SECOND);
    assert_eq!(value(&store, "a", View::Latest), Some("2".into()));
    assert_eq!(value(&store, "a", View::At(&before)), Some("1".into()));
    assert_eq!(store.changed(b"b").unwrap().waits_for(), Some(commit));

    store.durable(Lsn::new(7));
    let after = store.snapshot(SECOND);
    assert_eq!(store.changed(b"b").unwrap().lsn(), Some(Lsn::new(7)));
    for (snapshot, a, b) in [(&before, "1", None), (&after, "2", Some("2"))] {
        assert_eq!(value(&store, "a", View::At(snapshot)), Some(a.into()), "{snapshot:?}");
        assert_eq!(value(&store, "b", View::At(snapshot)), b.map(Into::into), "{snapshot:?}");
    }
}

#[test]
fn p25_what_fails_takes_out_all_that_came_after_it_and_nothing_before() {
    let mut store = store_of(&[&[write("a", "1")]]);
    store.install(vec![write("a", "2")]).unwrap();
    let failed = store.install(vec![write("a", "3"), write("b", "3")]).unwrap();
    store.install(vec![delete("a"), write("c", "4")]).unwrap();
    store.durable(Lsn::new(2));

    assert_eq!(store.fail_from(failed), 2);
    assert_eq!(value(&store, "a", View::Latest), Some("2".into()));
    assert_eq!(value(&store, "b", View::Latest), None);
    assert_eq!(store.usage().keys, 1, "a key that only a failed commit wrote is gone");

    let later = store.install(vec![write("a", "5")]).unwrap();
    assert!(later > failed.next(), "no number is used twice");
    store.durable(Lsn::new(9));
    let snapshot = store.snapshot(SECOND);
    assert_eq!(value(&store, "a", View::At(&snapshot)), Some("5".into()));
}

#[test]
fn p19_a_version_is_kept_as_long_as_a_snapshot_shows_it() {
    let mut store = store_of(&[&[write("a", "1")]]);
    let first = store.snapshot(SECOND);
    let copy = first.clone();
    commit(&mut store, &[write("a", "2")], 2);
    let second = store.snapshot(SECOND);
    commit(&mut store, &[delete("a")], 3);

    drop(first);
    assert!(!store.collect(SECOND, 10));
    assert_eq!(value(&store, "a", View::At(&copy)), Some("1".into()), "its clone is still there");
    drop(copy);
    assert!(!store.collect(SECOND, 10));
    assert_eq!(value(&store, "a", View::At(&second)), Some("2".into()));
    drop(second);
    assert!(!store.collect(SECOND, 10));
    let Usage { keys, versions, bytes, pinned, .. } = store.usage();
    assert_eq!((keys, versions, bytes, pinned), (0, 0, 0, 0), "nothing is left of a deleted key");
}

#[test]
fn a_tombstone_stays_while_an_older_version_lies_below_it() {
    let mut store = store_of(&[&[write("a", "1")]]);
    let old = store.snapshot(SECOND);
    commit(&mut store, &[delete("a")], 2);
    commit(&mut store, &[write("b", "3")], 3);
    let new = store.snapshot(SECOND);
    assert!(!store.collect(SECOND, 10));
    assert_eq!(value(&store, "a", View::At(&old)), Some("1".into()));
    assert_eq!(value(&store, "a", View::At(&new)), None);
}

#[test]
fn a_snapshot_above_the_age_limit_is_refused_once_something_is_missing_from_it() {
    let mut store = store_of(&[&[write("a", "1")]]);
    let old = store.snapshot(SECOND);
    store.collect(70 * SECOND, 10);
    assert_eq!(value(&store, "a", View::At(&old)), Some("1".into()), "nothing was collected");

    commit(&mut store, &[write("a", "2")], 2);
    store.collect(70 * SECOND, 10);
    let (lsn, horizon) = (Lsn::new(1), Lsn::new(2));
    let refused = Err(StoreError::SnapshotTooOld { lsn, horizon });
    assert_eq!(store.get(b"a", View::At(&old)), refused);
    let scan = store.scan(&KeyRange::all(), View::At(&old), Budget::default());
    assert_eq!(scan.map(|_| None), refused);
}

#[test]
fn past_the_bound_a_commit_is_refused_whole() {
    let mut store = Store::new(Limits { bytes: 2000, ..Limits::default() });
    let large = Write { key: "large".into(), value: Some(vec![0; 1500].into()) };
    commit(&mut store, std::slice::from_ref(&large), 1);
    let held = store.usage();
    let refused = store.install(vec![write("a", "1"), large.clone()]).unwrap_err();
    assert!(matches!(refused, StoreError::Overloaded { limit: 2000, .. }), "{refused}");
    assert_eq!(store.usage(), held);
    assert_eq!(value(&store, "a", View::Latest), None);
    // An overwrite needs no second key, and what fits is taken.
    store.install(vec![write("large", "1")]).unwrap();
}

#[test]
fn p16_a_full_store_still_takes_deletions_which_empty_it() {
    let mut store = Store::new(Limits { bytes: 4000, ..Limits::default() });
    let keys: Vec<Bytes> = (0..).map(|at| Bytes::from(format!("key {at}"))).take(100).collect();
    let set = |key: &Bytes| [Write { key: key.clone(), value: Some("value".into()) }];
    let held = keys.iter().take_while(|key| store.install(set(key).to_vec()).is_ok()).count();
    (1..=held as u64).for_each(|lsn| store.durable(Lsn::new(lsn)));
    assert!((10..100).contains(&held), "{held} keys fit");
    // Full to the byte: what is left without a key may have room for the first deletion.
    store.limits.bytes = store.usage().bytes;
    for (key, lsn) in keys[..held].iter().zip(held as u64 + 1..) {
        commit(&mut store, &[Write { key: key.clone(), value: None }], lsn);
        store.collect(Duration::ZERO, 10);
    }
    assert_eq!(store.usage().bytes, 0);
    // One that also sets is no deletion, and a key that is not there frees nothing.
    commit(&mut store, &set(&keys[0]), 2 * held as u64 + 1);
    store.limits.bytes = 10;
    let both = vec![set(&keys[1])[0].clone(), Write { key: keys[0].clone(), value: None }];
    for refused in [both, vec![delete("b")]] {
        let refused = store.install(refused).unwrap_err();
        assert!(matches!(refused, StoreError::Overloaded { limit: 10, .. }), "{refused}");
    }
    let gone = vec![Write { key: keys[0].clone(), value: None }];
    store.install(gone.clone()).unwrap();
    assert!(store.install(gone).is_err(), "it is deleted once");
}

#[test]
fn of_two_writes_to_one_key_the_last_one_counts() {
    let mut store = store_of(&[&[write("a", "1"), delete("a"), write("a", "2")]]);
    assert_eq!(value(&store, "a", View::Latest), Some("2".into()));
    let Usage { versions, pinned, .. } = store.usage();
    assert_eq!((versions, pinned), (1, 0));
}

#[test]
fn dropped_snapshots_take_no_memory_behind_one_that_stays() {
    let mut store = store_of(&[&[write("a", "1")]]);
    let stays = store.snapshot(SECOND);
    for _ in 0..10_000 {
        drop(store.snapshot(SECOND));
    }
    assert!(store.snapshots.entries() < 200, "{}", store.snapshots.entries());
    assert_eq!((store.usage().snapshots, stays.lsn()), (1, Lsn::new(1)));
}

/// Every commit that was not taken out, with its LSN once it has one.
#[derive(Default)]
struct Model {
    commits: Vec<(Option<u64>, Vec<Write>)>,
    durable: u64,
}

impl Model {
    fn rows(&self, through: Option<u64>) -> BTreeMap<Bytes, Bytes> {
        let mut rows = BTreeMap::new();
        let is_seen =
            |lsn: &Option<u64>| through.is_none_or(|last| lsn.is_some_and(|at| at <= last));
        for (_, writes) in self.commits.iter().filter(|(lsn, _)| is_seen(lsn)) {
            for Write { key, value } in writes {
                match value {
                    Some(value) => rows.insert(key.clone(), value.clone()),
                    None => rows.remove(key),
                };
            }
        }
        rows
    }
}

/// A store, its model, and the snapshots that are open.
struct World {
    store: Store,
    model: Model,
    snapshots: Vec<Snapshot>,
    random: Random,
    now: Duration,
}

impl World {
    fn step(&mut self) {
        self.now += Duration::from_millis(10);
        match self.random.below(12) {
            0..4 => self.install(),
            4..8 => self.settle(),
            8 => {
                let snapshot = self.store.snapshot(self.now);
                assert_eq!(snapshot.lsn().get(), self.model.durable);
                self.snapshots.push(snapshot);
            }
            9 if !self.snapshots.is_empty() => {
                let at = self.random.below(self.snapshots.len() as u64) as usize;
                self.snapshots.swap_remove(at);
            }
            10 => {
                self.store.collect(self.now, self.random.below(4) as usize);
            }
            11 if self.random.below(6) == 0 => self.fail(),
            _ => {}
        }
        self.compare();
    }

    fn install(&mut self) {
        let count = 1 + self.random.below(3);
        let writes: Vec<_> = (0..count).map(|_| self.any_write()).collect();
        self.store.install(writes.clone()).unwrap();
        self.model.commits.push((None, writes));
    }

    fn any_write(&mut self) -> Write {
        let key = vec![b'a' + self.random.below(6) as u8].into();
        let value =
            (self.random.below(3) > 0).then(|| Bytes::from(self.random.below(100).to_string()));
        Write { key, value }
    }

    fn settle(&mut self) {
        if let Some((lsn, _)) = self.model.commits.iter_mut().find(|(lsn, _)| lsn.is_none()) {
            self.model.durable += 1 + self.random.below(2);
            *lsn = Some(self.model.durable);
            self.store.durable(Lsn::new(self.model.durable));
        }
    }

    fn fail(&mut self) {
        let durable = self.model.commits.iter().filter(|(lsn, _)| lsn.is_some()).count();
        let open = self.model.commits.len() - durable;
        if open > 0 {
            let keep = self.random.below(open as u64) as usize;
            let commit = self.store.open[keep].number;
            assert_eq!(self.store.fail_from(commit), open - keep);
            self.model.commits.truncate(durable + keep);
        }
    }

    fn compare(&mut self) {
        assert_eq!(self.read(View::Latest), Ok(self.model.rows(None)));
        for snapshot in &self.snapshots {
            match self.read(View::At(snapshot)) {
                Ok(rows) => assert_eq!(rows, self.model.rows(Some(snapshot.lsn().get()))),
                // Only for those above the age limit.
                Err(refused) => assert!(
                    self.now > self.store.limits.snapshot_age,
                    "{refused} at {:?}",
                    self.now
                ),
            }
        }
        self.recount();
    }

    /// All rows by single reads and by a scan in pieces, which must agree.
    fn read(&self, view: View<'_>) -> Result<BTreeMap<Bytes, Bytes>, StoreError> {
        let mut rows = BTreeMap::new();
        let mut range = KeyRange::all();
        loop {
            let piece = self.store.scan(&range, view, Budget { keys: 2, bytes: 1 << 10 })?;
            assert!(piece.rows.len() <= 2, "{piece:?}");
            rows.extend(piece.rows.into_iter().map(|row| (row.key, row.value)));
            let Some(last) = piece.next else {
                break;
            };
            range = range.behind(last);
        }
        for key in (b'a'..=b'f').map(|key| Bytes::from(vec![key])) {
            let found = self.store.get(&key, view)?.and_then(|found| found.value);
            assert_eq!(found.as_ref(), rows.get(&key), "{key:?} in {view:?}");
        }
        Ok(rows)
    }

    /// What the store counts is what it holds.
    fn recount(&mut self) {
        let chains = || self.store.chains.iter().map(|(_, chain)| chain);
        let versions: Vec<_> = chains().flat_map(Chain::versions).collect();
        let keys: usize = chains().map(|chain| key_bytes(chain.key.bytes().len())).sum();
        let bytes = keys + versions.iter().map(|version| version.bytes()).sum::<usize>();
        let indexed: BTreeSet<_> = self.store.index.values().copied().collect();
        let count = versions.len();
        let newest = self.model.rows(None);
        for first in b'a'..=b'g' {
            let held = newest.keys().filter(|key| key[0] == first).count() as u64;
            assert_eq!(self.store.count(&[first]), held, "keys that begin with {first}");
        }
        assert_eq!(self.store.count(b""), newest.len() as u64);
        let Usage { keys, versions, bytes: counted, .. } = self.store.usage();
        assert_eq!((keys, versions, counted), (indexed.len(), count, bytes));
    }
}

#[test]
fn p25_any_order_of_commits_failures_snapshots_and_collections_agrees_with_the_model() {
    for seed in 0..100 {
        let limits = Limits { snapshot_age: 4 * SECOND, ..Limits::default() };
        let mut world = World {
            store: Store::new(limits),
            model: Model::default(),
            snapshots: Vec::new(),
            random: Random::new(seed),
            now: Duration::ZERO,
        };
        let run = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            (0..100).for_each(|_| world.step());
            world.store.count_by_first(1);
            (0..300).for_each(|_| world.step());
            world.snapshots.clear();
            while world.store.collect(world.now, 100) {}
            let open: usize = world.store.open.iter().map(|commit| commit.chains.len()).sum();
            let live = world.model.rows(Some(world.model.durable)).len();
            assert_eq!(world.store.versions, live + open, "all that is old has been collected");
            assert_eq!(world.store.pinned, 0);
        }));
        assert!(run.is_ok(), "seed {seed}");
    }
}

#[test]
fn keys_of_any_length_are_found_among_thousands_that_come_and_go() {
    let mut random = Random::new(7);
    let (mut store, mut model) = (Store::new(Limits::default()), BTreeMap::new());
    for lsn in 1..20_000 {
        // Their lengths are those of keys that lie in their chain, and of some that do not.
        let length = random.below(40) as usize;
        let key = Bytes::from(vec![b'a' + random.below(200) as u8 / 8; length]);
        let value = (random.below(3) > 0).then(|| Bytes::from(lsn.to_string()));
        commit(&mut store, &[Write { key: key.clone(), value: value.clone() }], lsn);
        model.insert(key.clone(), value.clone());
        let other = Bytes::from(vec![b'a' + random.below(200) as u8 / 8; length]);
        for key in [key, other] {
            let found = store.get(&key, View::Latest).unwrap().and_then(|found| found.value);
            assert_eq!(found, model.get(&key).cloned().flatten(), "{key:?} at {lsn}");
        }
    }
    assert!(store.usage().keys > 500, "{:?}", store.usage());
    for (key, lsn) in model.into_keys().zip(20_000..) {
        commit(&mut store, &[Write { key, value: None }], lsn);
    }
    assert_eq!((store.usage().keys, store.usage().bytes, store.index.len()), (0, 0, 0));
}

/// Most of the memory of a key that was overwritten often at once is given back.
#[test]
fn p16_a_chain_with_few_versions_left_lies_in_its_own_memory() {
    let mut store = store_of(&[&[write("a", "0")]]);
    let is_spilled = |store: &Store| store.chains[store.find(b"a").unwrap() as usize].is_spilled();
    for value in ["1", "2", "3", "4"] {
        store.install(vec![write("a", value)]).unwrap();
    }
    assert!(is_spilled(&store));
    (2..=5).for_each(|lsn| store.durable(Lsn::new(lsn)));
    assert!(!is_spilled(&store));
    let first = store.install(vec![write("a", "5")]).unwrap();
    store.install(vec![write("a", "6")]).unwrap();
    assert!(is_spilled(&store));
    store.fail_from(first);
    assert!(!is_spilled(&store));
}
