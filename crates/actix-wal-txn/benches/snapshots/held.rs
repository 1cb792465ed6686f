//! How long one piece of work keeps all else waiting: in time for which its thread had a processor, so that other programs
//! do not count.
//!
//! By themselves, pieces are calls on a store. What they do to their neighbours is seen by a task that has its turn again
//! and again in the thread of the coordinator: the longest gaps between its turns, as many as there are pieces.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use actix_wal::Lsn;
use actix_wal_txn::messages::{Abort, Begin, GetUsage, TakeSnapshot};
use actix_wal_txn::store::{Budget, KeyRange, Limits, Store, View, Write};
use hdrhistogram::Histogram;
use rustix::time::{ClockId, clock_gettime};

use crate::{Coordinator, VALUE, fill, key};

/// What the coordinator looks at for one piece of a snapshot, what a client looks at for one of a scan, and how many keys
/// are collected before its mailbox is served.
const EXPORTED: Budget = Budget { keys: 512, bytes: 256 << 10 };
const SCANNED: Budget = Budget { keys: 1024, bytes: 256 << 10 };
const COLLECTED: usize = 256;

/// None should be longer.
const TARGET: Duration = Duration::from_millis(1);

/// For how long this thread has had a processor.
fn busy() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// How long pieces took, in nanoseconds, among others that were shorter.
struct Held {
    took: Histogram<u64>,
    last: Duration,
}

impl Held {
    fn new() -> Self {
        let took = Histogram::new_with_max(100_000_000_000, 3).unwrap();
        Held { took, last: busy() }
    }

    /// One has ended, which began at the end of the one before.
    fn ended(&mut self) {
        let now = busy();
        self.took.saturating_record((now - self.last).as_nanos() as u64);
        self.last = now;
    }

    /// What is measured begins now.
    fn begins(&mut self) {
        self.last = busy();
    }

    /// The figures of the longest ones.
    fn print(&self, what: &str, pieces: usize) {
        let above = 0.01 * pieces as f64 / self.took.len().max(1) as f64;
        let at = |quantile: f64| Duration::from_nanos(self.took.value_at_quantile(quantile));
        let longest = Duration::from_nanos(self.took.max());
        println!(
            "  {what:<58}{pieces:>8} times, p99 {:>7.1?}, longest {longest:>7.1?}   target {TARGET:?}{}",
            at(1.0 - above.min(1.0)),
            if longest > TARGET { "  MISSED" } else { "" }
        );
    }
}

/// The pieces by themselves, on a store with so many keys.
pub(crate) fn on_a_store(keys: u64) {
    let mut store = Store::new(Limits { bytes: usize::MAX, ..Limits::default() });
    let mut lsn = 0;
    let mut write_all = |store: &mut Store| {
        for first in (0..keys).step_by(1000) {
            let write = |number| Write {
                key: key(number).to_vec().into(),
                value: Some(VALUE.to_vec().into()),
            };
            let writes: Vec<_> = (first..keys.min(first + 1000)).map(write).collect();
            store.install(writes.clone()).unwrap();
            lsn += 1;
            store.durable(Lsn::new(lsn));
        }
    };
    write_all(&mut store);
    let snapshot = store.snapshot(Duration::ZERO);
    write_all(&mut store);
    for (what, budget) in [("a piece of a snapshot", EXPORTED), ("a piece of a scan", SCANNED)] {
        let (mut held, mut range, mut pieces) = (Held::new(), KeyRange::all(), 0);
        loop {
            held.begins();
            let piece = store.scan(&range, View::At(&snapshot), budget).unwrap();
            held.ended();
            pieces += 1;
            let Some(last) = piece.next else { break };
            range = range.behind(last);
        }
        held.print(what, pieces);
    }
    drop(snapshot);
    let (mut held, mut pieces) = (Held::new(), 0);
    while store.collect(Duration::ZERO, COLLECTED) {
        held.ended();
        pieces += 1;
        held.begins();
    }
    held.print("a piece of a collection", pieces);
}

/// The turns of a task in this thread for as long as the future takes.
async fn turns(it: impl Future<Output = ()>) -> Rc<RefCell<Held>> {
    let held = Rc::new(RefCell::new(Held::new()));
    let shared = Rc::clone(&held);
    let task = actix::spawn(async move {
        shared.borrow_mut().begins();
        loop {
            tokio::task::yield_now().await;
            shared.borrow_mut().ended();
        }
    });
    it.await;
    task.abort();
    held
}

/// What the thread of a coordinator notices that nobody else is at work with: the snapshot is written without rests then.
pub(crate) async fn in_the_thread(coordinator: &Coordinator, keys: u64) {
    // So that there is something new.
    fill(coordinator, 1).await;
    let held = turns(async {
        coordinator.send(TakeSnapshot).await.unwrap().unwrap();
    });
    let pieces = keys as usize / EXPORTED.keys + 1;
    held.await.borrow().print("the thread of the coordinator, while a snapshot is written", pieces);

    // What an open transaction sees is kept.
    let txn = coordinator.send(Begin::default()).await.unwrap().unwrap();
    fill(coordinator, keys).await;
    let held = turns(async {
        coordinator.send(Abort { txn }).await.unwrap().unwrap();
        while coordinator.send(GetUsage).await.unwrap().store.pinned > 0 {
            actix::clock::sleep(Duration::from_millis(1)).await;
        }
    });
    let pieces = keys as usize / COLLECTED + 1;
    held.await.borrow().print("the thread of the coordinator, while it collects", pieces);
}
