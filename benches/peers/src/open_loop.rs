//! The open loop: commits come at a fixed rate, whether the log keeps up or not.
//!
//! Latency counts from the moment at which a commit should have been sent. Were it counted from when it was
//! sent, a log that stalls would be asked less, and would look better for it (coordinated omission).

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use actix::{Actor, Context, Handler, Message};
use actix_wal::messages::{Accepted, LogEvent};
use actix_wal::{AppendError, Outbox};
use bytes::Bytes;
use tokio::sync::oneshot;

use crate::args::Policy;
use crate::engines::actix_wal::{Settings, with_used_log};
use crate::error::EngineError;
use crate::in_flight::InFlight;
use crate::load::Load;
use crate::meter::{Measured, Meter, Tally, Window};

/// How long what was to be sent in the window may be sent later. What is not sent by then counts with the
/// time that it had waited until then.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the sender waits when as much is in flight as is allowed.
const FULL: Duration = Duration::from_micros(100);

/// Ours, with this policy, at so many commits per second.
pub fn run(place: &Path, load: &Load, policy: Policy, rate: u64) -> Result<Measured, EngineError> {
    let settings = Settings { policy, ..Settings::default() };
    with_used_log(place, load, &settings, async |wal| {
        let (done, ended) = oneshot::channel();
        let window = load.window();
        let meter = Meter::start(window)?;
        let schedule = Schedule { start: Instant::now(), rate, window };
        let listener = Listener {
            schedule,
            in_flight: InFlight::default(),
            durable: 0,
            sent: None,
            tally: Tally::new(window),
            done: Some(done),
        }
        .start();
        wal.subscribe(listener.clone().recipient()).await.map_err(EngineError::open)?;
        let (log, record) = (wal.outbox(listener.clone().recipient()), load.record());
        let pace = move || listener.do_send(Sent(pace(schedule, log, &record)));
        thread::Builder::new().name("pace".into()).spawn(pace).map_err(EngineError::Thread)?;
        let tally = ended.await.map_err(|_| EngineError::Panicked)??;
        meter.finish(&tally)
    })
}

/// When each commit is to be sent. Commits are numbered as the tickets of an outbox are: 0, 1, 2 and so on.
#[derive(Clone, Copy)]
struct Schedule {
    start: Instant,
    rate: u64,
    window: Window,
}

impl Schedule {
    fn moment(&self, index: u64) -> Instant {
        self.start + Duration::from_secs_f64(index as f64 / self.rate as f64)
    }

    /// The moments from a commit on, to the end of the window.
    fn from(self, first: u64) -> impl Iterator<Item = Instant> {
        (first..)
            .map(move |index| self.moment(index))
            .take_while(move |moment| *moment < self.window.end)
    }
}

/// Sends each commit at its moment, or as soon after it as it can. Returns how many could be sent.
fn pace(schedule: Schedule, mut log: Outbox, record: &[u8]) -> Result<u64, EngineError> {
    let give_up = schedule.window.end + PATIENCE;
    let mut sent = 0;
    for moment in schedule.from(0) {
        thread::sleep(moment.saturating_duration_since(Instant::now()));
        let payload = Bytes::copy_from_slice(record);
        loop {
            match log.append(payload.clone()) {
                Ok(_) => break,
                Err(AppendError::Overloaded { .. }) if Instant::now() < give_up => {
                    thread::sleep(FULL)
                }
                Err(AppendError::Overloaded { .. }) => return Ok(sent),
                Err(error) => return Err(EngineError::commit(error)),
            }
        }
        sent += 1;
    }
    Ok(sent)
}

/// Receives the watermark, in the Arbiter of the log.
struct Listener {
    schedule: Schedule,
    in_flight: InFlight,
    /// So many commits, from the first one on.
    durable: u64,
    /// How many there are, once the sender has ended.
    sent: Option<u64>,
    tally: Tally,
    done: Option<oneshot::Sender<Result<Tally, EngineError>>>,
}

impl Listener {
    fn outcome_of(&mut self, event: &LogEvent) -> Result<(), EngineError> {
        let (from, now) = (self.durable, Instant::now());
        self.durable += self.in_flight.durable(event)?;
        for index in from..self.durable {
            self.tally.durable_at(now);
            self.count(self.schedule.moment(index), now);
        }
        Ok(())
    }

    fn count(&mut self, moment: Instant, now: Instant) {
        if moment >= self.schedule.window.begin {
            self.tally.count(now - moment);
        }
    }

    fn end_with(&mut self, result: Result<(), EngineError>) {
        let over = self.sent == Some(self.durable);
        if let Some(done) = self.done.take_if(|_| over || result.is_err()) {
            let tally = std::mem::replace(&mut self.tally, Tally::new(self.schedule.window));
            // The receiver is there: the System waits for it.
            let _ = done.send(result.map(|()| tally));
        }
    }
}

impl Actor for Listener {
    type Context = Context<Self>;
}

impl Handler<Accepted> for Listener {
    type Result = ();

    fn handle(&mut self, accepted: Accepted, _: &mut Self::Context) {
        let ended = self.in_flight.accepted(accepted);
        self.end_with(ended);
    }
}

impl Handler<LogEvent> for Listener {
    type Result = ();

    fn handle(&mut self, event: LogEvent, _: &mut Self::Context) {
        let ended = self.outcome_of(&event);
        self.end_with(ended);
    }
}

/// The sender has ended, after so many commits.
struct Sent(Result<u64, EngineError>);

impl Message for Sent {
    type Result = ();
}

impl Handler<Sent> for Listener {
    type Result = ();

    fn handle(&mut self, Sent(sent): Sent, _: &mut Self::Context) {
        let now = Instant::now();
        let counted = sent.map(|sent| {
            self.sent = Some(sent);
            self.schedule.from(sent).for_each(|moment| self.count(moment, now));
        });
        self.end_with(counted);
    }
}
