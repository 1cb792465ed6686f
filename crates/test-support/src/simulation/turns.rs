//! What drives the log in place of a clock and of threads: its workers take turns, in the time of the life.

use std::sync::Arc;
use std::time::Duration;

use actix_wal::LsnRange;
use actix_wal::testkit::internals::runtime::clock::{Clock, Tick};
use actix_wal::testkit::internals::runtime::threads::{Running, Threads, Turn, Worker};

use super::hang::Hanging;
use super::world::{LONGEST_PAUSE, World, now};

/// The clock of a life. Its wall clock jumps, since nothing may depend on it.
#[derive(Debug)]
pub(crate) struct SimClock(pub Arc<World>);

impl Clock for SimClock {
    fn now(&self) -> Tick {
        self.0.time()
    }

    fn wall_us(&self) -> u64 {
        self.0.number() >> self.0.below(64)
    }

    fn random(&self) -> u64 {
        self.0.number()
    }
}

/// Has the workers of a log take turns.
#[derive(Debug)]
pub(crate) struct SimThreads {
    pub(crate) world: Arc<World>,
    pub(crate) shared: Arc<actix_wal::testkit::internals::engine::state::shared::Shared>,
}

impl Threads for SimThreads {
    fn spawn(&self, name: &'static str, worker: Box<dyn Worker>) -> std::io::Result<Running> {
        // Without a preparer there is no log: only a flush thread can be missing for a while.
        if name == "wal-flush" && self.world.once_in(2 * self.world.weather().faults) {
            self.world.count("no thread");
            self.world.event(format_args!("no thread for {name}"));
            self.world.refused();
            return Err(std::io::ErrorKind::WouldBlock.into());
        }
        let (world, shared) = (Arc::clone(&self.world), Arc::clone(&self.shared));
        actix::spawn(Turns { world, shared, name }.take(worker));
        Ok(Running::elsewhere())
    }
}

/// The turns of one worker.
///
/// A piece of work happens at the moment at which it ends: a worker that has a turn meanwhile sees
/// nothing of it. Its own clock shows when it began. But a sync that is slow, or stuck, is seen by all,
/// with what was written before it.
struct Turns {
    world: Arc<World>,
    shared: Arc<actix_wal::testkit::internals::engine::state::shared::Shared>,
    name: &'static str,
}

impl Turns {
    async fn take(self, mut worker: Box<dyn Worker>) {
        loop {
            self.world.turn();
            match worker.look() {
                Turn::Work => worker = self.work(worker).await,
                Turn::Wait(at_most) => self.wait(&*worker, at_most).await,
                Turn::End => return self.world.event(format_args!("{} ends", self.name)),
            }
        }
    }

    async fn work(&self, mut worker: Box<dyn Worker>) -> Box<dyn Worker> {
        let takes = self.world.work_time();
        let flushes = self.name == "wal-flush";
        if flushes {
            self.shared.io.begins(now());
        }
        actix::clock::sleep(takes).await;
        if flushes {
            self.shared.io.ended();
            self.world.lag_behind(takes);
        }
        self.world.event(format_args!("{} works, {takes:?}", self.name));
        match self.world.draw_hang() {
            None => worker.work(),
            Some((name, hangs)) => {
                let hanging = Hanging::begin(worker);
                if hanging.is_stuck() {
                    self.world.hangs(name, hangs);
                    self.hang(hangs).await;
                }
                worker = hanging.end();
            }
        }
        self.world.catch_up();
        self.count_what_is_open();
        self.world.count_restarts(self.shared.stats().restarts);
        worker
    }

    /// A sync hangs; the life may end meanwhile.
    async fn hang(&self, hangs: Duration) {
        let before = self.world.ends_in_a_sync().then(|| hangs.mul_f64(0.9));
        actix::clock::sleep(before.unwrap_or_default()).await;
        if before.is_some() {
            self.world.end_in_a_sync();
        }
        actix::clock::sleep(hangs.saturating_sub(before.unwrap_or_default())).await;
        self.world.event("the sync goes on");
    }

    /// P16: by what has an LSN and no outcome, whatever the log itself counts.
    fn count_what_is_open(&self) {
        let (durable, accepted) =
            (self.shared.watermark.durable(), self.shared.watermark.accepted());
        let limit = self.shared.admission.max_entries() as u64;
        let Some(open) = LsnRange::new(durable.next(), accepted) else { return };
        if open.count() > limit {
            let (failed, unknown) = self.shared.outcomes.exceptions();
            let settled = failed.into_iter().chain(unknown);
            let settled = settled.filter_map(|range| {
                LsnRange::new(range.first.max(open.first), range.last.min(open.last))
            });
            let count = open.count() - settled.map(|range| range.count()).sum::<u64>();
            if count > limit {
                self.world.fail(format!("P16: {count} records are in flight, of {limit}"));
            }
        }
    }

    /// Looks now and then whether somebody has called, as seldom as the quiet lasts long.
    async fn wait(&self, worker: &dyn Worker, at_most: Option<Duration>) {
        let until = at_most.map(|at_most| now().saturating_add(at_most));
        let mut pause = Duration::from_millis(1);
        while !worker.is_called() {
            let left = until.map_or(pause, |until| until.saturating_sub(now()));
            if left.is_zero() {
                return;
            }
            actix::clock::sleep(pause.min(left)).await;
            let longest = self.world.weather().pace() * Duration::from_millis(LONGEST_PAUSE);
            pause = (2 * pause).min(longest);
        }
    }
}
