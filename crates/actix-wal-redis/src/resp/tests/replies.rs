//! Replies, in both versions.

use bytes::{Bytes, BytesMut};

use super::super::{Protocol, ProtocolError, Reply};

fn written(reply: &Reply, protocol: Protocol) -> Vec<u8> {
    let mut buffer = BytesMut::from("+before\r\n");
    reply.clone().write(&mut buffer, protocol);
    buffer.strip_prefix(b"+before\r\n").unwrap().to_vec()
}

#[track_caller]
fn assert_written(reply: Reply, resp2: &[u8], resp3: &[u8]) {
    for (protocol, expected) in [(Protocol::Resp2, resp2), (Protocol::Resp3, resp3)] {
        let written = written(&reply, protocol);
        assert_eq!(written, expected, "{protocol:?} {}", written.escape_ascii());
    }
}

#[track_caller]
fn assert_same(reply: Reply, expected: &[u8]) {
    assert_written(reply, expected, expected);
}

#[test]
fn most_replies_are_the_same_in_both_versions() {
    assert_same(Reply::OK, b"+OK\r\n");
    assert_same(Reply::Status("QUEUED"), b"+QUEUED\r\n");
    assert_same(Reply::err("syntax error"), b"-ERR syntax error\r\n");
    assert_same(Reply::Integer(i64::MIN), b":-9223372036854775808\r\n");
    assert_same(Reply::Integer(0), b":0\r\n");
    assert_same(Reply::flag(true), b":1\r\n");
    assert_same(Reply::bulk("a\r\n\0b"), b"$5\r\na\r\n\0b\r\n");
    assert_same(Reply::bulk(""), b"$0\r\n\r\n");
    assert_same(Reply::bulk_or_null(Some(Bytes::from("x"))), b"$1\r\nx\r\n");
    assert_same(Reply::Array(vec![]), b"*0\r\n");
}

#[test]
fn nulls_maps_and_texts_differ() {
    assert_written(Reply::Null, b"$-1\r\n", b"_\r\n");
    assert_written(Reply::bulk_or_null(None), b"$-1\r\n", b"_\r\n");
    assert_written(Reply::NullArray, b"*-1\r\n", b"_\r\n");
    assert_written(Reply::Verbatim("a\nb".into()), b"$3\r\na\nb\r\n", b"=7\r\ntxt:a\nb\r\n");
    assert_written(Reply::Map(vec![]), b"*0\r\n", b"%0\r\n");
    assert_written(
        Reply::Map(vec![
            (Reply::bulk("a"), Reply::Null),
            (Reply::Integer(1), Reply::Array(vec![])),
        ]),
        b"*4\r\n$1\r\na\r\n$-1\r\n:1\r\n*0\r\n",
        b"%2\r\n$1\r\na\r\n_\r\n:1\r\n*0\r\n",
    );
    assert_written(
        Reply::Array(vec![Reply::Null, Reply::Array(vec![Reply::NullArray, Reply::OK])]),
        b"*2\r\n$-1\r\n*2\r\n*-1\r\n+OK\r\n",
        b"*2\r\n_\r\n*2\r\n_\r\n+OK\r\n",
    );
}

#[test]
fn an_error_has_one_line_whatever_the_client_sent() {
    assert_same(Reply::err("unknown 'a\r\nb'"), b"-ERR unknown 'a  b'\r\n");
    assert_same(Reply::RawError(Bytes::from(&b"ERR '\xff\r\0\n'"[..])), b"-ERR '\xff \0 '\r\n");
    assert!(Reply::err("").is_error() && Reply::RawError(Bytes::new()).is_error());
    assert!(!Reply::OK.is_error());
}

#[test]
fn an_error_of_the_protocol_gives_back_the_byte_as_it_came() {
    assert_same(
        ProtocolError::UnbalancedQuotes.reply(),
        b"-ERR Protocol error: unbalanced quotes in request\r\n",
    );
    for got in [b'P', 0xff, b'\r', b'\n'] {
        let shown = if got.is_ascii_control() { b' ' } else { got };
        let expected =
            [b"-ERR Protocol error: expected '$', got '", &[shown][..], b"'\r\n"].concat();
        assert_same(ProtocolError::NoArgument(got).reply(), &expected);
    }
    assert_eq!(
        ProtocolError::NoArgument(b'P').to_string(),
        "Protocol error: expected '$', got 'P'"
    );
}
