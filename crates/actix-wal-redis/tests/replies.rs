//! Each form of a reply, in both versions of the protocol, against what Redis 7.0.15 writes. The real `redis-server` has to
//! give the same, where it is installed.

#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]

use actix_wal_redis::resp::{Protocol, Reply};
use bytes::BytesMut;
use test_support::real_redis::RealRedis;

/// What a client sends, and the reply.
fn rows() -> Vec<(&'static str, Reply)> {
    let array =
        |all: &[&'static str]| Reply::Array(all.iter().map(|one| Reply::bulk(*one)).collect());
    vec![
        ("PING", Reply::Status("PONG")),
        ("SET n 41", Reply::OK),
        ("INCR n", Reply::Integer(42)),
        ("DECRBY m 9", Reply::Integer(-9)),
        ("GET n", Reply::bulk("42")),
        ("SET e ''", Reply::OK),
        ("GET e", Reply::bulk("")),
        (r#"ECHO "\r\n\x00\xc3\xa9""#, Reply::bulk("\r\n\0\u{e9}")),
        ("GET none", Reply::Null),
        ("MGET n none", Reply::Array(vec![Reply::bulk("42"), Reply::Null])),
        ("KEYS none", array(&[])),
        ("SCAN 0 MATCH none", Reply::Array(vec![Reply::bulk("0"), array(&[])])),
        ("CONFIG GET none", Reply::Map(vec![])),
        ("CONFIG GET databases", Reply::Map(vec![(Reply::bulk("databases"), Reply::bulk("16"))])),
        ("LOLWUT VERSION 99", Reply::Verbatim("Redis ver. 7.0.15\n".into())),
        ("INCR e", Reply::err("value is not an integer or out of range")),
        (
            r#""x\r\ny" "\n""#,
            Reply::err("unknown command 'x\r\ny', with args beginning with: '\n' "),
        ),
        (
            r#"x "\xff""#,
            Reply::RawError(
                b"ERR unknown command 'x', with args beginning with: '\xff' "[..].into(),
            ),
        ),
        ("WATCH n", Reply::OK),
        ("SET n 1", Reply::OK),
        ("MULTI", Reply::OK),
        ("PING", Reply::Status("QUEUED")),
        ("EXEC", Reply::NullArray),
        ("MULTI", Reply::OK),
        ("GET none", Reply::Status("QUEUED")),
        ("MGET none", Reply::Status("QUEUED")),
        ("EXEC", Reply::Array(vec![Reply::Null, Reply::Array(vec![Reply::Null])])),
    ]
}

#[test]
fn each_form_is_written_as_redis_does() {
    for (hello, protocol) in [("2", Protocol::Resp2), ("3", Protocol::Resp3)] {
        let (mut sent, mut expected) =
            (format!("HELLO {hello}\r\nECHO begin\r\n"), BytesMut::new());
        for (request, reply) in rows() {
            sent.extend([request, "\r\n"]);
            reply.write(&mut expected, protocol);
        }
        let Some(real) = RealRedis::start(&[]) else { return };
        let answer = real.answer(sent.as_bytes());
        let begin = b"$5\r\nbegin\r\n";
        let at = answer.windows(begin.len()).position(|window| window == begin).unwrap();
        let answer = answer[at + begin.len()..].escape_ascii().to_string();
        assert_eq!(
            answer.replace("\\r\\n", "\n"),
            expected.escape_ascii().to_string().replace("\\r\\n", "\n")
        );
    }
}
