//! The crate `redis-protocol` as oracle: it understands well-formed requests and replies as we do. Each test prints its seed.
//!
//! ```text
//! RESP_SEED=<seed> cargo test -p actix-wal-redis --lib resp::tests::oracle
//! ```
//!
//! Only for what is well-formed: nested arrays by the ten thousand abort the process of the oracle.

use actix_wal::testkit::Random;
use bytes::BytesMut;
use redis_protocol::resp2::types::{OwnedFrame as Frame2, Resp2Frame};
use redis_protocol::resp3::types::{OwnedFrame as Frame3, VerbatimStringFormat};
use redis_protocol::{resp2, resp3};
use test_support::environment::seed;

use super::super::{Protocol, Reply, Request};
use super::{KNOWN, in_pieces};

const ROUNDS: usize = 2_000;

/// Bytes that look like the protocol more often than not.
fn bytes(random: &mut Random) -> Vec<u8> {
    let length = match random.of(0..=9) {
        0 => 0,
        1 => random.of(0..=40_000),
        _ => random.of(1..=40),
    };
    (0..length)
        .map(|_| {
            if random.one_in(2) {
                random.pick(b"\r\n$*-:+_%0123 \"'\0")
            } else {
                random.number() as u8
            }
        })
        .collect()
}

fn pieces<'a>(mut bytes: &'a [u8], random: &mut Random) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    let most = random.pick(&[1, 3, 100, 100_000]);
    while !bytes.is_empty() {
        let (piece, rest) = bytes.split_at(random.of(1..=most).min(bytes.len()));
        pieces.push(piece);
        bytes = rest;
    }
    pieces
}

#[test]
fn the_oracle_encodes_requests_as_we_read_them() {
    let mut random = Random::new(seed("RESP_SEED"));
    for _ in 0..ROUNDS {
        let (mut stream, mut sent) = (Vec::new(), Vec::new());
        for _ in 0..random.of(1..=6) {
            let request: Vec<Vec<u8>> = (0..random.of(1..=7)).map(|_| bytes(&mut random)).collect();
            let parts = request.iter().cloned().map(Frame2::BulkString).collect();
            let array = Frame2::Array(parts);
            let mut encoded = vec![0; array.encode_len(false)];
            resp2::encode::encode(&mut encoded, &array, false).unwrap();
            stream.extend_from_slice(&encoded);
            sent.push(Request::of(request));
        }
        let pieces = pieces(&stream, &mut random);
        assert_eq!(in_pieces(pieces, &KNOWN), (sent, None), "{}", stream.escape_ascii());
    }
}

/// A reply, and what the oracle has to read from it in both versions.
fn reply(random: &mut Random, depth: usize) -> (Reply, Frame2, Frame3) {
    let attributes = None;
    let kinds = if depth == 0 { 7 } else { 9 };
    match random.of(0..=kinds - 1) {
        0 => {
            let text = random.pick(&["OK", "PONG", "QUEUED", ""]);
            let data = text.as_bytes().to_vec();
            (
                Reply::Status(text),
                Frame2::SimpleString(data.clone()),
                Frame3::SimpleString { data, attributes },
            )
        }
        1 => {
            let text = random.pick(&["syntax error", "a\r\nb", "\u{e9}"]);
            let data = format!("ERR {text}").replace(['\r', '\n'], " ");
            (
                Reply::err(text),
                Frame2::Error(data.clone()),
                Frame3::SimpleError { data, attributes },
            )
        }
        2 => {
            let number = random.number() as i64 >> random.of(0..=63);
            (
                Reply::Integer(number),
                Frame2::Integer(number),
                Frame3::Number { data: number, attributes },
            )
        }
        3 => {
            let data = bytes(random);
            (
                Reply::bulk(data.clone()),
                Frame2::BulkString(data.clone()),
                Frame3::BlobString { data, attributes },
            )
        }
        4 => {
            let data = bytes(random);
            let format = VerbatimStringFormat::Text;
            (
                Reply::Verbatim(data.clone().into()),
                Frame2::BulkString(data.clone()),
                Frame3::VerbatimString { data, format, attributes },
            )
        }
        5 => (Reply::Null, Frame2::Null, Frame3::Null),
        6 => (Reply::NullArray, Frame2::Null, Frame3::Null),
        _ => several(random, depth - 1),
    }
}

/// One that holds others.
fn several(random: &mut Random, depth: usize) -> (Reply, Frame2, Frame3) {
    let attributes = None;
    if random.of(0..=1) == 0 {
        let (mut all, mut all2, mut data) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..random.of(0..=4) {
            let (one, one2, one3) = reply(random, depth);
            all.push(one);
            all2.push(one2);
            data.push(one3);
        }
        return (Reply::Array(all), Frame2::Array(all2), Frame3::Array { data, attributes });
    }
    let (mut all, mut all2, mut data) = (Vec::new(), Vec::new(), std::collections::HashMap::new());
    for at in 0..random.of(0..=4) {
        let key = at.to_string();
        let (one, one2, one3) = reply(random, depth);
        all.push((Reply::bulk(key.clone()), one));
        all2.extend([Frame2::BulkString(key.clone().into()), one2]);
        data.insert(Frame3::BlobString { data: key.into(), attributes: None }, one3);
    }
    (Reply::Map(all), Frame2::Array(all2), Frame3::Map { data, attributes })
}

#[test]
fn the_oracle_reads_replies_as_we_mean_them() {
    let mut random = Random::new(seed("RESP_SEED"));
    for _ in 0..ROUNDS {
        let (reply, frame2, frame3) = reply(&mut random, 3);
        let (mut resp2, mut resp3) = (BytesMut::new(), BytesMut::new());
        reply.clone().write(&mut resp2, Protocol::Resp2);
        reply.clone().write(&mut resp3, Protocol::Resp3);
        let read = resp2::decode::decode(&resp2).unwrap();
        assert_eq!(read, Some((frame2, resp2.len())), "{}", resp2.escape_ascii());
        let read = resp3::decode::complete::decode(&resp3).unwrap();
        assert_eq!(read, Some((frame3, resp3.len())), "{}", resp3.escape_ascii());
    }
}
