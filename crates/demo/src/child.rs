//! A child: this program, started again, which commits and tells its parent every outcome until it is killed.

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{self, Command, ExitCode, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};
use std::{env, io, thread};

use serde::{Deserialize, Serialize};

use crate::clients::told::Told;
use crate::example::NO_RESULT;
use crate::quickstart::Settings;
use crate::{DemoError, quickstart, soak};

/// In the environment of a child: its job, as JSON.
const JOB: &str = "ACTIX_WAL_DEMO_CHILD";
/// And the directory of its log, which may have any name.
const DIRECTORY: &str = "ACTIX_WAL_DEMO_DIRECTORY";

/// A child that says nothing for so long is stuck.
const PATIENCE: Duration = Duration::from_secs(60);
/// Lines that may wait between the thread that reads the pipe and the ledger.
const LINES: usize = 4096;

const SIGKILL: i32 = 9;

/// What a child has to do.
#[derive(Serialize, Deserialize)]
pub(crate) enum Job {
    Quickstart { settings: Settings, first_client: u64 },
    Soak { first_client: u64, seed: u64 },
}

/// If this process was started as a child, it lives until it is killed, or the log takes nothing more; returns how it
/// ends then. Every program whose children are itself calls this first.
pub fn be_one_if_asked() -> Option<ExitCode> {
    let job = env::var(JOB).ok()?;
    let directory = PathBuf::from(env::var_os(DIRECTORY).unwrap_or_default());
    let done = match serde_json::from_str(&job) {
        Ok(Job::Quickstart { settings, first_client }) => {
            quickstart::child::run(&settings, &directory, first_client)
        }
        Ok(Job::Soak { first_client, seed }) => {
            soak::run::be_a_child(directory, first_client, seed)
        }
        Err(error) => Err(DemoError::Child(error.into())),
    };
    Some(done.map_or_else(
        |error| {
            eprintln!("child: {error}");
            ExitCode::from(NO_RESULT)
        },
        |()| ExitCode::SUCCESS,
    ))
}

/// What starts this program again.
pub(crate) fn this_program() -> Result<Command, DemoError> {
    env::current_exe().map(Command::new).map_err(DemoError::Child)
}

/// How a child ended.
pub(crate) struct End {
    status: ExitStatus,
    /// When it was killed, counted from the first thing that it told.
    killed: Option<Duration>,
    is_stuck: bool,
}

impl End {
    /// Whether it was killed in mid-flight.
    pub(crate) fn is_a_kill(&self) -> bool {
        self.status.signal() == Some(SIGKILL) && self.killed.is_some() && !self.is_stuck
    }

    pub(crate) fn describe(&self) -> String {
        match self.killed {
            Some(after) if self.is_a_kill() => format!("SIGKILL after {after:.1?}"),
            Some(_) if self.is_stuck => "killed because it said nothing more".to_owned(),
            _ => format!("the child ended by itself ({})", self.status),
        }
    }
}

/// Starts a child with `again`, and shows everything that it tells to `note`. When that says for the first time that it
/// is enough, the child is killed so long `after`; what it has told by then counts.
pub(crate) fn live_and_die(
    again: &mut Command,
    job: &Job,
    directory: &Path,
    after: Duration,
    mut note: impl FnMut(Told) -> bool,
) -> Result<End, DemoError> {
    let (mut child, lines) = start(again, job, directory)?;
    let (mut first, mut kill_at, mut killed) = (None, None, None);
    let mut is_stuck = false;
    loop {
        let now = Instant::now();
        if killed.is_none() && kill_at.is_some_and(|at| at <= now) {
            killed = Some(first.map_or(Duration::ZERO, |first| now - first));
            child.0.kill().map_err(DemoError::Child)?;
        }
        let until_kill = kill_at.filter(|_| killed.is_none()).map(|at: Instant| at - now);
        match lines.recv_timeout(until_kill.unwrap_or(PATIENCE)) {
            Ok(line) => {
                let Some(told) = read(line)? else { continue };
                first.get_or_insert(now);
                if note(told) {
                    kill_at.get_or_insert(now + after);
                }
            }
            Err(RecvTimeoutError::Timeout) if kill_at.is_none() => {
                is_stuck = true;
                kill_at = Some(now);
            }
            Err(RecvTimeoutError::Timeout) => {}
            // The pipe is drained, and no process holds its other end any more.
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    let status = child.0.wait().map_err(DemoError::Child)?;
    Ok(End { status, killed, is_stuck })
}

/// What a line tells. Lines without its mark are not the child's: the harness of a test that is a child has its own.
fn read(line: String) -> Result<Option<Told>, DemoError> {
    match Told::parse(&line) {
        None if line.starts_with('!') => Err(DemoError::Report(line)),
        told => Ok(told),
    }
}

/// Never outlives the parent, whatever happens here. If the parent itself is killed, the child ends with its pipe.
struct Mortal(process::Child);

impl Drop for Mortal {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(
    again: &mut Command,
    job: &Job,
    directory: &Path,
) -> Result<(Mortal, Receiver<String>), DemoError> {
    let job = serde_json::to_string(job).map_err(|error| DemoError::Child(error.into()))?;
    again.env(JOB, job).env(DIRECTORY, directory).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = Mortal(again.spawn().map_err(DemoError::Child)?);
    let no_pipe = || DemoError::Child(io::Error::other("it has no pipe"));
    let pipe = child.0.stdout.take().ok_or_else(no_pipe)?;
    let (sender, lines) = sync_channel(LINES);
    let read = move || {
        // What is cut off by the kill was not told.
        let mut lines = BufReader::new(pipe).lines().map_while(Result::ok);
        while lines.next().is_some_and(|line| sender.send(line).is_ok()) {}
    };
    thread::Builder::new().name("pipe".into()).spawn(read).map_err(DemoError::Child)?;
    Ok((child, lines))
}
