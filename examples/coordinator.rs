//! An actor that answers its clients by the watermark: one event per batch, however many clients wait.
//!
//! ```text
//! cargo run --example coordinator
//! ```

use std::collections::VecDeque;

use actix::{
    Actor, ActorFutureExt, AsyncContext, Context, Handler, Message, ResponseFuture, WrapFuture,
};
use actix_wal::error::Cause;
use actix_wal::messages::LogEvent;
use actix_wal::{AppendError, CommitError, Lsn, Wal, WalConfig};
use tokio::sync::oneshot;

type Answer = Result<Lsn, CommitError>;

/// What a client asks for: make this durable.
struct Transfer(String);

impl Message for Transfer {
    type Result = Answer;
}

/// Remembers who waits for which LSN, and hears of the watermark.
struct Coordinator {
    wal: Wal,
    /// In LSN order.
    waiting: VecDeque<(Lsn, oneshot::Sender<Answer>)>,
}

impl Coordinator {
    /// Answers those whose LSN has an outcome. `Wal::outcome` knows of failures, the watermark alone
    /// does not; it sends no message.
    fn answer(&mut self) {
        for (lsn, client) in std::mem::take(&mut self.waiting) {
            match self.wal.outcome(lsn) {
                Some(outcome) => drop(client.send(outcome.map(|()| lsn))),
                None => self.waiting.push_back((lsn, client)),
            }
        }
    }
}

impl Actor for Coordinator {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        let (wal, me) = (self.wal.clone(), context.address().recipient());
        let subscribe = async move { wal.subscribe(me).await };
        context.wait(subscribe.into_actor(self).map(|_, _, _| ()));
    }
}

impl Handler<Transfer> for Coordinator {
    type Result = ResponseFuture<Answer>;

    fn handle(&mut self, Transfer(what): Transfer, context: &mut Self::Context) -> Self::Result {
        let (client, answer) = oneshot::channel();
        let wal = self.wal.clone();
        // Phase one: the LSN comes back at once, and the next client is served meanwhile.
        let append = async move { wal.append(what).await }.into_actor(self);
        context.spawn(append.map(|appended, this, _| match appended {
            Ok(lsn) => {
                this.waiting.push_back((lsn, client));
                this.answer();
            }
            Err(refused) => drop(client.send(Err(refused.into()))),
        }));
        let gone = AppendError::Unknown { cause: Cause::Stopped { actor: "Coordinator" } };
        Box::pin(async move { answer.await.unwrap_or_else(|_| Err(gone.into())) })
    }
}

impl Handler<LogEvent> for Coordinator {
    type Result = ();

    fn handle(&mut self, event: LogEvent, _: &mut Self::Context) {
        if let LogEvent::Durable { through, .. } = event {
            println!("durable through LSN {through}: {} clients wait", self.waiting.len());
        }
        // Phase two. Other events (`Poisoned`, `Closed`) decide outcomes as well.
        self.answer();
    }
}

#[actix::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let wal = Wal::open(WalConfig::new("target/coordinator-wal")).await?;
    let coordinator = Coordinator { wal: wal.clone(), waiting: VecDeque::new() }.start();

    let clients: Vec<_> = (0..1000)
        .map(|client| actix::spawn(coordinator.send(Transfer(format!("client {client} pays 1")))))
        .collect();
    let mut last = Lsn::NONE;
    for client in clients {
        last = client.await???;
    }
    println!("1000 clients have their answers, the last one for LSN {last}");

    let stats = wal.stats();
    println!("{} records in {} batches, {} syncs", stats.durable, stats.batches, stats.fsyncs);
    wal.close().await?;
    Ok(())
}
