//! Host: actix actors. One actor answers its clients by the watermark: one event per batch, however many wait.
//!
//! ```text
//! cargo run --example coordinator
//! ```

use actix::{Actor, AsyncContext, Context, Handler, Message};
use actix_wal::messages::{Accepted, LogEvent};
use actix_wal::{InFlight, Outcome, Wal, WalConfig};
use tokio::sync::oneshot;

/// Makes a transfer durable, and answers the client.
#[derive(Message)]
#[rtype(result = "()")]
struct Transfer(String, oneshot::Sender<Outcome>);

struct Coordinator {
    log: InFlight<oneshot::Sender<Outcome>>,
}

impl Actor for Coordinator {
    type Context = Context<Self>;
}

impl Handler<Transfer> for Coordinator {
    type Result = ();

    fn handle(&mut self, Transfer(what, client): Transfer, _: &mut Self::Context) {
        if let Err((client, refused)) = self.log.append(what, client) {
            let _ = client.send(Err(refused.into()));
        }
    }
}

impl Handler<Accepted> for Coordinator {
    type Result = ();

    fn handle(&mut self, accepted: Accepted, _: &mut Self::Context) {
        self.log.accepted(accepted).for_each(|(client, outcome)| drop(client.send(outcome)));
    }
}

impl Handler<LogEvent> for Coordinator {
    type Result = ();

    fn handle(&mut self, event: LogEvent, _: &mut Self::Context) {
        self.log.event(&event).for_each(|(client, outcome)| drop(client.send(outcome)));
    }
}

#[actix::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let wal = Wal::open(WalConfig::new("target/coordinator-wal")).await?;
    let coordinator = Coordinator::create(|context| Coordinator {
        log: InFlight::new(wal.outbox(context.address().recipient())),
    });
    wal.subscribe(coordinator.clone().recipient()).await?;

    let mut answers = Vec::new();
    for client in 0..1000 {
        let (answer, outcome) = oneshot::channel();
        coordinator.do_send(Transfer(format!("client {client} pays 1"), answer));
        answers.push(outcome);
    }
    for outcome in answers {
        outcome.await??;
    }
    let stats = wal.stats();
    println!("1000 clients have their answers");
    println!("{} records in {} batches, {} syncs", stats.durable, stats.batches, stats.fsyncs);
    wal.close().await?;
    Ok(())
}
