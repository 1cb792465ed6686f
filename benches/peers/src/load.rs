//! Closed loops: committers that each wait for durability before their next commit.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::error::EngineError;
use crate::meter::{Measured, Meter, Tally, Window};

/// How much is asked of an engine.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Load {
    /// How many commit at once.
    pub committers: usize,
    /// Bytes of a record.
    pub size: usize,
    /// Not measured.
    pub warmup: Duration,
    /// Measured.
    pub measured: Duration,
}

impl Load {
    /// The window, from now on.
    pub fn window(&self) -> Window {
        Window::from_now(self.warmup, self.measured)
    }

    /// What is committed. Not zeros: nothing should be able to tell it from an empty page for free.
    pub fn record(&self) -> Vec<u8> {
        (0..self.size).map(|at| (at % 251) as u8 + 1).collect()
    }
}

/// 4,096 threads take half a GiB of address space, not of memory.
const STACK: usize = 128 << 10;

/// A thread per committer. `committer` makes each of them ready before the first one commits; what it
/// returns is one commit.
pub fn on_threads<C>(
    load: &Load,
    mut committer: impl FnMut(usize) -> Result<C, EngineError>,
) -> Result<Measured, EngineError>
where
    C: FnMut() -> Result<(), EngineError> + Send + 'static,
{
    let start = Arc::new((Barrier::new(load.committers + 1), OnceLock::new()));
    let failed = Arc::new(AtomicBool::new(false));
    let committers: Vec<C> = (0..load.committers).map(&mut committer).collect::<Result<_, _>>()?;
    let mut running = Vec::with_capacity(load.committers);
    for mut commit in committers {
        let (start, failed) = (Arc::clone(&start), Arc::clone(&failed));
        let run = move || {
            start.0.wait();
            let Some(window) = start.1.get() else { return Err(EngineError::Panicked) };
            let mut tally = Tally::new(*window);
            let mut since = Instant::now();
            loop {
                if let Err(error) = commit() {
                    failed.store(true, Ordering::Relaxed);
                    return Err(error);
                }
                let now = Instant::now();
                if !tally.acknowledged(since, now) || failed.load(Ordering::Relaxed) {
                    return Ok(tally);
                }
                since = now;
            }
        };
        let thread = thread::Builder::new().stack_size(STACK).spawn(run);
        running.push(thread.map_err(EngineError::Thread)?);
    }
    let window = *start.1.get_or_init(|| load.window());
    let meter = Meter::start(window)?;
    start.0.wait();
    let mut all = Tally::new(window);
    for thread in running {
        all.merge(&thread.join().map_err(|_| EngineError::Panicked)??);
    }
    meter.finish(&all)
}

/// A task per committer, all on one thread, which must be that of a `LocalSet` or of an actix System.
pub async fn on_tasks<C, F>(
    load: &Load,
    mut committer: impl FnMut(usize) -> C,
) -> Result<Measured, EngineError>
where
    C: FnMut() -> F + 'static,
    F: Future<Output = Result<(), EngineError>>,
{
    let window = load.window();
    let meter = Meter::start(window)?;
    let running: Vec<_> = (0..load.committers)
        .map(|index| {
            let mut commit = committer(index);
            tokio::task::spawn_local(async move {
                let mut tally = Tally::new(window);
                let mut since = Instant::now();
                loop {
                    commit().await?;
                    let now = Instant::now();
                    if !tally.acknowledged(since, now) {
                        return Ok::<_, EngineError>(tally);
                    }
                    since = now;
                }
            })
        })
        .collect();
    let mut all = Tally::new(window);
    for task in running {
        all.merge(&task.await.map_err(|_| EngineError::Panicked)??);
    }
    meter.finish(&all)
}
