//! A client that knows no commands: bytes out, and the bytes of one whole reply in.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::time::Duration;

use super::answer::{Answer, length};

/// No answer takes as long, however slow the machine is.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// No reply of a test is as long.
const LONGEST: usize = 1 << 30;

/// A connection.
#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    /// What has come and is not taken.
    came: Vec<u8>,
}

impl Client {
    /// Connects to a port of this machine.
    pub(crate) fn connect(port: u16) -> io::Result<Client> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Client { stream, came: Vec::new() })
    }

    /// The socket, for what only that can do.
    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Sends these bytes.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends no more.
    pub(crate) fn end(&self) {
        // The server may have closed the connection already.
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// The bytes of the next reply. `UnexpectedEof`: the server has closed the connection.
    pub(crate) fn reply(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if let Some(length) = length(&self.came) {
                let rest = self.came.split_off(length);
                return Ok(std::mem::replace(&mut self.came, rest));
            }
            assert!(self.came.len() < LONGEST, "a reply without end");
            let mut piece = [0; 64 << 10];
            match self.stream.read(&mut piece) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(read) => self.came.extend_from_slice(&piece[..read]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The next reply, or `None` if the connection is closed or reset.
    ///
    /// # Panics
    /// There is no answer for a long time.
    pub(crate) fn next(&mut self) -> Option<Answer> {
        match self.reply() {
            Ok(reply) => Some(Answer::of(&reply)),
            Err(error) if is_end(&error) => None,
            Err(error) => panic!("no answer: {error}"),
        }
    }

    /// One request, and its answer. `None`: the connection is closed, and the fate of the request unknown.
    pub(crate) fn try_call<P: AsRef<[u8]>>(&mut self, parts: &[P]) -> Option<Answer> {
        match self.send(&request(parts)) {
            Ok(()) => self.next(),
            Err(error) if is_end(&error) => None,
            Err(error) => panic!("it can not be sent: {error}"),
        }
    }

    /// One request, written as a line of plain words, and its answer.
    pub(crate) fn call(&mut self, line: &str) -> Answer {
        let parts: Vec<_> = line.split(' ').collect();
        self.try_call(&parts).unwrap_or_else(|| panic!("{line}: the connection is closed"))
    }

    /// Whether nothing more comes, and the connection is closed.
    pub(crate) fn is_closed(&mut self) -> bool {
        self.next().is_none()
    }
}

/// Whether an error says that the other side has closed the connection.
pub(crate) fn is_end(error: &io::Error) -> bool {
    use ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, UnexpectedEof};
    matches!(
        error.kind(),
        UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe | NotConnected
    )
}

/// A request as an array of bulk strings.
pub(crate) fn request<P: AsRef<[u8]>>(parts: &[P]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", parts.len()).into_bytes();
    for part in parts {
        let part = part.as_ref();
        bytes.extend_from_slice(format!("${}\r\n", part.len()).as_bytes());
        bytes.extend_from_slice(part);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// A request as a line, each part in quotes, with every byte that is not a letter or a digit written in hexadecimal.
pub(crate) fn inline(parts: &[Vec<u8>]) -> Vec<u8> {
    let mut line = Vec::new();
    for part in parts {
        line.push(b'"');
        for byte in part {
            match byte {
                b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => line.push(*byte),
                other => line.extend_from_slice(format!("\\x{other:02x}").as_bytes()),
            }
        }
        line.extend_from_slice(b"\" ");
    }
    line.extend_from_slice(b"\r\n");
    line
}
