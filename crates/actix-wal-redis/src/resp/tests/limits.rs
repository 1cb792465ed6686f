//! What a client may not send, and the memory for what it only announces.

use bytes::BytesMut;

use super::super::ProtocolError::{
    InvalidCount, InvalidLength, StrangersCount, StrangersLength, TooBigCount, TooBigInline,
    TooBigLength, TooBigRequest,
};
use super::super::{Limits, Parser};
use super::{KNOWN, all, error};

const LINE: usize = 64 << 10;

#[test]
fn a_line_has_64_kib_without_its_end() {
    let whole = [&b"x".repeat(LINE)[..], b"\n"].concat();
    assert_eq!(all(&whole, &KNOWN).0.len(), 1);
    assert_eq!(error(&b"x".repeat(LINE), &KNOWN), None);
    assert_eq!(error(&b"x".repeat(LINE + 1), &KNOWN), Some(TooBigInline));
    assert_eq!(error(&[b"x", &whole[..]].concat(), &KNOWN), Some(TooBigInline));
}

#[test]
fn a_number_without_an_end_is_too_big() {
    for (before, too_big) in
        [("*", TooBigCount), ("*1\r\n$", TooBigLength), ("*1\r\nx", TooBigLength)]
    {
        let digits = "1".repeat(LINE - 1);
        assert_eq!(error(format!("{before}{digits}").as_bytes(), &KNOWN), None);
        assert_eq!(error(format!("{before}{digits}1").as_bytes(), &KNOWN), Some(too_big));
        assert_eq!(error(format!("{before}{digits}1\r\n").as_bytes(), &KNOWN), Some(too_big));
    }
}

#[test]
fn behind_a_nul_all_that_comes_counts_to_its_line() {
    for (before, too_big) in
        [("x\0", TooBigInline), ("*1\0", TooBigCount), ("*1\r\n$\0", TooBigLength)]
    {
        let line = before.rfind('\n').map_or(before.len(), |at| before.len() - at - 1);
        let behind = "\r\n".repeat(LINE / 2);
        let just = format!("{before}{}", &behind[line..]);
        assert_eq!(error(just.as_bytes(), &KNOWN), None);
        assert_eq!(error(format!("{just}\n").as_bytes(), &KNOWN), Some(too_big));
    }
}

#[test]
fn a_stranger_sends_10_arguments_of_16_kib() {
    let stranger = Limits { is_stranger: true, ..KNOWN };
    for (request, expected) in [
        ("*10\r\n", None),
        ("*11\r\n", Some(StrangersCount)),
        ("*2147483647\r\n", Some(StrangersCount)),
        ("*2147483648\r\n", Some(InvalidCount)),
        ("*1\r\n$16384\r\n", None),
        ("*1\r\n$16385\r\n", Some(StrangersLength)),
        ("*1\r\n$536870912\r\n", Some(StrangersLength)),
        ("*1\r\n$536870913\r\n", Some(InvalidLength)),
    ] {
        assert_eq!(error(request.as_bytes(), &stranger), expected, "{request:?}");
        assert_eq!(error(request.as_bytes(), &Limits::STRANGER), expected, "{request:?}");
    }
    let argument = format!("$16384\r\n{}\r\n", "x".repeat(16 << 10));
    let all_of_it = format!("*10\r\n{}", argument.repeat(10));
    assert_eq!(all(all_of_it.as_bytes(), &Limits::STRANGER).0.len(), 1);
    // A line has no such limit.
    assert_eq!(all(&[&b"x ".repeat(20)[..], b"\n"].concat(), &stranger).0[0].len(), 20);
}

#[test]
fn arguments_are_limited_in_number_and_length() {
    let limits = Limits { arguments: 12, bulk: 5, ..KNOWN };
    assert_eq!(error(b"*12\r\n", &limits), None);
    assert_eq!(error(b"*13\r\n", &limits), Some(InvalidCount));
    assert_eq!(error(b"*1\r\n$5\r\n", &limits), None);
    assert_eq!(error(b"*1\r\n$6\r\n", &limits), Some(InvalidLength));
}

#[test]
fn all_bytes_of_a_request_are_limited_also_those_between_the_arguments() {
    let request = b"*2\r\n$3\r\nabc\r\n$0\r\n\r\n";
    let limits = |request| Limits { request, ..KNOWN };
    assert_eq!(all(request, &limits(request.len())).0.len(), 1);
    assert_eq!(all(&request.repeat(9), &limits(request.len())).0.len(), 9);
    assert_eq!(error(request, &limits(request.len() - 1)), Some(TooBigRequest));
    // Seen when it is announced.
    assert_eq!(error(b"*2\r\n$3\r\n", &limits(12)), Some(TooBigRequest));
    assert_eq!(error(b"*2\r\n$3\r\n", &limits(13)), None);
    let empty = [&b"*1000000\r\n"[..], &b"$0\r\n\r\n".repeat(20_000)].concat();
    assert_eq!(error(&empty, &limits(100_000)), Some(TooBigRequest));
}

#[test]
fn no_limit_allows_more_than_4_gib() {
    let limits = Limits { bulk: usize::MAX, request: usize::MAX, ..KNOWN };
    assert_eq!(error(b"*1\r\n$4294967276\r\n", &limits), None);
    assert_eq!(error(b"*1\r\n$4294967277\r\n", &limits), Some(TooBigRequest));
    assert_eq!(error(b"*1\r\n$9223372036854775807\r\n", &limits), Some(TooBigRequest));
}

#[test]
fn what_is_only_announced_takes_no_memory() {
    let limits = Limits { arguments: usize::MAX, bulk: usize::MAX, request: usize::MAX, ..KNOWN };
    for announced in
        ["*2147483647\r\n", "*1\r\n$629145600\r\n", "*2147483647\r\n$3\r\nSET\r\n$4000000000\r\n"]
    {
        let (mut parser, mut buffer) = (Parser::default(), BytesMut::from(announced));
        let before = buffer.capacity();
        assert_eq!(parser.next(&mut buffer, &limits), Ok(None));
        assert_eq!((buffer.capacity(), buffer.len(), parser.size()), (before, announced.len(), 0));
    }
}

#[test]
fn memory_follows_what_has_come() {
    let limits = Limits { arguments: usize::MAX, ..KNOWN };
    let (mut parser, mut buffer) = (Parser::default(), BytesMut::from("*2147483647\r\n"));
    for _ in 0..10_000 {
        buffer.extend_from_slice(b"$0\r\n\r\n");
        assert_eq!(parser.next(&mut buffer, &limits), Ok(None));
        assert!(parser.size() <= 3 * buffer.len(), "{} of {}", parser.size(), buffer.len());
    }
    assert_eq!(parser.parts.len(), 10_000);
}
