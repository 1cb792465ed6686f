//! Clients of a log: in a closed loop each waits for its commit before the next one, in an open loop commits come at a
//! rate. A client is a task that awaits [`Wal::commit`], in the Arbiter of the log.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use actix_wal::{Stats, Wal};
use bytes::Bytes;
use tokio::sync::{Semaphore, watch};

use super::bare;
use super::figures::{Latencies, cpu_time};
use super::schedule::Schedule;
use crate::output::Failure;

/// How long commits of an open loop may be sent after the last one was due. What is not sent by then counts with the
/// time that it has waited.
const PATIENCE: Duration = Duration::from_secs(10);

/// Commits of an open loop that have been sent and not answered, at most. The others wait, and their latency grows.
pub(crate) const OUTSTANDING: usize = 65_536;

/// How long a measurement takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    /// Not measured.
    pub(crate) warm_up: Duration,
    pub(crate) measured: Duration,
}

impl Times {
    /// A measurement of this length, and a tenth of it for warm-up.
    pub(crate) fn of(measured: Duration) -> Self {
        Times { warm_up: (measured / 10).min(Duration::from_secs(1)), measured }
    }
}

/// What was measured.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    pub(crate) seconds: f64,
    /// Commits that became durable in this time.
    pub(crate) commits: u64,
    /// Commits that were due in this time. In a closed loop these are the same.
    pub(crate) offered: u64,
    /// All syncs of the log, also those of segments prepared ahead.
    pub(crate) syncs: f64,
    /// Processor time of the whole process.
    pub(crate) cpu_us: f64,
    pub(crate) latencies: Latencies,
}

/// What the tasks of one measurement share. They run on one thread.
struct Tally {
    begin: Instant,
    end: Instant,
    commits: Cell<u64>,
    latencies: RefCell<Latencies>,
}

impl Tally {
    fn new(begin: Instant, end: Instant) -> Rc<Self> {
        let latencies = RefCell::new(Latencies::new());
        Rc::new(Tally { begin, end, commits: Cell::new(0), latencies })
    }

    fn counts(&self, now: Instant) -> bool {
        self.begin <= now && now < self.end
    }

    fn commit(&self, now: Instant) {
        self.commits.set(self.commits.get() + u64::from(self.counts(now)));
    }

    fn latency(&self, latency: Duration) {
        self.latencies.borrow_mut().add(latency);
    }
}

/// Each of so many clients commits, waits, and commits again.
///
/// # Errors
/// A commit has failed.
pub(crate) async fn closed(
    wal: &Wal,
    clients: usize,
    record_bytes: usize,
    times: Times,
) -> Result<Measured, Failure> {
    let begin = Instant::now() + times.warm_up;
    let tally = Tally::new(begin, begin + times.measured);
    let meter = Meter::start(wal, &tally)?;
    let record: Rc<[u8]> = bare::payload(record_bytes).into();
    let client = |_| {
        let (wal, tally, record) = (wal.clone(), Rc::clone(&tally), Rc::clone(&record));
        actix::spawn(async move {
            let mut since = Instant::now();
            while since < tally.end {
                // A client makes its record.
                wal.commit(Bytes::copy_from_slice(&record)).await.map_err(Failure::refused)?;
                let now = Instant::now();
                tally.commit(now);
                if tally.counts(now) {
                    tally.latency(now - since);
                }
                since = now;
            }
            Ok::<(), Failure>(())
        })
    };
    let running: Vec<_> = (0..clients).map(client).collect();
    let mut ended = Ok(());
    for client in running {
        let result = client.await.map_err(Failure::refused)?;
        ended = ended.and(result);
    }
    ended?;
    let offered = tally.commits.get();
    meter.finish(&tally, offered)
}

/// Commits come at a rate, whether the log keeps up or not.
///
/// # Errors
/// A commit has failed.
pub(crate) async fn open(
    wal: &Wal,
    rate: f64,
    record_bytes: usize,
    times: Times,
) -> Result<Measured, Failure> {
    let start = Instant::now();
    let (begin, end) = (times.warm_up, times.warm_up + times.measured);
    let schedule = Schedule { rate, begin, end };
    let tally = Tally::new(start + begin, start + end);
    let meter = Meter::start(wal, &tally)?;
    let (due, announced) = watch::channel(0);
    let pace = move || pace(schedule, start, &due);
    thread::Builder::new().name("pace".into()).spawn(pace).map_err(Failure::refused)?;
    let sender = Sender {
        wal: wal.clone(),
        record: bare::payload(record_bytes).into(),
        start,
        schedule,
        tally: Rc::clone(&tally),
        failed: Rc::default(),
    };
    sender.send(announced).await?;
    let offered = schedule.count() - schedule.due_before(begin);
    meter.finish(&tally, offered)
}

/// Announces how many commits are due, as soon as they are. A thread, because timers of tokio are rounded to milliseconds.
fn pace(schedule: Schedule, start: Instant, due: &watch::Sender<u64>) {
    let count = schedule.count();
    let mut announced = 0;
    while announced < count {
        thread::sleep(schedule.due(announced).saturating_sub(start.elapsed()));
        let now = start.elapsed();
        announced = schedule.due_before(now).clamp(announced, count);
        if due.send(announced).is_err() {
            return;
        }
    }
}

/// Sends commits that are due.
struct Sender {
    wal: Wal,
    record: Rc<[u8]>,
    start: Instant,
    schedule: Schedule,
    tally: Rc<Tally>,
    failed: Rc<RefCell<Option<Failure>>>,
}

impl Sender {
    async fn send(&self, mut announced: watch::Receiver<u64>) -> Result<(), Failure> {
        let places = Arc::new(Semaphore::new(OUTSTANDING));
        let give_up = self.schedule.end + PATIENCE;
        let mut next = 0;
        while announced.changed().await.is_ok() {
            let due = *announced.borrow_and_update();
            while next < due && self.start.elapsed() < give_up && self.failed.borrow().is_none() {
                // The semaphore is never closed.
                let Ok(place) = Arc::clone(&places).acquire_owned().await else { break };
                let commit = self.commit(next);
                actix::spawn(async move {
                    commit.await;
                    drop(place);
                });
                next += 1;
            }
        }
        // All places are free again when all commits have been answered.
        let _ = places.acquire_many(OUTSTANDING as u32).await;
        let now = self.start.elapsed();
        for index in next..self.schedule.count() {
            self.schedule.latency(index, now).into_iter().for_each(|it| self.tally.latency(it));
        }
        self.failed.take().map_or(Ok(()), Err)
    }

    fn commit(&self, index: u64) -> impl Future<Output = ()> + use<> {
        let (wal, record) = (self.wal.clone(), Bytes::copy_from_slice(&self.record));
        let (start, schedule) = (self.start, self.schedule);
        let (tally, failed) = (Rc::clone(&self.tally), Rc::clone(&self.failed));
        async move {
            if let Err(error) = wal.commit(record).await {
                failed.replace(Some(Failure::refused(error)));
                return;
            }
            let now = Instant::now();
            tally.commit(now);
            if let Some(latency) = schedule.latency(index, now - start) {
                tally.latency(latency);
            }
        }
    }
}

/// The counters of the log and of the process, at one moment.
struct Counters {
    at: Instant,
    stats: Stats,
    cpu: Duration,
}

impl Counters {
    fn of(wal: &Wal) -> Self {
        Counters { at: Instant::now(), stats: wal.stats(), cpu: cpu_time() }
    }
}

/// Reads the counters at both ends of the measured time, on a thread of its own.
struct Meter(JoinHandle<(Counters, Counters)>);

impl Meter {
    fn start(wal: &Wal, tally: &Tally) -> Result<Meter, Failure> {
        let (wal, begin, end) = (wal.clone(), tally.begin, tally.end);
        let sleep_until =
            |moment: Instant| thread::sleep(moment.saturating_duration_since(Instant::now()));
        let watch = move || {
            sleep_until(begin);
            let before = Counters::of(&wal);
            sleep_until(end);
            (before, Counters::of(&wal))
        };
        let thread = thread::Builder::new().name("meter".into()).spawn(watch);
        thread.map(Meter).map_err(Failure::refused)
    }

    fn finish(self, tally: &Tally, offered: u64) -> Result<Measured, Failure> {
        let ended = self.0.join();
        let (before, after) = ended.map_err(|_| Failure::refused("the meter has panicked"))?;
        let seconds = (tally.end - tally.begin).as_secs_f64();
        // On a busy machine the meter wakes up late, and not equally so at both ends.
        let scale = seconds / (after.at - before.at).as_secs_f64();
        Ok(Measured {
            seconds,
            commits: tally.commits.get(),
            offered,
            syncs: (after.stats.fsyncs - before.stats.fsyncs) as f64 * scale,
            cpu_us: (after.cpu - before.cpu).as_secs_f64() * 1e6 * scale,
            latencies: tally.latencies.borrow().clone(),
        })
    }
}
