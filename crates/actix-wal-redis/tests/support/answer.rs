//! One whole reply, as bytes and as a value. It has no recursion in what looks for the end of a reply, so that a server that
//! answers nonsense fails a test and does not end it.

use std::fmt;

/// How long the reply is with which these bytes begin. `None`: it has not come whole yet.
///
/// # Panics
/// They do not begin with a reply.
pub(crate) fn length(bytes: &[u8]) -> Option<usize> {
    let (mut at, mut missing) = (0, 1_u64);
    while missing > 0 {
        let end = at + memchr::memchr(b'\n', &bytes[at..])?;
        let line = &bytes[at..end];
        let shown = || String::from_utf8_lossy(&line[..line.len().min(200)]).into_owned();
        assert!(line.ends_with(b"\r") && line.len() > 1, "a line of a reply: {:?}", shown());
        let count = || -> i64 {
            let digits = std::str::from_utf8(&line[1..line.len() - 1]).ok();
            let count = digits.and_then(|digits| digits.parse().ok());
            count.unwrap_or_else(|| panic!("a length: {:?}", shown()))
        };
        at = end + 1;
        missing -= 1;
        match line[0] {
            b'+' | b'-' | b':' | b'_' | b'#' | b',' | b'(' => {}
            b'$' | b'=' | b'!' => {
                if let Ok(count) = usize::try_from(count()) {
                    at += count + 2;
                    bytes.get(..at)?;
                    assert!(bytes[..at].ends_with(b"\r\n"), "the end of {:?}", shown());
                }
            }
            b'*' | b'~' | b'>' => missing += u64::try_from(count()).unwrap_or(0),
            // Attributes stand before the reply that they belong to.
            b'%' => missing += 2 * u64::try_from(count()).unwrap_or(0),
            b'|' => missing += 1 + 2 * u64::try_from(count()).unwrap_or(0),
            _ => panic!("the begin of a reply: {:?}", shown()),
        }
    }
    Some(at)
}

/// The elements of an array, a set or a map, each with all of its bytes. `None`: the reply is something else, or no array.
pub(crate) fn elements(reply: &[u8]) -> Option<Vec<&[u8]>> {
    let is_many = matches!(reply.first()?, b'*' | b'~' | b'%' | b'>');
    if !is_many || reply.starts_with(b"*-1") {
        return None;
    }
    let mut rest = &reply[memchr::memchr(b'\n', reply)? + 1..];
    let mut elements = Vec::new();
    while !rest.is_empty() {
        let (element, behind) = rest.split_at(length(rest)?);
        elements.push(element);
        rest = behind;
    }
    Some(elements)
}

/// A reply as a value. Maps are arrays with twice as many elements.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    Status(String),
    Error(String),
    Integer(i64),
    Bulk(Vec<u8>),
    Null,
    Array(Vec<Answer>),
    /// What only RESP3 has, as it came.
    Other(Vec<u8>),
}

impl Answer {
    /// That of one whole reply.
    pub(crate) fn of(reply: &[u8]) -> Answer {
        if let Some(elements) = elements(reply) {
            return Answer::Array(elements.into_iter().map(Answer::of).collect());
        }
        let end = memchr::memchr(b'\n', reply).expect("a whole reply") + 1;
        let line = String::from_utf8_lossy(&reply[1..end - 2]).into_owned();
        match reply[0] {
            b'+' => Answer::Status(line),
            b'-' => Answer::Error(line),
            b':' => Answer::Integer(line.parse().expect("a number")),
            b'$' | b'*' if line == "-1" => Answer::Null,
            b'_' => Answer::Null,
            b'$' => Answer::Bulk(reply[end..reply.len() - 2].to_vec()),
            _ => Answer::Other(reply.to_vec()),
        }
    }

    /// Whether it is `+OK`.
    pub(crate) fn is_ok(&self) -> bool {
        matches!(self, Answer::Status(text) if text == "OK")
    }

    /// The number that it is, or that its bytes are. `None`: there is no value.
    pub(crate) fn number(&self) -> Option<i64> {
        match self {
            Answer::Integer(number) => Some(*number),
            Answer::Bulk(bytes) => {
                let text = std::str::from_utf8(bytes).expect("digits");
                Some(text.parse().expect("digits"))
            }
            Answer::Null => None,
            other => panic!("no number: {other:?}"),
        }
    }

    /// The text of the error that it is.
    pub(crate) fn error(&self) -> &str {
        match self {
            Answer::Error(text) => text,
            other => panic!("no error: {other:?}"),
        }
    }

    /// The elements that it has.
    pub(crate) fn array(&self) -> &[Answer] {
        match self {
            Answer::Array(elements) => elements,
            other => panic!("no array: {other:?}"),
        }
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Answer::Status(text) => write!(f, "+{text}"),
            Answer::Error(text) => write!(f, "-{text}"),
            Answer::Integer(number) => write!(f, ":{number}"),
            Answer::Bulk(bytes) => write!(f, "{}", shown(bytes)),
            Answer::Null => write!(f, "(nil)"),
            Answer::Array(elements) => f.debug_list().entries(elements).finish(),
            Answer::Other(bytes) => write!(f, "{}", shown(bytes)),
        }
    }
}

/// Bytes for the eyes of people: quoted, and the middle left out if they are many.
pub(crate) fn shown(bytes: &[u8]) -> String {
    if bytes.len() <= 400 {
        return format!("\"{}\"", bytes.escape_ascii());
    }
    let (first, last) = (&bytes[..150], &bytes[bytes.len() - 150..]);
    format!(
        "\"{}\" ... {} bytes ... \"{}\"",
        first.escape_ascii(),
        bytes.len(),
        last.escape_ascii()
    )
}
