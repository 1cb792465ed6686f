//! Inline requests: a line, split into arguments as `sdssplitargs` of Redis does.

use bytes::{BufMut, BytesMut};

use super::request::Parts;
use super::{ProtocolError, Request};

/// The request that a line is, without the end of the line and without NULs. `None`: there is nothing in it.
pub(super) fn split(line: &[u8]) -> Result<Option<Request>, ProtocolError> {
    let (mut rest, mut bytes, mut parts) = (line, BytesMut::new(), Parts::new());
    loop {
        let spaces = rest.iter().take_while(|byte| is_space(**byte)).count();
        rest = &rest[spaces..];
        if rest.is_empty() {
            break;
        }
        // No argument is longer than what it is written as.
        bytes.reserve(rest.len());
        let start = bytes.len() as u32;
        rest = argument(rest, &mut bytes).ok_or(ProtocolError::UnbalancedQuotes)?;
        parts.push(start..bytes.len() as u32);
    }
    Ok((!parts.is_empty()).then(|| Request::new(bytes.freeze(), parts)))
}

/// What `isspace` of C takes for a space. It stands between arguments.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

/// An argument. Returns what is behind it; `None` if its quotes are not as they should be.
fn argument<'a>(mut rest: &'a [u8], into: &mut BytesMut) -> Option<&'a [u8]> {
    while let Some((&first, behind)) = rest.split_first() {
        match first {
            b'"' | b'\'' => {
                rest = quoted(first, behind, into)?;
                let is_at_end = rest.first().is_none_or(|next| is_space(*next));
                return is_at_end.then_some(rest);
            }
            // Two of the six kinds of space do not end an argument, though they may stand before one.
            b' ' | b'\t' | b'\n' | b'\r' => break,
            other => into.put_u8(other),
        }
        rest = behind;
    }
    Some(rest)
}

/// What stands in quotes. Returns what is behind the closing one; `None` if there is none.
fn quoted<'a>(quote: u8, mut rest: &'a [u8], into: &mut BytesMut) -> Option<&'a [u8]> {
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
        into.put_u8(byte);
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
