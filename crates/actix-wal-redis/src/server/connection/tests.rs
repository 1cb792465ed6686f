//! A connection on a log that acknowledges when the test says so.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream as StdStream;

use actix_wal::testkit::{MockHandle, MockLog, MockScript, MockStep};
use actix_wal::{Cause, Durability, Lsn};
use actix_wal_txn::coordinator::{CoordinatorLimits, TransactionCoordinator};
use actix_wal_txn::recovery::Recovered;
use actix_wal_txn::store::Limits;
use tokio::net::TcpListener;

use super::*;
use crate::server::Settings;

/// A client. Its stream is not tokio's: so it sees what the kernel has at once.
struct World {
    client: StdStream,
    mock: MockHandle,
}

impl World {
    async fn begin() -> Self {
        World::with(Durability::default()).await
    }

    async fn with(durability: Durability) -> Self {
        let (wal, mock) = MockLog::start(MockScript::manual());
        let recovered = Recovered::empty(Limits::default());
        let limits = CoordinatorLimits::default();
        let coordinator = TransactionCoordinator::start(&wal, recovered, limits).await.unwrap();
        let settings = Settings { durability, ..Settings::in_directory("nowhere") };
        let server = Rc::new(Server::new(coordinator, wal, settings));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = StdStream::connect(listener.local_addr().unwrap()).unwrap();
        client.set_nonblocking(true).unwrap();
        let (stream, address) = listener.accept().await.unwrap();
        let session = Session::begin(&server, address, listener.local_addr().unwrap()).unwrap();
        actix::spawn(Connection::new(stream, server, session).serve());
        World { client, mock }
    }

    /// Sends these lines at once, and waits until the log has what they write.
    async fn send(&mut self, lines: &str, records: usize) {
        self.client.write_all(lines.as_bytes()).unwrap();
        while self.mock.received().await.len() < records {
            tokio::task::yield_now().await;
        }
    }

    /// What the client has been told by now.
    fn told(&mut self) -> String {
        let mut told = [0; 1000];
        match self.client.read(&mut told) {
            Ok(bytes) => String::from_utf8_lossy(&told[..bytes]).replace("\r\n", " "),
            Err(error) if error.kind() == ErrorKind::WouldBlock => String::new(),
            Err(error) => panic!("{error}"),
        }
    }

    /// The server does all that it can do without the log.
    async fn says_nothing(&mut self) {
        for _ in 0..1000 {
            tokio::task::yield_now().await;
            assert_eq!(self.told(), "");
        }
    }

    async fn next(&mut self, length: usize) -> String {
        let mut told = String::new();
        while told.len() < length {
            tokio::task::yield_now().await;
            told += &self.told();
        }
        told
    }
}

#[actix::test]
async fn p25_no_client_is_told_what_is_not_durable_neither_who_wrote_it_nor_who_reads_it() {
    let mut world = World::begin().await;
    world.send("SET a 1\r\nINCR a\r\n", 2).await;
    world.says_nothing().await;
    world.mock.acknowledge_through(Lsn::new(1)).await;
    world.says_nothing().await;
    world.mock.acknowledge_through(Lsn::new(2)).await;
    let expected = "+OK :2 ";
    assert_eq!(world.next(expected.len()).await, expected);
}

#[actix::test]
async fn p25_waitaof_does_not_say_that_a_change_is_on_the_disk_that_was_answered_and_is_lost() {
    let mut world = World::with(Durability::Async).await;
    world.send("SET a 1\r\n", 1).await;
    assert_eq!(world.next(4).await, "+OK ");
    world.mock.act(MockStep::Fail(Cause::Closed)).await;
    world.send("GET a\r\nWAITAOF 1 0 0\r\nWAITAOF 1 0 0\r\nECHO end\r\n", 1).await;
    let expected = "$-1 -ERR changes that were answered before they were durable are lost, perhaps some of this client: \
        read what there is *2 :1 :0 $3 end ";
    let mut told = String::new();
    while !told.ends_with("end ") {
        told += &world.next(1).await;
    }
    assert_eq!(told, expected, "warned once");
}

#[actix::test]
async fn p6_answers_come_in_the_order_of_their_requests_whatever_gives_them() {
    let mut world = World::begin().await;
    let lines = "PING\r\nSET a 1\r\nECHO b\r\nGET a\r\nNOSUCH\r\nMULTI\r\nGET a\r\nEXEC\r\nSELECT 1\r\nGET a\r\n";
    world.send(lines, 1).await;
    world.says_nothing().await;
    world.mock.acknowledge_through(Lsn::new(1)).await;
    let expected = "+PONG +OK $1 b $1 1 -ERR unknown command 'NOSUCH', with args beginning with:  +OK +QUEUED *1 $1 1 \
        +OK $-1 ";
    assert_eq!(world.next(expected.len()).await, expected);
}
