//! Lines.

use super::super::ProtocolError::UnbalancedQuotes;
use super::super::Request;
use super::{KNOWN, all, error, one};

#[track_caller]
fn assert_line<const N: usize>(line: &[u8], parts: [&[u8]; N]) {
    let line = [line, b"\n"].concat();
    assert_eq!(one(&line), Request::of(parts), "{}", line.escape_ascii());
}

#[test]
fn a_line_is_a_request_with_either_end() {
    assert_line(b"GET key", [b"GET", b"key"]);
    assert_line(b"GET key\r", [b"GET", b"key"]);
    assert_line(b"  GET \t key  \r\r", [b"GET", b"key"]);
}

#[test]
fn empty_lines_are_nothing() {
    assert_eq!(all(b"\r\n\n \t\r\n\x0b\x0c\nx\n", &KNOWN), (vec![Request::of(["x"])], None));
}

#[test]
fn an_argument_ends_at_four_of_the_six_kinds_of_space() {
    assert_line(b"a\tb\rc d", [b"a", b"b", b"c", b"d"]);
    assert_line(b"a\x0bb c\x0cd", [b"a\x0bb", b"c\x0cd"]);
    assert_line(b"a \x0bb\x0b \x0cc", [b"a", b"b\x0b", b"c"]);
}

#[test]
fn double_quotes_know_escapes() {
    assert_line(br#"a "b c" "" "d\"e""#, [b"a", b"b c", b"", b"d\"e"]);
    assert_line(br#""\n\r\t\b\a\q\\""#, [b"\n\r\t\x08\x07q\\"]);
    assert_line(br#""\x00\xfF\xg1\x1g""#, [b"\0\xffxg1x1g"]);
    assert_line(br#"a"b c" "d'e""#, [b"ab c", b"d'e"]);
}

#[test]
fn single_quotes_know_one_escape() {
    assert_line(br"'a b' '' 'c\'d' '\n\x41\\ '", [b"a b", b"", b"c'd", br"\n\x41\\ "]);
    assert_line(br#"a'b "c'"#, [b"ab \"c"]);
}

#[test]
fn behind_a_closing_quote_stands_a_space_or_nothing() {
    for wrong in [&b"\"a\"b"[..], b"'a'b", b"\"a\"'b'", b"\"\"\"", b"'a'\"b\""] {
        assert_eq!(error(&[wrong, b"\r\n"].concat(), &KNOWN), Some(UnbalancedQuotes));
    }
    for space in [b' ', b'\t', b'\r', 0x0b, 0x0c] {
        assert_line(&[b"\"a\"", &[space][..], b"'b'", &[space][..]].concat(), [b"a", b"b"]);
    }
}

#[test]
fn a_quote_is_closed_in_its_line() {
    for wrong in
        [&b"\""[..], b"'", b"a \"b", b"a'", b"\"a\\\"", b"'a\\'", b"\"a\\", b"\"\\x4", b"\"\\x"]
    {
        assert_eq!(error(&[wrong, b"\r\n\"\r\n"].concat(), &KNOWN), Some(UnbalancedQuotes));
    }
}

#[test]
fn a_line_may_have_as_many_arguments_as_fit() {
    let line = b"a ".repeat(32 << 10);
    let request = one(&[&line[..line.len() - 1], b"\n"].concat());
    assert_eq!(request.len(), 32 << 10);
    assert!(request.size() < 8 * line.len());
}
