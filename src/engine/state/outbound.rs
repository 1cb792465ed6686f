//! What the flush thread has to tell the Flusher: events, and the watermark at that moment.

use std::mem;
use std::sync::PoisonError;

use crate::engine::write::flush_loop::LoopEvent;
use crate::lsn::{Epoch, Lsn};
use crate::runtime::sync::{AtomicBool, Mutex, Ordering};

/// Events, and the watermark at that moment. Failed ranges must be delivered before a watermark that skips them
/// (promise P8), so the two travel together.
#[derive(Debug, Default)]
pub struct News {
    /// What happened since the last news, in order.
    pub events: Vec<LoopEvent>,
    /// The epoch that wrote.
    pub epoch: Epoch,
    /// The watermark.
    pub durable: Lsn,
}

/// One cell between the flush thread and the Flusher. The Flusher is woken at most once for all that is in it.
#[derive(Debug)]
pub struct Outbound {
    news: Mutex<News>,
    /// Whether a wake-up is on its way.
    awake: AtomicBool,
}

impl Default for Outbound {
    fn default() -> Self {
        Outbound { news: Mutex::new(News::default()), awake: AtomicBool::new(false) }
    }
}

impl Outbound {
    /// The flush thread adds to what the Flusher has not taken yet. [`wake`](Self::wake) comes after.
    pub fn put(&self, newer: News) {
        let mut news = self.news.lock().unwrap_or_else(PoisonError::into_inner);
        news.events.extend(newer.events);
        (news.epoch, news.durable) = (newer.epoch, newer.durable);
    }

    /// Whether the Flusher has to be sent a wake-up, since none is on its way.
    #[must_use = "the Flusher does not look by itself"]
    pub fn wake(&self) -> bool {
        !self.awake.swap(true, Ordering::SeqCst)
    }

    /// The Flusher takes all of it. What is put after this needs another wake-up.
    pub fn take(&self) -> News {
        self.awake.store(false, Ordering::SeqCst);
        let mut news = self.news.lock().unwrap_or_else(PoisonError::into_inner);
        News { events: mem::take(&mut news.events), epoch: news.epoch, durable: news.durable }
    }
}
