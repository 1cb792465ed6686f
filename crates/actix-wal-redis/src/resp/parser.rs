//! Reads requests: an array of bulk strings, or a line.
//!
//! The parser goes on where it stopped, so that a request that comes byte by byte costs no more than one that comes whole.
//! It keeps what has come, and nothing for what a client has only announced. Nested arrays are no requests, so there is no
//! recursion. Limits, the order of the checks and the texts of errors are those of Redis 7.0 (`networking.c`). Two of its
//! habits are kept that a client can see: any byte may stand behind a `\r` in place of the `\n`, also behind an argument in
//! place of both; and a NUL hides the end of its line, which is then too long sooner or later.
//!
//! One differs: Redis checks the length of a line only between two reads, so that it takes a line above the limit if the
//! rest of it happens to come at once. Here the same bytes always give the same answer.

use bytes::{Buf, BytesMut};

use super::request::Parts;
use super::{ProtocolError, Request, inline};

/// What one request may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Arguments of an array, the name of the command included.
    pub arguments: usize,
    /// Bytes of one argument of an array.
    pub bulk: usize,
    /// Bytes of an array from its `*` to its end: arguments, their lengths, and what stands between them. Never more
    /// than 4 GiB. A line has a limit of its own, 64 KiB.
    pub request: usize,
    /// Whether the client has yet to give its password. Until then it may have 10 arguments of 16 KiB.
    pub is_stranger: bool,
}

impl Limits {
    /// For a client that has not given its password yet.
    pub const STRANGER: Limits =
        Limits { arguments: 1 << 20, bulk: 512 << 20, request: 1 << 20, is_stranger: true };
}

/// The arguments that a client may send before its password.
const STRANGERS_ARGUMENTS: usize = 10;

/// The bytes of one of them.
const STRANGERS_BULK: usize = 16 << 10;

/// The bytes that a line may have: an inline request, or a length.
const LINE: usize = 64 << 10;

/// Reads requests out of what a client sends. It has to be asked again with the same buffer, to which only new bytes were
/// added; and after an error not at all.
#[derive(Debug, Default)]
pub struct Parser {
    /// Arguments of the array that have not come yet.
    pub(super) left: usize,
    /// Where those lie that have.
    pub(super) parts: Parts,
    /// The length of the one that comes, once it is known.
    pub(super) bulk: Option<usize>,
    /// So many bytes of the buffer have been understood.
    pub(super) at: usize,
    /// So many bytes of the buffer hold no end of the line that comes: they need no second look.
    pub(super) looked_at: usize,
}

impl Parser {
    /// Takes the next request out of the buffer. `None`: it has not come whole yet.
    ///
    /// # Errors
    /// The bytes are no request, or one past the limits.
    pub fn next(
        &mut self,
        buffer: &mut BytesMut,
        limits: &Limits,
    ) -> Result<Option<Request>, ProtocolError> {
        loop {
            if self.left > 0 {
                while self.left > 0 {
                    if !self.argument(buffer, limits)? {
                        return Ok(None);
                    }
                }
                let Parser { parts, at, .. } = std::mem::take(self);
                return Ok(Some(Request::new(buffer.split_to(at).freeze(), parts)));
            }
            let has_come = match buffer.first() {
                None => return Ok(None),
                Some(b'*') => self.begin(buffer, limits)?,
                Some(_) => {
                    let Some(end) = self.line(buffer, b'\n', ProtocolError::TooBigInline)? else {
                        return Ok(None);
                    };
                    let line = &buffer[..end];
                    let request = inline::split(line.strip_suffix(b"\r").unwrap_or(line))?;
                    self.skip(buffer, end + 1);
                    if request.is_some() {
                        return Ok(request);
                    }
                    true
                }
            };
            if !has_come {
                return Ok(None);
            }
        }
    }

    /// The number of arguments of an array. Whether it has come.
    fn begin(&mut self, buffer: &mut BytesMut, limits: &Limits) -> Result<bool, ProtocolError> {
        let Some((count, end)) = self.length(buffer, b'*', ProtocolError::TooBigCount)? else {
            return Ok(false);
        };
        let count = count
            .filter(|count| *count <= i64::from(i32::MAX))
            .ok_or(ProtocolError::InvalidCount)?;
        // Without arguments it is nothing.
        let count = usize::try_from(count).unwrap_or(0);
        if limits.is_stranger && count > STRANGERS_ARGUMENTS {
            return Err(ProtocolError::StrangersCount);
        }
        if count > limits.arguments {
            return Err(ProtocolError::InvalidCount);
        }
        if count == 0 {
            self.skip(buffer, end + 2);
        } else {
            self.pass(end + 2);
            self.left = count;
        }
        Ok(true)
    }

    /// One argument of an array. Whether it has come whole.
    fn argument(&mut self, buffer: &[u8], limits: &Limits) -> Result<bool, ProtocolError> {
        let length = match self.bulk {
            Some(length) => length,
            None => match self.bulk_length(buffer, limits)? {
                Some(length) => *self.bulk.insert(length),
                None => return Ok(false),
            },
        };
        // All of it is below 4 GiB: `bulk_length` has checked that.
        let end = self.at + length;
        if buffer.len() < end + 2 {
            return Ok(false);
        }
        self.parts.push(self.at as u32..end as u32);
        self.pass(end + 2);
        self.bulk = None;
        self.left -= 1;
        Ok(true)
    }

    fn bulk_length(
        &mut self,
        buffer: &[u8],
        limits: &Limits,
    ) -> Result<Option<usize>, ProtocolError> {
        let Some((length, end)) = self.length(buffer, b'$', ProtocolError::TooBigLength)? else {
            return Ok(None);
        };
        if buffer[self.at] != b'$' {
            return Err(ProtocolError::NoArgument(buffer[self.at]));
        }
        let length = length
            .and_then(|length| usize::try_from(length).ok())
            .filter(|length| *length <= limits.bulk)
            .ok_or(ProtocolError::InvalidLength)?;
        if limits.is_stranger && length > STRANGERS_BULK {
            return Err(ProtocolError::StrangersLength);
        }
        let most = limits.request.min(u32::MAX as usize);
        if length.saturating_add(end + 4) > most {
            return Err(ProtocolError::TooBigRequest);
        }
        self.pass(end + 2);
        Ok(Some(length))
    }

    /// The number behind the kind, if it is one, and where the `\r` behind it stands; once the byte behind that has come too.
    fn length(
        &mut self,
        buffer: &[u8],
        kind: u8,
        too_long: ProtocolError,
    ) -> Result<Option<(Option<i64>, usize)>, ProtocolError> {
        // Nearly all lines of this sort are a few digits: finding the end of the line first takes twice as long.
        if let Some((value, digits)) = short_number(&buffer[self.at..], kind) {
            return Ok(Some((Some(value), self.at + 1 + digits)));
        }
        let end = self.line(buffer, b'\r', too_long)?.filter(|end| end + 1 < buffer.len());
        // At a wrong kind there may be no byte before the `\r`.
        Ok(end.map(|end| (buffer.get(self.at + 1..end).and_then(number), end)))
    }

    /// Where the next such byte stands, once it has come.
    fn line(
        &mut self,
        buffer: &[u8],
        end: u8,
        too_long: ProtocolError,
    ) -> Result<Option<usize>, ProtocolError> {
        let found = memchr::memchr2(end, 0, &buffer[self.looked_at..]);
        let stopped = found.map_or(buffer.len(), |found| self.looked_at + found);
        let has_come = buffer.get(stopped) == Some(&end);
        let length = if has_come { stopped } else { buffer.len() } - self.at;
        if length > LINE {
            return Err(too_long);
        }
        self.looked_at = stopped;
        Ok(has_come.then_some(stopped))
    }

    /// All up to there is understood, and belongs to the request.
    fn pass(&mut self, to: usize) {
        self.at = to;
        self.looked_at = to;
    }

    /// All up to there is done with.
    fn skip(&mut self, buffer: &mut BytesMut, to: usize) {
        buffer.advance(to);
        self.pass(0);
    }

    /// The bytes of memory that it takes beside the buffer and the value itself: only for arguments that have come.
    pub fn size(&self) -> usize {
        if self.parts.spilled() {
            self.parts.capacity() * size_of::<std::ops::Range<u32>>()
        } else {
            0
        }
    }
}

/// A whole number in decimal digits, as Redis's `string2ll` reads it: no spaces, no `+`, no zeros before it.
pub fn number(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    if !matches!((digits, text), ([b'0'], [b'0']) | ([b'1'..=b'9', ..], _)) {
        return None;
    }
    // Below zero there is one number more.
    let negative = digits.iter().try_fold(0_i64, |value, byte| {
        let digit = byte.is_ascii_digit().then(|| i64::from(byte - b'0'))?;
        value.checked_mul(10)?.checked_sub(digit)
    })?;
    if digits.len() < text.len() { Some(negative) } else { negative.checked_neg() }
}

/// A number of up to nine digits with its kind before it, a `\r` and any byte behind it: the number, and how many digits.
/// `None` of all else, also of what may be right.
fn short_number(line: &[u8], kind: u8) -> Option<(i64, usize)> {
    let (first, rest) = line.split_first()?;
    if *first != kind {
        return None;
    }
    let mut value = 0;
    for (at, byte) in rest.iter().take(10).enumerate() {
        match byte {
            b'0'..=b'9' => value = value * 10 + i64::from(byte - b'0'),
            b'\r' if at == 1 || (at > 1 && rest[0] != b'0') => {
                return (at + 1 < rest.len()).then_some((value, at));
            }
            _ => return None,
        }
    }
    None
}
