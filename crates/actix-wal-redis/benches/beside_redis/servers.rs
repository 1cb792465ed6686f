//! The two servers, each in a process of its own with an empty directory.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Ours,
    Redis,
}

/// A server, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    directory: PathBuf,
    pub(crate) port: u16,
    /// That of `/metrics`; 0 without.
    pub(crate) metrics_port: u16,
}

const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn is_there(program: &str) -> bool {
    Command::new(program).arg("--version").stdout(Stdio::null()).status().is_ok()
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("an address").port()
}

impl Server {
    pub(crate) fn start(kind: Kind, place: &Path) -> Self {
        Server::begin(kind, place, 0)
    }

    /// Ours, with an endpoint for metrics.
    pub(crate) fn start_with_metrics(place: &Path) -> Self {
        Server::begin(Kind::Ours, place, free_port())
    }

    fn begin(kind: Kind, place: &Path, metrics_port: u16) -> Self {
        let directory = place.join(format!("beside-redis-{kind:?}"));
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(&directory).expect("a directory");
        let port = free_port();
        let mut command = match kind {
            Kind::Ours => Command::new(env!("CARGO_BIN_EXE_actix-wal-redis")),
            Kind::Redis => {
                let mut redis = Command::new("redis-server");
                redis.args(["--appendonly", "yes", "--appendfsync", "always", "--save", ""]);
                redis
            }
        };
        command.args(["--port", &port.to_string(), "--dir"]).arg(&directory).stdout(Stdio::null());
        if metrics_port > 0 {
            command.args(["--metrics-port", &metrics_port.to_string()]);
        }
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let server = Server { child, directory, port, metrics_port };
        let began = Instant::now();
        while !server.answers() {
            assert!(began.elapsed() < PATIENCE, "{kind:?} does not answer");
            thread::sleep(Duration::from_millis(10));
        }
        server
    }

    fn answers(&self) -> bool {
        let ping = || -> std::io::Result<bool> {
            let mut stream = self.connect()?;
            let mut answer = [0; 7];
            stream.write_all(b"PING\r\n")?;
            stream.read_exact(&mut answer)?;
            Ok(&answer == b"+PONG\r\n")
        };
        ping().unwrap_or(false)
    }

    pub(crate) fn connect(&self) -> std::io::Result<TcpStream> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(stream)
    }

    /// What it has used of the processors, all of its threads together.
    pub(crate) fn processor_time(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("Linux");
        let behind_name = stat.rsplit(')').next().unwrap_or_default();
        let fields: Vec<u64> =
            behind_name.split_whitespace().map(|field| field.parse().unwrap_or(0)).collect();
        // User and system time, in hundredths of a second: fields 14 and 15 of proc(5).
        Duration::from_millis(10 * (fields[11] + fields[12]))
    }

    /// What it has in memory, in bytes.
    pub(crate) fn resident(&self) -> u64 {
        let status =
            fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("Linux");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("proc(5)");
        let kibibytes = line.trim().trim_end_matches(" kB").parse::<u64>();
        kibibytes.expect("a number of kB") << 10
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}
