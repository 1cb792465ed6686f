//! Replies, and their bytes in both versions of the protocol.

use std::borrow::Cow;
use std::vec;

use bytes::{BufMut, Bytes, BytesMut};

/// The version of the protocol that a client has asked for with `HELLO`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// What a client speaks that has not asked.
    #[default]
    Resp2,
    /// With maps, and a null of its own.
    Resp3,
}

/// What a client is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// A status, such as `OK`.
    Status(&'static str),
    /// An error, with its code: `ERR syntax error`.
    Error(Cow<'static, str>),
    /// An error that repeats bytes of a client.
    RawError(Bytes),
    /// A number.
    Integer(i64),
    /// A string.
    Bulk(Bytes),
    /// Text for people; a string to a client that speaks RESP2.
    Verbatim(Bytes),
    /// No string.
    Null,
    /// No array, for instance of a transaction that was not executed.
    NullArray,
    /// Several replies.
    Array(Vec<Reply>),
    /// Several replies without an order; to a client that speaks RESP2 an array.
    Set(Vec<Reply>),
    /// Pairs; to a client that speaks RESP2 an array of twice as many.
    Map(Vec<(Reply, Reply)>),
}

impl Reply {
    /// About how many bytes it holds beside itself.
    pub fn weight(&self) -> usize {
        let all = |replies: &[Reply]| {
            replies.iter().map(Reply::weight).sum::<usize>() + size_of_val(replies)
        };
        match self {
            Reply::Status(_) | Reply::Integer(_) | Reply::Null | Reply::NullArray => 0,
            Reply::Error(text) => text.len(),
            Reply::RawError(bytes) | Reply::Bulk(bytes) | Reply::Verbatim(bytes) => bytes.len(),
            Reply::Array(replies) | Reply::Set(replies) => all(replies),
            Reply::Map(pairs) => {
                let each = |(key, value): &(Reply, Reply)| key.weight() + value.weight();
                pairs.iter().map(each).sum::<usize>() + size_of_val(&pairs[..])
            }
        }
    }

    /// The usual answer to what was done.
    pub const OK: Reply = Reply::Status("OK");

    /// An error with the usual code.
    pub fn err(what: impl std::fmt::Display) -> Self {
        Reply::Error(format!("ERR {what}").into())
    }

    /// A string.
    pub fn bulk(text: impl Into<Bytes>) -> Self {
        Reply::Bulk(text.into())
    }

    /// A string, or none.
    pub fn bulk_or_null(value: Option<Bytes>) -> Self {
        value.map_or(Reply::Null, Reply::Bulk)
    }

    /// Whether it is an error.
    pub fn is_error(&self) -> bool {
        matches!(self, Reply::Error(_) | Reply::RawError(_))
    }

    /// 1 or 0.
    pub fn flag(is_so: bool) -> Self {
        Reply::Integer(i64::from(is_so))
    }

    /// Its bytes, behind what is in the buffer.
    pub fn write(self, to: &mut BytesMut, protocol: Protocol) {
        for part in self.begin(to, protocol).into_iter().flatten() {
            part.write(to, protocol);
        }
    }

    /// The same, but of several replies only how many there are: they are returned, and come next.
    pub fn begin(self, to: &mut BytesMut, protocol: Protocol) -> Option<vec::IntoIter<Reply>> {
        match (self, protocol) {
            (Reply::Status(text), _) => line(to, b'+', text.as_bytes()),
            (Reply::Error(text), _) => error(to, text.as_bytes()),
            (Reply::RawError(text), _) => error(to, &text),
            (Reply::Integer(number), _) => count(to, b':', number),
            (Reply::Bulk(bytes), _) | (Reply::Verbatim(bytes), Protocol::Resp2) => bulk(to, &bytes),
            (Reply::Verbatim(bytes), Protocol::Resp3) => {
                count(to, b'=', bytes.len() as i64 + 4);
                to.put_slice(b"txt:");
                to.put_slice(&bytes);
                to.put_slice(b"\r\n");
            }
            (Reply::Null, Protocol::Resp2) => to.put_slice(b"$-1\r\n"),
            (Reply::NullArray, Protocol::Resp2) => to.put_slice(b"*-1\r\n"),
            (Reply::Null | Reply::NullArray, Protocol::Resp3) => to.put_slice(b"_\r\n"),
            (Reply::Set(replies), Protocol::Resp3) => return Some(several(to, b'~', replies)),
            (Reply::Array(replies) | Reply::Set(replies), _) => {
                return Some(several(to, b'*', replies));
            }
            (Reply::Map(pairs), Protocol::Resp3) => {
                count(to, b'%', pairs.len() as i64);
                return Some(flat(pairs).into_iter());
            }
            (Reply::Map(pairs), Protocol::Resp2) => return Some(several(to, b'*', flat(pairs))),
        }
        None
    }
}

fn several(to: &mut BytesMut, kind: u8, replies: Vec<Reply>) -> vec::IntoIter<Reply> {
    count(to, kind, replies.len() as i64);
    replies.into_iter()
}

fn flat(pairs: Vec<(Reply, Reply)>) -> Vec<Reply> {
    pairs.into_iter().flat_map(|(key, value)| [key, value]).collect()
}

fn line(to: &mut BytesMut, kind: u8, text: &[u8]) {
    to.reserve(text.len() + 3);
    to.put_u8(kind);
    to.put_slice(text);
    to.put_slice(b"\r\n");
}

/// What a client has sent may be a part of an error, and must not end it. As in Redis, line ends at its end are left out.
fn error(to: &mut BytesMut, text: &[u8]) {
    let last = text.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n'));
    let text = &text[..last.map_or(0, |last| last + 1)];
    let plain: Vec<u8> =
        text.iter().map(|byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { *byte }).collect();
    line(to, b'-', &plain);
}

fn count(to: &mut BytesMut, kind: u8, number: i64) {
    line(to, kind, itoa::Buffer::new().format(number).as_bytes());
}

fn bulk(to: &mut BytesMut, bytes: &[u8]) {
    to.reserve(bytes.len() + 16);
    count(to, b'$', bytes.len() as i64);
    to.put_slice(bytes);
    to.put_slice(b"\r\n");
}
