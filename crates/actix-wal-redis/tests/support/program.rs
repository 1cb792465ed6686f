//! A server in a process of its own, which never outlives its test.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use super::client::{Client, PATIENCE};

/// The program that is tested.
pub(crate) const OURS: &str = env!("CARGO_BIN_EXE_actix-wal-redis");

/// A server that accepts clients.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
    /// What it has said until it was ready.
    pub(crate) said: Vec<String>,
    /// Where its standard error goes.
    errors: PathBuf,
    /// What it says later; disconnected when it and all that it has started have ended.
    lines: Option<Receiver<String>>,
}

impl Server {
    /// Ours, with its log in this directory.
    ///
    /// # Panics
    /// It does not become ready.
    pub(crate) fn ours(directory: &Path, options: &[&str]) -> Server {
        Server::ours_under(&[], directory, options)
    }

    /// The same as a child of another program, such as `strace`.
    pub(crate) fn ours_under(before: &[&str], directory: &Path, options: &[&str]) -> Server {
        let command = command(before, directory, options);
        Server::spawn_ours(command, directory).unwrap_or_else(|why| panic!("not ready: {why}"))
    }

    /// Ours, which may end before it is ready: then the error is what it said.
    pub(crate) fn try_ours(directory: &Path, options: &[&str]) -> Result<Server, String> {
        Server::spawn_ours(command(&[], directory, options), directory)
    }

    fn spawn_ours(command: Command, directory: &Path) -> Result<Server, String> {
        let mut server = Server::begin(command, directory);
        let lines = server.lines.take().expect("of our own");
        let deadline = Instant::now() + PATIENCE;
        loop {
            match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    server.port = port(&line).unwrap_or(0);
                    server.said.push(line);
                    if server.port > 0 {
                        server.lines = Some(lines);
                        return Ok(server);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    return Err(format!("it takes too long: {}", server.words()));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    let status = server.child.wait().unwrap();
                    return Err(format!("{status}: {}", server.words()));
                }
            }
        }
    }

    fn begin(mut command: Command, directory: &Path) -> Server {
        let errors = directory.with_extension("err");
        command.stdout(Stdio::piped()).stderr(File::create(&errors).unwrap());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let lines = Some(lines(&mut child));
        Server { child, port: 0, said: Vec::new(), errors, lines }
    }

    /// Ours, which has only begun: it accepts no clients yet.
    pub(crate) fn ours_beginning(directory: &Path) -> Server {
        Server::beginning_under(&[], directory, &[])
    }

    /// The same as a child of another program, with options.
    pub(crate) fn beginning_under(before: &[&str], directory: &Path, options: &[&str]) -> Server {
        Server::begin(command(before, directory, options), directory)
    }

    /// Its next line. It is expected to say one.
    pub(crate) fn line(&mut self) -> String {
        let lines = self.lines.as_ref().expect("of our own");
        let line = lines.recv_timeout(PATIENCE);
        let line = line.unwrap_or_else(|_| panic!("it says nothing: {}", self.words()));
        self.said.push(line.clone());
        line
    }

    /// The port of `/metrics`, which it says first.
    pub(crate) fn metrics_port(&self) -> u16 {
        let line = self.said.iter().find_map(|line| line.strip_prefix("metrics on 127.0.0.1:"));
        line.and_then(|port| port.parse().ok()).unwrap_or_else(|| panic!("{}", self.words()))
    }

    /// Debian's, without files, in this directory.
    pub(crate) fn redis(directory: &Path, options: &[&str]) -> Server {
        let mut why = String::new();
        // Somebody else may take the port between the look and the start.
        for _ in 0..5 {
            let port = free_port();
            let mut command = Command::new("redis-server");
            command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""]);
            command.arg("--dir").arg(directory).args(options).process_group(0);
            let errors = directory.with_extension("err");
            command.stdin(Stdio::null()).stdout(File::create(&errors).unwrap());
            let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
            let mut server = Server { child, port, said: Vec::new(), errors, lines: None };
            match server.answers() {
                Ok(()) => return server,
                Err(error) => why = error,
            }
        }
        panic!("redis-server: {why}");
    }

    /// Waits for the answer to a first PING.
    fn answers(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().unwrap() {
                return Err(format!("{status}: {}", self.words()));
            }
            let answer = Client::connect(self.port).ok().and_then(|mut it| it.try_call(&["PING"]));
            if answer.is_some_and(|answer| !format!("{answer:?}").starts_with("-LOADING")) {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(5));
        }
        Err(format!("it takes too long: {}", self.words()))
    }

    /// All that it has said.
    pub(crate) fn words(&self) -> String {
        let errors = std::fs::read(&self.errors).unwrap_or_default();
        format!("{}\n{}", self.said.join("\n"), String::from_utf8_lossy(&errors))
    }

    /// A new connection.
    pub(crate) fn client(&self) -> Client {
        Client::connect(self.port).unwrap_or_else(|error| panic!("{error}: {}", self.words()))
    }

    /// A line of input for the program that the server is a child of.
    pub(crate) fn tell(&mut self, line: &str) {
        let mut input = self.child.stdin.take().expect("it has an input");
        input.write_all(line.as_bytes()).unwrap();
    }

    /// A signal for the program that the server is a child of, and for that alone.
    pub(crate) fn signal_parent(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// The number of its process. Under `strace`, that of `strace`.
    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    fn signal(&self, signal: Signal) {
        let group = Pid::from_child(&self.child);
        // It may have ended by itself.
        let _ = kill_process_group(group, signal);
    }

    /// `kill -9`, without a moment for anything.
    pub(crate) fn kill_9(mut self) {
        self.signal(Signal::KILL);
        self.child.wait().unwrap();
        // Also when the server is not the child itself, it is gone.
        while self.lines.as_ref().is_some_and(|lines| lines.recv_timeout(PATIENCE).is_ok()) {}
    }

    /// `SIGTERM`, after which it has to end by itself.
    pub(crate) fn terminate(mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.ended()
    }

    /// How it ends, which it does by itself.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            thread::sleep(Duration::from_millis(5));
        }
        panic!("it does not end: {}", self.words());
    }

    /// How it has ended, if it has.
    pub(crate) fn has_ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        let _ = self.child.wait();
    }
}

fn command(before: &[&str], directory: &Path, options: &[&str]) -> Command {
    let mut words = before.iter().copied().chain([OURS]);
    let mut command = Command::new(words.next().expect("at least our own"));
    let any_port: &[&str] = if options.contains(&"--port") { &[] } else { &["--port", "0"] };
    command.args(words).args(any_port).arg("--dir").arg(directory).args(options);
    // A group of its own, so that what it starts dies with it.
    command.process_group(0);
    command.stdin(if before.is_empty() { Stdio::null() } else { Stdio::piped() });
    command
}

/// The lines of its standard output, which is read until its end so that it never fills.
fn lines(child: &mut Child) -> Receiver<String> {
    let pipe = BufReader::new(child.stdout.take().expect("a pipe"));
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in pipe.lines().map_while(Result::ok) {
            // Once it is ready, nothing is expected any more.
            let _ = sender.send(line);
        }
    });
    receiver
}

/// The port of the line `ready on 127.0.0.1:PORT ...`.
fn port(line: &str) -> Option<u16> {
    let address = line.strip_prefix("ready on ")?.split([' ', ',']).next()?;
    address.rsplit_once(':')?.1.parse().ok()
}

pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}
