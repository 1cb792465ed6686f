//! The smallest log: open, append, wait, read, close.
//!
//! ```text
//! cargo run --example hello
//! ```

use actix_wal::{Lsn, Wal, WalConfig};

#[actix::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let wal = Wal::open(WalConfig::new("target/hello-wal")).await?;

    let lsn = wal.append("hello").await?; // phase one: the record has its LSN ...
    wal.wait_for_lsn(lsn).await?; //          phase two: ... and now it survives power loss
    println!("LSN {lsn} is durable");

    let lsn = wal.commit("both phases at once").await?;
    println!("LSN {lsn} is durable");

    let mut records = wal.read(Lsn::FIRST).await?;
    while let Some(record) = records.next().await {
        let record = record?;
        println!("{:>4}  {}", record.lsn, String::from_utf8_lossy(&record.payload));
    }
    drop(records); // an open reader keeps the directory

    wal.close().await?;
    Ok(())
}
