//! What others want of the flush thread: a flush, a checkpoint, another segment, the end.

use crate::engine::intake::entry::QueueItem;
use crate::lsn::Lsn;
use crate::runtime::sync::channel::{Receiver, Sender, bounded};
use crate::runtime::sync::{AtomicBool, AtomicU64, Ordering, fence};

/// Slots of the queue beyond the in-flight limit, so that nudges never take the room of an append: a few
/// more than [`AWAKE`], since several threads may nudge at once.
const NUDGE_SLOTS: usize = 256;

/// With so many items in its queue the flush thread has work to do, and needs no nudge.
const AWAKE: usize = if cfg!(all(test, wal_loom)) { 1 } else { 8 };

/// The flush side's end of the queue. There is one for the life of the log; it moves from the Flusher
/// to the flush thread and back.
pub type QueueReceiver = Receiver<QueueItem>;

/// Requests to the flush thread, and the queue that wakes it. A request is set first; then the thread is nudged.
#[derive(Debug)]
pub struct Requests {
    close: AtomicBool,
    close_unannounced: AtomicBool,
    flush_through: AtomicU64,
    checkpoint: AtomicU64,
    checkpoint_again: AtomicBool,
    rotate: AtomicU64,
    queue: Sender<QueueItem>,
}

impl Requests {
    /// No request yet; a queue for this many records in flight, and its receiving end.
    pub fn new(max_in_flight_entries: usize) -> (Self, QueueReceiver) {
        let (queue, receiver) = bounded(max_in_flight_entries + NUDGE_SLOTS);
        let requests = Requests {
            close: AtomicBool::new(false),
            close_unannounced: AtomicBool::new(false),
            flush_through: AtomicU64::new(0),
            checkpoint: AtomicU64::new(0),
            checkpoint_again: AtomicBool::new(false),
            rotate: AtomicU64::new(0),
            queue,
        };
        (requests, receiver)
    }

    /// Puts an item into the queue; gives it back if the queue is full, which a permit rules out.
    pub fn enqueue(&self, item: QueueItem) -> Result<(), QueueItem> {
        self.queue.try_send(item).map_err(|error| error.into_inner())
    }

    /// Flush at once what is pending up to this LSN.
    pub fn flush(&self, through: Lsn) {
        self.flush_through.fetch_max(through.get(), Ordering::AcqRel);
        self.nudge();
    }

    /// Up to where a flush was requested.
    pub fn flush_through(&self) -> Lsn {
        Lsn::new(self.flush_through.load(Ordering::Acquire))
    }

    /// Release everything up to this LSN.
    pub fn checkpoint(&self, through: Lsn) {
        self.checkpoint.fetch_max(through.get(), Ordering::AcqRel);
        self.nudge();
    }

    /// Up to where a checkpoint was requested.
    pub fn checkpoint_through(&self) -> Lsn {
        Lsn::new(self.checkpoint.load(Ordering::Acquire))
    }

    /// Carry the last checkpoint out again: what it asked for is not held any more.
    pub fn checkpoint_again(&self) {
        self.checkpoint_again.store(true, Ordering::Release);
        self.nudge();
    }

    /// Whether the last checkpoint is to be carried out again.
    pub fn is_checkpoint_again(&self) -> bool {
        self.checkpoint_again.load(Ordering::Acquire)
    }

    /// A checkpoint is about to be carried out, with all that is not held by now.
    pub fn take_checkpoint_again(&self) {
        self.checkpoint_again.store(false, Ordering::Release);
    }

    /// Complete the segment with this sequence number, if it is the one that is being written.
    pub fn rotate(&self, sequence: u64) {
        self.rotate.fetch_max(sequence, Ordering::AcqRel);
        self.nudge();
    }

    /// The segment that is to be completed; zero if none is.
    pub fn rotation(&self) -> u64 {
        self.rotate.load(Ordering::Acquire)
    }

    /// Takes that request back, since it can not be met now.
    pub fn take_rotation(&self) -> u64 {
        self.rotate.swap(0, Ordering::AcqRel)
    }

    /// Flush everything, write the close frame, and end.
    pub fn close(&self) {
        self.close.store(true, Ordering::Release);
        self.nudge();
    }

    /// The close does not come by way of the Appender, which may be assigning LSNs meanwhile: no close frame, and
    /// the next life begins beyond all of them, as after a crash (promise P9). Comes before
    /// [`close`](Self::close).
    pub fn forgo_close_frame(&self) {
        self.close_unannounced.store(true, Ordering::Release);
    }

    /// Whether the end was requested.
    pub fn wants_close(&self) -> bool {
        self.close.load(Ordering::Acquire)
    }

    /// Whether the log may end with a close frame.
    pub fn may_write_close_frame(&self) -> bool {
        !self.close_unannounced.load(Ordering::Acquire)
    }

    /// The flush thread is about to look at the requests, after it has taken items out of the queue: it sees those of
    /// everyone who counted one of these items and therefore sent no nudge.
    pub fn look(&self) -> &Self {
        fence(Ordering::SeqCst);
        self
    }

    /// Makes the flush thread look at the requests. It does so after every item that it takes out of the
    /// queue, so one that has many to take will look anyway.
    pub fn nudge(&self) {
        // The thread that takes an item that is counted here sees the request: see `look`.
        fence(Ordering::SeqCst);
        if self.queue.len() < AWAKE {
            let _ = self.queue.try_send(QueueItem::Nudge);
        }
    }
}
