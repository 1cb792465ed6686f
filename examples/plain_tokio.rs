//! A tokio server without actix: each line that a client sends is answered with its LSN once it is durable.
//!
//! ```text
//! cargo run --example plain_tokio
//! ```

use std::error::Error;

use actix_wal::{Lsn, Wal, WalConfig};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// Answers one client, until it goes away.
async fn serve(client: TcpStream, wal: Wal) -> Result<(), Box<dyn Error + Send + Sync>> {
    let (read, mut write) = client.into_split();
    let mut lines = BufReader::new(read).lines();
    while let Some(line) = lines.next_line().await? {
        // Lines of other clients that come in meanwhile become durable with the same sync.
        let answer = match wal.commit(line).await {
            Ok(lsn) => format!("{lsn}\n"),
            Err(error) => format!("error: {error}\n"),
        };
        write.write_all(answer.as_bytes()).await?;
    }
    Ok(())
}

/// Sends some lines, each after the answer to the one before, and returns the last LSN.
async fn send(
    address: std::net::SocketAddr,
    client: u32,
) -> Result<Lsn, Box<dyn Error + Send + Sync>> {
    let (read, mut write) = TcpStream::connect(address).await?.into_split();
    let mut answers = BufReader::new(read).lines();
    let mut last = Lsn::NONE;
    for number in 0..100 {
        write.write_all(format!("client {client}, line {number}\n").as_bytes()).await?;
        let answer = answers.next_line().await?.ok_or("the server has hung up")?;
        last = Lsn::new(answer.parse().map_err(|_| answer)?);
    }
    Ok(last)
}

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    // The actors of the log run in a System of their own, on a thread of their own.
    let wal = Wal::open(WalConfig::new("target/plain-tokio-wal")).on_own_thread().await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let handle = wal.clone();
    let server = tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(serve(client, handle.clone()));
        }
    });

    let clients: Vec<_> = (0..8).map(|client| tokio::spawn(send(address, client))).collect();
    for client in clients {
        let last = client.await??;
        assert!(last <= wal.durable_lsn(), "what was answered is durable");
    }
    server.abort();
    println!("{:?}", wal.stats());
    wal.close().await?; // what comes now is refused, and the thread of the log has ended
    Ok(())
}
