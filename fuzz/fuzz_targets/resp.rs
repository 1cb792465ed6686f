//! Any bytes in any pieces, as what a client of the server sends: the same requests and the same error as in one piece, and no
//! more memory than what has come.
//!
//! ```text
//! input = limits (1 byte); pieces (1 byte); filler: byte, place and length (1 byte each); what is sent
//! ```
//!
//! The filler is put in many times at its place, so that an input of few bytes reaches the limits of 64 KiB.

#![no_main]

use actix_wal_redis::resp::{Limits, Parser, Protocol, ProtocolError, Request};
use bytes::BytesMut;

/// The requests, why there are no more of them, and how many bytes are left.
type Read = (Vec<Request>, Option<ProtocolError>, usize);

fn read<'a>(pieces: impl Iterator<Item = &'a [u8]>, limits: &Limits) -> Read {
    let (mut parser, mut buffer, mut requests) = (Parser::default(), BytesMut::new(), Vec::new());
    let mut sent = 0;
    for piece in pieces {
        sent += piece.len();
        buffer.extend_from_slice(piece);
        loop {
            let (before, came) = (buffer.capacity(), buffer.len());
            let next = parser.next(&mut buffer, limits);
            assert!(buffer.capacity() <= before, "{} > {before}", buffer.capacity());
            // Eight bytes for an argument, which takes six to send; and memory grows by doubling.
            assert!(parser.size() <= 64 + 3 * came, "{} for {came}", parser.size());
            match next {
                Ok(Some(request)) => {
                    assert!(request.size() <= 64 + 16 * came, "{} for {came}", request.size());
                    assert!(!request.is_empty() && request == request.detached());
                    requests.push(request);
                }
                Ok(None) => break,
                Err(error) => {
                    let mut reply = BytesMut::new();
                    error.reply().write(&mut reply, Protocol::Resp2);
                    assert!(reply.len() < 80 && reply.ends_with(b"\r\n"));
                    return (requests, Some(error), 0);
                }
            }
        }
    }
    assert!(requests.len() <= sent && buffer.len() <= sent);
    (requests, None, buffer.len())
}

/// Pieces of a length that the number stands for; those of 0 are of all lengths.
fn pieces(bytes: &[u8], number: u8) -> impl Iterator<Item = &[u8]> {
    let (mut rest, mut state) = (bytes, u32::from(number));
    std::iter::from_fn(move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let length = match number {
            1.. if number & 1 == 1 => usize::from(number >> 1).max(1),
            _ => (state >> 24) as usize >> (number >> 5) | 1,
        };
        let (piece, behind) = rest.split_at(length.min(rest.len()));
        rest = behind;
        (!piece.is_empty()).then_some(piece)
    })
}

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let [kind, split, filler, place, length, sent @ ..] = input else {
        return;
    };
    let (begin, end) = sent.split_at(usize::from(*place).min(sent.len()));
    let filler = vec![*filler; usize::from(*length) * if kind & 8 == 0 { 1 } else { 512 }];
    let sent = [begin, &filler, end].concat();
    let limits = Limits {
        arguments: if kind & 1 == 0 { usize::MAX } else { 4 },
        bulk: if kind & 2 == 0 { usize::MAX } else { 16 },
        request: if kind & 4 == 0 { usize::MAX } else { 64 },
        is_stranger: kind & 16 != 0,
    };
    let whole = read(std::iter::once(&sent[..]), &limits);
    assert_eq!(whole, read(pieces(&sent, *split), &limits));
});
