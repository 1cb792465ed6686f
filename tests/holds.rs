//! Guards P19 for hosts: what somebody holds without a lease no checkpoint releases, over a restart too, and it is released
//! as soon as it is held no more.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on has failed")]

use actix_wal::{Lsn, ReadError, Wal};
use test_support::logs::{World, config, records_on, within};

/// Each takes a good part of a segment.
async fn commit(wal: &Wal, count: usize) -> Lsn {
    let mut last = Lsn::NONE;
    for _ in 0..count {
        last = within("commit", wal.commit(vec![7; 2000])).await.unwrap();
    }
    last
}

#[actix::test]
async fn p19_a_checkpoint_releases_nothing_that_is_held_and_the_rest_when_the_hold_is_gone() {
    let world = World::new();
    let wal = world.open(config()).await;
    commit(&wal, 5).await;
    let hold = wal.hold(Lsn::new(3), "transaction 7").unwrap();
    let last = commit(&wal, 20).await;
    let before = wal.segments().len();
    // Asked for twice, it is answered twice.
    for _ in 0..2 {
        let reached = within("checkpoint", wal.checkpoint(last)).await.unwrap();
        assert_eq!((reached, wal.status().low_water), (Lsn::new(2), Lsn::new(2)));
    }
    let holds = wal.holds();
    assert_eq!(
        (holds[0].from, holds[0].owner.as_str(), holds[0].lease),
        (3, "transaction 7", None)
    );
    let mut reader = within("read", wal.read(Lsn::new(3))).await.unwrap();
    assert_eq!(within("record", reader.next()).await.unwrap().unwrap().lsn, Lsn::new(3));
    drop(reader);
    match wal.hold(Lsn::new(2), "too late") {
        Err(ReadError::Released { released }) => assert_eq!(released, Lsn::new(2)),
        other => panic!("{other:?}"),
    }

    drop(hold);
    assert_eq!(wal.status().low_water, last, "what was asked for is released");
    commit(&wal, 1).await;
    within("checkpoint", wal.checkpoint(last)).await.unwrap();
    within("rotate", wal.rotate()).await.unwrap();
    assert!(wal.segments().len() < before, "{:?}", wal.segments());
    assert!(wal.holds().is_empty());
    within("close", wal.close()).await.unwrap();
}

#[actix::test]
async fn p19_what_is_held_is_replayed_after_a_crash_and_can_be_held_again_before_any_checkpoint() {
    let world = World::new();
    let wal = world.open(config()).await;
    let hold = wal.hold(Lsn::new(4), "prepared").unwrap();
    let last = commit(&wal, 25).await;
    let reached = within("checkpoint", wal.checkpoint(last)).await.unwrap();
    assert_eq!(reached, Lsn::new(3));
    // The mark is on disk.
    commit(&wal, 1).await;
    within("close", wal.close()).await.unwrap();
    drop(hold);
    assert!(world.records().await.contains_key(&Lsn::new(4)));
    let crashed = records_on(&world.disk);
    assert_eq!(crashed.keys().next(), Some(&Lsn::new(4)), "and it is the first one");

    let wal = world.open(config()).await;
    let _hold = wal.hold(Lsn::new(4), "prepared").unwrap();
    let reached = within("checkpoint", wal.checkpoint(last)).await.unwrap();
    assert_eq!(reached, Lsn::new(3));
}
