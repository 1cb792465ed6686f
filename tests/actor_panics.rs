//! Guards P1, P6, P20.
//!
//! A panic inside a handler of the Appender or of the Flusher: actix drops the actor and tells nobody.

#![allow(clippy::expect_used, reason = "a test that can not go on has failed")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use actix_wal::error::{AppendError, CommitError};
use actix_wal::testkit::SimDisk;
use actix_wal::{LogState, Lsn, Wal, WalConfig};
use test_support::clock::BentClock;
use test_support::logs::{until, within};
use test_support::settings::segments_of;
use test_support::small_logs;

fn config() -> WalConfig {
    segments_of(64 * 1024)
}

/// A log whose clock panics once, on a thread of the actors, when it is armed.
async fn open(disk: &SimDisk, armed: &Arc<AtomicBool>) -> Wal {
    let armed = Arc::clone(armed);
    let clock = BentClock::default().now(move |now| {
        let ours = std::thread::current().name().is_some_and(|name| name.starts_with("wal-"));
        if !ours && armed.swap(false, Ordering::SeqCst) {
            panic!("the test wants this actor to panic");
        }
        now
    });
    let storage = disk.mount().expect("free");
    Wal::open(config()).on_storage(storage).with_clock(Arc::new(clock)).await.expect("opens")
}

/// The log can be opened again as soon as its last thread has ended, and holds what was acknowledged.
async fn check_reopened(disk: &SimDisk, acknowledged: &[(Lsn, &str)]) {
    until("the lock is free", || disk.mount().is_ok()).await;
    let wal = small_logs::open(disk, config()).await;
    for (lsn, text) in acknowledged {
        let mut records = wal.read(*lsn).await.expect("is there");
        let record = within("read", records.next()).await.expect("one more").expect("sound");
        assert_eq!((record.lsn, &record.payload[..]), (*lsn, text.as_bytes()));
    }
    within("commit", wal.commit("after")).await.expect("goes on");
    within("close", wal.close()).await.expect("clean");
}

#[actix::test]
async fn p6_a_panic_in_the_appender_closes_the_log_and_everyone_is_answered() {
    let (disk, armed) = (SimDisk::new(), Arc::default());
    let wal = open(&disk, &armed).await;
    let lsn = wal.commit("acknowledged").await.expect("durable");

    armed.store(true, Ordering::SeqCst);
    let struck = within("the append that panics", wal.commit("struck")).await;
    assert!(
        matches!(struck, Err(CommitError::Refused(AppendError::Unknown { .. }))),
        "whether it was appended nobody knows: {struck:?}"
    );
    let late = within("a later append", wal.commit("late")).await;
    assert!(matches!(late, Err(CommitError::Refused(AppendError::Closed { .. }))), "{late:?}");
    assert!(within("a wait", wal.wait_for_lsn(lsn)).await.is_ok(), "what is durable stays so");
    assert!(matches!(wal.status().state, LogState::Closed(_)));
    // The flush thread closes the log by itself; how the close is answered depends on who is first.
    let _ = within("close", wal.close()).await;
    drop(wal);
    check_reopened(&disk, &[(lsn, "acknowledged")]).await;
}

#[actix::test]
async fn p6_a_panic_in_the_flusher_closes_the_log_and_everyone_is_answered() {
    let (disk, armed) = (SimDisk::new(), Arc::default());
    let wal = open(&disk, &armed).await;
    let lsn = wal.commit("acknowledged").await.expect("durable");

    // A read takes its lease from the clock, in the Flusher's handler.
    armed.store(true, Ordering::SeqCst);
    let read = within("the read that panics", wal.read(lsn)).await;
    assert!(read.is_err());
    let late = within("a later append", wal.commit("late")).await;
    assert!(matches!(late, Err(CommitError::Refused(AppendError::Closed { .. }))), "{late:?}");
    assert!(within("checkpoint", wal.checkpoint(lsn)).await.is_err());
    assert!(matches!(wal.status().state, LogState::Closed(_)));
    assert!(
        within("close", wal.close()).await.is_err(),
        "nobody is there to say that it was clean"
    );
    drop(wal);
    check_reopened(&disk, &[(lsn, "acknowledged")]).await;
}
