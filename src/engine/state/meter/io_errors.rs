//! I/O errors by operation and error number, counted without a lock.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{IoFault, IoOp};

/// So many kinds are told apart; more than that is a defect, and counts as one kind.
const KINDS: usize = 48;

/// Every operation, with the value of its label.
const OPS: [(IoOp, &str); 13] = [
    (IoOp::OpenDirectory, "open_directory"),
    (IoOp::List, "list"),
    (IoOp::Create, "create"),
    (IoOp::Open, "open"),
    (IoOp::Read, "read"),
    (IoOp::Write, "write"),
    (IoOp::Sync, "sync"),
    (IoOp::SyncDirectory, "sync_directory"),
    (IoOp::Rename, "rename"),
    (IoOp::Remove, "remove"),
    (IoOp::Truncate, "truncate"),
    (IoOp::Prepare, "prepare"),
    (IoOp::StartThread, "start_thread"),
];

/// How many I/O errors there were of each operation and error number.
#[derive(Debug)]
pub struct IoErrors {
    kinds: Box<[Kind]>,
}

#[derive(Debug, Default)]
struct Kind {
    /// The operation and the error number, with a bit that is always set; zero for a place that is free.
    key: AtomicU64,
    count: AtomicU64,
}

impl Default for IoErrors {
    fn default() -> Self {
        IoErrors { kinds: (0..KINDS).map(|_| Kind::default()).collect() }
    }
}

fn key(fault: &IoFault) -> u64 {
    let op = OPS.iter().position(|(op, _)| *op == fault.op).unwrap_or(OPS.len());
    let errno = fault.errno().unwrap_or(0) as u32;
    1 << 63 | (op as u64) << 32 | u64::from(errno)
}

/// The operation, and the error number; zero stands for an error without one.
fn parts(key: u64) -> (&'static str, i32) {
    let op = (key >> 32 & 0xff) as usize;
    (OPS.get(op).map_or("other", |(_, name)| name), key as u32 as i32)
}

impl IoErrors {
    /// Counts an error.
    pub fn count(&self, fault: impl FnOnce() -> IoFault) {
        let key = key(&fault());
        let (last, others) = (KINDS - 1, 1 << 63 | 0xff << 32);
        for (at, kind) in self.kinds.iter().enumerate() {
            let key = if at == last { others } else { key };
            let taken = kind.key.compare_exchange(0, key, Ordering::AcqRel, Ordering::Acquire);
            if taken.is_ok() || taken == Err(key) {
                kind.count.fetch_add(1, Ordering::Relaxed);
                return;
            }
        }
    }

    /// Each kind of which there was an error: operation, error number, count.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, i32, u64)> {
        let taken = self.kinds.iter().map_while(|kind| {
            let key = kind.key.load(Ordering::Acquire);
            (key != 0).then(|| (parts(key), kind.count.load(Ordering::Relaxed)))
        });
        taken.map(|((op, errno), count)| (op, errno, count))
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn fault(op: IoOp, errno: i32) -> IoFault {
        IoFault::new(op, "a", None, io::Error::from_raw_os_error(errno))
    }

    #[test]
    fn errors_are_counted_by_operation_and_number_and_too_many_kinds_as_one() {
        let errors = IoErrors::default();
        errors.count(|| fault(IoOp::Sync, 5));
        errors.count(|| fault(IoOp::Write, 28));
        errors.count(|| fault(IoOp::Sync, 5));
        errors.count(|| IoFault::new(IoOp::Read, "a", None, io::Error::other("no number")));
        let all: Vec<_> = errors.all().collect();
        assert_eq!(all, [("sync", 5, 2), ("write", 28, 1), ("read", 0, 1)]);
        (100..200).for_each(|errno| errors.count(|| fault(IoOp::List, errno)));
        assert_eq!(errors.all().count(), KINDS);
        assert_eq!(errors.all().map(|(.., count)| count).sum::<u64>(), 104);
        assert_eq!(errors.all().last(), Some(("other", 0, 104 - (KINDS as u64 - 1) - 1)));
    }
}
