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
use actix_wal::messages::{Accepted, LogEvent};
use actix_wal::{AppendError, CommitError, Lsn, Outbox, Wal, WalConfig};
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
    log: Outbox,
    /// Those whose record has no LSN yet, in the order in which they were put in.
    unnumbered: VecDeque<oneshot::Sender<Answer>>,
    /// In LSN order.
    waiting: VecDeque<(Lsn, oneshot::Sender<Answer>)>,
}

impl Coordinator {
    /// Answers those whose LSN has an outcome. `Wal::outcome` knows of failures, the watermark alone
    /// does not; it sends no message.
    fn answer(&mut self) {
        while let Some((lsn, _)) = self.waiting.front()
            && let Some(outcome) = self.wal.outcome(*lsn)
            && let Some((lsn, client)) = self.waiting.pop_front()
        {
            let _ = client.send(outcome.map(|()| lsn));
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

    fn handle(&mut self, Transfer(what): Transfer, _: &mut Self::Context) -> Self::Result {
        // Phase one: the record is on its way, and the next client is served meanwhile.
        if let Err(refused) = self.log.append(what) {
            return Box::pin(async move { Err(refused.into()) });
        }
        let (client, answer) = oneshot::channel();
        self.unnumbered.push_back(client);
        let gone = AppendError::Unknown { cause: Cause::Stopped { actor: "Coordinator" } };
        Box::pin(async move { answer.await.unwrap_or_else(|_| Err(gone.into())) })
    }
}

impl Handler<Accepted> for Coordinator {
    type Result = ();

    fn handle(&mut self, accepted: Accepted, _: &mut Self::Context) {
        let clients = self.unnumbered.drain(..accepted.count as usize);
        match accepted.result {
            Ok(range) => {
                let lsns = (0..).map(|nth| range.first.plus(nth));
                self.waiting.extend(lsns.zip(clients));
            }
            Err(refused) => clients.for_each(|client| {
                let _ = client.send(Err(refused.clone().into()));
            }),
        }
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
    let coordinator = Coordinator::create(|context| Coordinator {
        wal: wal.clone(),
        log: wal.outbox(context.address().recipient()),
        unnumbered: VecDeque::new(),
        waiting: VecDeque::new(),
    });

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
