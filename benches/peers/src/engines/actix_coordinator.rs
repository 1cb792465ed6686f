//! Ours, as an actor uses it that keeps many commits in flight: it appends by its outbox, and learns from the
//! watermark what became durable, once per batch.

use std::path::Path;
use std::time::Instant;

use actix::{Actor, AsyncContext, Context, Handler, Message};
use actix_wal::messages::{Accepted, LogEvent};
use actix_wal::{InFlight, Wal};
use bytes::Bytes;
use tokio::sync::oneshot;

use super::Engine;
use super::actix_wal::{Settings, with_used_log};
use crate::error::EngineError;
use crate::load::Load;
use crate::meter::{Measured, Meter, Tally, Window};

/// So many actors share the commits in flight. They and the actors of the log share one thread.
pub struct Coordinators {
    pub name: &'static str,
    pub actors: usize,
}

impl Engine for Coordinators {
    fn name(&self) -> &'static str {
        self.name
    }

    fn run(&self, place: &Path, load: &Load) -> Result<Measured, EngineError> {
        with_used_log(place, load, &Settings::default(), async |wal| {
            run(wal, self.actors, load).await
        })
    }
}

/// Has so many coordinators keep the commits of this load in flight, in this Arbiter.
pub async fn run(wal: &Wal, actors: usize, load: &Load) -> Result<Measured, EngineError> {
    let (all, actors) = (load.committers, actors.min(load.committers));
    let window = load.window();
    let meter = Meter::start(window)?;
    let mut running = Vec::new();
    for index in 0..actors {
        let share = all / actors + usize::from(index < all % actors);
        running.push(Coordinator::begin(wal, share, load, window).await?);
    }
    let mut tally = Tally::new(window);
    for ended in running {
        tally.merge(&ended.await.map_err(|_| EngineError::Panicked)??);
    }
    meter.finish(&tally)
}

/// What the end of a coordinator's work is told by.
type Ended = oneshot::Receiver<Result<Tally, EngineError>>;

struct Coordinator {
    /// Since when each commit is awaited.
    log: InFlight<Instant>,
    record: Vec<u8>,
    tally: Tally,
    window: Window,
    done: Option<oneshot::Sender<Result<Tally, EngineError>>>,
}

impl Coordinator {
    /// Starts one, and has it put so many commits in flight.
    async fn begin(
        wal: &Wal,
        share: usize,
        load: &Load,
        window: Window,
    ) -> Result<Ended, EngineError> {
        let (done, ended) = oneshot::channel();
        let address = Coordinator::create(|context| Coordinator {
            log: InFlight::new(wal.outbox(context.address().recipient())),
            record: load.record(),
            tally: Tally::new(window),
            window,
            done: Some(done),
        });
        wal.subscribe(address.clone().recipient()).await.map_err(EngineError::open)?;
        address.do_send(Begin(share));
        Ok(ended)
    }

    /// Phase one: so many records go on their way.
    fn append(&mut self, count: usize, since: Instant) -> Result<(), EngineError> {
        for _ in 0..count {
            let payload = Bytes::copy_from_slice(&self.record);
            self.log.append(payload, since).map_err(|(_, refused)| EngineError::commit(refused))?;
        }
        Ok(())
    }

    /// Phase two: for each commit that has become durable, the next one begins.
    fn outcome_of(&mut self, event: &LogEvent) -> Result<(), EngineError> {
        let (now, mut next) = (Instant::now(), 0);
        for (since, outcome) in self.log.event(event) {
            outcome.map_err(EngineError::commit)?;
            next += usize::from(self.tally.acknowledged(since, now));
        }
        self.append(next, now)
    }

    /// Says how it went, once.
    fn end_with(&mut self, result: Result<(), EngineError>) {
        let over = self.log.is_empty() && Instant::now() >= self.window.end;
        if let Some(done) = self.done.take_if(|_| over || result.is_err()) {
            let tally = std::mem::replace(&mut self.tally, Tally::new(self.window));
            // The receiver is there: the System waits for it.
            let _ = done.send(result.map(|()| tally));
        }
    }
}

impl Actor for Coordinator {
    type Context = Context<Self>;
}

/// Put so many commits in flight.
struct Begin(usize);

impl Message for Begin {
    type Result = ();
}

impl Handler<Begin> for Coordinator {
    type Result = ();

    fn handle(&mut self, Begin(share): Begin, _: &mut Self::Context) {
        let begun = self.append(share, Instant::now());
        self.end_with(begun);
    }
}

impl Handler<Accepted> for Coordinator {
    type Result = ();

    fn handle(&mut self, accepted: Accepted, _: &mut Self::Context) {
        let refused = self.log.accepted(accepted).find_map(|(_, outcome)| outcome.err());
        self.end_with(refused.map_or(Ok(()), |refused| Err(EngineError::commit(refused))));
    }
}

impl Handler<LogEvent> for Coordinator {
    type Result = ();

    fn handle(&mut self, event: LogEvent, _: &mut Self::Context) {
        let ended = self.outcome_of(&event);
        self.end_with(ended);
    }
}
