//! A key as the index keeps it.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;

use bytes::Bytes;

/// So many bytes lie in the index itself. It is what fits into the size of a [`Bytes`], beside the length.
const SHORT: usize = 23;

/// A key whose bytes, if they are few, lie beside those of its neighbours: to find a key among thousands costs the loads of a
/// few cache lines, and not one for each key that it is compared with. Of the time of a transfer between two of 100,000 accounts,
/// comparisons took 11 % before, and take 5 % (`perf` of `benches/transfers.rs` with 256 clients).
#[derive(Clone)]
pub(super) enum IndexKey {
    Short { length: u8, bytes: [u8; SHORT] },
    Long(Bytes),
}

impl IndexKey {
    fn bytes(&self) -> &[u8] {
        match self {
            IndexKey::Short { length, bytes } => &bytes[..usize::from(*length)],
            IndexKey::Long(bytes) => bytes,
        }
    }
}

impl From<&Bytes> for IndexKey {
    fn from(key: &Bytes) -> Self {
        let mut bytes = [0; SHORT];
        match (bytes.get_mut(..key.len()), u8::try_from(key.len())) {
            (Some(short), Ok(length)) => {
                short.copy_from_slice(key);
                IndexKey::Short { length, bytes }
            }
            _ => IndexKey::Long(key.clone()),
        }
    }
}

/// What is looked up is compared in the same way.
impl Borrow<[u8]> for IndexKey {
    fn borrow(&self) -> &[u8] {
        self.bytes()
    }
}

impl Ord for IndexKey {
    fn cmp(&self, other: &Self) -> Ordering {
        self.bytes().cmp(other.bytes())
    }
}

impl PartialOrd for IndexKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for IndexKey {
    fn eq(&self, other: &Self) -> bool {
        self.bytes() == other.bytes()
    }
}

impl Eq for IndexKey {}

impl fmt::Debug for IndexKey {
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
        for key in &keys {
            let index = IndexKey::from(&Bytes::from(key.clone()));
            assert_eq!(index.bytes(), &key[..]);
            for other in &keys {
                let order = index.cmp(&IndexKey::from(&Bytes::from(other.clone())));
                assert_eq!(order, key.cmp(other), "{key:?} and {other:?}");
            }
        }
        assert_eq!(size_of::<IndexKey>(), size_of::<Bytes>());
    }
}
