//! What a log costs that nobody uses: how often its threads wake up.

use std::path::Path;
use std::time::{Duration, Instant};

use actix_wal::Wal;
use clap::Args as ClapArgs;
use serde::{Deserialize, Serialize};

use super::Common;
use super::check::{Check, Target};
use super::figures::Figures;
use super::runner::{Case, Runner};
use crate::engines::actix_wal::{Settings, settle, with_log};
use crate::error::{BenchError, EngineError};
use crate::load::Load;

#[derive(Debug, ClapArgs)]
pub struct IdleArgs {
    #[command(flatten)]
    common: Common,
}

/// Some commits, then nothing.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Step;

const COMMITS: usize = 100;
const PATIENCE: Duration = Duration::from_secs(10);

impl Step {
    pub fn run(self, place: &Path, load: &Load) -> Result<Figures, EngineError> {
        // A host that checkpoints all the time is not idle.
        let settings = Settings { keeps_all: true, ..Settings::default() };
        with_log(place, load, &settings, async |wal| {
            for _ in 0..COMMITS {
                wal.commit(load.record()).await.map_err(EngineError::commit)?;
            }
            sealed(wal).await?;
            settle(wal).await?;
            let before = Switches::now()?;
            actix::clock::sleep(load.measured).await;
            let after = Switches::now()?;
            let since = |of: fn(&Switches) -> u64| of(&after).saturating_sub(of(&before)) as f64;
            Ok(Figures::default()
                .and(FLUSH, since(|switches| switches.flush))
                .and(PREPARE, since(|switches| switches.prepare))
                // The timer that ends this, and what looks at the switches.
                .and("other_switches", since(|switches| switches.others))
                .and("threads", after.threads as f64))
        })
    }
}

/// Waits for the empty frame that vouches for the last batch.
async fn sealed(wal: &Wal) -> Result<(), EngineError> {
    let started = Instant::now();
    while wal.stats().seals == 0 {
        if started.elapsed() > PATIENCE {
            return Err(EngineError::Commit("the last batch is never sealed".to_owned()));
        }
        actix::clock::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

/// How often threads have given up a processor of their own accord.
#[derive(Debug, Default)]
struct Switches {
    flush: u64,
    prepare: u64,
    others: u64,
    threads: usize,
}

impl Switches {
    fn now() -> Result<Self, EngineError> {
        let failed = |error: std::io::Error| EngineError::Counters(error.to_string());
        let (mut switches, mut found) = (Switches::default(), 0);
        for task in std::fs::read_dir("/proc/self/task").map_err(failed)? {
            let path = task.map_err(failed)?.path();
            // A thread that has just ended has no status.
            let Ok(status) = std::fs::read_to_string(path.join("status")) else { continue };
            let field =
                |name| status.lines().find_map(|line| line.strip_prefix(name)?.trim().into());
            let count =
                field("voluntary_ctxt_switches:").and_then(|count: &str| count.parse().ok());
            let count: u64 = count.ok_or_else(|| EngineError::Counters(status.clone()))?;
            match field("Name:") {
                Some("wal-flush") => (switches.flush, found) = (switches.flush + count, found + 1),
                Some("wal-prepare") => {
                    (switches.prepare, found) = (switches.prepare + count, found + 1);
                }
                _ => switches.others += count,
            }
            switches.threads += 1;
        }
        // Without its threads the log would be idle for nothing.
        let missing = || EngineError::Counters(format!("{found} of its two threads were found"));
        (found == 2).then_some(switches).ok_or_else(missing)
    }
}

const FLUSH: &str = "wal_flush_switches";
const PREPARE: &str = "wal_prepare_switches";

pub fn run(args: &IdleArgs) -> Result<(), BenchError> {
    let Common { times, output, .. } = &args.common;
    let case = Case::new("idle", Runner::load(times, 1, 128), super::Step::Idle(Step))
        .on(args.common.disk());
    let mut runner = Runner::new("idle", 1, times, output)?;
    let rows = runner.group(vec![case])?;
    let check = |name| Check::figure(&rows[0], name).aims(Target::AtMost(0.0));
    runner.finish(&[check(FLUSH), check(PREPARE)])
}
