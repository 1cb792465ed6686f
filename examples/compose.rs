//! A server actor that is built out of the actors of the log: it starts them itself, in an Arbiter of its
//! own and under a Supervisor, and can put the mock in the Flusher's place.
//!
//! ```text
//! cargo run --example compose
//! cargo run --example compose -- --mock
//! ```

use std::error::Error;

use actix::{
    Actor, Arbiter, ArbiterHandle, Context, Handler, Message, ResponseFuture, Supervised,
    Supervisor,
};
use actix_wal::actors::{Appender, Flusher, Recovery};
use actix_wal::messages::Recover;
use actix_wal::testkit::{MockLog, MockScript};
use actix_wal::{CommitError, LogParts, Lsn, RecoveryReport, Wal, WalConfig};

/// Recovery, Appender and Flusher by their public constructors: what `Wal::open` does, spelled out.
async fn real_log(config: &WalConfig, arbiter: &ArbiterHandle) -> Result<Wal, Box<dyn Error>> {
    let parts = LogParts::new(config);

    // Recovery comes first. Only a `RecoveredLog` can start a Flusher.
    let recovery = Recovery::new(&parts, config.clone());
    let recovery = Recovery::start_in_arbiter(arbiter, |_| recovery);
    let recovered = recovery.send(Recover::default()).await??;
    let report = recovered.report().clone();

    let appender = Appender::new(&parts, config.overload);
    let appender = Supervisor::start_in_arbiter(arbiter, |_| appender);

    // The Flusher counts on its Supervisor: after an I/O fault it stops itself and is started again.
    let events = appender.clone().recipient();
    let flusher = Flusher::new(recovered, &parts, config.clone(), events);
    let flusher = Supervisor::start_in_arbiter(arbiter, |_| flusher);
    Ok(Wal::compose(config, &parts, report, &appender, &flusher))
}

/// The same without a disk: two lines differ. (In a test, `MockLog::start` is all of it.)
fn mocked_log(config: &WalConfig, arbiter: &ArbiterHandle) -> Wal {
    let parts = LogParts::new(config);

    let appender = Appender::new(&parts, config.overload);
    let appender = Supervisor::start_in_arbiter(arbiter, |_| appender);

    let (script, events) = (MockScript::acknowledge(), appender.clone().recipient());
    let (mock, _handle) = MockLog::flusher(&parts, config, script, events);
    let mock = Supervisor::start_in_arbiter(arbiter, |_| mock);
    Wal::compose(config, &parts, RecoveryReport::default(), &appender, &mock)
}

/// The server: knows the log by its handle, whatever stands behind it.
struct Server {
    wal: Wal,
    requests: u64,
}

impl Actor for Server {
    type Context = Context<Self>;
}

impl Supervised for Server {}

struct Request(&'static str);

impl Message for Request {
    type Result = Result<Lsn, CommitError>;
}

impl Handler<Request> for Server {
    type Result = ResponseFuture<Result<Lsn, CommitError>>;

    fn handle(&mut self, Request(what): Request, _: &mut Self::Context) -> Self::Result {
        self.requests += 1;
        let (wal, number) = (self.wal.clone(), self.requests);
        Box::pin(async move { wal.commit(format!("{number}: {what}")).await })
    }
}

#[actix::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mocked = std::env::args().any(|argument| argument == "--mock");
    let config = WalConfig::new("target/compose-wal");

    // The log has a thread of its own; the server stays on this one.
    let log_arbiter = Arbiter::new();
    let wal = match mocked {
        true => mocked_log(&config, &log_arbiter.handle()),
        false => real_log(&config, &log_arbiter.handle()).await?,
    };
    let server = Server { wal: wal.clone(), requests: 0 };
    let server = Supervisor::start(|_| server);

    for what in ["put a", "put b", "delete a"] {
        let lsn = server.send(Request(what)).await??;
        println!("{what:<10} is durable at LSN {lsn}");
    }
    println!("{} batches, {} syncs", wal.stats().batches, wal.stats().fsyncs);

    wal.close().await?;
    log_arbiter.stop();
    Ok(())
}
