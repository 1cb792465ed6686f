//! What many commands do with their arguments, and the errors that many answer, in Redis's words.

use std::borrow::Cow;

use crate::keyspace::Fault;
use crate::resp::{Reply, number};

/// An error whose text is known.
pub(super) const fn error(text: &'static str) -> Fault {
    Fault::Error(Reply::Error(Cow::Borrowed(text)))
}

pub(super) const fn syntax() -> Fault {
    error("ERR syntax error")
}

/// The same error as for a command that the table refuses.
pub(super) fn wrong_number(command: &str) -> Fault {
    Fault::Error(Reply::err(format_args!("wrong number of arguments for '{command}' command")))
}

pub(super) fn invalid_expire(command: &str) -> Fault {
    Fault::Error(Reply::err(format_args!("invalid expire time in '{command}' command")))
}

const NOT_INTEGER: &str = "ERR value is not an integer or out of range";

/// A whole number of 64 bits.
pub(super) fn integer(part: &[u8]) -> Result<i64, Fault> {
    number(part).ok_or(error(NOT_INTEGER))
}

/// A whole number of 32 bits; the error is `invalid` for something else.
pub(super) fn small_integer(part: &[u8], invalid: Option<&'static str>) -> Result<i32, Fault> {
    const RANGE: &str = "ERR value is out of range, value must between -2147483648 and 2147483647";
    let number = number(part).ok_or(error(invalid.unwrap_or(NOT_INTEGER)))?;
    i32::try_from(number).map_err(|_| error(invalid.unwrap_or(RANGE)))
}

/// The bytes before the first NUL: Redis compares words as strings of C.
pub(super) fn word(part: &[u8]) -> &[u8] {
    memchr::memchr(0, part).map_or(part, |end| &part[..end])
}

/// Whether the part is this word, in small or large letters.
pub(super) fn is(part: &[u8], expected: &str) -> bool {
    word(part).eq_ignore_ascii_case(expected.as_bytes())
}

/// A string may be no longer than this: `proto-max-bulk-len`.
pub(super) fn check_length(length: Option<usize>, most: usize) -> Result<usize, Fault> {
    const TOO_LONG: Fault = error("ERR string exceeds maximum allowed size (proto-max-bulk-len)");
    length.filter(|length| *length <= most).ok_or(TOO_LONG)
}
