//! The thread `wal-flush`: drives the flush loop, and hands everything back when that ends.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use actix::{Message, Recipient};
use crossbeam_channel::RecvTimeoutError;

use crate::engine::entry::QueueItem;
use crate::engine::flush_loop::{FlushLoop, LoopEvent, Next, Worked};
use crate::engine::shared::{QueueReceiver, Shared};
use crate::error::Cause;

/// How long the thread sleeps while it waits for a segment, before it looks at the wishes of others.
const SEGMENT_WAIT: Duration = Duration::from_millis(20);

/// The watermark rose, or there are events in the [`Board`]. At most one is unread.
#[derive(Debug)]
pub(super) struct News;

impl Message for News {
    type Result = ();
}

/// The flush thread is about to end. Sent once, as the last thing it does.
#[derive(Debug)]
pub(super) struct ThreadEnded {
    /// The loop with the batch in hand and everything that is pending.
    pub(super) flush_loop: Box<FlushLoop>,
    /// The queue, with what arrived since.
    pub(super) queue: QueueReceiver,
    /// Why it ended; `None` after a close.
    pub(super) fault: Option<Cause>,
}

impl Message for ThreadEnded {
    type Result = ();
}

/// Where the flush thread leaves its events. One wake-up of the Flusher per batch at most.
#[derive(Debug, Default)]
pub(super) struct Board {
    events: Mutex<Vec<LoopEvent>>,
    unread: AtomicBool,
}

impl Board {
    /// Takes the events. Whatever is left after this is announced by another [`News`].
    pub(super) fn take(&self) -> Vec<LoopEvent> {
        self.unread.store(false, Ordering::SeqCst);
        std::mem::take(&mut *self.events.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn leave(&self, events: Vec<LoopEvent>) {
        if !events.is_empty() {
            self.events.lock().unwrap_or_else(PoisonError::into_inner).extend(events);
        }
    }
}

/// What the thread needs beside the loop and the queue.
#[derive(Debug)]
pub(super) struct Wiring {
    pub(super) shared: Arc<Shared>,
    pub(super) board: Arc<Board>,
    pub(super) news: Recipient<News>,
    pub(super) ended: Recipient<ThreadEnded>,
}

impl Wiring {
    fn announce(&self) {
        if !self.board.unread.swap(true, Ordering::SeqCst) {
            self.news.do_send(News);
        }
    }

    /// Before a write or a sync: somebody must look whether it returns.
    fn see_to_watch(&self) {
        if !self.shared.watched.swap(true, Ordering::SeqCst) {
            self.announce();
        }
    }
}

/// Starts the thread.
///
/// # Errors
/// Gives loop and queue back if the system has no thread for it.
pub(super) fn spawn(
    flush_loop: Box<FlushLoop>,
    queue: QueueReceiver,
    wiring: Wiring,
) -> Result<JoinHandle<()>, (Box<FlushLoop>, QueueReceiver, Cause)> {
    // The parts cross over in a slot, so that they come back if there is no thread.
    let slot = Arc::new(Mutex::new(Some((flush_loop, queue))));
    let taken = Arc::clone(&slot);
    let take = move || taken.lock().unwrap_or_else(PoisonError::into_inner).take();
    let body = move || {
        if let Some((flush_loop, queue)) = take() {
            run(flush_loop, queue, &wiring);
        }
    };
    thread::Builder::new().name("wal-flush".into()).spawn(body).map_err(|error| {
        let parts = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
        let what = format!("the flush thread could not be started: {error}");
        match parts {
            Some((flush_loop, queue)) => (flush_loop, queue, Cause::Broken { what }),
            None => unreachable!("a thread that was not started took nothing"),
        }
    })
}

/// The loop lives outside `catch_unwind`: a panic at any point loses nothing of what is in hand.
fn run(mut flush_loop: Box<FlushLoop>, queue: QueueReceiver, wiring: &Wiring) {
    let driven = catch_unwind(AssertUnwindSafe(|| drive(&mut flush_loop, &queue, wiring)));
    let fault = match driven {
        Ok(Ok(())) => None,
        Ok(Err(cause)) => Some(cause),
        Err(panic) => Some(Cause::Panic { place: "flush thread", message: panic_message(&*panic) }),
    };
    if fault.is_none() {
        // The directory is free when this thread has ended.
        flush_loop.stop_source();
    } else {
        // At once, not when the Flusher hears of it: no more LSNs for an epoch that is over.
        wiring.shared.stop_accepting();
    }
    wiring.board.leave(flush_loop.take_events());
    wiring.ended.do_send(ThreadEnded { flush_loop, queue, fault });
}

fn drive(flush_loop: &mut FlushLoop, queue: &QueueReceiver, wiring: &Wiring) -> Result<(), Cause> {
    let clock = &wiring.shared.clock;
    let mut announced = wiring.shared.durable();
    loop {
        take_queued(flush_loop, queue)?;
        let now = clock.now();
        match flush_loop.next(now) {
            Next::Work => {
                wiring.see_to_watch();
                let worked = flush_loop.work()?;
                let events = flush_loop.take_events();
                let durable = wiring.shared.durable();
                if durable > announced || !events.is_empty() {
                    announced = durable;
                    wiring.board.leave(events);
                    wiring.announce();
                }
                if worked == Worked::NeedsSegment {
                    flush_loop.wait_for_segment(SEGMENT_WAIT);
                }
            }
            Next::Wait => take(flush_loop, queue.recv().ok())?,
            Next::WaitUntil(due) => {
                // crossbeam waits by `Instant`; the engine's clock is only looked at.
                match queue.recv_timeout(due.saturating_sub(now)) {
                    Ok(item) => take(flush_loop, Some(item))?,
                    Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
                }
            }
            Next::Ended => return Ok(()),
        }
    }
}

/// Moves everything that is in the queue into the loop.
pub(super) fn take_queued(flush_loop: &mut FlushLoop, queue: &QueueReceiver) -> Result<(), Cause> {
    queue.try_iter().try_for_each(|item| take(flush_loop, Some(item)))
}

fn take(flush_loop: &mut FlushLoop, item: Option<QueueItem>) -> Result<(), Cause> {
    match item {
        Some(QueueItem::Entry(entry)) => flush_loop.offer(entry),
        Some(QueueItem::Nudge) | None => Ok(()),
    }
}

/// What a panic said.
pub(super) fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "?".to_owned())
}
