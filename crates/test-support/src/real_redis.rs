//! A real `redis-server` of the version that the server of this repository answers like, on a socket in a directory of its own.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::skips;

/// Others have other texts of errors.
const VERSION: &str = " v=7.0.";

/// A running server, killed when it is dropped.
#[derive(Debug)]
pub struct RealRedis {
    child: Child,
    socket: PathBuf,
    _directory: TempDir,
}

impl RealRedis {
    /// Starts one with these options. `None`, and the test says so: it is not installed, or in another version. In CI that is a
    /// failure.
    pub fn start(options: &[&str]) -> Option<RealRedis> {
        let version = Command::new("redis-server").arg("--version").output();
        let version =
            version.map_or(String::new(), |out| String::from_utf8_lossy(&out.stdout).into());
        if !version.contains(VERSION) {
            skips::skip(&format!("redis-server 7.0 is not installed, but {version:?}"));
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("socket");
        let child = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--unixsocket"])
            .arg(&socket)
            .arg("--dir")
            .arg(directory.path())
            .args(options)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut server = RealRedis { child, socket, _directory: directory };
        // It listens when it answers: there is nothing else to wait for.
        while UnixStream::connect(&server.socket).is_err() {
            assert_eq!(server.child.try_wait().unwrap(), None, "redis-server has ended");
            std::thread::sleep(Duration::from_millis(5));
        }
        Some(server)
    }

    /// A client that asks one line after the other.
    pub fn client(&self) -> Client {
        let stream = UnixStream::connect(&self.socket).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        Client(BufReader::new(stream))
    }

    /// All that it answers to these bytes of a new client, that then says that it has no more.
    pub fn answer(&self, bytes: &[u8]) -> Vec<u8> {
        let mut client = UnixStream::connect(&self.socket).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        // It may have closed the connection before it has read all of it.
        if let Err(error) = client.write_all(bytes).and_then(|()| client.shutdown(Shutdown::Write))
        {
            assert!(
                matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::NotConnected),
                "{error}"
            );
        }
        let mut answer = Vec::new();
        match client.read_to_end(&mut answer) {
            Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("{error}"),
            _ => answer,
        }
    }
}

/// A connection to it.
#[derive(Debug)]
pub struct Client(BufReader<UnixStream>);

impl Client {
    /// The whole answer to an inline command, as it came.
    pub fn ask(&mut self, line: &str) -> Vec<u8> {
        self.0.get_mut().write_all(format!("{line}\r\n").as_bytes()).unwrap();
        let mut answer = Vec::new();
        self.read(&mut answer);
        answer
    }

    /// Waits until the server has closed the connection. It must not say anything before.
    pub fn wait_for_end(&mut self) {
        assert_eq!(self.0.read(&mut [0]).unwrap(), 0, "an answer that nobody has asked for");
    }

    fn read(&mut self, answer: &mut Vec<u8>) {
        let at = answer.len();
        self.0.read_until(b'\n', answer).unwrap();
        let line = String::from_utf8_lossy(&answer[at..]).trim_end().to_owned();
        let length = line[1..].parse().unwrap_or(-1);
        match line.as_bytes()[0] {
            b'$' | b'=' if length >= 0 => {
                let at = answer.len();
                answer.resize(at + length as usize + 2, 0);
                self.0.read_exact(&mut answer[at..]).unwrap();
            }
            b'*' | b'~' => (0..length).for_each(|_| self.read(answer)),
            b'%' => (0..2 * length).for_each(|_| self.read(answer)),
            _ => {}
        }
    }
}

impl Drop for RealRedis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
