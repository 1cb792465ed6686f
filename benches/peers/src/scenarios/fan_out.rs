//! What subscribers cost the committers: none, one, a hundred, a thousand; and a thousand of which one is slow.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use actix::{Actor, Arbiter, Context, Handler};
use actix_wal::Wal;
use actix_wal::messages::LogEvent;
use clap::Args as ClapArgs;
use serde::{Deserialize, Serialize};

use super::Common;
use super::check::{Check, Target};
use super::figures::{COMMITS, Figures, P99};
use super::runner::{Case, Runner};
use crate::args::{committers, size};
use crate::engines::actix_coordinator;
use crate::engines::actix_wal::{Settings, with_used_log};
use crate::error::{BenchError, EngineError};
use crate::load::Load;

/// How long the slow one blocks its Arbiter for each event.
const SLOW: Duration = Duration::from_millis(20);

#[derive(Debug, ClapArgs)]
pub struct FanOutArgs {
    /// How many commit at once.
    #[arg(long, default_value_t = 256, value_parser = committers())]
    committers: usize,

    /// How many subscribe.
    #[arg(long, value_delimiter = ',', default_value = "1,100,1000", value_parser = clap::value_parser!(u64).range(1..=100_000))]
    subscribers: Vec<u64>,

    /// Bytes of a record.
    #[arg(long, default_value_t = 128, value_parser = size())]
    size: usize,

    #[command(flatten)]
    common: Common,
}

/// So many subscribers, beside the actor that commits.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Step {
    subscribers: u64,
    /// One more, in an Arbiter of its own.
    and_a_slow_one: bool,
}

impl Step {
    pub fn run(self, place: &Path, load: &Load) -> Result<Figures, EngineError> {
        with_used_log(place, load, &Settings::default(), async |wal| {
            let received = Arc::new(AtomicU64::new(0));
            let (arbiter, own) = (Arbiter::new(), Arbiter::new());
            let crowd = async {
                if self.and_a_slow_one {
                    subscribe(wal, &own, SLOW, &Arc::default()).await?;
                }
                for _ in 0..self.subscribers {
                    subscribe(wal, &arbiter, Duration::ZERO, &received).await?;
                }
                Ok(())
            };
            // The actor that commits is the first to subscribe, as it would be in a server.
            let (measured, ()) = tokio::try_join!(actix_coordinator::run(wal, 1, load), crowd)?;
            let seconds = (load.warmup + load.measured).as_secs_f64();
            let events = received.load(Ordering::Relaxed) as f64;
            Ok(Figures::from(measured).and("events_per_second", events / seconds))
        })
    }
}

async fn subscribe(
    wal: &Wal,
    arbiter: &Arbiter,
    takes: Duration,
    received: &Arc<AtomicU64>,
) -> Result<(), EngineError> {
    let received = Arc::clone(received);
    let listener =
        Listener::start_in_arbiter(&arbiter.handle(), move |_| Listener { takes, received });
    wal.subscribe(listener.recipient()).await.map(drop).map_err(EngineError::open)
}

/// Counts what it receives.
struct Listener {
    takes: Duration,
    received: Arc<AtomicU64>,
}

impl Actor for Listener {
    type Context = Context<Self>;
}

impl Handler<LogEvent> for Listener {
    type Result = ();

    fn handle(&mut self, _: LogEvent, _: &mut Self::Context) {
        self.received.fetch_add(1, Ordering::Relaxed);
        if !self.takes.is_zero() {
            thread::sleep(self.takes);
        }
    }
}

pub fn run(args: &FanOutArgs) -> Result<(), BenchError> {
    let Common { times, output, .. } = &args.common;
    let load = Runner::load(times, args.committers, args.size);
    let case = |name: String, subscribers, and_a_slow_one| {
        Case::new(name, load, super::Step::FanOut(Step { subscribers, and_a_slow_one }))
            .on(args.common.disk())
    };
    let most = args.subscribers.iter().copied().max().unwrap_or_default();
    let mut cases = vec![case("no subscribers".to_owned(), 0, false)];
    cases.extend(
        args.subscribers.iter().map(|count| case(format!("{count} subscribers"), *count, false)),
    );
    cases.push(case(format!("{most} subscribers, one is slow"), most - 1, true));
    let mut runner = Runner::new("fan-out", cases.len(), times, output)?;
    let rows = runner.group(cases)?;
    let checks = rows[1..].iter().flat_map(|row| {
        [
            Check::ratio(row, &rows[0], COMMITS).aims(Target::AtLeast(0.9)),
            Check::ratio(row, &rows[0], P99),
        ]
    });
    runner.finish(&checks.collect::<Vec<_>>())
}
