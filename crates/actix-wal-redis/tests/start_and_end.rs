//! Guards P1, P9 for what stands on them: how the server starts and ends. A request that was read is answered, what was
//! answered is there after the next start, and nothing has to be recovered after a clean end.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on has failed")]

mod support;

use std::process::Command;
use std::thread;
use std::time::Duration;

use test_support::scratch::folder;
use test_support::skips::skip;

use self::support::answer::Answer;
use self::support::client::{Client, request};
use self::support::program::Server;

/// Sets its key to the next number until the server has gone. Returns the last number that it sent, and the last one that
/// it was told.
fn write(port: u16, key: &str, pipeline: u64) -> (u64, u64) {
    let (mut sent, mut told) = (0, 0);
    let mut client = Client::connect(port).unwrap();
    loop {
        let numbers = sent + 1..=sent + pipeline;
        let set = |number: u64| request(&["SET", key, &number.to_string()]);
        let bytes: Vec<u8> = numbers.clone().flat_map(set).collect();
        sent += pipeline;
        if client.send(&bytes).is_err() {
            return (sent, told);
        }
        for number in numbers {
            match client.next() {
                Some(answer) => assert!(answer.is_ok(), "{answer:?}"),
                None => return (sent, told),
            }
            told = number;
        }
    }
}

#[test]
fn a_start_with_less_memory_than_the_data_take_shows_all_and_refuses_what_would_make_them_larger() {
    let folder = folder();
    let directory = folder.path().join("data");
    let value = "x".repeat(10_000);
    let server = Server::ours(&directory, &[]);
    let mut client = server.client();
    for at in 0..20 {
        assert!(client.call(&format!("SET key:{at} {value}")).is_ok());
    }
    assert!(server.terminate().success());
    let server = Server::ours(&directory, &["--maxmemory", "50kb"]);
    let mut client = server.client();
    let oom = "OOM command not allowed when used memory > 'maxmemory'.";
    assert_eq!(client.call("STRLEN key:19"), Answer::Integer(10_000));
    assert_eq!(client.call("APPEND key:19 x").error(), oom);
    // What Redis carries out there.
    assert_eq!(client.call("EXPIRE key:19 1000"), Answer::Integer(1));
    assert_eq!(client.call("DEL key:0 key:1"), Answer::Integer(2));
    assert_eq!(client.call("DBSIZE"), Answer::Integer(18));
    assert!(client.call("FLUSHALL").is_ok());
    assert_eq!(client.call("DBSIZE"), Answer::Integer(0));
    // The keys are deleted a moment later.
    while !client.call("SET small value").is_ok() {}
    assert!(server.terminate().success());
}

#[test]
fn sigterm_ends_the_server_under_load_and_the_next_start_has_all_that_was_answered() {
    let folder = folder();
    let directory = folder.path().join("data");
    let mut least = [0; 6];
    for round in 0..3 {
        let server = Server::ours(&directory, &[]);
        let port = server.port;
        let told: Vec<_> = thread::scope(|scope| {
            let writers: Vec<_> = (0..6)
                .map(|at| scope.spawn(move || write(port, &format!("key:{at}"), 1 + at % 3 * 20)))
                .collect();
            thread::sleep(Duration::from_millis(200));
            assert!(server.terminate().success(), "round {round}");
            writers.into_iter().map(|writer| writer.join().unwrap()).collect()
        });
        let server = Server::ours(&directory, &[]);
        let mut client = server.client();
        for (at, (sent, told)) in told.iter().enumerate() {
            let now = client.call(&format!("GET key:{at}")).number().unwrap_or(0) as u64;
            assert!(*told > 0 && told <= &now && &now <= sent, "{told} <= {now} <= {sent}");
            least[at] = least[at].max(*told);
        }
        assert!(
            !server.said.iter().any(|line| line.contains("after a crash")),
            "{:?}",
            server.said
        );
        server.kill_9();
    }
    let server = Server::ours(&directory, &[]);
    assert!(server.said.iter().any(|line| line.contains("after a crash")), "{:?}", server.said);
}

#[test]
fn shutdown_ends_the_server_as_sigterm_does() {
    let folder = folder();
    for line in ["SHUTDOWN", "shutdown nosave", "SHUTDOWN SAVE", "SHUTDOWN NOW FORCE"] {
        let mut server = Server::ours(&folder.path().join("data"), &[]);
        let mut client = server.client();
        assert!(client.call("SET last value").is_ok());
        client.send(format!("{line}\r\n").as_bytes()).unwrap();
        // There is no answer to it.
        assert!(client.is_closed(), "{line}");
        assert!(server.ended().success(), "{line}");
    }
    let server = Server::ours(&folder.path().join("data"), &[]);
    assert_eq!(server.client().call("GET last"), Answer::Bulk(b"value".to_vec()));
}

#[test]
fn replies_that_a_client_does_not_want_are_left_out() {
    let folder = folder();
    let server = Server::ours(&folder.path().join("data"), &[]);
    let mut client = server.client();
    client.send(b"CLIENT REPLY SKIP\r\nSET a 1\r\nGET a\r\n").unwrap();
    assert_eq!(client.next(), Some(Answer::Bulk(b"1".to_vec())));
    client
        .send(b"CLIENT REPLY OFF\r\nSET a 2\r\nGET a\r\nNOSUCH\r\nCLIENT REPLY ON\r\nGET a\r\n")
        .unwrap();
    assert!(client.next().unwrap().is_ok());
    assert_eq!(client.next(), Some(Answer::Bulk(b"2".to_vec())));
}

#[test]
fn waitaof_says_that_all_that_was_asked_before_is_on_the_disk() {
    let folder = folder();
    let directory = folder.path().join("data");
    let server = Server::ours(&directory, &["--durability", "async"]);
    let mut client = server.client();
    for at in 0..100 {
        assert!(client.call(&format!("SET key:{at} {at}")).is_ok());
    }
    let answer = client.call("WAITAOF 1 0 0");
    assert_eq!(answer, Answer::Array(vec![Answer::Integer(1), Answer::Integer(0)]));
    server.kill_9();
    let server = Server::ours(&directory, &[]);
    assert_eq!(server.client().call("DBSIZE"), Answer::Integer(100));
}

#[test]
fn a_key_keeps_its_time_over_restarts_and_stays_gone_after_it() {
    let folder = folder();
    let directory = folder.path().join("data");
    let server = Server::ours(&directory, &[]);
    let mut client = server.client();
    assert!(client.call("SET long v PXAT 4000000000123").is_ok());
    assert!(client.call("SET short v PX 30").is_ok());
    while client.call("GET short") != Answer::Null {}
    server.kill_9();
    let server = Server::ours(&directory, &[]);
    let mut client = server.client();
    assert_eq!(client.call("PEXPIRETIME long"), Answer::Integer(4_000_000_000_123));
    assert_eq!(client.call("EXISTS short long"), Answer::Integer(1));
}

#[test]
fn a_warning_that_can_not_be_written_ends_nothing() {
    let folder = folder();
    // A write beyond a limit of the process is an error then, and no signal.
    let full = ["sh", "-c", "trap '' XFSZ; exec \"$@\" 2> /dev/full", "sh"];
    let server = Server::ours_under(&full, &folder.path().join("data"), &[]);
    let mut limit = Command::new("prlimit");
    limit.args(["--pid", &server.process().to_string(), "--fsize=0:"]);
    if !limit.status().is_ok_and(|status| status.success()) {
        return skip("prlimit is not installed");
    }
    // The flush thread and the Flusher warn of this fault, and then say what it was.
    let answer = server.client().call("SET key value");
    assert!(answer.error().contains("File too large"), "{answer:?}");
}
