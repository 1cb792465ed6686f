//! A request that has come whole.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use smallvec::SmallVec;

/// Where the parts of a request lie in its bytes. Most requests have no more than four.
pub(super) type Parts = SmallVec<[Range<u32>; 4]>;

/// A request: the name of a command and its arguments. Its bytes lie in one piece of memory.
#[derive(Clone, Debug, Default)]
pub struct Request {
    bytes: Bytes,
    /// Where the name and the arguments lie. There is at least the name.
    parts: Parts,
}

impl Request {
    pub(super) fn new(bytes: Bytes, parts: Parts) -> Self {
        Request { bytes, parts }
    }

    /// One with these parts, for requests that no client has sent as they stand. They are shorter than 4 GiB.
    pub fn of<P: AsRef<[u8]>>(all: impl IntoIterator<Item = P>) -> Self {
        let (mut bytes, mut parts) = (BytesMut::new(), Parts::new());
        for part in all {
            let start = bytes.len() as u32;
            bytes.extend_from_slice(part.as_ref());
            parts.push(start..bytes.len() as u32);
        }
        Request { bytes: bytes.freeze(), parts }
    }

    /// How many parts it has: the name and the arguments.
    pub fn len(&self) -> usize {
        self.parts.len()
    }

    /// Never: a request has a name, which may be empty.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// The name as the client wrote it, then the arguments, from 1 on. One that is not there is empty: the number of
    /// arguments is checked before.
    pub fn part(&self, at: usize) -> &[u8] {
        self.parts.get(at).map_or(&[], |part| &self.bytes[part.start as usize..part.end as usize])
    }

    /// The arguments from this one on, without the name if `from` is 1.
    pub fn parts_from(&self, from: usize) -> impl ExactSizeIterator<Item = &[u8]> + Clone {
        (from.min(self.len())..self.len()).map(|at| self.part(at))
    }

    /// The same request in memory of its own.
    ///
    /// One that was just read lies in what was read together with it, and keeps all of that in memory. A request that
    /// waits, for `EXEC` for instance, must not: a client could fill the memory with a few small ones.
    #[must_use]
    pub fn detached(&self) -> Self {
        Request { bytes: Bytes::copy_from_slice(&self.bytes), parts: self.parts.clone() }
    }

    /// The bytes of memory that it takes when it is [detached](Self::detached), beside those of the value itself.
    pub fn size(&self) -> usize {
        let spilled = if self.parts.spilled() { self.parts.capacity() } else { 0 };
        self.bytes.len() + spilled * size_of::<Range<u32>>()
    }
}

/// The same parts, wherever they lie.
impl PartialEq for Request {
    fn eq(&self, other: &Self) -> bool {
        self.parts_from(0).eq(other.parts_from(0))
    }
}

impl Eq for Request {}
