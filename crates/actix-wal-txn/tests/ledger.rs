//! Guards P1 and P25 in the ledger server of `examples/`: a process that is killed in the middle of transfers.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can not go on has failed")]

mod programs;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

/// Longer than anything takes here, however slow the machine.
const PATIENCE: Duration = Duration::from_secs(60);
const CLIENTS: usize = 6;
const START: u64 = 1_000_000;

/// A ledger in a process of its own, which does not outlive the test.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(program: &Path, directory: &Path) -> Server {
        let mut command = Command::new(program);
        let mut child = command.arg(directory).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on ").expect(&line).to_owned();
        assert!(address.starts_with("127.0.0.1:"), "{address}");
        Server { child, address }
    }

    fn connect(&self) -> Client {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Client(BufReader::new(stream))
    }

    fn interrupt(&self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    }

    fn end(mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Client(BufReader<TcpStream>);

impl Client {
    /// The answer to a line; none if the server is gone.
    fn ask(&mut self, line: &str) -> Option<String> {
        self.0.get_mut().write_all(format!("{line}\n").as_bytes()).ok()?;
        let mut answer = String::new();
        self.0.read_line(&mut answer).ok()?;
        answer.ends_with('\n').then(|| answer.trim_end().to_owned())
    }

    fn number(&mut self, line: &str) -> u64 {
        let answer = self.ask(line).unwrap();
        answer.strip_prefix("ok ").expect(&answer).parse().unwrap()
    }
}

/// Moves from the hub to an account until the server is gone. Returns how often it asked.
fn transfers(mut client: Client, to: usize, acknowledged: &Sender<usize>) -> u64 {
    let mut asked = 1;
    while let Some(answer) = client.ask(&format!("move hub {to} 1")) {
        assert!(answer.starts_with("ok "), "{answer}");
        acknowledged.send(to).unwrap();
        asked += 1;
    }
    asked
}

#[test]
fn p1_p25_a_ledger_that_is_killed_keeps_each_transfer_that_it_acknowledged_and_the_total() {
    let program = programs::build("ledger");
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut server = Server::start(&program, folder.path());
    let mut client = server.connect();
    assert_eq!(client.number(&format!("open hub {START}")), START);
    for to in 0..CLIENTS {
        client.number(&format!("open {to} 0"));
    }
    let (mut least, mut most) = ([0; CLIENTS], [0; CLIENTS]);
    for _ in 0..3 {
        let (sender, receiver) = channel();
        let clients: Vec<_> = (0..CLIENTS)
            .map(|to| {
                let (client, sender) = (server.connect(), sender.clone());
                thread::spawn(move || transfers(client, to, &sender))
            })
            .collect();
        drop(sender);
        for _ in 0..500 {
            least[receiver.recv_timeout(PATIENCE).unwrap()] += 1;
        }
        server.child.kill().unwrap();
        for (to, client) in clients.into_iter().enumerate() {
            most[to] += client.join().unwrap();
        }
        receiver.iter().for_each(|to| least[to] += 1);

        server = Server::start(&program, folder.path());
        let mut client = server.connect();
        assert_eq!(client.number("total"), START);
        for to in 0..CLIENTS {
            let has = client.number(&format!("show {to}"));
            assert!((least[to]..=most[to]).contains(&has), "{to}: {has}, {least:?} to {most:?}");
            // What nobody was told may be there or not: now it is known.
            (least[to], most[to]) = (has, has);
        }
    }
}

#[test]
fn p22_a_ledger_refuses_what_it_does_not_understand_and_ends_cleanly() {
    let program = programs::build("ledger");
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let server = Server::start(&program, folder.path());
    let mut client = server.connect();
    for (line, answer) in [
        ("open a 100", "ok 100"),
        ("open b 18446744073709551615", "ok 18446744073709551615"),
        ("open a 5", "error: the transaction aborts: there is an account a already"),
        ("move a a 30", "ok 70 in a"),
        ("show a", "ok 100"),
        ("move a b 1", "error: the transaction aborts: b is full"),
        ("move a b 101", "error: the transaction aborts: a has too little"),
        ("move a c 1", "error: the transaction aborts: there is no account c"),
        ("total", "ok 18446744073709551715"),
    ] {
        assert_eq!(client.ask(line).unwrap(), answer, "{line}");
    }
    for line in ["", "open a", "open c -1", "open c 1.5", "move a b x", "show", "total a", "drop a"]
    {
        let answer = client.ask(line).unwrap();
        assert!(answer.starts_with("error: the transaction aborts: "), "{line}: {answer}");
    }
    // All of this line has been read, so that the answer is not lost.
    let long = server.connect().ask(&"x".repeat(1025));
    assert_eq!(long.as_deref(), Some("error: the line is too long, or no text"));
    let long = server.connect().ask(&"x".repeat(1 << 16));
    assert!(long.is_none_or(|answer| answer == "error: the line is too long, or no text"));
    let mut no_text = server.connect();
    no_text.0.get_mut().write_all(b"\xff\xfe\n").unwrap();
    let mut answer = String::new();
    no_text.0.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "error: the line is too long, or no text\n", "and it is hung up on");
    assert_eq!(client.ask("show a").unwrap(), "ok 100", "and others are served");
    server.interrupt();
    assert_eq!(client.0.read_line(&mut String::new()).unwrap(), 0, "it is hung up on");
    assert!(server.end().success());

    let server = Server::start(&program, folder.path());
    assert_eq!(server.connect().ask("show a").unwrap(), "ok 100");
    server.interrupt();
    assert!(server.end().success());
}
