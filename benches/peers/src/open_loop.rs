//! The open loop: commits come at a fixed rate, whether the log keeps up or not.
//!
//! Latency counts from the moment at which a commit should have been sent. Were it counted from when it was
//! sent, a log that stalls would be asked less, and would look better for it (coordinated omission).

use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use actix::{Actor, Context, Handler, Message, System};
use actix_wal::engine::admission::Refusal;
use actix_wal::messages::LogEvent;
use actix_wal::{Bounds, FlushPolicy};
use tokio::sync::oneshot;

use crate::args::Policy;
use crate::engines::open_actix_wal;
use crate::error::EngineError;
use crate::in_flight::{InFlight, Pending, Sender};
use crate::load::Load;
use crate::meter::{Measured, Meter, Tally, Window};

/// How long what was to be sent in the window may be sent later. What is not sent by then counts with the
/// time that it had waited until then.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the sender waits when as much is in flight as is allowed.
const FULL: Duration = Duration::from_micros(100);

/// Ours, with this policy, at so many commits per second.
pub fn run(place: &Path, load: &Load, policy: Policy, rate: u64) -> Result<Measured, EngineError> {
    let flush_policy = match policy {
        Policy::Adaptive => FlushPolicy::Adaptive(Bounds::default()),
        Policy::Eager => FlushPolicy::Eager,
        Policy::Window => FlushPolicy::Window(Bounds::default()),
    };
    System::new().block_on(async {
        let wal = open_actix_wal(place, 1, load.size, flush_policy).await?;
        let (done, ended) = oneshot::channel();
        let (tell, sent) = mpsc::channel();
        let window = load.window();
        let meter = Meter::start(window)?;
        let listener = Listener {
            window,
            sent,
            all_sent: false,
            in_flight: InFlight::with_capacity(1024),
            tally: Tally::new(window),
            done: Some(done),
        };
        let listener = listener.start();
        wal.subscribe(listener.clone().recipient()).await.map_err(EngineError::open)?;
        let sender = Sender::new(&wal, load.record());
        let pace = move || listener.do_send(AllSent(pace(window, rate, &sender, &tell)));
        thread::Builder::new().name("pace".into()).spawn(pace).map_err(EngineError::Thread)?;
        let tally = ended.await.map_err(|_| EngineError::Panicked)??;
        let measured = meter.finish(&tally)?;
        wal.close().await.map_err(EngineError::commit)?;
        Ok(measured)
    })
}

/// Sends each commit at its moment, or as soon after it as it can. Returns the moments of those that could
/// not be sent at all.
fn pace(
    window: Window,
    rate: u64,
    sender: &Sender,
    tell: &mpsc::Sender<Pending>,
) -> Result<Vec<Instant>, EngineError> {
    let (start, give_up) = (Instant::now(), window.end + PATIENCE);
    let mut moments = (0u64..)
        .map(|index| start + Duration::from_secs_f64(index as f64 / rate as f64))
        .take_while(|moment| *moment < window.end);
    while let Some(moment) = moments.next() {
        thread::sleep(moment.saturating_duration_since(Instant::now()));
        let permit = loop {
            match sender.permit() {
                Ok(permit) => break permit,
                Err(Refusal::Overloaded) if Instant::now() < give_up => thread::sleep(FULL),
                Err(Refusal::Overloaded) => {
                    return Ok([moment].into_iter().chain(moments).collect());
                }
                Err(refusal) => return Err(EngineError::Commit(format!("{refusal:?}"))),
            }
        };
        let (submit, pending) = sender.prepare(permit, moment);
        // First the listener, so that it has heard of whatever becomes durable.
        if tell.send(pending).is_err() {
            return Err(EngineError::Panicked);
        }
        sender.send(submit);
    }
    Ok(Vec::new())
}

/// Hears of the watermark, in the Arbiter of the log.
struct Listener {
    window: Window,
    sent: mpsc::Receiver<Pending>,
    all_sent: bool,
    in_flight: InFlight,
    tally: Tally,
    done: Option<oneshot::Sender<Result<Tally, EngineError>>>,
}

impl Listener {
    fn hear(&mut self, event: &LogEvent) -> Result<(), EngineError> {
        self.sent.try_iter().for_each(|pending| self.in_flight.push(pending));
        let (window, tally, now) = (self.window, &mut self.tally, Instant::now());
        self.in_flight.hear(event, |moment| {
            tally.durable_at(now);
            if moment >= window.begin {
                tally.count(now - moment);
            }
        })
    }

    fn end_with(&mut self, result: Result<(), EngineError>) {
        let over = self.all_sent && self.in_flight.is_empty();
        if let Some(done) = self.done.take_if(|_| over || result.is_err()) {
            let tally = std::mem::replace(&mut self.tally, Tally::new(self.window));
            // The receiver is there: the System waits for it.
            let _ = done.send(result.map(|()| tally));
        }
    }
}

impl Actor for Listener {
    type Context = Context<Self>;
}

impl Handler<LogEvent> for Listener {
    type Result = ();

    fn handle(&mut self, event: LogEvent, _: &mut Self::Context) {
        let heard = self.hear(&event);
        self.end_with(heard);
    }
}

/// The sender has ended; these moments were left.
struct AllSent(Result<Vec<Instant>, EngineError>);

impl Message for AllSent {
    type Result = ();
}

impl Handler<AllSent> for Listener {
    type Result = ();

    fn handle(&mut self, AllSent(left): AllSent, _: &mut Self::Context) {
        self.all_sent = true;
        self.sent.try_iter().for_each(|pending| self.in_flight.push(pending));
        let now = Instant::now();
        let counted = left.map(|left| {
            let left = left.into_iter().filter(|moment| *moment >= self.window.begin);
            left.for_each(|moment| self.tally.count(now - moment));
        });
        self.end_with(counted);
    }
}
