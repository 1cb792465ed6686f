//! The primitives that hand-made protocols between threads are built from. The models of these protocols replace
//! them by loom's, which try every interleaving: `cargo xtask loom`.

#[cfg(not(all(test, wal_loom)))]
pub(crate) use std::sync::{
    Mutex, MutexGuard, RwLock,
    atomic::{AtomicBool, AtomicU64, Ordering, fence},
};

#[cfg(not(all(test, wal_loom)))]
pub(crate) mod channel {
    pub(crate) use crossbeam_channel::{Receiver, Sender, bounded};
}

#[cfg(all(test, wal_loom))]
pub(crate) use loom::sync::{
    Mutex, MutexGuard, RwLock,
    atomic::{AtomicBool, AtomicU64, Ordering, fence},
};

/// A bounded channel for the models. Its length is a number that orders nothing, as weak as a queue may be.
#[cfg(all(test, wal_loom))]
pub(crate) mod channel {
    use std::collections::VecDeque;
    use std::sync::Arc;
    use std::time::Duration;

    use crossbeam_channel::{RecvError, RecvTimeoutError, TrySendError};
    use loom::sync::atomic::{AtomicUsize, Ordering};
    use loom::sync::{Condvar, Mutex};

    #[derive(Debug)]
    struct Inner<T> {
        items: Mutex<VecDeque<T>>,
        arrived: Condvar,
        len: AtomicUsize,
        capacity: usize,
    }

    #[derive(Debug)]
    pub(crate) struct Sender<T>(Arc<Inner<T>>);

    #[derive(Debug)]
    pub(crate) struct Receiver<T>(Arc<Inner<T>>);

    impl<T> Clone for Receiver<T> {
        fn clone(&self) -> Self {
            Receiver(Arc::clone(&self.0))
        }
    }

    pub(crate) fn bounded<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
        let inner = Arc::new(Inner {
            items: Mutex::new(VecDeque::new()),
            arrived: Condvar::new(),
            len: AtomicUsize::new(0),
            capacity,
        });
        (Sender(Arc::clone(&inner)), Receiver(inner))
    }

    impl<T> Sender<T> {
        pub(crate) fn try_send(&self, item: T) -> Result<(), TrySendError<T>> {
            let mut items = self.0.items.lock().unwrap();
            if items.len() == self.0.capacity {
                return Err(TrySendError::Full(item));
            }
            items.push_back(item);
            self.0.len.fetch_add(1, Ordering::Relaxed);
            self.0.arrived.notify_one();
            Ok(())
        }

        pub(crate) fn len(&self) -> usize {
            self.0.len.load(Ordering::Relaxed)
        }
    }

    impl<T> Receiver<T> {
        pub(crate) fn recv(&self) -> Result<T, RecvError> {
            let mut items = self.0.items.lock().unwrap();
            loop {
                if let Some(item) = items.pop_front() {
                    self.0.len.fetch_sub(1, Ordering::Relaxed);
                    return Ok(item);
                }
                items = self.0.arrived.wait(items).unwrap();
            }
        }

        pub(crate) fn recv_timeout(&self, _: Duration) -> Result<T, RecvTimeoutError> {
            self.recv().map_err(RecvTimeoutError::from)
        }

        pub(crate) fn try_iter(&self) -> impl Iterator<Item = T> {
            std::iter::from_fn(|| {
                let item = self.0.items.lock().unwrap().pop_front()?;
                self.0.len.fetch_sub(1, Ordering::Relaxed);
                Some(item)
            })
        }

        pub(crate) fn is_empty(&self) -> bool {
            self.0.len.load(Ordering::Relaxed) == 0
        }
    }
}
