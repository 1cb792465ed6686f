//! Fans events out. A slow subscriber skips, but never misses what is newest, and nobody waits for it.

use std::collections::VecDeque;
use std::time::Duration;

use actix::Recipient;
use actix::dev::SendError;

use crate::engine::state::meter::Delivered;
use crate::engine::state::shared::Shared;
use crate::lsn::{Epoch, Lsn, LsnRange};
use crate::messages::LogEvent;
use crate::status::LogState;

/// The subscribers that are notified of every batch. A message into another Arbiter costs 1 to 3 µs of processor time,
/// so 1,000 messages per batch would take longer than the sync of a fast device.
const AT_ONCE: usize = 16;

/// The delay of the others is this times the number of subscribers. Notifying them takes at most a tenth of it.
const TIME_EACH: Duration = Duration::from_micros(40);

/// The shortest delay, because the timers of an Arbiter have no shorter one.
const SOONEST: Duration = Duration::from_millis(1);

/// Without a crowd, those who are behind are slow.
const SLOW: Duration = Duration::from_millis(5);

/// The complete segments that are kept for a slow subscriber. Older ones are dropped.
const MOST_KEPT: usize = 1024;

/// The subscribers of a log, each with what it has not been sent yet.
#[derive(Debug, Default)]
pub(super) struct Subscribers {
    all: Vec<Subscriber>,
}

#[derive(Debug)]
struct Subscriber {
    /// Kept for all events, because a mailbox is full only for a sender that it knows.
    recipient: Recipient<LogEvent>,
    /// The newest watermark that it has not been sent.
    durable: Option<(Epoch, Lsn)>,
    /// Failed ranges that it has not been sent.
    failed: Vec<LsnRange>,
    /// Other events that it has not been sent; of the states only the newest is kept.
    others: VecDeque<LogEvent>,
    /// Up to where it was notified, for metrics.
    delivered: Delivered,
}

impl Subscriber {
    fn add(&mut self, event: LogEvent) {
        match event {
            LogEvent::Durable { epoch, through, failed } => {
                self.durable = Some((epoch, through));
                // A second subscription delivers all failed ranges again.
                self.failed.retain(|known| !failed.contains(known));
                self.failed.extend(failed);
            }
            LogEvent::SegmentComplete { .. } => {
                let is_one = |other: &LogEvent| matches!(other, LogEvent::SegmentComplete { .. });
                if self.others.len() >= MOST_KEPT
                    && let Some(oldest) = self.others.iter().position(is_one)
                {
                    self.others.remove(oldest);
                }
                self.others.push_back(event);
            }
            state => {
                self.others.retain(|other| matches!(other, LogEvent::SegmentComplete { .. }));
                self.others.push_back(state);
            }
        }
    }

    fn next(&mut self) -> Option<LogEvent> {
        if let Some((epoch, through)) = self.durable.take() {
            let failed = std::mem::take(&mut self.failed);
            return Some(LogEvent::Durable { epoch, through, failed });
        }
        self.others.pop_front()
    }

    fn put_back(&mut self, event: LogEvent) {
        match event {
            LogEvent::Durable { epoch, through, failed } => {
                self.durable = Some((epoch, through));
                self.failed = failed;
            }
            other => self.others.push_front(other),
        }
    }

    /// Sends what its mailbox takes. `false` if it has stopped.
    fn deliver(&mut self) -> bool {
        while let Some(event) = self.next() {
            let newer = match &event {
                LogEvent::Durable { through, .. } => Delivered::through(*through),
                _ => self.delivered,
            };
            match self.recipient.try_send(event) {
                Ok(()) => self.delivered.raise(newer),
                Err(SendError::Full(event)) => {
                    self.put_back(event);
                    return true;
                }
                Err(SendError::Closed(_)) => return false,
            }
        }
        true
    }

    fn is_behind(&self) -> bool {
        self.durable.is_some() || !self.others.is_empty()
    }
}

impl Subscribers {
    /// Adds a subscriber, which is notified of all events from now on. A subscriber that is added twice stays one: it
    /// keeps its place, and the events that were put off for it.
    ///
    /// It is first sent what it missed: the last watermark that was announced, the LSNs that this does not cover, and
    /// the state, unless the log is running.
    pub(super) fn add(
        &mut self,
        recipient: Recipient<LogEvent>,
        shared: &Shared,
        told: (Epoch, Lsn),
    ) {
        let place = self.place(&recipient).unwrap_or(self.all.len());
        if place == self.all.len() {
            let (durable, failed, others) = (None, Vec::new(), VecDeque::new());
            // What it could have been notified of earlier does not count.
            let delivered = Delivered::through(told.1);
            self.all.push(Subscriber { recipient, durable, failed, others, delivered });
        }
        let subscriber = &mut self.all[place];
        current_state(shared, told).into_iter().for_each(|event| subscriber.add(event));
        if !subscriber.deliver() {
            self.all.remove(place);
        }
    }

    /// Removes one, which is told before what it was to be told later. Whether there was such a one.
    pub(super) fn remove(&mut self, recipient: &Recipient<LogEvent>) -> bool {
        let place = self.place(recipient);
        place.map(|place| self.all.remove(place).deliver()).is_some()
    }

    fn place(&self, recipient: &Recipient<LogEvent>) -> Option<usize> {
        self.all.iter().position(|subscriber| subscriber.recipient == *recipient)
    }

    /// Notifies all subscribers whose mailboxes have room. Only the first are notified of a watermark at once. The
    /// others are sent the newest watermark by the next [`retry`](Self::retry).
    pub(super) fn tell(&mut self, event: &LogEvent) {
        let can_wait = matches!(event, LogEvent::Durable { failed, .. } if failed.is_empty());
        let mut at_once = if can_wait { AT_ONCE } else { self.all.len() };
        self.all.retain_mut(|subscriber| {
            subscriber.add(event.clone());
            let is_told = at_once > 0;
            at_once = at_once.saturating_sub(1);
            !is_told || subscriber.deliver()
        });
    }

    /// Tells those who are behind, as far as their mailboxes take it. Whether some still are.
    pub(super) fn retry(&mut self) -> bool {
        self.all.retain_mut(Subscriber::deliver);
        self.any_behind()
    }

    /// When those who are behind should be told.
    pub(super) fn retry_after(&self) -> Duration {
        match u32::try_from(self.all.len()) {
            Ok(count) if self.all.len() > AT_ONCE => SOONEST.max(TIME_EACH * count),
            _ => SLOW,
        }
    }

    /// Whether someone has not been sent everything.
    pub(super) fn any_behind(&self) -> bool {
        self.all.iter().any(Subscriber::is_behind)
    }

    /// How many records the slowest subscriber is behind.
    pub(super) fn lag(&self) -> u64 {
        let behind = self.all.iter().filter_map(|subscriber| {
            subscriber.durable.map(|(_, newest)| subscriber.delivered.behind(newest))
        });
        behind.max().unwrap_or(0)
    }

    /// Forgets them all.
    pub(super) fn clear(&mut self) {
        self.all.clear();
    }
}

/// Nobody is left to try again, so what was put off goes out now, whether there is room for it or not: once for
/// each subscriber, and no more than was kept for it.
impl Drop for Subscribers {
    fn drop(&mut self) {
        for subscriber in &mut self.all {
            while let Some(event) = subscriber.next() {
                subscriber.recipient.do_send(event);
            }
        }
    }
}

/// What a subscriber has to know that comes late. The watermark is part of it: an actor that appended before it
/// subscribed may get no other event that covers its records.
fn current_state(shared: &Shared, (epoch, through): (Epoch, Lsn)) -> Vec<LogEvent> {
    let (failed, unknown) = shared.outcomes.exceptions();
    let state = match shared.state() {
        LogState::Opening | LogState::Running => None,
        LogState::Unavailable(cause) => Some(LogEvent::Unavailable { cause }),
        LogState::NoSpace(fault) => Some(LogEvent::Unavailable { cause: fault.into() }),
        LogState::Poisoned(cause) => {
            Some(LogEvent::Poisoned { cause, failed: failed.clone(), unknown })
        }
        LogState::Closing => Some(LogEvent::Closing),
        LogState::Closed(cause) => Some(LogEvent::Closed { cause }),
    };
    let is_news = !through.is_none() || !failed.is_empty();
    let durable = is_news.then_some(LogEvent::Durable { epoch, through, failed });
    durable.into_iter().chain(state).collect()
}
