//! Arrays of bulk strings.

use super::super::ProtocolError::{InvalidCount, InvalidLength, NoArgument};
use super::super::{Request, number};
use super::{KNOWN, all, error, one};

#[test]
fn an_array_of_bulk_strings_is_a_request() {
    let request = one(b"*3\r\n$3\r\nSET\r\n$0\r\n\r\n$4\r\n\0\r\n\xff\r\n");
    assert_eq!(request, Request::of([&b"SET"[..], b"", b"\0\r\n\xff"]));
    assert_eq!((request.len(), request.is_empty()), (3, false));
    assert_eq!(
        (request.part(0), request.part(2), request.part(3)),
        (&b"SET"[..], &b"\0\r\n\xff"[..], &b""[..])
    );
    assert!(request.parts_from(1).eq([&b""[..], b"\0\r\n\xff"]));
    assert_eq!((request.parts_from(3).len(), request.parts_from(9).len()), (0, 0));
}

#[test]
fn requests_follow_one_another_in_one_buffer() {
    let (requests, error) = all(b"*1\r\n$1\r\na\r\nb c\r\n*1\r\n$1\r\nd\r\n*1\r\n$1\r\n", &KNOWN);
    assert_eq!(error, None);
    assert_eq!(requests, [Request::of(["a"]), Request::of(["b", "c"]), Request::of(["d"])]);
}

#[test]
fn an_array_without_arguments_is_nothing() {
    for nothing in ["*0\r\n", "*-1\r\n", "*-9223372036854775808\r\n"] {
        assert_eq!(one(format!("{nothing}{nothing}x\r\n").as_bytes()), Request::of(["x"]));
    }
}

#[test]
fn a_name_may_be_empty() {
    assert_eq!(one(b"*1\r\n$0\r\n\r\n"), Request::of([""]));
}

#[test]
fn a_count_is_a_plain_number_of_32_bits() {
    for wrong in
        ["", "+1", "01", " 1", "1 ", "-0", "1.0", "0x1", "-", "2147483648", "9223372036854775808"]
    {
        assert_eq!(
            error(format!("*{wrong}\r\n").as_bytes(), &KNOWN),
            Some(InvalidCount),
            "{wrong:?}"
        );
    }
    // The end is a `\r`, so this count has two lines.
    assert_eq!(error(b"*1\n$1\r\nx\r\n", &KNOWN), Some(InvalidCount));
}

#[test]
fn a_length_is_a_plain_number_and_not_negative() {
    for wrong in ["", "-1", "+1", "01", "1 ", "-0", "-9223372036854775809", "99999999999999999999"]
    {
        let request = format!("*1\r\n${wrong}\r\n");
        assert_eq!(error(request.as_bytes(), &KNOWN), Some(InvalidLength), "{wrong:?}");
    }
}

#[test]
fn an_argument_begins_with_a_dollar_and_a_wrong_byte_is_seen_at_the_end_of_its_line() {
    for got in [b'P', b'*', b':', 0xff, b'\n', b' '] {
        let line = [b"*1\r\n", &[got][..], b"ING"].concat();
        assert_eq!(error(&line, &KNOWN), None);
        assert_eq!(error(&[&line[..], b"\r"].concat(), &KNOWN), None);
        assert_eq!(error(&[&line[..], b"\r\n"].concat(), &KNOWN), Some(NoArgument(got)));
    }
    assert_eq!(error(b"*1\r\n\r\n", &KNOWN), Some(NoArgument(b'\r')));
    assert_eq!(error(b"*1\r\n*1\r\n*1\r\n", &KNOWN), Some(NoArgument(b'*')));
}

#[test]
fn any_byte_may_stand_in_place_of_a_line_feed() {
    assert_eq!(one(b"*1\rX$4\rYPINGZZ"), Request::of(["PING"]));
}

#[test]
fn a_nul_hides_the_end_of_its_line() {
    for hidden in [
        &b"*1\0\r\n$1\r\nx\r\n"[..],
        b"*1\r\n$1\0\r\nx\r\n",
        b"*1\r\n\x001\r\nx\r\n",
        b"x\0\r\nx\r\n",
        b"\0\r\nx\r\n",
    ] {
        assert_eq!(all(hidden, &KNOWN), (vec![], None));
    }
}

#[test]
fn a_detached_request_is_the_same_and_has_memory_of_its_own() {
    let request = one(b"*5\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n$1\r\nd\r\n$1\r\ne\r\n");
    let detached = request.detached();
    assert_eq!(request, detached);
    assert_ne!(request.part(0).as_ptr(), detached.part(0).as_ptr());
    assert!((39 + 5 * 8..39 + 16 * 8).contains(&detached.size()), "{}", detached.size());
}

#[test]
fn a_number_is_what_redis_takes_for_one() {
    let right = [("0", 0), ("7", 7), ("-1", -1), ("10", 10), ("9223372036854775807", i64::MAX)];
    for (text, value) in right.into_iter().chain([("-9223372036854775808", i64::MIN)]) {
        assert_eq!(number(text.as_bytes()), Some(value));
    }
    let wrong =
        ["", "-", "-0", "00", "01", "-01", "+1", " 1", "1 ", "1\0", "a", "\u{661}", "--1", "1-"];
    for text in wrong.into_iter().chain([
        "9223372036854775808",
        "-9223372036854775809",
        "100000000000000000000",
    ]) {
        assert_eq!(number(text.as_bytes()), None, "{text:?}");
    }
    assert_eq!(number(b"\xff"), None);
}
