//! A key as the store keeps it.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;

use bytes::Bytes;

/// So many bytes lie in the key itself. It is what fits into the size of a [`Bytes`], beside the length.
const SHORT: usize = 23;

/// A key whose bytes, if they are few, lie beside those of its neighbours: to find a key among thousands costs the loads of a
/// few cache lines, and not one for each key that it is compared with.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Key {
    Short { length: u8, bytes: [u8; SHORT] },
    Long(Bytes),
}

impl Key {
    /// The key of these bytes. Long ones share their memory.
    pub(super) fn new(bytes: &Bytes) -> Self {
        Key::short(bytes).unwrap_or_else(|| Key::Long(bytes.clone()))
    }

    /// The same with memory of its own.
    pub(super) fn copied(bytes: &[u8]) -> Self {
        Key::short(bytes).unwrap_or_else(|| Key::Long(Bytes::copy_from_slice(bytes)))
    }

    fn short(bytes: &[u8]) -> Option<Self> {
        let mut short = [0; SHORT];
        short.get_mut(..bytes.len())?.copy_from_slice(bytes);
        let length = u8::try_from(bytes.len()).ok()?;
        Some(Key::Short { length, bytes: short })
    }

    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Key::Short { length, bytes } => &bytes[..usize::from(*length)],
            Key::Long(bytes) => bytes,
        }
    }

    pub(super) fn to_bytes(&self) -> Bytes {
        match self {
            Key::Short { .. } => Bytes::copy_from_slice(self.bytes()),
            Key::Long(bytes) => bytes.clone(),
        }
    }

    /// What a key of so many bytes takes beside its own size.
    pub(super) fn allocated(length: usize) -> usize {
        /// What an allocation costs, and what several share it by.
        const ALLOCATION: usize = 48;
        if length > SHORT { length + ALLOCATION } else { 0 }
    }
}

/// What is looked up is compared in the same way.
impl Borrow<[u8]> for Key {
    fn borrow(&self) -> &[u8] {
        self.bytes()
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        self.bytes().cmp(other.bytes())
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.bytes().escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_any_length_has_the_bytes_and_the_order_of_its_slice() {
        let mut keys: Vec<Vec<u8>> = (0..=40).map(|length| vec![b'k'; length]).collect();
        keys.extend((0..=40).map(|length| [vec![b'k'; length], vec![0]].concat()));
        keys.push(vec![255; 24]);
        for bytes in keys.iter().map(|key| Bytes::from(key.clone())) {
            let key = Key::new(&bytes);
            assert_eq!((key.bytes(), key.to_bytes()), (&bytes[..], bytes.clone()));
            for other in keys.iter().map(|key| Bytes::from(key.clone())) {
                assert_eq!(
                    key.cmp(&Key::new(&other)),
                    bytes.cmp(&other),
                    "{bytes:?} and {other:?}"
                );
            }
        }
        assert_eq!(size_of::<Key>(), size_of::<Bytes>());
    }
}
