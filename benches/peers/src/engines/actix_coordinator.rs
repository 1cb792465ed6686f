//! Ours, as an actor uses it that keeps many commits in flight: it appends by message, and learns from the
//! watermark what became durable, once per batch.

use std::path::Path;
use std::time::Instant;

use actix::{Actor, Context, Handler, Message, System};
use actix_wal::messages::LogEvent;
use actix_wal::{FlushPolicy, Wal};
use tokio::sync::oneshot;

use super::Engine;
use super::actix_wal::open;
use crate::error::EngineError;
use crate::in_flight::{InFlight, Sender};
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
        let (all, actors) = (load.committers, self.actors.min(load.committers));
        System::new().block_on(async {
            let wal = open(place, all, load.size, FlushPolicy::default()).await?;
            let window = load.window();
            let meter = Meter::start(window)?;
            let mut running = Vec::new();
            for index in 0..actors {
                let share = all / actors + usize::from(index < all % actors);
                let coordinator = Coordinator::new(&wal, share, load, window);
                running.push(coordinator.begin(&wal, share).await?);
            }
            let mut tally = Tally::new(window);
            for ended in running {
                tally.merge(&ended.await.map_err(|_| EngineError::Panicked)??);
            }
            let measured = meter.finish(&tally)?;
            wal.close().await.map_err(EngineError::commit)?;
            Ok(measured)
        })
    }
}

/// What the end of a coordinator's work is told by.
type Ended = oneshot::Receiver<Result<Tally, EngineError>>;

struct Coordinator {
    sender: Sender,
    in_flight: InFlight,
    tally: Tally,
    window: Window,
    done: Option<oneshot::Sender<Result<Tally, EngineError>>>,
}

impl Coordinator {
    fn new(wal: &Wal, share: usize, load: &Load, window: Window) -> Self {
        Coordinator {
            sender: Sender::new(wal, load.record()),
            in_flight: InFlight::with_capacity(share),
            tally: Tally::new(window),
            window,
            done: None,
        }
    }

    /// Starts it, and has it put so many commits in flight.
    async fn begin(mut self, wal: &Wal, share: usize) -> Result<Ended, EngineError> {
        let (done, ended) = oneshot::channel();
        self.done = Some(done);
        let address = self.start();
        wal.subscribe(address.clone().recipient()).await.map_err(EngineError::open)?;
        address.do_send(Begin(share));
        Ok(ended)
    }

    /// Phase one: so many records go on their way.
    fn append(&mut self, count: usize, since: Instant) -> Result<(), EngineError> {
        for _ in 0..count {
            let permit = self.sender.permit();
            let permit = permit.map_err(|refusal| EngineError::Commit(format!("{refusal:?}")))?;
            let (submit, pending) = self.sender.prepare(permit, since);
            self.in_flight.push(pending);
            self.sender.send(submit);
        }
        Ok(())
    }

    /// Phase two: for each commit that has become durable, the next one begins.
    fn hear(&mut self, event: &LogEvent) -> Result<(), EngineError> {
        let (now, mut next) = (Instant::now(), 0);
        let tally = &mut self.tally;
        self.in_flight.hear(event, |since| next += usize::from(tally.acknowledged(since, now)))?;
        self.append(next, now)
    }

    /// Says how it went, once.
    fn end_with(&mut self, result: Result<(), EngineError>) {
        let over = self.in_flight.is_empty() && Instant::now() >= self.window.end;
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

impl Handler<LogEvent> for Coordinator {
    type Result = ();

    fn handle(&mut self, event: LogEvent, _: &mut Self::Context) {
        let heard = self.hear(&event);
        self.end_with(heard);
    }
}
