//! Requests and replies, each rule for itself. `tests/protocol_errors.rs` and `tests/replies.rs` hold them against Redis.

mod inline;
mod limits;
mod oracle;
mod pieces;
mod replies;
mod requests;

use bytes::BytesMut;

use super::{Limits, Parser, ProtocolError, Request};

/// For a client that has given its password.
const KNOWN: Limits =
    Limits { arguments: 1 << 20, bulk: 1 << 29, request: 1 << 30, is_stranger: false };

/// All requests that the bytes are, and why there are no more of them.
fn all(bytes: &[u8], limits: &Limits) -> (Vec<Request>, Option<ProtocolError>) {
    in_pieces(std::iter::once(bytes), limits)
}

/// The same of bytes that come in pieces.
fn in_pieces<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
    limits: &Limits,
) -> (Vec<Request>, Option<ProtocolError>) {
    let (mut parser, mut buffer, mut requests) = (Parser::default(), BytesMut::new(), Vec::new());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            match parser.next(&mut buffer, limits) {
                Ok(Some(request)) => requests.push(request),
                Ok(None) => break,
                Err(error) => return (requests, Some(error)),
            }
        }
    }
    (requests, None)
}

/// The only request that the bytes are.
fn one(bytes: &[u8]) -> Request {
    let (mut requests, error) = all(bytes, &KNOWN);
    assert_eq!((requests.len(), error), (1, None), "{}", bytes.escape_ascii());
    requests.remove(0)
}

/// Why the bytes are no request.
fn error(bytes: &[u8], limits: &Limits) -> Option<ProtocolError> {
    let (requests, error) = all(bytes, limits);
    assert_eq!(requests, [], "{}", bytes.escape_ascii());
    error
}
