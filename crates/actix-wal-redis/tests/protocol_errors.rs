//! Malformed and odd requests, each with what Redis 7.0.15 answers to it. The parser has to answer the same, and so has the
//! real `redis-server` where it is installed.
//!
//! The commands are ones that do not exist, because Redis tells their names and arguments back: the answer shows what was
//! understood.
//!
//! ```text
//! PROTOCOL_SEED=<seed> cargo test -p actix-wal-redis --test protocol_errors
//! ```

#![allow(clippy::unwrap_used, reason = "a test that can not go on has failed")]

use actix_wal::testkit::Random;
use actix_wal_redis::resp::{Limits, Parser, Protocol, Request};
use bytes::BytesMut;
use test_support::environment::seed;
use test_support::real_redis::RealRedis;

/// What Redis has by default.
const KNOWN: Limits =
    Limits { arguments: i32::MAX as usize, bulk: 512 << 20, request: 1 << 30, is_stranger: false };

const STRANGER: Limits = Limits { is_stranger: true, ..KNOWN };

/// A row of the table: what is sent, and the requests that are answered, each as one line; then the error, if any.
type Row = (Vec<u8>, Vec<u8>);

fn row(sent: impl AsRef<[u8]>, requests: &[&str], error: &str) -> Row {
    let mut answer = Vec::new();
    for request in requests {
        let (name, arguments) = request.split_once('|').unwrap_or((request, ""));
        let unknown =
            format!("-ERR unknown command '{name}', with args beginning with: {arguments}\r\n");
        answer.extend_from_slice(unknown.as_bytes());
    }
    if !error.is_empty() {
        answer.extend_from_slice(format!("-ERR Protocol error: {error}\r\n").as_bytes());
    }
    (sent.as_ref().to_vec(), answer)
}

fn counts() -> Vec<Row> {
    let invalid = "invalid multibulk length";
    let digits = |count| format!("*{}", "1".repeat(count));
    vec![
        row("*2147483647\r\n", &[], ""),
        row("*2147483648\r\n", &[], invalid),
        row("*1048577\r\n", &[], ""),
        row("*999999999\r\n", &[], ""),
        row("*1000000000\r\n", &[], ""),
        row("*-1\r\n*0\r\n*-9223372036854775808\r\nx\r\n", &["x"], ""),
        row("*-9223372036854775809\r\n", &[], invalid),
        row("*9223372036854775808\r\n", &[], invalid),
        row("*\r\n", &[], invalid),
        row("*-\r\n", &[], invalid),
        row("*-0\r\n", &[], invalid),
        row("*+1\r\n", &[], invalid),
        row("*01\r\n", &[], invalid),
        row("* 1\r\n", &[], invalid),
        row("*1 \r\n", &[], invalid),
        row("*x\r\n", &[], invalid),
        row("*1\n$1\r\nx\r\n", &[], invalid),
        row("*1\rX$1\rYxZZ", &["x"], ""),
        row("*1\r", &[], ""),
        row("*1\0\r\n$1\r\nx\r\n", &[], ""),
        row(digits(65_535), &[], ""),
        row(digits(65_536), &[], "too big mbulk count string"),
        row([&b"*1\0"[..], &b"\r\n".repeat(32_767)].concat(), &[], "too big mbulk count string"),
        row("x y\r\n*z\r\n*1\r\n$1\r\nx\r\n", &["x|'y' "], invalid),
    ]
}

fn lengths() -> Vec<Row> {
    let invalid = "invalid bulk length";
    let digits = |count| format!("*1\r\n${}", "1".repeat(count));
    vec![
        row("*1\r\n$0\r\n\r\n", &[""], ""),
        row("*2\r\n$1\r\nx\r\n$0\r\n\r\n", &["x|'' "], ""),
        row("*1\r\n$536870912\r\n", &[], ""),
        row("*1\r\n$536870913\r\n", &[], invalid),
        row("*1\r\n$-1\r\n", &[], invalid),
        row("*1\r\n$\r\n", &[], invalid),
        row("*1\r\n$00\r\n", &[], invalid),
        row("*1\r\n$-0\r\n", &[], invalid),
        row("*1\r\n$1 \r\n", &[], invalid),
        row("*1\r\n$9223372036854775808\r\n", &[], invalid),
        row("*1\r\n$1\n\r\nx\r\n", &[], invalid),
        row("*1\r\n$1\0\r\nx\r\n", &[], ""),
        row(digits(65_535), &[], ""),
        row(digits(65_536), &[], "too big bulk count string"),
        row([&b"*1\r\nx"[..], &b"x".repeat(65_536)].concat(), &[], "too big bulk count string"),
        row("*1\r\nPING", &[], ""),
        row("*1\r\nPING\r", &[], ""),
        row("*1\r\nPING\r\n", &[], "expected '$', got 'P'"),
        row("*1\r\n\r\n", &[], "expected '$', got ' '"),
        row("*1\r\n\n\r\n", &[], "expected '$', got ' '"),
        row("*1\r\n\r1\r\nx\r\n", &[], "expected '$', got ' '"),
        row("*1\r\n\x001\r\nx\r\n", &[], ""),
        row("*1\r\n$1000000000\r\n", &[], invalid),
        row("*1\r\n$0000000001\r\nx\r\n", &[], invalid),
        row("*1\r\n*1\r\n*1\r\n", &[], "expected '$', got '*'"),
        row("*2\r\n$1\r\nx\r\n:1\r\n", &[], "expected '$', got ':'"),
        (b"*1\r\n\xff\r\n".to_vec(), b"-ERR Protocol error: expected '$', got '\xff'\r\n".to_vec()),
    ]
}

fn lines() -> Vec<Row> {
    let unbalanced = "unbalanced quotes in request";
    vec![
        row("\r\n\n \t \x0b\x0c\r\nx\n", &["x"], ""),
        row("x\ty\rz\r\r\n", &["x|'y' 'z' "], ""),
        row("x\x0by \x0cz\x0c\r\n", &["x\x0by|'z\x0c' "], ""),
        row("x \"y\"\x0bz\r\n", &["x|'y' 'z' "], ""),
        row("x\"y z\" 'a b'\r\n", &["xy z|'a b' "], ""),
        row("\"\" ''\r\n", &["|'' "], ""),
        row(r#"x "\x41\xg\q\a" 'a\'b\n'"#.to_owned() + "\r\n", &["x|'Axgq\x07' 'a'b\\n' "], ""),
        row("\"x\\ny\" \"\\x00z\"\r\n", &["x y|'' "], ""),
        row("x\"y\"z\r\n", &[], unbalanced),
        row("x 'y'z\r\n", &[], unbalanced),
        row("x\r\ny \"\r\nz\r\n", &["x"], unbalanced),
        row("x '\r\n", &[], unbalanced),
        row("x\0y\r\nz\r\n", &[], ""),
        row("\0\r\nz\r\n", &[], ""),
        row("x", &[], ""),
        row("x".repeat(65_536), &[], ""),
        row("x".repeat(65_537), &[], "too big inline request"),
        row([&b"x\0"[..], &b"\n".repeat(65_535)].concat(), &[], "too big inline request"),
        row("$1\r\nx\r\n", &["$1", "x"], ""),
    ]
}

fn of_strangers() -> Vec<Row> {
    let arguments =
        format!("*10\r\n{}", format!("$16384\r\n{}\r\n", "x".repeat(16_384)).repeat(10));
    let (x, y) = ("x".repeat(128), format!("x|{}", "'y' ".repeat(20)));
    let y = y.as_str();
    vec![
        row("*10\r\n", &[], ""),
        row("*11\r\n", &[], "unauthenticated multibulk length"),
        row("*2147483647\r\n", &[], "unauthenticated multibulk length"),
        row("*2147483648\r\n", &[], "invalid multibulk length"),
        row("*1\r\n$16384\r\n", &[], ""),
        row("*1\r\n$16385\r\n", &[], "unauthenticated bulk length"),
        row("*1\r\n$536870913\r\n", &[], "invalid bulk length"),
        row(arguments, &[&format!("{x}|'{x}' ")], ""),
        row("x ".to_owned() + &"y ".repeat(20) + "\r\n", &[y], ""),
    ]
}

/// What Redis answers to a command that it does not know. Its texts end at a NUL, as those of C do.
fn unknown(request: &Request) -> Vec<u8> {
    let text = |part: &[u8], most| -> Vec<u8> {
        part.iter().copied().take_while(|byte| *byte != 0).take(most).collect()
    };
    let mut arguments = Vec::new();
    for part in request.parts_from(1) {
        if arguments.len() < 128 {
            let shown = text(part, 128 - arguments.len());
            arguments.extend_from_slice(&[b"'", &shown[..], b"' "].concat());
        }
    }
    let name = text(request.part(0), 128);
    let mut line =
        [b"-ERR unknown command '", &name[..], b"', with args beginning with: ", &arguments]
            .concat();
    line.iter_mut().filter(|byte| matches!(byte, b'\r' | b'\n')).for_each(|byte| *byte = b' ');
    [&line[..], b"\r\n"].concat()
}

/// What our parser makes of it.
fn ours(sent: &[u8], limits: &Limits) -> Vec<u8> {
    let (mut parser, mut buffer) = (Parser::default(), BytesMut::from(sent));
    let mut answer = BytesMut::new();
    loop {
        match parser.next(&mut buffer, limits) {
            Ok(Some(request)) => answer.extend_from_slice(&unknown(&request)),
            Ok(None) => return answer.to_vec(),
            Err(error) => {
                error.reply().write(&mut answer, Protocol::Resp2);
                return answer.to_vec();
            }
        }
    }
}

fn begin(bytes: &[u8]) -> String {
    bytes[..bytes.len().min(300)].escape_ascii().to_string()
}

fn assert_answers(rows: Vec<Row>, options: &[&str], limits: &Limits) {
    let real = RealRedis::start(options);
    for (sent, expected) in rows {
        let answer = ours(&sent, limits);
        assert_eq!(begin(&answer), begin(&expected), "ours to {}", begin(&sent));
        if let Some(real) = &real {
            assert_eq!(begin(&real.answer(&sent)), begin(&expected), "Redis to {}", begin(&sent));
        }
    }
}

#[test]
fn each_odd_count_length_and_line_is_answered_as_redis_does() {
    assert_answers([counts(), lengths(), lines()].concat(), &[], &KNOWN);
}

#[test]
fn a_client_without_its_password_is_answered_as_redis_does() {
    assert_answers(of_strangers(), &["--requirepass", "p"], &STRANGER);
}

/// Requests, most of them odd, none of which is a command that exists.
fn odd(random: &mut Random) -> Vec<u8> {
    const PIECES: [&[u8]; 36] = [
        b"*1\r\n",
        b"*2\r\n",
        b"*3\r\n",
        b"*0\r\n",
        b"*-1\r\n",
        b"*11\r\n",
        b"$1\r\n",
        b"$2\r\n",
        b"$0\r\n",
        b"$-1\r\n",
        b"$16385\r\n",
        b"x\r\n",
        b"xx\r\n",
        b"\r\n",
        b"\r",
        b"\n",
        b"*",
        b"$",
        b"1",
        b"x",
        b"y ",
        b" ",
        b"\t",
        b"\x0b",
        b"\x0c",
        b"\"",
        b"'",
        b"\\",
        b"\\x00",
        b"\\xfF",
        b"\\n",
        b"\0",
        b"\xff",
        b"*1\r\n$1\r\nx\r\n",
        b"*2\r\n$1\r\nx\r\n$2\r\n\r\n\r\n",
        b"x 'y' \"z\"\r\n",
    ];
    (0..random.of(1..=12)).flat_map(|_| random.pick(&PIECES).to_vec()).collect()
}

#[test]
fn odd_bytes_at_random_are_answered_as_redis_does() {
    let Some(known) = RealRedis::start(&[]) else { return };
    let stranger = RealRedis::start(&["--requirepass", "p"]).unwrap();
    let mut random = Random::new(seed("PROTOCOL_SEED"));
    for _ in 0..4_000 {
        let sent = odd(&mut random);
        for (real, limits) in [(&known, &KNOWN), (&stranger, &STRANGER)] {
            let (ours, theirs) = (ours(&sent, limits), real.answer(&sent));
            assert_eq!(begin(&ours), begin(&theirs), "{limits:?} {}", sent.escape_ascii());
        }
    }
}
