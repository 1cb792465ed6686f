//! The same conversations with a real `redis-server`: the tables say what it does.
//!
//! ```text
//! cargo test -p actix-wal-redis --lib session::tests::beside_redis -- --ignored     with `redis-server` of Debian
//! ```

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::connections::{SELF, STRANGER};
use super::transactions::{CONVERSATIONS, WATCHED};
use super::world::shown;

struct Redis {
    process: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

struct Connection(BufReader<TcpStream>);

impl Redis {
    fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let folder = tempfile::tempdir().unwrap();
        let mut process = Command::new("redis-server");
        process.args(["--save", "", "--port", &port.to_string(), "--dir"]).arg(folder.path());
        let process = process.stdout(Stdio::null()).spawn().expect("redis-server is installed");
        let mut redis = Redis { process, port, _folder: folder };
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(redis.process.try_wait().unwrap().is_none(), "redis-server has ended");
            std::thread::sleep(Duration::from_millis(10));
        }
        redis
    }

    fn client(&self) -> Connection {
        Connection(BufReader::new(TcpStream::connect(("127.0.0.1", self.port)).unwrap()))
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Connection {
    fn ask(&mut self, line: &str) -> String {
        self.0.get_mut().write_all(format!("{line}\r\n").as_bytes()).unwrap();
        let mut answer = Vec::new();
        self.read(&mut answer);
        let is_end = line.starts_with("QUIT") && self.0.read(&mut [0]).unwrap() == 0;
        format!("{}{}", shown(&answer), if is_end { "<end>" } else { "" })
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

    fn talk(&mut self, lines: &[(&str, &str)]) {
        for (line, expected) in lines {
            // Numbers of clients differ.
            let plain = |answer: &str| match answer.split_once(" id :") {
                Some((before, behind)) => {
                    format!("{before}{}", behind.trim_start_matches(|c: char| c.is_ascii_digit()))
                }
                None => answer.to_owned(),
            };
            let answer = self.ask(line);
            if *line != "CLIENT ID" {
                assert_eq!(plain(&answer), plain(expected), "answer of Redis to {line}");
            }
        }
    }
}

#[test]
#[ignore = "needs redis-server"]
fn redis_says_the_same_in_each_conversation() {
    let redis = Redis::start();
    for lines in CONVERSATIONS {
        redis.client().talk(&[("FLUSHALL", "+OK")]);
        redis.client().talk(lines);
    }
    redis.client().talk(SELF);
    let mut first = redis.client();
    first.talk(&[("CONFIG SET requirepass sec", "+OK")]);
    redis.client().talk(STRANGER);
}

#[actix::test]
#[ignore = "needs redis-server"]
async fn redis_describes_each_command_with_the_same_words() {
    let redis = Redis::start();
    let mut world = super::World::begin().await;
    for hello in ["HELLO 2", "HELLO 3"] {
        let (mut ours, mut theirs) = (world.client(), redis.client());
        ours.ask(&world, hello).await;
        theirs.ask(hello);
        for command in crate::commands::all() {
            // There are fewer subcommands here, and Redis 7.0 has no `WAITAOF`.
            let has_subcommands = crate::commands::subcommands(command.name).next().is_some();
            if command.name != "waitaof" && !has_subcommands {
                let line = format!("COMMAND INFO {}", command.name);
                assert_eq!(ours.ask(&world, &line).await, theirs.ask(&line), "{line}");
            }
            for sub in crate::commands::subcommands(command.name) {
                let line = format!("COMMAND INFO {}", sub.name);
                if sub.name != "client|setinfo" {
                    assert_eq!(ours.ask(&world, &line).await, theirs.ask(&line), "{line}");
                }
            }
        }
    }
    world.end().await;
}

#[test]
#[ignore = "needs redis-server"]
fn redis_executes_the_same_after_a_watched_key_has_changed_or_not() {
    let redis = Redis::start();
    for (before, after, is_executed) in WATCHED {
        let (mut own, mut other) = (redis.client(), redis.client());
        other.ask("FLUSHALL");
        before.iter().for_each(|line| drop(other.ask(line)));
        own.ask("WATCH k");
        other.ask("SELECT 0");
        after.iter().for_each(|line| drop(other.ask(line)));
        own.talk(&[("MULTI", "+OK"), ("SET done 1", "+QUEUED")]);
        let expected = if *is_executed { "*1 +OK" } else { "*-1" };
        assert_eq!(own.ask("EXEC"), expected, "{before:?}, WATCH k, {after:?}");
    }
}
