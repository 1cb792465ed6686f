//! The log without a store: the same bytes, through the same outbox.

use actix::{Actor, Addr, AsyncContext, Context, Handler, Message, System};
use actix_wal::messages::{Accepted, LogEvent};
use actix_wal::{InFlight, Outcome, Wal, WalConfig};
use actix_wal_txn::record::TxnRecord;
use actix_wal_txn::store::Write;
use bytes::Bytes;
use tokio::sync::oneshot;

use super::clients::ACCOUNTS;
use crate::support::load::Load;
use crate::support::window::Window;

/// What a transfer writes.
fn record() -> Bytes {
    let write = |account: u64| {
        let bytes = |number: u64| Bytes::copy_from_slice(&number.to_be_bytes());
        Write { key: bytes(account), value: Some(bytes(1_000_000_000)) }
    };
    let writes = vec![write(ACCOUNTS / 2), write(ACCOUNTS - 1)];
    TxnRecord::Commit { token: None, writes }.encode().expect("it is plain")
}

/// Commits a record, and answers when it is durable.
struct Commit(oneshot::Sender<Outcome>);

impl Message for Commit {
    type Result = ();
}

/// Who waits for a record.
enum Waits {
    /// A client.
    Client(oneshot::Sender<Outcome>),
    /// The actor itself, which appends the next one.
    Itself,
}

struct Committer {
    log: InFlight<Waits>,
    record: Bytes,
    window: Window,
    done: Option<oneshot::Sender<()>>,
}

impl Committer {
    fn append(&mut self, waits: Waits) {
        assert!(self.log.append(self.record.clone(), waits).is_ok(), "the log takes it");
    }

    fn settle(&mut self, settled: Vec<(Waits, Outcome)>) {
        for (waits, outcome) in settled {
            match waits {
                Waits::Client(client) => drop(client.send(outcome)),
                Waits::Itself => {
                    outcome.expect("the disk works");
                    if self.window.goes_on() {
                        self.append(Waits::Itself);
                    } else if let Some(done) = self.done.take() {
                        let _ = done.send(());
                    }
                }
            }
        }
    }
}

impl Actor for Committer {
    type Context = Context<Self>;
}

impl Handler<Commit> for Committer {
    type Result = ();

    fn handle(&mut self, Commit(client): Commit, _: &mut Self::Context) {
        self.append(Waits::Client(client));
    }
}

impl Handler<Accepted> for Committer {
    type Result = ();

    fn handle(&mut self, accepted: Accepted, _: &mut Self::Context) {
        let settled = self.log.accepted(accepted).collect();
        self.settle(settled);
    }
}

impl Handler<LogEvent> for Committer {
    type Result = ();

    fn handle(&mut self, event: LogEvent, _: &mut Self::Context) {
        let settled = self.log.event(&event).collect();
        self.settle(settled);
    }
}

/// Commits per second: by clients that send messages, or by the actor alone.
pub(crate) fn run(load: &Load, by_clients: bool) -> f64 {
    System::new().block_on(async {
        let wal = Wal::open(WalConfig::new(&load.directory)).await.expect("it opens");
        let window = Window::new(load);
        let (done, ends) = oneshot::channel();
        let (shared, in_flight) = (window.share(), if by_clients { 0 } else { load.clients });
        let log = wal.clone();
        // The events of the log must find it subscribed before it appends.
        let committer = Committer::create(move |context| Committer {
            log: InFlight::new(log.outbox(context.address().recipient())),
            record: record(),
            window: shared,
            done: Some(done),
        });
        wal.subscribe(committer.clone().recipient()).await.expect("it is open");
        if by_clients {
            clients(&committer, &window, load.clients).await;
        } else {
            committer.send(Begin(in_flight)).await.unwrap();
            ends.await.unwrap();
        }
        wal.close().await.expect("it closes");
        window.rate()
    })
}

struct Begin(usize);

impl Message for Begin {
    type Result = ();
}

impl Handler<Begin> for Committer {
    type Result = ();

    fn handle(&mut self, Begin(in_flight): Begin, _: &mut Self::Context) {
        (0..in_flight).for_each(|_| self.append(Waits::Itself));
    }
}

async fn clients(committer: &Addr<Committer>, window: &Window, clients: usize) {
    let clients: Vec<_> = (0..clients)
        .map(|_| {
            let (window, committer) = (window.share(), committer.clone());
            actix::spawn(async move {
                while {
                    let (answer, outcome) = oneshot::channel();
                    committer.do_send(Commit(answer));
                    outcome.await.unwrap().expect("the disk works");
                    window.goes_on()
                } {}
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
}
