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

/// How Redis would hold a value. It tells its clients, so a value has to remember what its bytes do not show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// A whole number.
    Int,
    /// A short string that no command has changed in its place.
    Embstr,
    /// Any other string.
    Raw,
}

/// Behind the flags stands the time at which the value expires.
const EXPIRES: u8 = 1;
/// A command has changed the string in its place.
const RAW: u8 = 2;
/// A string, even if it reads as a whole number.
const TEXT: u8 = 4;
/// A longer string is raw (`OBJ_ENCODING_EMBSTR_SIZE_LIMIT`).
const EMBSTR: usize = 44;
/// The digits of the longest whole number, with its sign.
const DIGITS: usize = 20;

impl Value {
    /// A value that does not expire.
    pub fn new(bytes: &[u8]) -> Self {
        Value::expiring(bytes, None)
    }

    /// A value that expires at this time, in milliseconds since 1970.
    pub fn expiring(bytes: &[u8], expires: Option<u64>) -> Self {
        Value::build(0, expires, &[bytes])
    }

    /// The bytes of several pieces, as a string that was changed in its place. `APPEND` makes such ones.
    pub fn raw(pieces: &[&[u8]], expires: Option<u64>) -> Self {
        Value::build(RAW, expires, pieces)
    }

    /// A string, even if it reads as a whole number. `INCRBYFLOAT` makes such ones.
    pub fn text(bytes: &[u8], expires: Option<u64>) -> Self {
        Value::build(TEXT, expires, &[bytes])
    }

    /// Zeros, this long, over which these pieces are laid in their order, each from its place on. What does not fit is cut off.
    pub fn laid_out(length: usize, pieces: &[(usize, &[u8])], expires: Option<u64>) -> Self {
        let mut stored = Value::head(RAW, expires, length);
        let at = stored.len();
        stored.resize(at + length, 0);
        for (from, piece) in pieces {
            let place = stored.get_mut(at + from..).unwrap_or_default();
            place.iter_mut().zip(*piece).for_each(|(to, from)| *to = *from);
        }
        Value { stored: stored.freeze() }
    }

    fn build(flags: u8, expires: Option<u64>, pieces: &[&[u8]]) -> Self {
        let length = pieces.iter().map(|piece| piece.len()).sum();
        let mut stored = Value::head(flags, expires, length);
        pieces.iter().for_each(|piece| stored.put_slice(piece));
        Value { stored: stored.freeze() }
    }

    /// What stands before the bytes, with room for so many of them. The room is exact: otherwise `freeze` allocates.
    fn head(flags: u8, expires: Option<u64>, length: usize) -> BytesMut {
        match expires {
            None => {
                let mut stored = BytesMut::with_capacity(1 + length);
                stored.put_u8(flags);
                stored
            }
            Some(at) => {
                let mut stored = BytesMut::with_capacity(9 + length);
                stored.put_u8(flags | EXPIRES);
                stored.put_u64(at);
                stored
            }
        }
    }

    /// That of a stored value. `None`: it is none of ours.
    pub fn from_stored(stored: Bytes) -> Option<Self> {
        let flags = *stored.first()?;
        let is_whole = flags & EXPIRES == 0 || stored.len() >= 9;
        (flags & !(EXPIRES | RAW | TEXT) == 0 && is_whole).then_some(Value { stored })
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
        Value::build(self.stored[0] & !EXPIRES, expires, &[self.as_slice()])
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
        let (flags, bytes) = (self.stored[0], self.as_slice());
        if flags & RAW != 0 || bytes.len() > EMBSTR {
            Encoding::Raw
        } else if flags & TEXT == 0 && bytes.len() <= DIGITS && number(bytes).is_some() {
            Encoding::Int
        } else {
            Encoding::Embstr
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_comes_back_from_its_stored_bytes_and_no_other_bytes_are_one() {
        for (value, bytes, expires, encoding) in [
            (Value::new(b""), &b""[..], None, Encoding::Embstr),
            (Value::new(b"-12"), b"-12", None, Encoding::Int),
            (Value::expiring(b"a", Some(7)), b"a", Some(7), Encoding::Embstr),
            (Value::expiring(&[b'1'; 21], None), &[b'1'; 21], None, Encoding::Embstr),
            (Value::new(&[b'x'; 45]), &[b'x'; 45], None, Encoding::Raw),
            (Value::raw(&[b"1", b"2"], Some(u64::MAX)), b"12", Some(u64::MAX), Encoding::Raw),
            (Value::text(b"12", None), b"12", None, Encoding::Embstr),
            (Value::laid_out(4, &[(0, b"abc"), (2, b"xyz")], None), b"abxy", None, Encoding::Raw),
            (Value::laid_out(3, &[(9, b"x")], Some(1)), b"\0\0\0", Some(1), Encoding::Raw),
        ] {
            let back = Value::from_stored(value.clone().into_stored()).unwrap();
            assert_eq!(back, value);
            assert_eq!((back.as_slice(), &back.bytes()[..]), (bytes, bytes));
            assert_eq!((back.expires(), back.encoding()), (expires, encoding), "{back:?}");
            let moved = back.expiring_at(Some(5));
            assert_eq!((moved.as_slice(), moved.expires()), (bytes, Some(5)));
            assert_eq!(moved.encoding(), encoding);
        }
        for foreign in [&b""[..], b"\x01", b"\x01\0\0\0\0\0\0\0", b"\x08", b"\xff12345678"] {
            assert_eq!(Value::from_stored(Bytes::copy_from_slice(foreign)), None, "{foreign:?}");
        }
    }
}
