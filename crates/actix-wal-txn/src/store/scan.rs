//! Reading many keys, a piece at a time.

use std::ops::{Bound, RangeBounds};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::stamp::Stamp;

/// Keys from one bound to another, in the order of their bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRange {
    /// Where it begins.
    pub from: Bound<Bytes>,
    /// Where it ends.
    pub to: Bound<Bytes>,
}

impl KeyRange {
    /// All keys.
    pub fn all() -> Self {
        KeyRange { from: Bound::Unbounded, to: Bound::Unbounded }
    }

    /// The keys that begin with these bytes.
    pub fn prefix(prefix: impl Into<Bytes>) -> Self {
        let prefix = prefix.into();
        let to = successor(&prefix).map_or(Bound::Unbounded, Bound::Excluded);
        KeyRange { from: Bound::Included(prefix), to }
    }

    /// Whether the key lies in it.
    pub fn contains(&self, key: &[u8]) -> bool {
        RangeBounds::<[u8]>::contains(&self.bounds(), key)
    }

    /// Whether no key can lie in it. A map would panic at some of these.
    pub fn is_empty(&self) -> bool {
        match (&self.from, &self.to) {
            (Bound::Unbounded, _) => {
                matches!(&self.to, Bound::Excluded(to) if to.is_empty())
            }
            (_, Bound::Unbounded) => false,
            (Bound::Included(from), Bound::Included(to)) => from > to,
            (Bound::Included(from), Bound::Excluded(to))
            | (Bound::Excluded(from), Bound::Included(to) | Bound::Excluded(to)) => from >= to,
        }
    }

    /// As the standard library takes it.
    pub(crate) fn bounds(&self) -> (Bound<&[u8]>, Bound<&[u8]>) {
        (self.from.as_ref().map(Bytes::as_ref), self.to.as_ref().map(Bytes::as_ref))
    }

    /// It, up to this key.
    pub fn through(&self, key: Bytes) -> Self {
        KeyRange { from: self.from.clone(), to: Bound::Included(key) }
    }

    /// What is left of it behind this key.
    pub fn behind(&self, key: Bytes) -> Self {
        KeyRange { from: Bound::Excluded(key), to: self.to.clone() }
    }
}

/// The first key that does not begin with these bytes and is above those that do.
fn successor(prefix: &[u8]) -> Option<Bytes> {
    let last = prefix.iter().rposition(|byte| *byte < u8::MAX)?;
    let mut next = prefix[..=last].to_vec();
    next[last] += 1;
    Some(next.into())
}

/// How much one piece of a scan may look at, so that the actor which owns the store is free again soon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Keys, deleted ones included.
    pub keys: usize,
    /// Bytes of keys and values. One row is given even if it is longer.
    pub bytes: usize,
}

impl Default for Budget {
    /// 1,024 keys or 256 KiB.
    fn default() -> Self {
        Budget { keys: 1024, bytes: 256 << 10 }
    }
}

/// A key with its value, and when that was committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The key.
    pub key: Bytes,
    /// Its value.
    pub value: Bytes,
    /// When the value was committed.
    pub stamp: Stamp,
}

/// A piece of a scan, in the order of keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Piece {
    /// The rows, without those that are deleted.
    pub rows: Vec<Row>,
    /// The latest change of any key that was looked at, deletions included, whether the view shows it or not. A reader
    /// of the newest state must not tell what it has read before that one is durable.
    pub changed: Option<Stamp>,
    /// Where the next piece begins: behind this key. `None`: this was the last one.
    pub next: Option<Bytes>,
    /// How many keys were looked at.
    pub looked: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(from: Bound<&'static str>, to: Bound<&'static str>) -> KeyRange {
        let bound = |bound: Bound<&'static str>| bound.map(Bytes::from);
        KeyRange { from: bound(from), to: bound(to) }
    }

    #[test]
    fn a_prefix_holds_the_keys_that_begin_with_it_and_no_others() {
        for (prefix, inside, outside) in [
            (
                &b"ab"[..],
                &[&b"ab"[..], b"ab\0", b"ab\xff\xff"][..],
                &[&b"aa\xff"[..], b"ac", b"a"][..],
            ),
            (b"a\xff", &[b"a\xff", b"a\xff\xff"], &[b"b", b"a\xfe"]),
            (b"\xff\xff", &[b"\xff\xff", b"\xff\xff\0"], &[b"\xff\xfe"]),
            (b"", &[b"", b"\xff"], &[]),
        ] {
            let range = KeyRange::prefix(prefix);
            assert!(inside.iter().all(|key| range.contains(key)), "{range:?}");
            assert!(!outside.iter().any(|key| range.contains(key)), "{range:?}");
        }
    }

    #[test]
    fn an_empty_range_is_known_whatever_its_bounds_are() {
        use Bound::{Excluded, Included, Unbounded};
        for (from, to, is_empty) in [
            (Unbounded, Unbounded, false),
            (Unbounded, Excluded(""), true),
            (Unbounded, Included(""), false),
            (Included("b"), Included("b"), false),
            (Included("b"), Excluded("b"), true),
            (Excluded("b"), Included("b"), true),
            (Excluded("b"), Excluded("b"), true),
            (Included("c"), Included("b"), true),
            (Excluded("b"), Unbounded, false),
        ] {
            let range = range(from, to);
            assert_eq!(range.is_empty(), is_empty, "{range:?}");
        }
    }
}
