//! What the thread `wal-flush` does: drives the flush loop, and hands everything back when that ends.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use actix::{Message, Recipient};

use crate::engine::intake::entry::QueueItem;
use crate::engine::state::outbound::{News, Outbound};
use crate::engine::state::requests::QueueReceiver;
use crate::engine::state::shared::Shared;
use crate::engine::write::flush_loop::{FlushSteps, Next, Worked};
use crate::error::{Cause, IoFault};
use crate::lsn::Lsn;
use crate::runtime::clock::Tick;
use crate::runtime::threads::{Running, Threads, Turn, Worker};

/// The name of the thread.
pub(super) const NAME: &str = "wal-flush";

/// How long the thread sleeps while it waits for a segment, before it looks at the wishes of others.
const SEGMENT_WAIT: Duration = Duration::from_millis(20);

/// There is news in the [`Outbound`] cell, or a write to watch. At most one is on its way.
#[derive(Debug)]
pub(super) struct Called;

impl Message for Called {
    type Result = ();
}

/// The flush thread is about to end. Sent once, as the last thing it does.
#[derive(Debug)]
pub(super) struct ThreadEnded {
    /// The loop with the batch in hand and everything that is pending.
    pub(super) flush_loop: Box<dyn FlushSteps>,
    /// The queue, with what arrived since.
    pub(super) queue: QueueReceiver,
    /// Why it ended; `None` after a close.
    pub(super) fault: Option<Cause>,
}

impl Message for ThreadEnded {
    type Result = ();
}

/// What a loop that nobody drives meanwhile has to tell.
pub(super) fn news_of(flush_loop: &mut dyn FlushSteps, shared: &Shared) -> News {
    let (epoch, durable) = (shared.watermark.epoch(), shared.watermark.durable());
    News { events: flush_loop.take_events(), epoch, durable }
}

/// What the thread needs beside the loop and the queue.
#[derive(Debug)]
pub(super) struct Wiring {
    pub(super) shared: Arc<Shared>,
    pub(super) outbound: Arc<Outbound>,
    pub(super) flusher: Recipient<Called>,
    pub(super) ended: Recipient<ThreadEnded>,
}

impl Wiring {
    fn announce(&self) {
        if self.outbound.wake() {
            self.flusher.do_send(Called);
        }
    }

    /// Before a write or a sync: the Flusher must look whether it returns.
    fn see_to_watch(&self, now: Tick) {
        if self.shared.io.is_coming(now) {
            self.announce();
        }
    }
}

/// Starts the thread. If there is none to be had, loop and queue come back all the same: as [`ThreadEnded`],
/// which is in the Flusher's mailbox by then.
pub(super) fn spawn(
    threads: &dyn Threads,
    flush_loop: Box<dyn FlushSteps>,
    queue: QueueReceiver,
    wiring: Wiring,
) -> Result<Running, IoFault> {
    let announced = wiring.shared.watermark.durable();
    let held = Some(InHand { flush_loop, queue });
    let worker = FlushWorker { held, wiring, announced, segment: Segment::Here };
    let running = threads.spawn(NAME, Box::new(worker));
    running.map_err(|error| IoFault::no_thread(NAME, error))
}

/// What is in the thread's hands, and goes back to the Flusher.
struct InHand {
    flush_loop: Box<dyn FlushSteps>,
    queue: QueueReceiver,
}

/// Drives the flush loop.
struct FlushWorker {
    /// Outside of what may panic: a panic at any point loses nothing of what is in hand. `None` once it
    /// was handed back.
    held: Option<InHand>,
    wiring: Wiring,
    /// The watermark that was announced last.
    announced: Lsn,
    segment: Segment,
}

/// Whether the loop can not go on without another segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Segment {
    Here,
    Missing,
    Awaited,
}

impl FlushWorker {
    /// Does something with the loop. A fault or a panic ends the worker.
    fn guarded<T>(
        &mut self,
        act: impl FnOnce(&mut InHand, &Wiring, &mut Lsn) -> Result<T, Cause>,
    ) -> Option<T> {
        let held = self.held.as_mut()?;
        let (wiring, announced) = (&self.wiring, &mut self.announced);
        let acted = catch_unwind(AssertUnwindSafe(|| act(held, wiring, announced)));
        let fault = match acted {
            Ok(Ok(done)) => return Some(done),
            Ok(Err(cause)) => cause,
            Err(panic) => Cause::Panic { place: "flush thread", message: panic_message(&*panic) },
        };
        self.end(Some(fault));
        None
    }

    /// Hands everything back.
    fn end(&mut self, fault: Option<Cause>) {
        let Some(InHand { mut flush_loop, queue }) = self.held.take() else {
            return;
        };
        if fault.is_none() {
            // The directory is free when this thread has ended.
            flush_loop.stop_source();
        } else {
            // Here, and not when the Flusher is notified: an epoch that is over gives out no more LSNs.
            self.wiring.shared.stop_accepting();
        }
        self.wiring.outbound.put(news_of(&mut *flush_loop, &self.wiring.shared));
        self.wiring.ended.do_send(ThreadEnded { flush_loop, queue, fault });
    }
}

impl Worker for FlushWorker {
    fn look(&mut self) -> Turn {
        if self.segment == Segment::Missing {
            self.segment = Segment::Awaited;
            return Turn::Wait(Some(SEGMENT_WAIT));
        }
        self.segment = Segment::Here;
        let next = self.guarded(|InHand { flush_loop, queue }, wiring, announced| {
            // Only at the first look is there anything: the log is open once this thread really runs.
            leave_news(&mut **flush_loop, wiring, announced);
            take_queued(&mut **flush_loop, queue)?;
            let now = wiring.shared.clock.now();
            let next = flush_loop.next(now);
            if next == Next::Work {
                wiring.see_to_watch(now);
            }
            Ok((next, now))
        });
        match next {
            Some((Next::Work, _)) => Turn::Work,
            Some((Next::Wait, _)) => Turn::Wait(None),
            // crossbeam waits by `Instant`; the engine's clock is only looked at.
            Some((Next::WaitUntil(due), now)) => Turn::Wait(Some(due.saturating_sub(now))),
            Some((Next::Ended, _)) => {
                self.end(None);
                Turn::End
            }
            None => Turn::End,
        }
    }

    fn work(&mut self) {
        let worked = self.guarded(|InHand { flush_loop, .. }, wiring, announced| {
            let worked = flush_loop.work()?;
            if worked == Worked::Done {
                // Also where nothing had to be written.
                wiring.shared.io.ended();
            }
            leave_news(&mut **flush_loop, wiring, announced);
            flush_loop.tidy();
            Ok(worked)
        });
        if worked == Some(Worked::NeedsSegment) {
            self.segment = Segment::Missing;
        }
    }

    fn wait(&mut self, at_most: Option<Duration>) {
        let segment = self.segment;
        self.guarded(|InHand { flush_loop, queue }, _, _| match at_most {
            Some(at_most) if segment == Segment::Awaited => {
                flush_loop.wait_for_segment(at_most);
                Ok(())
            }
            Some(at_most) => take(&mut **flush_loop, queue.recv_timeout(at_most).ok()),
            None => take(&mut **flush_loop, queue.recv().ok()),
        });
    }

    fn is_called(&self) -> bool {
        self.held.as_ref().is_some_and(|held| !held.queue.is_empty())
    }
}

/// Without a thread nothing is written. The Flusher must be notified.
impl Drop for FlushWorker {
    fn drop(&mut self) {
        if let Some(InHand { flush_loop, queue }) = self.held.take() {
            let what = "the flush thread was ended from outside".to_owned();
            let fault = Some(Cause::Broken { what });
            // Its events go with it: one that has never looked has not opened the log.
            self.wiring.shared.stop_accepting();
            self.wiring.ended.do_send(ThreadEnded { flush_loop, queue, fault });
        }
    }
}

/// Puts what has happened since the last time into the cell, and wakes the Flusher.
fn leave_news(flush_loop: &mut dyn FlushSteps, wiring: &Wiring, announced: &mut Lsn) {
    let news = news_of(flush_loop, &wiring.shared);
    if news.durable > *announced || !news.events.is_empty() {
        *announced = news.durable;
        wiring.outbound.put(news);
        wiring.announce();
    }
}

/// Moves everything that is in the queue into the loop.
pub(super) fn take_queued(
    flush_loop: &mut dyn FlushSteps,
    queue: &QueueReceiver,
) -> Result<(), Cause> {
    queue.try_iter().try_for_each(|item| take(flush_loop, Some(item)))
}

fn take(flush_loop: &mut dyn FlushSteps, item: Option<QueueItem>) -> Result<(), Cause> {
    let entries = item.map_or_else(Vec::new, QueueItem::into_entries);
    entries.into_iter().try_for_each(|entry| flush_loop.offer(entry))
}

/// What a panic said.
pub(super) fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "?".to_owned())
}
