//! Guards P25 for what stands on it: clients as people use them, unchanged, against our server: redis-cli, redis-benchmark,
//! the crate `redis` with and without tokio, and redis-py.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on has failed")]

mod crate_redis;
#[path = "../support/mod.rs"]
mod support;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;
use test_support::scratch::folder;

use self::support::answer::Answer;
use self::support::client::request;
use self::support::program::Server;
use self::support::tools::{has, python};

/// A server with an empty log.
fn server(options: &[&str]) -> (TempDir, Server) {
    let folder = folder();
    let server = Server::ours(&folder.path().join("data"), options);
    (folder, server)
}

/// Runs a client with this input, and returns what it says. It has to succeed.
fn run(program: &Path, arguments: &[&str], input: &[u8]) -> String {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        // It may say more than a pipe takes before it has read all of its input.
        scope.spawn(move || pipe.write_all(input));
        child.wait_with_output().unwrap()
    });
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program:?} {arguments:?}: {said}{errors}");
    said
}

fn cli(server: &Server, arguments: &[&str], input: &[u8]) -> String {
    let port = server.port.to_string();
    run(Path::new("redis-cli"), &[&["-p", &port], arguments].concat(), input)
}

#[test]
fn redis_cli_is_answered_when_it_sends_one_command() {
    if !has("redis-cli") {
        return;
    }
    let (_folder, server) = server(&[]);
    for (arguments, answer) in [
        (&["set", "greeting", "good morning"][..], "OK\n"),
        (&["get", "greeting"], "good morning\n"),
        (&["--no-raw", "get", "greeting"], "\"good morning\"\n"),
        (&["--no-raw", "get", "nothing"], "(nil)\n"),
        (&["--no-raw", "incr", "count"], "(integer) 1\n"),
        (
            &["--no-raw", "nosuch", "l", "1"],
            "(error) ERR unknown command 'nosuch', with args beginning with: 'l' '1' \n",
        ),
        (&["-3", "--no-raw", "mget", "count", "nothing"], "1) \"1\"\n2) (nil)\n"),
        (&["-n", "3", "dbsize"], "0\n"),
        (&["--scan", "--pattern", "gr*"], "greeting\n"),
        (&["-r", "3", "incr", "count"], "2\n3\n4\n"),
    ] {
        let said = cli(&server, arguments, b"");
        assert!(said.ends_with(answer), "{arguments:?}: {said:?}");
    }
}

#[test]
fn redis_cli_is_answered_when_it_reads_commands_from_a_pipe() {
    if !has("redis-cli") {
        return;
    }
    let (_folder, server) = server(&[]);
    let input = "multi\nset a 1\nincr a\nexec\nget a\nselect 2\nget a\nhello 3\nreset\n";
    let said = cli(&server, &[], input.as_bytes());
    assert!(said.starts_with("OK\nQUEUED\nQUEUED\nOK\n2\n2\nOK\n\n"), "{said:?}");
    assert!(said.ends_with("RESET\n"), "{said:?}");

    // Commands in bulk, in the bytes of the protocol.
    let commands: Vec<u8> = (0..20_000)
        .flat_map(|at: u32| request(&["SET".to_owned(), format!("bulk:{at}"), at.to_string()]))
        .collect();
    let said = cli(&server, &["--pipe"], &commands);
    assert!(said.contains("errors: 0, replies: 20000"), "{said}");
    let mut client = server.client();
    assert_eq!(client.call("GET bulk:19999"), Answer::Bulk(b"19999".to_vec()));
    assert_eq!(client.call("DBSIZE"), Answer::Integer(20_001));
}

#[test]
fn redis_benchmark_runs_through_with_and_without_pipelines() {
    if !has("redis-benchmark") {
        return;
    }
    let (_folder, server) = server(&[]);
    let port = server.port.to_string();
    for pipeline in ["1", "16"] {
        let arguments = ["-p", &port, "-q", "-n", "4000", "-c", "20", "-P", pipeline];
        let tests = ["-t", "ping,set,get,incr,mset"];
        let said = run(Path::new("redis-benchmark"), &[&arguments[..], &tests].concat(), b"");
        assert_eq!(said.matches("requests per second").count(), 6, "{said}");
        assert!(!said.to_lowercase().contains("error"), "{said}");
    }
    let mut client = server.client();
    assert_eq!(client.call("GET counter:__rand_int__"), Answer::Bulk(b"8000".to_vec()));
}

#[test]
fn redis_py_does_its_pipelines_transactions_and_locks() {
    let Some(python) = python() else { return };
    let (_folder, server) = server(&["--requirepass", "secret"]);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/real_clients/redis_py.py");
    let said = run(&python, &[script, &server.port.to_string(), "secret"], b"");
    assert!(said.ends_with("done\n"), "{said}");
}
