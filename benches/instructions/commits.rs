//! Whole commits, on a real directory: what they cost the thread of the clients and of the log's actors.
//! What the flush thread does meanwhile is not counted here.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use actix::{Actor, AsyncContext, Context, Handler, Message, System};
use actix_wal::messages::Accepted;
use actix_wal::{InFlight, LogEvent, Lsn, Outbox, Settled, Wal, WalConfig};
use bytes::Bytes;
use tokio::sync::oneshot;

use super::pieces::{RECORDS, measured, payloads};

/// Each takes a sync, so they are fewer than elsewhere.
pub(crate) const BATCHES: u64 = 100;

async fn open(directory: &std::path::Path) -> Wal {
    Wal::open(WalConfig::new(directory.join("log"))).await.expect("it opens")
}

/// As many commits as make a batch, at once, and their answers.
pub(crate) fn by_future() {
    let folder = test_support::scratch::folder();
    let system = System::new();
    let wal = system.block_on(open(folder.path()));
    // The first batch makes room for all that follow.
    for batch in 0..=BATCHES {
        let mut commits: Vec<Pin<Box<dyn Future<Output = Lsn>>>> = Vec::new();
        for payload in payloads() {
            let wal = wal.clone();
            commits.push(Box::pin(async move { wal.commit(payload).await.expect("durable") }));
        }
        let mut work = || {
            system.block_on(poll_fn(|context| {
                commits.retain_mut(|commit| commit.as_mut().poll(context).is_pending());
                if commits.is_empty() { Poll::Ready(()) } else { Poll::Pending }
            }));
        };
        if batch == 0 { work() } else { measured(&mut work) }
    }
    system.block_on(wal.close()).expect("it closes");
}

/// As many appends of one actor, until it is notified that they are durable.
pub(crate) fn by_outbox() {
    by_actor(|wal, context| Coordinator {
        log: wal.outbox(context.address().recipient()),
        accepted: 0,
        batch: None,
    });
}

/// The same, with a token for each append.
pub(crate) fn by_in_flight() {
    by_actor(|wal, context| Pairing {
        log: InFlight::new(wal.outbox(context.address().recipient())),
        open: 0,
        durable: None,
    });
}

fn by_actor<A>(owner: fn(&Wal, &mut Context<A>) -> A)
where
    A: Actor<Context = Context<A>> + Handler<Batch> + Handler<LogEvent>,
{
    let folder = test_support::scratch::folder();
    let system = System::new();
    let wal = system.block_on(open(folder.path()));
    let owner = system.block_on(async {
        let owner = A::create(|context| owner(&wal, context));
        wal.subscribe(owner.clone().recipient()).await.expect("it is open");
        owner
    });
    for batch in 0..=BATCHES {
        let (durable, answer) = oneshot::channel();
        let mut answer = Some((Batch { payloads: payloads(), durable }, answer));
        let mut work = || {
            let (batch, answer) = answer.take().expect("it is run once");
            owner.do_send(batch);
            system.block_on(answer).expect("it is durable");
        };
        if batch == 0 { work() } else { measured(&mut work) }
    }
    system.block_on(wal.close()).expect("it closes");
}

#[derive(Message)]
#[rtype(result = "()")]
struct Batch {
    payloads: Vec<Bytes>,
    durable: oneshot::Sender<()>,
}

struct Coordinator {
    log: Outbox,
    accepted: u64,
    /// The LSN that it waits for, once that is known, and whom it tells.
    batch: Option<(Option<Lsn>, oneshot::Sender<()>)>,
}

impl Actor for Coordinator {
    type Context = Context<Self>;
}

impl Handler<Batch> for Coordinator {
    type Result = ();

    fn handle(&mut self, batch: Batch, _: &mut Self::Context) {
        for payload in batch.payloads {
            self.log.append(payload).expect("there is room");
        }
        self.accepted = 0;
        self.batch = Some((None, batch.durable));
    }
}

impl Handler<Accepted> for Coordinator {
    type Result = ();

    fn handle(&mut self, accepted: Accepted, _: &mut Self::Context) {
        self.accepted += accepted.count;
        if let Some((last, _)) = &mut self.batch
            && self.accepted == RECORDS
        {
            *last = Some(accepted.result.expect("it is not refused").last);
        }
    }
}

impl Handler<LogEvent> for Coordinator {
    type Result = ();

    fn handle(&mut self, event: LogEvent, _: &mut Self::Context) {
        if let LogEvent::Durable { through, .. } = event
            && let Some((_, durable)) =
                self.batch.take_if(|(last, _)| last.is_some_and(|last| last <= through))
        {
            let _ = durable.send(());
        }
    }
}

/// Has a token for each append, and counts those that come out.
struct Pairing {
    log: InFlight<u64>,
    open: u64,
    durable: Option<oneshot::Sender<()>>,
}

impl Pairing {
    fn count(settled: Settled<'_, u64>) -> u64 {
        settled.map(|(one, outcome)| outcome.map_or(0, |_| one)).sum()
    }

    fn close(&mut self, settled: u64) {
        self.open -= settled;
        if let Some(durable) = self.durable.take_if(|_| self.open == 0) {
            let _ = durable.send(());
        }
    }
}

impl Actor for Pairing {
    type Context = Context<Self>;
}

impl Handler<Batch> for Pairing {
    type Result = ();

    fn handle(&mut self, batch: Batch, _: &mut Self::Context) {
        self.open = RECORDS;
        self.durable = Some(batch.durable);
        for payload in batch.payloads {
            self.log.append(payload, 1).expect("there is room");
        }
    }
}

impl Handler<Accepted> for Pairing {
    type Result = ();

    fn handle(&mut self, accepted: Accepted, _: &mut Self::Context) {
        let refused = Self::count(self.log.accepted(accepted));
        self.close(refused);
    }
}

impl Handler<LogEvent> for Pairing {
    type Result = ();

    fn handle(&mut self, event: LogEvent, _: &mut Self::Context) {
        let settled = Self::count(self.log.event(&event));
        self.close(settled);
    }
}
