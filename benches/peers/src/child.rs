//! One measurement in a process of its own: processor time, memory and threads of engines do not mix, and
//! one that hangs can be killed.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::args::{Output, Policy};
use crate::compare::say;
use crate::engines;
use crate::error::{BenchError, EngineError};
use crate::load::Load;
use crate::scenarios::Step;
use crate::{open_loop, syncs};

/// What a child is to measure.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    /// Its directory, new and empty.
    pub place: PathBuf,
    /// How much is asked.
    pub load: Load,
    /// SIMULATED: no sync reaches the disk, each takes this long instead.
    pub sync_takes: Option<Duration>,
    /// Of whom.
    pub of: Of,
}

/// Who is measured, and in which way.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Of {
    /// An engine, in a closed loop.
    Engine(String),
    /// Ours, at so many commits per second.
    OpenLoop(Policy, u64),
    /// Ours, in a situation of its own.
    Scenario(Step),
}

/// In the child: measures, and prints the result as one line.
pub fn run(job: &str) -> Result<(), BenchError> {
    let job: Job = serde_json::from_str(job)?;
    if let Some(takes) = job.sync_takes {
        syncs::simulate(takes);
    }
    let result: Result<Value, String> = measured(&job).map_err(|error| error.to_string());
    say(&serde_json::to_string(&result)?)?;
    // What an engine still has in the background does not matter any more.
    std::process::exit(0)
}

fn measured(job: &Job) -> Result<Value, EngineError> {
    let (place, load) = (&job.place, &job.load);
    let value = match &job.of {
        Of::Engine(name) => match engines::find(name) {
            Some(engine) => serde_json::to_value(engine.run(place, load)?),
            None => return Err(EngineError::Open(format!("there is no engine {name}"))),
        },
        Of::OpenLoop(policy, rate) => {
            serde_json::to_value(open_loop::run(place, load, *policy, *rate)?)
        }
        Of::Scenario(step) => serde_json::to_value(step.run(place, load)?),
    };
    value.map_err(|error| EngineError::Process(error.to_string()))
}

/// For opening, preparing, closing, and a disk that is busy.
const GRACE: Duration = Duration::from_secs(60);

/// In the parent: has a child do the job, in a new directory that is removed afterwards.
pub fn measure<T: DeserializeOwned>(job: &Job, keep: bool) -> Result<T, EngineError> {
    let make = |error| EngineError::Open(format!("{}: {error}", job.place.display()));
    std::fs::create_dir_all(&job.place).map_err(make)?;
    let result = start_and_wait(job);
    if !keep {
        // Whatever is left of it lies in the directory of the run, which is removed in the end.
        let _ = std::fs::remove_dir_all(&job.place);
    }
    result
}

fn start_and_wait<T: DeserializeOwned>(job: &Job) -> Result<T, EngineError> {
    let failed = |error: &dyn ToString| EngineError::Process(error.to_string());
    let this = std::env::current_exe().map_err(|error| failed(&error))?;
    let job_text = serde_json::to_string(job).map_err(|error| failed(&error))?;
    let mut child = Command::new(this)
        .args(["child", &job_text])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| failed(&error))?;
    let stdout = child.stdout.take().map(read_all);
    let stderr = child.stderr.take().map(read_all);
    // A scenario may measure twice.
    let limit = job.load.warmup + 2 * job.load.measured + GRACE;
    let ended = wait(&mut child, limit)?;
    let text = |reader: Option<thread::JoinHandle<String>>| {
        reader.and_then(|reader| reader.join().ok()).unwrap_or_default()
    };
    let (stdout, stderr) = (text(stdout), text(stderr));
    if !ended.success() {
        let last = stderr.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
        return Err(EngineError::Process(format!("{ended}: {last}")));
    }
    let last = stdout.lines().next_back().unwrap_or_default();
    let result: Result<T, String> = serde_json::from_str(last).map_err(|error| failed(&error))?;
    result.map_err(EngineError::Process)
}

fn wait(child: &mut Child, limit: Duration) -> Result<std::process::ExitStatus, EngineError> {
    let failed = |error: std::io::Error| EngineError::Process(error.to_string());
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait().map_err(failed)? {
            return Ok(status);
        }
        if started.elapsed() > limit {
            child.kill().map_err(failed)?;
            child.wait().map_err(failed)?;
            return Err(EngineError::TimedOut(limit));
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Reads a pipe to its end, so that the child is never held up by one that is full.
fn read_all(mut pipe: impl Read + Send + 'static) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read before an error is as good as there is.
        let _ = pipe.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// The directory of a whole run. It is removed when it is dropped, unless it is to be kept.
pub struct Workplace {
    path: PathBuf,
    made: Option<PathBuf>,
    keep: bool,
}

impl Workplace {
    /// Makes one in the directory that is asked for, with the process in its name. That directory goes too in
    /// the end if it was made here.
    pub fn new(Output { dir, keep, .. }: &Output) -> Result<Self, BenchError> {
        let made = (!dir.exists()).then(|| dir.clone());
        let path = dir.join(format!("peers-{}", std::process::id()));
        let failed = |what| {
            let path = path.clone();
            move |source| BenchError::Directory { path, what, source }
        };
        std::fs::create_dir_all(&path).map_err(failed("it can not be made"))?;
        let path = path.canonicalize().map_err(failed("it has no path"))?;
        Ok(Workplace { path, made, keep: *keep })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether files stay.
    pub fn keeps(&self) -> bool {
        self.keep
    }
}

impl Drop for Workplace {
    fn drop(&mut self) {
        if self.keep {
            eprintln!("files are kept in {}", self.path.display());
            return;
        }
        // The last that is done: there is nobody to tell.
        let _ = std::fs::remove_dir_all(&self.path);
        if let Some(made) = &self.made {
            let _ = std::fs::remove_dir(made);
        }
    }
}
