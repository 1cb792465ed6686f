//! A real `redis-server` of the version that ours answers like, on a socket in a directory of its own.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

const VERSION: &str = "v=7.0.15 ";

/// A running server, killed when it is dropped.
pub(crate) struct RealRedis {
    child: Child,
    socket: PathBuf,
    _directory: TempDir,
}

impl RealRedis {
    /// Starts one with these options. `None`, and the test says so: it is not installed here, or not in this version.
    pub(crate) fn start(options: &[&str]) -> Option<RealRedis> {
        let version = Command::new("redis-server").arg("--version").output();
        let version = version.map_or(String::new(), |out| String::from_utf8(out.stdout).unwrap());
        if !version.contains(VERSION) {
            test_support::skips::leave_out(&format!("no redis-server {VERSION}to compare with"));
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

    /// All that it answers to these bytes of a new client, that then says that it has no more.
    pub(crate) fn answer(&self, bytes: &[u8]) -> Vec<u8> {
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

impl Drop for RealRedis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
