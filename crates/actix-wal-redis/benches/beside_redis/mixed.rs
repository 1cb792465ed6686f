//! Nine GETs for each SET, from 64 connections: `redis-benchmark` sends one kind of command at a time.

use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::load::Figures;
use super::servers::Server;

const CONNECTIONS: usize = 64;
const KEYS: usize = 100_000;
const SETS: usize = 10;

pub(crate) fn run(server: &Server, requests: usize) -> Figures {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let (before, began) = (server.processor_time(), Instant::now());
    let port = server.port;
    let mut latencies = runtime.expect("a runtime").block_on(async move {
        let mut clients = JoinSet::new();
        for client in 0..CONNECTIONS {
            clients.spawn(talk(port, client, requests / CONNECTIONS));
        }
        clients.join_all().await.concat()
    });
    let (took, used) = (began.elapsed(), server.processor_time() - before);
    latencies.sort_unstable();
    let p99 = latencies.get(latencies.len() * 99 / 100).copied().unwrap_or(0);
    let per_second = latencies.len() as f64 / took.as_secs_f64();
    Figures::new(per_second, f64::from(p99) / 1000.0, used, latencies.len().max(1))
}

/// Sends one request after the other, and returns how long each took, in microseconds.
async fn talk(port: u16, client: usize, requests: usize) -> Vec<u32> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("it accepts clients");
    stream.set_nodelay(true).expect("a socket");
    let (mut answer, value) = (vec![0; 1024], "x".repeat(128));
    let mut latencies = Vec::with_capacity(requests);
    for at in 0..requests {
        let key = (client * 7919 + at * 104_729) % KEYS;
        let request = if at % SETS == 0 {
            format!("*3\r\n$3\r\nSET\r\n$10\r\nkey{key:07}\r\n$128\r\n{value}\r\n")
        } else {
            format!("*2\r\n$3\r\nGET\r\n$10\r\nkey{key:07}\r\n")
        };
        let began = Instant::now();
        stream.write_all(request.as_bytes()).await.expect("it reads");
        // An answer is shorter than a packet.
        let bytes = stream.read(&mut answer).await.expect("it answers");
        assert!(matches!(answer[..bytes].first(), Some(b'+' | b'$')), "{:?}", &answer[..bytes]);
        latencies.push(u32::try_from(began.elapsed().as_micros()).unwrap_or(u32::MAX));
    }
    latencies
}
