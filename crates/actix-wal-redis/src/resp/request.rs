//! Requests: an array of bulk strings, or a line.
//!
//! The parser goes on where it stopped, so that a request that comes byte by byte costs no more than one that comes whole.
//! It keeps what has come, and nothing for what a client has only announced. Nested arrays are no requests, so there is no
//! recursion. Limits and the texts of errors are those of Redis (`networking.c` and `sds.c` of version 7).

use std::ops::Range;

use bytes::{Buf, Bytes, BytesMut};
use smallvec::SmallVec;

/// A request: the name of a command and its arguments. Its bytes lie in one piece of memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    bytes: Bytes,
    /// Where the name and the arguments lie. There is at least the name.
    parts: SmallVec<[Range<u32>; 4]>,
}

impl Request {
    /// How many parts it has: the name and the arguments.
    pub fn len(&self) -> usize {
        self.parts.len()
    }

    /// Never: a request has a name.
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
}

impl Request {
    /// One with these parts, for those that are not sent as they stand.
    pub fn of<P: AsRef<[u8]>>(all: impl IntoIterator<Item = P>) -> Self {
        let (mut bytes, mut parts) = (BytesMut::new(), SmallVec::new());
        for part in all {
            let start = bytes.len() as u32;
            bytes.extend_from_slice(part.as_ref());
            parts.push(start..bytes.len() as u32);
        }
        Request { bytes: bytes.freeze(), parts }
    }
}

/// What one request may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Arguments, the name of the command included.
    pub arguments: usize,
    /// Bytes of one argument.
    pub bulk: usize,
    /// Bytes of all arguments together.
    pub request: usize,
}

impl Limits {
    /// For a client that has not given its password yet: enough for that.
    pub const STRANGER: Limits = Limits { arguments: 10, bulk: 16 << 10, request: 64 << 10 };
}

/// The bytes that a line may have: an inline request, or a length.
const LINE: usize = 64 << 10;

/// A request that can not be read. The client is told, and hung up on: nobody knows where the next request begins.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Protocol error: {0}")]
pub struct ProtocolError(String);

impl ProtocolError {
    fn new(what: impl Into<String>) -> Self {
        ProtocolError(what.into())
    }
}

/// Reads requests out of what a client sends.
#[derive(Debug, Default)]
pub struct Parser {
    /// Arguments of the array that have not come yet.
    left: usize,
    /// Where those lie that have.
    parts: SmallVec<[Range<u32>; 4]>,
    /// Their bytes.
    bytes: usize,
    /// The length of the one that comes, once it is known.
    bulk: Option<usize>,
    /// So much of the buffer has been understood.
    at: usize,
    /// So many bytes of the buffer hold no end of a line: they need no second look.
    looked_at: usize,
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
                if !self.argument(buffer, limits)? {
                    return Ok(None);
                }
                if self.left == 0 {
                    let Parser { parts, at, .. } = std::mem::take(self);
                    return Ok(Some(Request { bytes: buffer.split_to(at).freeze(), parts }));
                }
                continue;
            }
            match buffer.first() {
                None => return Ok(None),
                Some(b'*') => {
                    if !self.begin(buffer, limits)? {
                        return Ok(None);
                    }
                }
                Some(_) => {
                    let Some(line) = self.line(buffer, "too big inline request")? else {
                        return Ok(None);
                    };
                    let arguments = split(&buffer[line])?;
                    buffer.advance(std::mem::take(self).at);
                    if !arguments.is_empty() {
                        return Ok(Some(Request::of(arguments)));
                    }
                }
            }
        }
    }

    /// The length of an array. Whether it has come.
    fn begin(&mut self, buffer: &mut BytesMut, limits: &Limits) -> Result<bool, ProtocolError> {
        let Some(line) = self.line(buffer, "too big mbulk count string")? else {
            return Ok(false);
        };
        let length = number(&buffer[line.start + 1..line.end])
            .filter(|length| *length <= i64::from(i32::MAX))
            .ok_or_else(|| ProtocolError::new("invalid multibulk length"))?;
        // As in Redis, one without arguments is nothing.
        let length = usize::try_from(length).unwrap_or(0);
        if length > limits.arguments {
            let is_stranger = *limits == Limits::STRANGER;
            let of = if is_stranger { "unauthenticated" } else { "invalid" };
            return Err(ProtocolError::new(format!("{of} multibulk length")));
        }
        if length == 0 {
            buffer.advance(std::mem::take(self).at);
        }
        self.left = length;
        Ok(true)
    }

    /// One argument of an array. Whether it has come whole.
    fn argument(&mut self, buffer: &mut BytesMut, limits: &Limits) -> Result<bool, ProtocolError> {
        let length = match self.bulk {
            Some(length) => length,
            None => match self.bulk_length(buffer, limits)? {
                Some(length) => *self.bulk.insert(length),
                None => return Ok(false),
            },
        };
        if buffer.len() < self.at + length + 2 {
            return Ok(false);
        }
        // A request is shorter than 4 GiB: its limit is.
        self.parts.push(self.at as u32..(self.at + length) as u32);
        self.at += length + 2;
        self.looked_at = self.at;
        self.bulk = None;
        self.bytes += length;
        self.left -= 1;
        Ok(true)
    }

    fn bulk_length(
        &mut self,
        buffer: &BytesMut,
        limits: &Limits,
    ) -> Result<Option<usize>, ProtocolError> {
        match buffer.get(self.at) {
            None => return Ok(None),
            Some(b'$') => {}
            Some(other) => {
                let got = char::from(*other);
                return Err(ProtocolError::new(format!("expected '$', got '{got}'")));
            }
        }
        let Some(line) = self.line(buffer, "too big bulk count string")? else {
            return Ok(None);
        };
        let invalid = || ProtocolError::new("invalid bulk length");
        let length = number(&buffer[line.start + 1..line.end]);
        let length = length.and_then(|length| usize::try_from(length).ok()).ok_or_else(invalid)?;
        if length > limits.bulk || self.bytes + length > limits.request {
            let is_stranger = *limits == Limits::STRANGER;
            return Err(if is_stranger {
                ProtocolError::new("unauthenticated bulk length")
            } else {
                invalid()
            });
        }
        Ok(Some(length))
    }

    /// Where the next line lies, without its end, once all of it has come.
    fn line(
        &mut self,
        buffer: &BytesMut,
        too_long: &str,
    ) -> Result<Option<Range<usize>>, ProtocolError> {
        let begin = self.at;
        let end = memchr::memchr(b'\n', &buffer[self.looked_at..]);
        let end = end.map_or(buffer.len(), |end| self.looked_at + end);
        if end - begin > LINE {
            return Err(ProtocolError::new(too_long));
        }
        self.looked_at = end;
        if end == buffer.len() {
            return Ok(None);
        }
        self.at = end + 1;
        self.looked_at = self.at;
        let is_windows = buffer[begin..end].ends_with(b"\r");
        Ok(Some(begin..end - usize::from(is_windows)))
    }
}

/// A whole number in decimal digits, as Redis's `string2ll` reads it: no spaces, no `+`, no zeros before it.
pub fn number(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let is_plain = match digits {
        [b'0'] => text.len() == 1,
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    let text = std::str::from_utf8(text).ok().filter(|_| is_plain)?;
    text.parse().ok()
}

/// The arguments of a line, as Redis's `sdssplitargs` splits it: by spaces, with quoted ones among them.
fn split(line: &[u8]) -> Result<Vec<BytesMut>, ProtocolError> {
    let unbalanced = || ProtocolError::new("unbalanced quotes in request");
    let (mut arguments, mut rest) = (Vec::new(), line);
    loop {
        let spaces = rest.iter().take_while(|byte| is_space(**byte)).count();
        rest = &rest[spaces..];
        if rest.is_empty() {
            return Ok(arguments);
        }
        let mut argument = BytesMut::new();
        while let Some((&first, behind)) = rest.split_first() {
            match first {
                quote @ (b'"' | b'\'') => {
                    rest = quoted(quote, behind, &mut argument).ok_or_else(unbalanced)?;
                    // Behind a closing quote there has to be a space, or nothing.
                    if rest.first().is_some_and(|next| !is_space(*next)) {
                        return Err(unbalanced());
                    }
                    break;
                }
                space if is_space(space) => break,
                other => {
                    argument.extend_from_slice(&[other]);
                    rest = behind;
                }
            }
        }
        arguments.push(argument);
    }
}

fn is_space(byte: u8) -> bool {
    // As `isspace` of C, and a NUL ends a string there.
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c | 0)
}

/// What stands in quotes. Returns what is behind the closing one; `None` if there is none.
fn quoted<'a>(quote: u8, mut rest: &'a [u8], argument: &mut BytesMut) -> Option<&'a [u8]> {
    loop {
        let (byte, used) = match (quote, rest) {
            (_, [first, behind @ ..]) if *first == quote => return Some(behind),
            (b'"', [b'\\', b'x', high, low, ..])
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                (hex(*high) << 4 | hex(*low), 4)
            }
            (b'"', [b'\\', escaped, ..]) => (unescaped(*escaped), 2),
            (b'\'', [b'\\', b'\'', ..]) => (b'\'', 2),
            (_, [plain, ..]) => (*plain, 1),
            (_, []) => return None,
        };
        argument.extend_from_slice(&[byte]);
        rest = &rest[used..];
    }
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        other => (other | 0x20) - b'a' + 10,
    }
}

fn unescaped(escaped: u8) -> u8 {
    match escaped {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 0x08,
        b'a' => 0x07,
        other => other,
    }
}
