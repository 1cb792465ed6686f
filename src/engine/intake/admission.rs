//! Admission: the bound on everything that is in flight (promise P16).
//!
//! An append needs a [`Permit`] before it may become a message. actix bounds no mailbox (`do_send`
//! ignores the capacity, and so in effect does `send`), so this is what bounds memory: mailboxes, the
//! queue, and the batch in hand, all at once. A permit is given back with the outcome of its append.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use tokio::sync::{Notify, Semaphore, TryAcquireError};

/// The bound on records and bytes in flight. Waiting is fair: first come, first served.
#[derive(Debug)]
pub struct Admission {
    entries: Semaphore,
    bytes: Semaphore,
    max_entries: usize,
    max_bytes: usize,
    waiting: AtomicUsize,
    hopeless: Notify,
}

/// The right to have this many records and bytes in flight. Dropping it gives the right back.
#[derive(Debug)]
pub struct Permit {
    admission: Arc<Admission>,
    entries: usize,
    bytes: usize,
}

/// Why there is no permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// As much is in flight as is allowed.
    Overloaded,
    /// More than could ever be in flight.
    TooManyEntries,
    /// More than could ever be in flight.
    TooManyBytes,
    /// The log is closed.
    Closed,
}

impl Admission {
    /// A bound of this many records and bytes.
    #[doc(hidden)]
    pub fn new(max_entries: usize, max_bytes: usize) -> Arc<Self> {
        Arc::new(Admission {
            entries: Semaphore::new(max_entries),
            bytes: Semaphore::new(max_bytes),
            max_entries,
            max_bytes,
            waiting: AtomicUsize::new(0),
            hopeless: Notify::new(),
        })
    }

    /// A permit now, or the reason why not.
    ///
    /// # Errors
    /// `Overloaded`, larger than any permit, or closed.
    pub fn try_acquire(self: &Arc<Self>, entries: usize, bytes: usize) -> Result<Permit, Refusal> {
        let (want_entries, want_bytes) = self.check(entries, bytes)?;
        let entry_permit = self.entries.try_acquire_many(want_entries).map_err(refusal)?;
        let byte_permit = self.bytes.try_acquire_many(want_bytes).map_err(refusal)?;
        entry_permit.forget();
        byte_permit.forget();
        Ok(self.permit(entries, bytes))
    }

    /// A permit as soon as there is room. A dropped future leaves nothing behind.
    ///
    /// # Errors
    /// Larger than any permit, closed, or `Overloaded` if the log gives up meanwhile.
    pub async fn acquire(
        self: &Arc<Self>,
        entries: usize,
        bytes: usize,
    ) -> Result<Permit, Refusal> {
        let _waiting = Waiting::new(&self.waiting);
        let mut hopeless = pin!(self.hopeless.notified());
        hopeless.as_mut().enable();
        let mut room = pin!(self.wait_for_room(entries, bytes));
        poll_fn(|context| match room.as_mut().poll(context) {
            Poll::Pending => hopeless.as_mut().poll(context).map(|()| Err(Refusal::Overloaded)),
            ready => ready,
        })
        .await
    }

    async fn wait_for_room(
        self: &Arc<Self>,
        entries: usize,
        bytes: usize,
    ) -> Result<Permit, Refusal> {
        let (want_entries, want_bytes) = self.check(entries, bytes)?;
        let closed = |_| Refusal::Closed;
        let entry_permit = self.entries.acquire_many(want_entries).await.map_err(closed)?;
        let byte_permit = self.bytes.acquire_many(want_bytes).await.map_err(closed)?;
        entry_permit.forget();
        byte_permit.forget();
        Ok(self.permit(entries, bytes))
    }

    fn permit(self: &Arc<Self>, entries: usize, bytes: usize) -> Permit {
        Permit { admission: Arc::clone(self), entries, bytes }
    }

    fn check(&self, entries: usize, bytes: usize) -> Result<(u32, u32), Refusal> {
        if entries > self.max_entries {
            return Err(Refusal::TooManyEntries);
        }
        if bytes > self.max_bytes {
            return Err(Refusal::TooManyBytes);
        }
        let as_u32 = |number: usize, refusal| u32::try_from(number).map_err(|_| refusal);
        Ok((as_u32(entries, Refusal::TooManyEntries)?, as_u32(bytes, Refusal::TooManyBytes)?))
    }

    /// Gives back what permits that were [spent](Permit::spend) held.
    pub(crate) fn release(&self, entries: usize, bytes: usize) {
        self.entries.add_permits(entries);
        self.bytes.add_permits(bytes);
    }

    /// Nothing in flight gets anywhere, and nobody should wait on: those who wait now are refused.
    pub(crate) fn refuse_waiting(&self) {
        self.hopeless.notify_waiters();
    }

    /// Gives no more permits. All waiting and all later requests are refused.
    pub(crate) fn close(&self) {
        self.entries.close();
        self.bytes.close();
    }

    /// Records in flight.
    pub fn entries_in_flight(&self) -> usize {
        self.max_entries.saturating_sub(self.entries.available_permits())
    }

    /// Bytes in flight.
    pub fn bytes_in_flight(&self) -> usize {
        self.max_bytes.saturating_sub(self.bytes.available_permits())
    }

    /// How many appends wait for a permit.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// The most records that may be in flight.
    pub fn max_entries(&self) -> usize {
        self.max_entries
    }

    /// The most bytes that may be in flight; also the largest record or group.
    pub fn max_bytes(&self) -> usize {
        self.max_bytes
    }
}

fn refusal(error: TryAcquireError) -> Refusal {
    match error {
        TryAcquireError::Closed => Refusal::Closed,
        TryAcquireError::NoPermits => Refusal::Overloaded,
    }
}

/// Counts a waiter for as long as it waits, also when its future is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Waiting(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Permit {
    /// The records it is for.
    pub fn entries(&self) -> usize {
        self.entries
    }

    /// The bytes it is for.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether it was given out by this log, and is for at least this much.
    pub(crate) fn covers(&self, admission: &Arc<Admission>, entries: usize, bytes: usize) -> bool {
        let same_log = Arc::ptr_eq(&self.admission, admission);
        same_log && self.entries == entries && self.bytes >= bytes
    }

    /// Gives back what is more than this many bytes: with the outcome, only so much will be released.
    pub(crate) fn shrink_to(&mut self, bytes: usize) {
        self.admission.release(0, self.bytes.saturating_sub(bytes));
        self.bytes = self.bytes.min(bytes);
    }

    /// Passes the permit to the append that is now in flight. The flush loop gives it back with the outcome, by
    /// [`Admission::release`], once per batch and not once per record.
    pub(crate) fn spend(mut self) {
        self.entries = 0;
        self.bytes = 0;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.entries > 0 || self.bytes > 0 {
            self.admission.release(self.entries, self.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p16_past_the_bound_the_answer_is_overloaded_and_a_dropped_permit_makes_room() {
        let admission = Admission::new(2, 100);
        let first = admission.try_acquire(1, 60).expect("room");
        assert_eq!(admission.try_acquire(1, 60).err(), Some(Refusal::Overloaded));
        assert_eq!(admission.entries_in_flight(), 1, "a refusal must leave nothing behind");
        drop(first);
        let second = admission.try_acquire(2, 100).expect("room again");
        assert_eq!(admission.try_acquire(1, 0).err(), Some(Refusal::Overloaded));
        second.spend();
        assert_eq!((admission.entries_in_flight(), admission.bytes_in_flight()), (2, 100));
        admission.release(2, 100);
        assert_eq!((admission.entries_in_flight(), admission.bytes_in_flight()), (0, 0));
    }

    #[test]
    fn p16_a_permit_gives_back_all_that_it_is_for_and_nothing_to_another_log() {
        let admission = Admission::new(2, 100);
        drop(admission.try_acquire(0, 60).expect("room"));
        assert_eq!(admission.bytes_in_flight(), 0, "bytes without a record");
        let mut permit = admission.try_acquire(1, 60).expect("room");
        assert!(permit.covers(&admission, 1, 60) && permit.covers(&admission, 1, 20));
        assert!(!permit.covers(&admission, 2, 20) && !permit.covers(&admission, 1, 61));
        assert!(!permit.covers(&Admission::new(2, 100), 1, 60), "it is of another log");
        permit.shrink_to(20);
        assert_eq!((permit.bytes(), admission.bytes_in_flight()), (20, 20));
    }

    #[test]
    fn what_can_never_fit_is_told_from_what_does_not_fit_now() {
        let admission = Admission::new(2, 100);
        assert_eq!(admission.try_acquire(3, 1).err(), Some(Refusal::TooManyEntries));
        assert_eq!(admission.try_acquire(1, 101).err(), Some(Refusal::TooManyBytes));
        admission.close();
        assert_eq!(admission.try_acquire(1, 1).err(), Some(Refusal::Closed));
    }
}
