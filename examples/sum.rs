//! An actor of your own on the log: its next life goes on where this one ends, also after `kill -9`.
//!
//! ```text
//! cargo run --example sum
//! ```

use actix::{Actor, ActorFutureExt, Context, Handler, Message, ResponseActFuture, WrapFuture};
use actix_wal::{CommitError, Lsn, Wal, WalConfig};

/// Adds a number; the answer is the new sum, once that is durable.
struct Add(u64);

impl Message for Add {
    type Result = Result<u64, CommitError>;
}

struct Sum {
    wal: Wal,
    sum: u64,
}

impl Actor for Sum {
    type Context = Context<Self>;
}

impl Handler<Add> for Sum {
    type Result = ResponseActFuture<Self, Result<u64, CommitError>>;

    fn handle(&mut self, Add(number): Add, _: &mut Self::Context) -> Self::Result {
        let wal = self.wal.clone();
        let commit = async move { wal.commit(number.to_string()).await };
        // The sum changes when the record is durable, and not before: no answer shows what a crash could lose.
        Box::pin(commit.into_actor(self).map(move |durable, sum, _| {
            durable.map(|_| {
                sum.sum += number;
                sum.sum
            })
        }))
    }
}

#[actix::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let wal = Wal::open(WalConfig::new("target/sum-wal")).await?;
    let (mut sum, mut records) = (0, wal.read(Lsn::FIRST).await?);
    while let Some(record) = records.next().await {
        sum += std::str::from_utf8(&record?.payload)?.parse::<u64>()?;
    }
    drop(records); // an open reader keeps the directory
    println!("earlier runs have left {sum}");

    let actor = Sum { wal: wal.clone(), sum }.start();
    for number in [1, 2, 3] {
        println!("{number} is durable, and the sum is {}", actor.send(Add(number)).await??);
    }
    Ok(wal.close().await?)
}
