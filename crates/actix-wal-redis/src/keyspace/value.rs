//! A value, as it is stored.

use bytes::{BufMut, Bytes, BytesMut};

use crate::resp::number;

/// The bytes of a key, with what is known of them. Cloning costs no copy.
///
/// Stored as one byte of flags, the time at which it expires if it does (eight bytes, big-endian, milliseconds since 1970),
/// and the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    stored: Bytes,
}

/// How Redis would hold a value, which it tells its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// A whole number.
    Int,
    /// A short string that nobody has changed in its place.
    Embstr,
    /// Any other string.
    Raw,
}

const EXPIRES: u8 = 1;
const RAW: u8 = 2;
/// A string that is longer than this is raw (`OBJ_ENCODING_EMBSTR_SIZE_LIMIT`).
const EMBSTR: usize = 44;

impl Value {
    /// A value that does not expire.
    pub fn new(bytes: &[u8]) -> Self {
        Value::with(bytes, None, false)
    }

    /// One that has been changed in its place, as `APPEND` does.
    pub fn raw(bytes: &[u8], expires: Option<u64>) -> Self {
        Value::with(bytes, expires, true)
    }

    /// A value that expires at this time, in milliseconds since 1970.
    pub fn expiring(bytes: &[u8], expires: Option<u64>) -> Self {
        Value::with(bytes, expires, false)
    }

    fn with(bytes: &[u8], expires: Option<u64>, is_raw: bool) -> Self {
        let mut stored =
            BytesMut::with_capacity(1 + 8 * usize::from(expires.is_some()) + bytes.len());
        let raw = if is_raw { RAW } else { 0 };
        stored.put_u8(raw | if expires.is_some() { EXPIRES } else { 0 });
        expires.into_iter().for_each(|at| stored.put_u64(at));
        stored.put_slice(bytes);
        Value { stored: stored.freeze() }
    }

    /// That of a stored value. `None`: it is none of ours.
    pub fn from_stored(stored: Bytes) -> Option<Self> {
        let flags = *stored.first()?;
        let is_whole = flags & EXPIRES == 0 || stored.len() >= 9;
        (flags & !(EXPIRES | RAW) == 0 && is_whole).then_some(Value { stored })
    }

    /// As it is stored.
    pub fn into_stored(self) -> Bytes {
        self.stored
    }

    /// When it expires, in milliseconds since 1970.
    pub fn expires(&self) -> Option<u64> {
        let time = self.stored.get(1..9).filter(|_| self.stored[0] & EXPIRES != 0)?;
        time.try_into().ok().map(u64::from_be_bytes)
    }

    /// The same bytes with another time.
    pub fn expiring_at(&self, expires: Option<u64>) -> Self {
        Value::with(self.as_slice(), expires, self.stored[0] & RAW != 0)
    }

    fn at(&self) -> usize {
        if self.stored[0] & EXPIRES != 0 { 9 } else { 1 }
    }

    /// Its bytes.
    pub fn as_slice(&self) -> &[u8] {
        &self.stored[self.at()..]
    }

    /// Its bytes, without a copy.
    pub fn bytes(&self) -> Bytes {
        self.stored.slice(self.at()..)
    }

    /// How Redis would hold it.
    pub fn encoding(&self) -> Encoding {
        let bytes = self.as_slice();
        if self.stored[0] & RAW != 0 {
            Encoding::Raw
        } else if bytes.len() <= 20 && number(bytes).is_some() {
            Encoding::Int
        } else if bytes.len() <= EMBSTR {
            Encoding::Embstr
        } else {
            Encoding::Raw
        }
    }
}
