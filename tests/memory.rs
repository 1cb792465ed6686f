//! Guards P16 over many lives of a log in one process: what a closed log held is given back.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on has failed")]

use std::alloc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_wal::testkit::SimDisk;
use actix_wal::{Wal, WalConfig};
use cap::Cap;
use test_support::logs::SOON;

#[global_allocator]
static ALLOCATED: Cap<alloc::System> = Cap::new(alloc::System, usize::MAX);

/// How many lives a log has.
const LIVES: usize = 200;

/// Opens, commits and closes. The watchdog would look again after a second, long after the end of the log.
async fn live(disk: &SimDisk) -> Wal {
    let mut config = WalConfig::new("unused");
    config.slow_sync = Duration::from_secs(10);
    let wal = Wal::open(config).on_storage(disk.mount().unwrap()).await.expect("opens");
    wal.commit("record").await.expect("durable");
    wal.close().await.expect("clean");
    wal
}

#[actix::test]
async fn p16_nothing_is_left_of_a_log_that_was_closed_when_its_last_handle_is_dropped() {
    let disk = SimDisk::new();
    let wal = live(&disk).await;
    // It lives as long as what the parts of a log share, the queue among it.
    let shared = Arc::downgrade(wal.admission());
    drop(wal);
    // The actors run in between. No timer does: none is due.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    // The thread of the metrics publishes the end of the log. No actor runs meanwhile: this thread is theirs.
    let began = Instant::now();
    while shared.strong_count() > 0 && began.elapsed() < SOON {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(shared.strong_count(), 0, "an actor of the closed log lives on");
}

/// The most that was ever allocated at once, in MiB. What the system counts depends on how many threads allocated at
/// the same time.
fn peak() -> usize {
    ALLOCATED.max_allocated() >> 20
}

#[actix::test]
async fn p16_a_process_that_opens_and_closes_a_log_again_and_again_does_not_grow() {
    let mut before = 0;
    for life in 0..LIVES {
        drop(live(&SimDisk::new()).await);
        if life == LIVES / 10 {
            before = peak();
        }
    }
    // The queue of one log alone takes two.
    let grown = peak() - before;
    println!("{before} MiB after {} lives, {grown} more after {LIVES}", LIVES / 10);
    assert!(grown < 24, "{grown} MiB more than {before} after {LIVES} lives");
}
