//! Guards P2 at one remove: who has seen more of a log than there is hears so. Reading, replaying and releasing
//! from an LSN that the log has never had is an error that says where the log ends: an older copy may have been
//! restored.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on has failed")]

use std::fs;
use std::path::Path;
use std::sync::Arc;

use actix_wal::storage::Directory;
use actix_wal::{
    Bounds, CheckpointError, CommitError, FlushPolicy, Lsn, OpenError, ReadError, Wal,
};
use test_support::lives::copy_files;
use test_support::logs::config_in as config;
use test_support::logs::{SOON, records_in, within};
use test_support::scratch::folder;

async fn replayed_from(path: &Path, from: Lsn) -> Result<Wal, OpenError> {
    within("open", Wal::open(config(path)).replay_with(from, |_| Ok(()))).await
}

/// Five records more, and the LSN of the last one.
async fn commit(wal: &Wal) -> Lsn {
    let mut last = Lsn::NONE;
    for record in 0..5u8 {
        last = within("commit", wal.commit(vec![record; 300])).await.unwrap();
    }
    last
}

async fn close(wal: Wal) {
    within("close", wal.close()).await.unwrap();
}

#[actix::test]
async fn p2_whoever_has_seen_more_than_a_restored_copy_holds_hears_where_it_ends() {
    let folder = folder();
    let (path, backup) = (folder.path().join("log"), folder.path().join("backup"));
    let wal = within("open", Wal::open(config(&path))).await.unwrap();
    let old = commit(&wal).await;
    close(wal).await;
    copy_files(&path, &backup);
    let wal = within("open", Wal::open(config(&path))).await.unwrap();
    let seen = commit(&wal).await;
    close(wal).await;
    fs::remove_dir_all(&path).unwrap();
    fs::rename(&backup, &path).unwrap();

    let files = |path: &Path| {
        let names = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
        let mut all: Vec<_> = names.map(|name| (name.clone(), fs::read(name).unwrap())).collect();
        all.sort();
        all
    };
    let before = files(&path);
    // The host asks for what follows on the last record that it has seen.
    match replayed_from(&path, seen.next()).await {
        Err(OpenError::BeyondEnd { from, next }) => {
            assert_eq!((from, next), (seen.next(), old.next()));
        }
        other => panic!("{other:?}"),
    }
    assert!(files(&path) == before, "nothing was written");
    let wal = replayed_from(&path, old.next()).await.expect("a host that has seen just this");
    match wal.read(seen.next()).await {
        Err(error @ ReadError::BeyondEnd { .. }) => {
            let said = error.to_string();
            assert!(said.contains(&format!("ends before LSN {}", old.next())), "{said}");
            assert!(said.contains("older copy"), "{said}");
        }
        other => panic!("{other:?}"),
    }
    close(wal).await;
}

#[actix::test]
async fn p2_the_next_lsn_is_no_error_and_the_one_behind_it_is() {
    let folder = folder();
    let wal = within("open", Wal::open(config(folder.path()))).await.unwrap();
    // Before the first record, and after some.
    for _ in 0..2 {
        let next = wal.status().accepted.next();
        let mut plain = wal.read(next).await.expect("there is nothing to read yet");
        assert!(plain.next().await.is_none());
        let mut follow = wal.read(next).await.expect("there is nothing to read yet").follow();
        let beyond = wal.read(next.next()).await;
        assert!(
            matches!(beyond, Err(ReadError::BeyondEnd { next: n, .. }) if n == next),
            "{beyond:?}"
        );
        let never = wal.checkpoint(next).await;
        assert!(
            matches!(never, Err(CheckpointError::NeverAssigned { next: n, .. }) if n == next),
            "{never:?}"
        );
        let never = wal.wait_for_lsn(next).await;
        assert!(
            matches!(&never, Err(CommitError::NeverAssigned { next: n, .. }) if *n == next),
            "{never:?}"
        );
        assert!(never.unwrap_err().to_string().contains("older copy"));
        commit(&wal).await;
        assert_eq!(follow.next().await.unwrap().unwrap().lsn, next);
    }
    assert!(matches!(wal.read(Lsn::MAX).await, Err(ReadError::BeyondEnd { .. })));
    close(wal).await;
}

/// An open after a crash leaves LSNs out: the host may ask for any of them, since the log may have had them.
#[actix::test]
async fn p2_the_gap_that_a_crash_leaves_is_no_end() {
    let folder = folder();
    let (path, killed) = (folder.path().join("log"), folder.path().join("killed"));
    let wal = within("open", Wal::open(config(&path))).await.unwrap();
    let last = commit(&wal).await;
    copy_files(&path, &killed);
    close(wal).await;
    let wal = within("open", Wal::open(config(&killed))).await.unwrap();
    let next = wal.recovery_report().next_lsn;
    assert!(next > last.next(), "a gap");
    // At once: before the Appender has heard where it is to begin.
    for from in [last.next(), next.previous(), next] {
        let mut stream = wal.read(from).await.unwrap_or_else(|error| panic!("{from}: {error}"));
        assert!(stream.next().await.is_none());
    }
    assert!(matches!(wal.read(next.next()).await, Err(ReadError::BeyondEnd { .. })));
    close(wal).await;
    let wal = replayed_from(&killed, next).await.expect("it ends there");
    close(wal).await;
    let refused = replayed_from(&killed, next.next()).await;
    assert!(
        matches!(refused, Err(OpenError::BeyondEnd { next: n, .. }) if n == next),
        "{refused:?}"
    );
    let wal = replayed_from(&killed, Lsn::NONE).await.expect("from the beginning");
    close(wal).await;
    let storage = Arc::new(Directory::open(&killed).unwrap());
    assert_eq!(records_in(storage, &config(&killed)).len(), 5);
}

/// What has an LSN and is not durable yet can be read once it is, and not be released.
#[actix::test]
async fn p2_what_is_not_durable_yet_is_neither_beyond_the_end_nor_released() {
    let folder = folder();
    let mut config = config(folder.path());
    let bounds = Bounds { max_delay: SOON, ..Bounds::default() };
    config.flush_policy = FlushPolicy::Window(bounds);
    let wal = within("open", Wal::open(config)).await.unwrap();
    let lsn = within("append", wal.append("waits")).await.unwrap();
    let early = wal.checkpoint(lsn).await;
    assert!(matches!(early, Err(CheckpointError::NotDurable { .. })), "{early:?}");
    let mut stream = wal.read(lsn).await.expect("it has an LSN").follow();
    within("flush", wal.flush()).await.unwrap();
    assert_eq!(stream.next().await.unwrap().unwrap().lsn, lsn);
    assert_eq!(within("checkpoint", wal.checkpoint(lsn)).await.unwrap(), lsn);
    close(wal).await;
}

#[actix::test]
async fn p2_a_log_keeps_its_name_over_its_lives_and_in_a_copy_and_another_log_has_another() {
    let folder = folder();
    let paths = ["log", "copy", "other"].map(|name| folder.path().join(name));
    let name_of = async |path: &Path| {
        let wal = within("open", Wal::open(config(path))).await.unwrap();
        let log_id = wal.log_id();
        close(wal).await;
        log_id
    };
    let first = name_of(&paths[0]).await;
    copy_files(&paths[0], &paths[1]);
    assert_eq!([name_of(&paths[0]).await, name_of(&paths[1]).await], [first; 2]);
    assert_ne!(name_of(&paths[2]).await, first);
}
