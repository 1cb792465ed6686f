//! Requests that come in pieces: the same requests and errors as in one piece, and each byte is looked at once.

use bytes::BytesMut;

use super::super::{Limits, Parser};
use super::{KNOWN, all, in_pieces};

#[test]
fn each_split_in_two_gives_the_same() {
    for bytes in [
        &b"*2\r\n$3\r\nGET\r\n$5\r\na\r\nbc\r\n*0\r\n*-1\r\n\r\n  x 'y z'\r\n*1\r\n$0\r\n\r\n*1\r\n$1\r\n"[..],
        b"x\r\n*1\r\nPING\r\n",
        b"*1\r\n$1\r\nx\r\n\"\r\n",
        b"*1\r\n\r\n",
        b"*1\rX$4\rYPINGZZ*11111111111\rZ",
        b"x\n*1\r\n$1\0\r\nx\r\n",
    ] {
        let whole = all(bytes, &KNOWN);
        for at in 0..=bytes.len() {
            let (begin, rest) = bytes.split_at(at);
            assert_eq!(in_pieces([begin, rest], &KNOWN), whole, "{at} of {}", bytes.escape_ascii());
        }
        assert_eq!(in_pieces(bytes.chunks(1), &KNOWN), whole, "{}", bytes.escape_ascii());
    }
}

#[test]
fn a_long_line_gives_the_same_error_byte_by_byte() {
    for begin in ["", "*", "*1\r\n$", "x\0"] {
        let bytes = [begin.as_bytes(), &b"1".repeat(65 << 10), b"\r\n"].concat();
        let whole = all(&bytes, &KNOWN);
        assert!(whole.1.is_some());
        assert_eq!(in_pieces(bytes.chunks(1), &KNOWN), whole);
    }
}

/// What a look at one more byte may have to look at again: a number of bytes that does not depend on what came before.
#[test]
fn a_byte_that_comes_alone_is_all_that_is_looked_at() {
    let line = b"x".repeat(60 << 10);
    let array = [&b"*20000\r\n"[..], &b"$3\r\nabc\r\n".repeat(20_000)].concat();
    let argument = [b"*1\r\n$300000\r\n", &b"\r\n\0".repeat(100_000)[..]].concat();
    let digits = [b"*1\r\n$", &b"1".repeat(60 << 10)[..]].concat();
    let hidden = [b"*1\r\n$1\0", &b"\n".repeat(60 << 10)[..]].concat();
    for bytes in [&line, &array, &argument, &digits, &hidden] {
        let (mut parser, mut buffer) = (Parser::default(), BytesMut::new());
        for byte in bytes {
            buffer.extend_from_slice(&[*byte]);
            if let Ok(Some(_)) = parser.next(&mut buffer, &KNOWN) {
                continue;
            }
            // Either it waits for an argument, or the next look begins behind all that came, or at the byte it stopped at.
            let rest = &buffer[parser.looked_at..];
            let is_stopped = matches!(rest, [] | [b'\r'] | [0, ..]);
            assert!(
                parser.bulk.is_some() || is_stopped,
                "{} of {}",
                parser.looked_at,
                buffer.len()
            );
        }
    }
}

/// Many requests in one buffer: each is taken from its beginning, and the rest is not moved.
#[test]
fn a_request_is_taken_out_without_moving_those_behind_it() {
    let mut buffer = BytesMut::from(&b"*1\r\n$1\r\nx\r\n*0\r\n\r\ny\r\n".repeat(100)[..]);
    let (begin, length) = (buffer.as_ptr(), buffer.len());
    let mut parser = Parser::default();
    let mut requests = Vec::new();
    while let Some(request) = parser.next(&mut buffer, &Limits { request: 11, ..KNOWN }).unwrap() {
        assert_eq!(buffer.as_ptr() as usize, begin as usize + length - buffer.len());
        requests.push(request);
    }
    assert_eq!((requests.len(), buffer.len()), (200, 0));
}
