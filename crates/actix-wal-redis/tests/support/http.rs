//! A client of HTTP that knows one request and one answer.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};

use super::client::PATIENCE;

/// An answer: its status, its headers and its body.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

/// Connects to a port of this machine.
pub(crate) fn connect(port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Sends these bytes, and reads until the server closes the connection.
pub(crate) fn exchange(port: u16, request: &[u8]) -> io::Result<Answered> {
    let mut stream = connect(port)?;
    stream.write_all(request)?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    let text = String::from_utf8(bytes).map_err(io::Error::other)?;
    let whole = || io::Error::other(format!("no whole answer: {text:?}"));
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(whole)?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok(Answered { status: status.ok_or_else(whole)?, head: head.to_owned(), body: body.to_owned() })
}

/// `GET` of a path.
pub(crate) fn try_get(port: u16, path: &str) -> io::Result<Answered> {
    exchange(port, format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes())
}

/// The same, which has to be answered.
///
/// # Panics
/// It is not.
pub(crate) fn get(port: u16, path: &str) -> (u16, String) {
    let Answered { status, body, .. } =
        try_get(port, path).unwrap_or_else(|e| panic!("{path}: {e}"));
    (status, body)
}
