//! Names the runs that do not end, and ends the process.

use std::io::Write;
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use super::world::Outcome;
use super::{Seams, run};

/// A run takes some hundredths of a second.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a thread runs: the seed, since when, and how to replay it.
type Run = (ThreadId, u64, Instant, String);

static RUNNING: Mutex<Vec<Run>> = Mutex::new(Vec::new());
static WATCHED: Once = Once::new();

/// Runs one seed. If that does not end, the process does, and says how to replay it.
pub fn run_watched(seed: u64, seams: Seams, traced: bool, replay: &str) -> Outcome {
    WATCHED.call_once(|| drop(thread::spawn(watch)));
    let me = thread::current().id();
    running().push((me, seed, Instant::now(), replay.to_owned()));
    let outcome = run(seed, seams, traced);
    running().retain(|(thread, ..)| *thread != me);
    outcome
}

fn running() -> MutexGuard<'static, Vec<Run>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

fn watch() {
    loop {
        thread::sleep(Duration::from_secs(1));
        for (_, seed, since, replay) in running().iter() {
            if since.elapsed() > PATIENCE {
                // Not by a macro, whose output the harness would keep to itself.
                let said = format!("\nseed {seed} has run for {PATIENCE:?}\nreplay it: {replay}\n");
                let _ = std::io::stderr().write_all(said.as_bytes());
                std::process::exit(1);
            }
        }
    }
}
