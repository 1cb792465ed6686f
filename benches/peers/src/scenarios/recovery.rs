//! How fast a log is ready again, with all of it replayed to a host that looks at every record; the same records in
//! peers that replay when they are opened.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use actix::{Actor, Context, Handler, System};
use actix_wal::messages::{Replay, ReplayRefused};
use actix_wal::{Durability, Wal, WalConfig};
use bytes::Bytes;
use clap::{Args as ClapArgs, ValueEnum};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Common;
use super::check::{Check, Target};
use super::figures::Figures;
use super::recovery_peers::{okaywal, raft_engine, writeahead};
use super::runner::{Case, Disk, Row, Runner};
use crate::args::size;
use crate::error::{BenchError, EngineError};
use crate::load::Load;
use crate::zeros::settle;

#[derive(Debug, ClapArgs)]
pub struct RecoveryArgs {
    /// MiB of our log; peers have as many records.
    #[arg(long, value_name = "MIB", default_value_t = 256, value_parser = clap::value_parser!(u64).range(1..=65_536))]
    mib: u64,

    /// Records that are written at once: a frame of ours, an entry or a batch of the peers. 1 is lone commits.
    #[arg(long, value_delimiter = ',', default_value = "1,256,4096", value_parser = clap::value_parser!(u64).range(1..=16_384))]
    per_frame: Vec<u64>,

    /// Whose logs.
    #[arg(
        long,
        value_delimiter = ',',
        value_enum,
        default_value = "actix-wal,okaywal,raft-engine,writeahead"
    )]
    engines: Vec<Peer>,

    /// Bytes of a record.
    #[arg(long, default_value_t = 128, value_parser = size())]
    size: usize,

    #[command(flatten)]
    common: Common,
}

/// Those that replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub enum Peer {
    ActixWal,
    Okaywal,
    RaftEngine,
    Writeahead,
}

impl Peer {
    fn name(self) -> &'static str {
        match self {
            Peer::ActixWal => "actix-wal",
            Peer::Okaywal => "okaywal",
            Peer::RaftEngine => "raft-engine",
            Peer::Writeahead => "writeahead",
        }
    }
}

/// Which records.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Records {
    pub frames: u64,
    pub per_frame: u64,
}

/// Writes a log, or recovers it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Step {
    Write { engine: Peer, log: PathBuf, records: Records },
    Recover { engine: Peer, log: PathBuf, records: Records },
}

/// What a recovery found.
pub struct Recovered {
    pub took: Duration,
    pub records: u64,
    /// Bytes of files that were read, if the engine tells.
    pub bytes: Option<u64>,
}

impl Step {
    pub fn run(&self, place: &Path, load: &Load) -> Result<Figures, EngineError> {
        match self {
            Step::Write { engine, log, records } => {
                let record = load.record();
                match engine {
                    Peer::ActixWal => System::new().block_on(write(log, &record, *records))?,
                    Peer::Okaywal => okaywal::write(log, &record, *records)?,
                    Peer::RaftEngine => raft_engine::write(log, &record, *records)?,
                    Peer::Writeahead => writeahead::write(log, &record, *records)?,
                }
                Ok(Figures::default())
            }
            Step::Recover { engine, log, records } => {
                // A recovery changes the log, and each round should find the same.
                let copy = place.join("log");
                copy_folder(log, &copy).and_then(|()| settle(place)).map_err(EngineError::open)?;
                let found = match engine {
                    Peer::ActixWal => System::new().block_on(recover(&copy))?,
                    Peer::Okaywal => okaywal::recover(&copy)?,
                    Peer::RaftEngine => raft_engine::recover(&copy)?,
                    Peer::Writeahead => writeahead::recover(&copy)?,
                };
                found.figures(records.frames * records.per_frame)
            }
        }
    }
}

impl Recovered {
    fn figures(&self, expected: u64) -> Result<Figures, EngineError> {
        if self.records != expected {
            let found = self.records;
            return Err(EngineError::Open(format!("{found} of {expected} records were replayed")));
        }
        let seconds = self.took.as_secs_f64();
        let figures = Figures::default()
            .and("ready_ms", seconds * 1000.0)
            .and(RECORDS, self.records as f64 / seconds);
        let figures = match self.bytes {
            Some(bytes) => figures.and(BYTES, bytes as f64 / seconds / 1e9),
            None => figures,
        };
        Ok(figures.and("peak_memory_mib", peak_memory_mib()?))
    }
}

/// The most memory that this process ever had: it has only recovered.
fn peak_memory_mib() -> Result<f64, EngineError> {
    let status = std::fs::read_to_string("/proc/self/status");
    let status = status.map_err(|error| EngineError::Counters(error.to_string()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<f64>().ok());
    kib.map(|kib| kib / 1024.0).ok_or(EngineError::Counters("there is no VmHWM".to_owned()))
}

fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// Ours: groups are frames.
async fn write(log: &Path, record: &[u8], records: Records) -> Result<(), EngineError> {
    let wal = Wal::open(WalConfig::new(log)).await.map_err(EngineError::open)?;
    for _ in 0..records.frames {
        if records.per_frame == 1 {
            let record = Bytes::copy_from_slice(record);
            let committed = wal.commit_with(record, Durability::Synchronous).await;
            committed.map_err(EngineError::commit)?;
        } else {
            let group = (0..records.per_frame).map(|_| Bytes::copy_from_slice(record));
            let range = wal.append_all(group).await.map_err(EngineError::commit)?;
            wal.wait_for_lsn(range.last).await.map_err(EngineError::commit)?;
        }
    }
    wal.close().await.map_err(EngineError::commit)
}

/// A host that looks at every byte of what is replayed.
struct Host;

impl Actor for Host {
    type Context = Context<Self>;
}

impl Handler<Replay> for Host {
    type Result = Result<(), ReplayRefused>;

    fn handle(&mut self, replay: Replay, _: &mut Self::Context) -> Self::Result {
        replay.records.iter().for_each(|(_, payload)| look(payload));
        Ok(())
    }
}

/// What every host does with a record.
pub fn look(payload: &[u8]) {
    std::hint::black_box(payload.iter().map(|byte| u64::from(*byte)).sum::<u64>());
}

async fn recover(log: &Path) -> Result<Recovered, EngineError> {
    let host = Host.start();
    let started = Instant::now();
    let opening = Wal::open(WalConfig::new(log)).replay_to(host.recipient(), None);
    let wal = opening.await.map_err(EngineError::open)?;
    let took = started.elapsed();
    let report = wal.recovery_report();
    Ok(Recovered { took, records: report.replayed, bytes: Some(report.bytes) })
}

const RECORDS: &str = "records_per_second";
const BYTES: &str = "file_gb_per_second";

pub fn run(args: &RecoveryArgs) -> Result<(), BenchError> {
    let Common { times, output, .. } = &args.common;
    let load = Runner::load(times, 1, args.size);
    let rows = args.per_frame.len() * args.engines.len();
    let mut runner = Runner::new("recovery", rows, times, output)?;
    let mut checks = Vec::new();
    for per_frame in &args.per_frame {
        let frame = (per_frame * (args.size as u64 + 5) + 108).next_multiple_of(4096);
        let records = Records { frames: ((args.mib << 20) / frame).max(1), per_frame: *per_frame };
        let mut cases = Vec::new();
        for engine in args.engines.iter().copied() {
            let name = engine.name();
            let log = runner.place(&format!("log-of-{name}-{per_frame}"));
            let write = Step::Write { engine, log: log.clone(), records };
            let title = format!("write {name}");
            // Nothing is measured while it is written, so the disk is not asked.
            let write = Case::new(title, load, super::Step::Recovery(write));
            if runner.once(&write.on(Disk::Simulated(0.0))).is_none() {
                continue;
            }
            let step = Step::Recover { engine, log, records };
            let name = format!("{name}, {per_frame} at once");
            let step = super::Step::Recovery(step);
            let mut case = Case::new(name, load, step).on(args.common.disk());
            case.labels = vec![("engine", json!(engine.name())), ("per_frame", json!(per_frame))];
            cases.push(case);
        }
        let rows = runner.group(cases)?;
        checks.extend(conclusions(&rows));
        for row in &rows {
            if let super::Step::Recovery(Step::Recover { log, .. }) = &row.case.step {
                // Whatever is left of it lies in the directory of the run, which is removed in the end.
                let _ = std::fs::remove_dir_all(log);
            }
        }
    }
    runner.finish(&checks)
}

/// Of ours, and of ours against each peer.
fn conclusions(rows: &[Row]) -> Vec<Check> {
    let Some((ours, peers)) = rows.split_first() else { return Vec::new() };
    let mut checks = Vec::new();
    if ours.median(BYTES).is_some() {
        checks.push(Check::figure(ours, BYTES).aims(Target::AtLeast(1.0)));
        checks.push(Check::figure(ours, "peak_memory_mib"));
        checks.extend(peers.iter().map(|peer| Check::ratio(ours, peer, RECORDS)));
    }
    checks
}
