//! Guards P21 for what stands on it: whatever bytes a client sends, it gets an error or a closed connection. The server goes
//! on to serve all others, within its memory.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on has failed")]

mod support;

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use actix_wal::testkit::Random;
use actix_wal::{Lsn, Wal, WalConfig};
use rustix::process::{Resource, getrlimit, setrlimit};
use tempfile::TempDir;
use test_support::environment::seed;
use test_support::scratch::folder;
use test_support::skips::leave_out;

use self::support::answer::Answer;
use self::support::client::{Client, is_end, request};
use self::support::program::Server;

const MIB: usize = 1 << 20;

fn server(options: &[&str]) -> (TempDir, Server) {
    let folder = folder();
    let server = Server::ours(&folder.path().join("data"), options);
    (folder, server)
}

/// How much memory the server has in use.
fn memory(server: &Server) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.process())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("on Linux");
    line.trim().trim_end_matches(" kB").trim().parse::<usize>().unwrap() << 10
}

/// Somebody else is served as if nothing were.
fn serves_others(server: &Server) {
    let mut client = server.client();
    assert!(client.call("SET other value").is_ok());
    assert_eq!(client.call("GET other"), Answer::Bulk(b"value".to_vec()));
}

/// The last answer before the connection is closed.
fn last_words(client: &mut Client) -> Option<Answer> {
    std::iter::from_fn(|| client.next()).last()
}

#[test]
fn lengths_that_no_request_has_are_protocol_errors() {
    let (_folder, server) = server(&[]);
    let long = |first: &str, byte: u8| [first.as_bytes(), &vec![byte; MIB]].concat();
    for (bytes, error) in [
        (b"*1\r\n$-1\r\n".to_vec(), "invalid bulk length"),
        (b"*9223372036854775808\r\n".to_vec(), "invalid multibulk length"),
        (b"*9223372036854775807\r\n".to_vec(), "invalid multibulk length"),
        (b"*2147483648\r\n".to_vec(), "invalid multibulk length"),
        (b"*1\r\n$9223372036854775808\r\n".to_vec(), "invalid bulk length"),
        (b"*1\r\n$9223372036854775807\r\n".to_vec(), "invalid bulk length"),
        (b"*1\r\n$629145600\r\n".to_vec(), "invalid bulk length"),
        (b"*1\r\n".repeat(10_000), "expected '$', got '*'"),
        (long("", b'x'), "too big inline request"),
        (long("*", b'1'), "too big mbulk count string"),
        (long("*1\r\n$", b'1'), "too big bulk count string"),
        (long("\0", b'\0'), "too big inline request"),
        (b"SET \"a\r\n".to_vec(), "unbalanced quotes in request"),
    ] {
        let mut client = server.client();
        let shown = support::answer::shown(&bytes);
        // The server may hang up before it has read all of it.
        let sent = client.send(&bytes);
        assert!(sent.as_ref().map_or_else(is_end, |()| true), "{shown}: {sent:?}");
        match last_words(&mut client) {
            Some(Answer::Error(text)) => assert_eq!(text, format!("ERR Protocol error: {error}")),
            // What was not read when the connection was closed may take the last answer with it.
            None if bytes.len() >= MIB => {}
            other => panic!("{shown}: {other:?}"),
        }
        serves_others(&server);
    }
    // As in Redis, arrays of no elements are no requests.
    let mut client = server.client();
    client.send(b"*-1\r\n*0\r\n\r\n*-9223372036854775808\r\nPING\r\n").unwrap();
    assert_eq!(client.next(), Some(Answer::Status("PONG".into())));
}

#[test]
fn what_is_only_announced_takes_no_memory() {
    let (_folder, server) = server(&[]);
    let before = memory(&server);
    let clients: Vec<_> = (0..200)
        .map(|at| {
            let mut client = server.client();
            let head: &[u8] = if at % 2 == 0 {
                b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$500000000\r\nxyz"
            } else {
                b"*1000000\r\n$4\r\nMGET\r\n"
            };
            client.send(head).unwrap();
            client
        })
        .collect();
    serves_others(&server);
    let after = memory(&server);
    assert!(after < before + 64 * MIB, "{before} bytes before, {after} after");
    drop(clients);
    serves_others(&server);
}

#[test]
fn requests_that_come_byte_by_byte_are_carried_out() {
    let (_folder, server) = server(&[]);
    let mut client = server.client();
    let requests =
        [request(&["SET", "a", "b\r\n\0c"]), b"get a\r\n".to_vec(), request(&["GET", "a"])];
    for byte in requests.concat() {
        client.send(&[byte]).unwrap();
        // Nagle's algorithm is off; so that the bytes come alone, the server has to get to each of them.
        std::thread::yield_now();
    }
    let value = Answer::Bulk(b"b\r\n\0c".to_vec());
    assert!(client.next().unwrap().is_ok());
    assert_eq!((client.next(), client.next()), (Some(value.clone()), Some(value)));
}

#[test]
fn a_client_that_never_reads_takes_bounded_memory_and_stops_nobody() {
    let (_folder, server) = server(&[]);
    let mut client = server.client();
    let value = vec![b'x'; MIB];
    assert!(client.try_call(&[&b"SET"[..], b"large", &value]).unwrap().is_ok());
    for at in 0..5000 {
        assert!(client.call(&format!("SET key:{at} {at}")).is_ok());
    }
    // The last one holds a version of a value in each answer that no other answer has.
    let grown = [request(&["APPEND", "grows", "x"]), request(&["GET", "grows"])].concat();
    assert!(client.try_call(&[&b"SET"[..], b"grows", &value]).unwrap().is_ok());
    let before = memory(&server);
    let lazy: Vec<_> = [["GET", "large"], ["KEYS", "*"], ["ECHO", "x"], ["NOSUCH", "x"]]
        .iter()
        .map(|parts| request(parts))
        .chain([grown])
        .map(|requests| send_until_nothing_goes(server.client(), &requests))
        .collect();
    for _ in 0..20 {
        serves_others(&server);
    }
    let after = memory(&server);
    assert!(after < before + 128 * MIB, "{before} bytes before, {after} after");
    // What it has asked for waits for it.
    let mut lazy = lazy.into_iter();
    let mut reads = lazy.next().unwrap();
    for _ in 0..100 {
        assert_eq!(reads.next(), Some(Answer::Bulk(value.clone())));
    }
    drop((reads, lazy));
    serves_others(&server);
}

#[test]
fn a_client_that_is_silent_for_longer_than_is_allowed_is_disconnected_and_one_that_waits_is_not() {
    let (_folder, server) = server(&[]);
    let (mut silent, mut waits) = (server.client(), server.client());
    assert_eq!(silent.call("PING"), Answer::Status("PONG".to_owned()));
    // No replica comes, so it waits for all of its time: longer than a silent client may be there.
    waits.send(b"WAITAOF 0 1 3000\r\n").unwrap();
    assert!(server.client().call("CONFIG SET timeout 1").is_ok());
    assert!(silent.is_closed());
    assert_eq!(waits.next(), Some(Answer::Array(vec![Answer::Integer(0), Answer::Integer(0)])));
    serves_others(&server);
}

/// Sends a request again and again until the socket takes nothing for a while, or the server has hung up.
fn send_until_nothing_goes(mut client: Client, request: &[u8]) -> Client {
    client.stream().set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let requests = request.repeat(2000);
    for _ in 0..2000 {
        match client.send(&requests) {
            Ok(()) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                break;
            }
            Err(error) if is_end(&error) => break,
            Err(error) => panic!("{error}"),
        }
    }
    client
}

#[test]
fn clients_past_the_limit_are_refused_until_others_go() {
    let (_folder, server) = server(&["--maxclients", "20"]);
    let mut clients: Vec<_> = (0..20).map(|_| server.client()).collect();
    for client in &mut clients {
        assert_eq!(client.call("PING"), Answer::Status("PONG".into()));
    }
    for _ in 0..5 {
        let mut refused = server.client();
        let answer = refused.next().expect("a reason");
        assert_eq!(answer.error(), "ERR max number of clients reached");
        assert!(refused.is_closed());
    }
    assert_eq!(clients[7].call("QUIT"), Answer::Status("OK".into()));
    assert!(clients.remove(7).is_closed());
    assert_eq!(server.client().call("PING"), Answer::Status("PONG".into()));
}

#[test]
fn ten_thousand_clients_are_served_and_one_more_is_refused() {
    const MANY: u64 = 10_000;
    let mut limit = getrlimit(Resource::Nofile);
    if limit.maximum.is_some_and(|most| most < MANY + 1000) {
        return leave_out("a process may not have 11,000 files here");
    }
    limit.current = Some(limit.current.unwrap_or(0).max(MANY + 1000));
    setrlimit(Resource::Nofile, limit).unwrap();
    let (_folder, server) = server(&[]);
    let mut clients: Vec<_> = (0..MANY).map(|_| server.client()).collect();
    for client in &mut clients {
        client.send(b"PING\r\n").unwrap();
    }
    for client in &mut clients {
        assert_eq!(client.next(), Some(Answer::Status("PONG".into())));
    }
    let refused = server.client().next();
    assert_eq!(refused, Some(Answer::Error("ERR max number of clients reached".into())));
    drop(clients);
    // Those that are gone make room, as soon as the server has seen that they are.
    while server.client().try_call(&["PING"]) != Some(Answer::Status("PONG".into())) {}
}

#[test]
fn numbers_past_64_bits_are_errors_and_change_nothing() {
    let (_folder, server) = server(&[]);
    let mut client = server.client();
    assert!(client.call("SET n 9223372036854775807").is_ok());
    for line in [
        "INCR n",
        "INCRBY n 1",
        "DECRBY n -9223372036854775808",
        "INCRBY n 9223372036854775808",
        "INCRBY n 99999999999999999999999999",
        "EXPIRE n 9223372036854775807",
        "PEXPIRE n 9223372036854775807",
        "SET n 1 EX 9223372036854775807",
        "SET n 1 PX 9223372036854775808",
        "GETRANGE n 0 9223372036854775808",
        "SETRANGE n 9223372036854775807 x",
        "SETRANGE n 9223372036854775808 x",
        "SELECT 9223372036854775808",
        "SCAN 18446744073709551616",
        "SCAN 0 COUNT 9223372036854775808",
        "GETEX n EXAT 9223372036854775807",
        "EXPIREAT n 9223372036854775807",
        "INCRBYFLOAT n 1e5000",
        "SWAPDB 0 4294967296",
    ] {
        let answer = client.call(line);
        assert!(matches!(&answer, Answer::Error(_)), "{line}: {answer:?}");
        assert_eq!(client.call("GET n"), Answer::Bulk(b"9223372036854775807".to_vec()), "{line}");
        assert_eq!(client.call("PTTL n"), Answer::Integer(-1), "{line}");
    }
}

#[test]
fn keys_and_values_are_any_bytes() {
    let (_folder, server) = server(&[]);
    let mut client = server.client();
    let all: Vec<u8> = (0..=255).collect();
    let keys: [&[u8]; 6] = [b"", b"\0", b"\0\0", b"\r\n", &all, &vec![b'k'; 100_000]];
    for (key, value) in keys.iter().zip(keys.iter().rev()) {
        assert!(client.try_call(&[b"SET", *key, *value]).unwrap().is_ok());
    }
    for (key, value) in keys.iter().zip(keys.iter().rev()) {
        assert_eq!(client.try_call(&[b"GET", *key]), Some(Answer::Bulk(value.to_vec())));
    }
    assert_eq!(client.call("DBSIZE"), Answer::Integer(6));
    let Answer::Array(mut found) = client.call("KEYS *") else { panic!("an array") };
    found.sort_by_key(|key| format!("{key:?}"));
    let mut expected: Vec<_> = keys.iter().map(|key| Answer::Bulk(key.to_vec())).collect();
    expected.sort_by_key(|key| format!("{key:?}"));
    assert_eq!(found, expected);
}

#[test]
fn what_is_larger_than_a_record_of_the_log_is_an_error_and_nothing_of_it_is_done() {
    let (_folder, server) = server(&[]);
    // A value that is too long is no request: the rest of it is not read.
    let mut client = server.client();
    let sent = client.send(&request(&[&b"SET"[..], b"large", &vec![b'v'; 100 * MIB]]));
    assert!(sent.as_ref().map_or_else(is_end, |()| true), "{sent:?}");
    // What was not read when the connection was closed may take the answer with it.
    if let Some(answer) = last_words(&mut client) {
        assert_eq!(answer.error(), "ERR Protocol error: invalid bulk length");
    }
    let (before, mut client) = (memory(&server), server.client());
    assert!(client.call("MULTI").is_ok());
    let piece = vec![b'v'; MIB];
    let mut refused = None;
    for at in 0..100 {
        let key = format!("piece:{at}");
        let answer = client.try_call(&[b"SET", key.as_bytes(), &piece]).expect("an answer");
        refused = refused.or(matches!(answer, Answer::Error(_)).then_some(at));
    }
    let answer = client.call("EXEC");
    println!("refused from {refused:?} on: {answer:?}");
    assert!(answer.error().starts_with("EXECABORT"), "{answer:?}");
    assert_eq!(client.call("DBSIZE"), Answer::Integer(0), "nothing of it");
    for _ in 0..20 {
        assert!(client.try_call(&[b"SET", &b"same"[..], &piece]).unwrap().is_ok());
    }
    let after = memory(&server);
    assert!(after < before + 256 * MIB, "{before} bytes before, {after} after");
    serves_others(&server);
}

#[test]
fn values_past_the_limit_on_memory_are_refused_until_others_are_deleted() {
    let (_folder, server) = server(&["--maxmemory", "8mb"]);
    let mut client = server.client();
    let value = vec![b'v'; MIB / 4];
    let set = |client: &mut Client, at: usize| {
        client.try_call(&[b"SET", format!("key:{at}").as_bytes(), &value]).unwrap()
    };
    let stored = (0..100).take_while(|at| set(&mut client, *at).is_ok()).count();
    assert!((16..=32).contains(&stored), "{stored} values of 256 KiB in 8 MiB");
    let oom = "OOM command not allowed when used memory > 'maxmemory'.";
    assert_eq!(set(&mut client, 100).error(), oom);
    assert_eq!(client.call("GET key:100"), Answer::Null);
    assert_eq!(client.call("STRLEN key:0"), Answer::Integer(MIB as i64 / 4));
    assert!(client.call("MULTI").is_ok());
    set(&mut client, 101);
    assert!(client.call("EXEC").error().starts_with("EXECABORT"));
    assert_eq!(client.call("EXISTS key:101"), Answer::Integer(0));
    assert_eq!(client.call("DEL key:0 key:1 key:2 key:3"), Answer::Integer(4));
    // Old versions are freed a moment later.
    while !set(&mut client, 102).is_ok() {}
    assert!(client.call("CONFIG SET maxmemory 0").is_ok());
    assert!(set(&mut client, 103).is_ok() && set(&mut client, 104).is_ok());
}

#[test]
fn random_bytes_and_broken_requests_end_at_most_their_connection() {
    let (_folder, server) = server(&[]);
    let mut random = Random::new(seed("WAL_REDIS_SEED"));
    let good = [
        request(&["SET", "a", "1"]),
        request(&["MULTI"]),
        request(&["INCR", "a"]),
        request(&["EXEC"]),
        request(&["MGET", "a", "b", "c"]),
        request(&["SET", "a", "b", "EX", "100", "NX"]),
        request(&["SCAN", "0", "MATCH", "*", "COUNT", "10"]),
        request(&["HELLO", "3"]),
        b"set \"a\\x00\" 'b'\r\n".to_vec(),
    ];
    for round in 0..3000 {
        let mut bytes = if random.one_in(4) {
            let length = random.of(1..=200);
            random.bytes(length)
        } else {
            (0..random.of(1..=4))
                .flat_map(|_| good[random.of(0..=good.len() - 1)].clone())
                .collect()
        };
        for _ in 0..random.below(4) {
            let at = random.of(0..=bytes.len() - 1);
            match random.below(4) {
                0 => bytes.truncate(at + 1),
                1 => bytes[at] = random.number() as u8,
                2 => bytes.insert(at, random.pick(b"*$\r\n-0199\"'\\")),
                _ => drop(bytes.drain(at..(at + 3).min(bytes.len() - 1).max(at))),
            }
        }
        let mut client = server.client();
        client.send(&bytes).unwrap();
        client.end();
        // Each answer is one that can be read; then the connection is closed.
        while client.next().is_some() {}
        if round % 100 == 0 {
            serves_others(&server);
        }
    }
    serves_others(&server);
    assert!(server.terminate().success());
}

#[test]
fn strangers_may_send_little_before_their_password() {
    let (_folder, server) = server(&["--requirepass", "secret"]);
    for (bytes, error) in [
        (&b"*11\r\n"[..], "ERR Protocol error: unauthenticated multibulk length"),
        (b"*2\r\n$4\r\nECHO\r\n$16385\r\n", "ERR Protocol error: unauthenticated bulk length"),
    ] {
        let mut client = server.client();
        client.send(bytes).unwrap();
        assert_eq!(last_words(&mut client), Some(Answer::Error(error.into())));
    }
    let mut client = server.client();
    for line in ["GET a", "SET a b", "MULTI", "PING", "CONFIG GET requirepass", "FLUSHALL"] {
        assert_eq!(client.call(line).error(), "NOAUTH Authentication required.", "{line}");
    }
    assert!(client.call("AUTH wrong").error().starts_with("WRONGPASS"));
    assert!(client.call("AUTH secret").is_ok());
    assert!(client.call("SET a b").is_ok());
}

#[test]
fn no_server_listens_to_other_machines_without_a_password() {
    let folder = folder();
    let directory = folder.path().join("data");
    let why = Server::try_ours(&directory, &["--bind", "0.0.0.0"]).unwrap_err();
    assert!(why.contains("password") && why.contains("exit status: 1"), "{why}");
    let server = Server::ours(&directory, &["--bind", "0.0.0.0", "--requirepass", "secret"]);
    assert!(server.client().call("AUTH secret").is_ok());
}

#[test]
fn a_log_with_records_of_an_unknown_version_is_refused_with_their_lsn() {
    let folder = folder();
    let directory = folder.path().join("data");
    let server = Server::ours(&directory, &[]);
    assert!(server.client().call("SET a b").is_ok());
    assert!(server.terminate().success());
    let lsn = append(&directory.join("log"), b"\xc8a record of a later version");
    let why = Server::try_ours(&directory, &[]).unwrap_err();
    assert!(why.contains(&format!("{lsn}")) && why.contains("version"), "{lsn}: {why}");
    assert!(why.contains("exit status: 1"), "{why}");
}

/// Puts a record at the end of a log.
fn append(log: &Path, record: &'static [u8]) -> Lsn {
    actix::System::new().block_on(async {
        let wal = Wal::open(WalConfig::new(log)).await.expect("it was closed");
        let lsn = wal.commit(record).await.expect("it is open");
        wal.close().await.expect("it is open");
        lsn
    })
}

#[test]
fn two_servers_do_not_share_a_directory_or_a_port() {
    let (folder, server) = server(&[]);
    let why = Server::try_ours(&folder.path().join("data"), &[]).unwrap_err();
    assert!(why.contains("exit status: 1"), "{why}");
    let port = server.port.to_string();
    let other = folder.path().join("other");
    let why = Server::try_ours(&other, &["--port", &port]).unwrap_err();
    assert!(why.contains(&port) && why.contains("exit status: 1"), "{why}");
    serves_others(&server);
}
