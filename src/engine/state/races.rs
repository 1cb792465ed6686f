//! Guards P6, P8, P19: every protocol between threads that is made by hand, in every interleaving of a small run.
//! `cargo xtask loom` runs these.

use std::sync::Arc;
use std::time::Duration;

use loom::sync::Mutex;
use loom::thread;

use super::io_watch::IoWatch;
use super::outbound::{News, Outbound};
use super::outcomes::{Fate, Outcomes};
use super::requests::Requests;
use super::watermark::Watermark;
use crate::engine::intake::entry::QueueItem;
use crate::engine::intake::inbox::Inbox;
use crate::engine::segments::catalog::{Catalog, SegmentInfo};
use crate::engine::write::flush_loop::LoopEvent;
use crate::error::Cause;
use crate::lsn::{Epoch, Lsn, LsnRange};
use crate::runtime::clock::Tick;

/// The mailbox of an actor: how many wake-ups are in it.
#[derive(Clone)]
struct Mailbox(Arc<Mutex<u32>>);

impl Mailbox {
    fn new() -> Self {
        Mailbox(Arc::new(Mutex::new(0)))
    }

    fn send(&self) {
        *self.0.lock().unwrap() += 1;
    }

    /// Takes a wake-up out, if there is one.
    fn receive(&self) -> bool {
        let mut waiting = self.0.lock().unwrap();
        let any = *waiting > 0;
        *waiting -= u32::from(any);
        any
    }
}

fn range(first: u64, last: u64) -> LsnRange {
    LsnRange::new(Lsn::new(first), Lsn::new(last)).expect("not empty")
}

#[test]
fn p6_what_is_in_the_inbox_always_has_a_wake_up_on_its_way() {
    loom::model(|| {
        let inbox = Arc::new(Inbox::default());
        let mailbox = Mailbox::new();
        let push = |item: u32| {
            let (inbox, mailbox) = (Arc::clone(&inbox), mailbox.clone());
            thread::spawn(move || {
                if inbox.push(item) {
                    mailbox.send();
                }
            })
        };
        let pushers = [push(1), push(2)];
        let mut taken = Vec::new();
        if mailbox.receive() {
            taken.extend(inbox.take(Vec::new()));
        }
        pushers.into_iter().for_each(|pusher| pusher.join().unwrap());
        while mailbox.receive() {
            taken.extend(inbox.take(Vec::new()));
        }
        taken.sort_unstable();
        assert_eq!(taken, [1, 2]);
    });
}

/// The flush thread: LSN 1 becomes durable, LSN 2 fails, and the watermark passes both with LSN 3.
fn flush(watermark: &Watermark, outbound: &Outbound, mailbox: &Mailbox) {
    for through in [1, 3] {
        let mut events = Vec::new();
        if through == 3 {
            events.push(LoopEvent::NotDurable(range(2, 2), Cause::Closed));
        }
        watermark.raise_durable(Lsn::new(through));
        outbound.put(News { events, epoch: Epoch::default(), durable: watermark.durable() });
        if outbound.wake() {
            mailbox.send();
        }
    }
}

#[test]
fn p8_a_watermark_is_never_told_before_what_it_leaves_out_and_the_last_one_is_always_told() {
    loom::model(|| {
        let watermark = Arc::new(Watermark::default());
        let outbound = Arc::new(Outbound::default());
        let mailbox = Mailbox::new();
        let thread = {
            let (watermark, outbound, mailbox) =
                (Arc::clone(&watermark), Arc::clone(&outbound), mailbox.clone());
            thread::spawn(move || flush(&watermark, &outbound, &mailbox))
        };
        let (mut failed, mut told) = (0, Lsn::NONE);
        let mut pass_on = || {
            let news = outbound.take();
            failed += news.events.len();
            assert!(news.durable >= told, "the watermark falls");
            told = news.durable;
            assert!(told < Lsn::new(2) || failed == 1, "LSN 2 looks durable");
        };
        for _ in 0..2 {
            if mailbox.receive() {
                pass_on();
            }
        }
        thread.join().unwrap();
        while mailbox.receive() {
            pass_on();
        }
        assert_eq!((failed, told), (1, Lsn::new(3)));
    });
}

#[test]
fn p6_a_write_that_has_begun_is_watched_or_the_flusher_is_being_woken() {
    loom::model(|| {
        let io = Arc::new(IoWatch::default());
        let mailbox = Mailbox::new();
        // The Flusher looks from time to time, since there was a write before.
        io.start_watching();
        let thread = {
            let (io, mailbox) = (Arc::clone(&io), mailbox.clone());
            thread::spawn(move || {
                if io.is_coming(Tick::ZERO) {
                    mailbox.send();
                }
                io.begins(Tick::ZERO);
            })
        };
        let looks_again = io.since().is_some() || io.stop_watching();
        thread.join().unwrap();
        assert!(looks_again || mailbox.receive(), "nobody will see that the write hangs");
    });
}

#[test]
fn p6_a_request_is_seen_by_a_flush_thread_that_has_work_or_wakes_one_that_has_none() {
    loom::model(|| {
        let (requests, queue) = Requests::new(2);
        let requests = Arc::new(requests);
        requests.enqueue(QueueItem::Entries(Vec::new())).expect("room");
        let closer = {
            let requests = Arc::clone(&requests);
            thread::spawn(move || requests.close())
        };
        // A request that is not seen leaves this waiting forever, which loom reports.
        loop {
            queue.recv().expect("the other end is there");
            if requests.look().wants_close() {
                break;
            }
        }
        closer.join().unwrap();
    });
}

#[test]
fn p8_an_lsn_that_failed_never_looks_durable() {
    loom::model(|| {
        let watermark = Arc::new(Watermark::default());
        let outcomes = Arc::new(Outcomes::default());
        let thread = {
            let (watermark, outcomes) = (Arc::clone(&watermark), Arc::clone(&outcomes));
            thread::spawn(move || {
                outcomes.note(range(2, 2), Fate::NotDurable(Cause::Closed));
                watermark.raise_durable(Lsn::new(3));
            })
        };
        let fate = outcomes.fate(Lsn::new(2), &watermark);
        assert!(!matches!(fate, Some(Fate::Durable)));
        thread.join().unwrap();
        let fate = outcomes.fate(Lsn::new(2), &watermark);
        assert!(matches!(fate, Some(Fate::NotDurable(_))));
    });
}

#[test]
fn p19_what_a_reader_holds_is_not_removed_or_the_reader_is_refused() {
    loom::model(|| {
        let catalog = Arc::new(Catalog::default());
        for (sequence, cut) in [(1, 0), (2, 10)] {
            catalog.begin(SegmentInfo::new(sequence, sequence.to_string(), 1 << 20, Lsn::new(cut)));
        }
        let checkpoint = {
            let catalog = Arc::clone(&catalog);
            thread::spawn(move || {
                catalog.raise_low_water(Lsn::new(10));
                catalog.take_removable(Tick::ZERO).len()
            })
        };
        // As a cursor does it: the hold first.
        catalog.hold(Lsn::new(5), Tick::ZERO, Duration::from_secs(1));
        let reads = catalog.low_water() < Lsn::new(5);
        let removed = checkpoint.join().unwrap();
        assert!(!reads || removed == 0, "a segment that is read was removed");
    });
}
