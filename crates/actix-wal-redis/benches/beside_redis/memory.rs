//! What an idle connection and a key take of the memory of each server.

use std::io::{Read, Write};
use std::path::Path;

use super::servers::{Kind, Server};

const CONNECTIONS: u64 = 1_000;
/// So many commands are sent before their answers are read.
const PIPELINE: usize = 1_000;

pub(crate) fn compare(directory: &Path, keys: usize) {
    let of = |kind| {
        let server = Server::start(kind, directory);
        let connection = connections(&server);
        (connection, per_key(&server, keys))
    };
    let ((our_connection, our_key), (connection, key)) = (of(Kind::Ours), of(Kind::Redis));
    let row = |what: String, ours: u64, theirs: u64| {
        let ratio = ours as f64 / theirs.max(1) as f64;
        println!("| {what} | {ours} bytes | {theirs} bytes | {ratio:.2} |");
    };
    row(format!("an idle connection, of {CONNECTIONS}"), our_connection, connection);
    row(format!("a key of 16 bytes with 128, of {keys}"), our_key, key);
}

/// Each has sent a command and got the answer.
fn connections(server: &Server) -> u64 {
    let talk = || {
        let mut stream = server.connect().expect("it accepts clients");
        stream.write_all(b"*1\r\n$4\r\nPING\r\n").expect("it reads");
        stream.read_exact(&mut [0; 7]).expect("it answers");
        stream
    };
    // The first ones pay for what all share.
    let _first: Vec<_> = (0..10).map(|_| talk()).collect();
    let before = server.resident();
    let all: Vec<_> = (0..CONNECTIONS).map(|_| talk()).collect();
    let taken = server.resident().saturating_sub(before);
    drop(all);
    taken / CONNECTIONS
}

fn per_key(server: &Server, keys: usize) -> u64 {
    let mut stream = server.connect().expect("it accepts clients");
    let (before, value) = (server.resident(), "x".repeat(128));
    for begin in (0..keys).step_by(PIPELINE) {
        let count = PIPELINE.min(keys - begin);
        let set = |key| format!("*3\r\n$3\r\nSET\r\n$16\r\nkey:{key:012}\r\n$128\r\n{value}\r\n");
        let requests: String = (begin..begin + count).map(set).collect();
        stream.write_all(requests.as_bytes()).expect("it reads");
        let mut answers = vec![0; 5 * count];
        stream.read_exact(&mut answers).expect("it answers");
        assert!(answers.chunks(5).all(|answer| answer == b"+OK\r\n"));
    }
    server.resident().saturating_sub(before) / keys.max(1) as u64
}
