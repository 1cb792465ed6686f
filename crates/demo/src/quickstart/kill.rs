//! Part two: starts a child that commits, kills it in mid-flight, and holds the log against what the
//! child had acknowledged.

use std::env;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use super::config::Settings;
use super::report::Voice;
use super::verify;
use crate::clients::ledger::Ledger;
use crate::clients::told::Told;
use crate::error::QuickstartError;

/// Acknowledgements before the child is killed.
const ENOUGH: u64 = 1000;
/// The kill comes at a random moment within this time after that.
const FURTHER: Duration = Duration::from_millis(100);
/// A child that says nothing for so long is killed as well; that counts as a failure of the run.
const PATIENCE: Duration = Duration::from_secs(60);
/// Lines that may wait between the thread that reads the pipe and the ledger.
const LINES: usize = 4096;

const SIGKILL: i32 = 9;

/// What part two came to.
#[derive(Default)]
pub(crate) struct Kills {
    /// Children that were killed in mid-flight.
    pub(crate) kills: u64,
    /// What the clients were told, in all rounds, and what the looks at the whole log came to.
    pub(crate) ledger: Ledger,
}

/// Runs part two on a log in `directory`. All rounds share the log, so what an earlier one acknowledged
/// has to survive the later ones as well.
pub(crate) fn run(
    settings: &Settings,
    directory: &Path,
    voice: &Voice,
) -> Result<Kills, QuickstartError> {
    let mut kills = Kills::default();
    for round in 1..=settings.kills {
        let ledger = &mut kills.ledger;
        let (before, described) = (ledger.counts.acknowledged, ledger.examples.len());
        let first_client = (round - 1) * settings.clients;
        ledger.admit(first_client..first_client + settings.clients);
        let end = live_and_die(settings, directory, first_client, ledger)?;
        kills.kills += u64::from(end.counts());

        let report = verify::run(settings, directory, ledger)?;
        let tail = report.and_then(|report| report.torn_tail);
        let tail = if tail.is_some() { ", and cut a torn tail" } else { "" };
        voice.say(format!(
            "  round {round}: {} acknowledged, {}; recovered {} of {} so far{tail}",
            ledger.counts.acknowledged - before,
            end.describe(),
            ledger.recovered,
            ledger.counts.acknowledged,
        ));
        ledger.examples[described..].iter().for_each(|what| voice.say(format!("    {what}")));
    }
    Ok(kills)
}

/// How a child ended.
struct End {
    status: ExitStatus,
    /// When it was killed, counted from its first acknowledgement, and whether there were enough then.
    killed: Option<(Duration, bool)>,
}

impl End {
    /// Whether the round was what it should be.
    fn counts(&self) -> bool {
        self.status.signal() == Some(SIGKILL) && self.killed.is_some_and(|(_, enough)| enough)
    }

    fn describe(&self) -> String {
        match self.killed {
            Some((after, _)) if self.counts() => format!("SIGKILL after {after:.1?}"),
            Some(_) => "killed because it said nothing more".to_owned(),
            None => format!("the child ended by itself ({})", self.status),
        }
    }
}

fn live_and_die(
    settings: &Settings,
    directory: &Path,
    first_client: u64,
    ledger: &mut Ledger,
) -> Result<End, QuickstartError> {
    let (mut child, lines) = start(settings, directory, first_client)?;
    let before = ledger.counts.acknowledged;
    let mut first = None;
    let mut kill_at = None;
    let mut killed = None;
    loop {
        let now = Instant::now();
        let deadline = kill_at.unwrap_or(now + PATIENCE);
        if killed.is_none() && deadline <= now {
            killed = Some((first.map_or(Duration::ZERO, |first| now - first), true));
            child.0.kill().map_err(QuickstartError::Child)?;
        }
        let wait = if killed.is_some() { PATIENCE } else { deadline - now };
        match lines.recv_timeout(wait) {
            Ok(line) => {
                if line.is_empty() {
                    continue;
                }
                let told = Told::parse(&line);
                ledger.note(told.ok_or(QuickstartError::Report(line))?);
                first.get_or_insert(now);
                if kill_at.is_none() && ledger.counts.acknowledged - before >= ENOUGH {
                    kill_at = Some(now + FURTHER.mul_f64(random()));
                }
            }
            Err(RecvTimeoutError::Timeout) if kill_at.is_some() => {}
            Err(RecvTimeoutError::Timeout) => {
                killed = Some((PATIENCE, false));
                child.0.kill().map_err(QuickstartError::Child)?;
                kill_at = Some(now);
            }
            // The pipe is drained, and nobody holds its other end any more.
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    let status = child.0.wait().map_err(QuickstartError::Child)?;
    Ok(End { status, killed })
}

/// Never outlives the parent, whatever happens here.
struct Mortal(Child);

impl Drop for Mortal {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(
    settings: &Settings,
    directory: &Path,
    first_client: u64,
) -> Result<(Mortal, Receiver<String>), QuickstartError> {
    let mut command = Command::new(env::current_exe().map_err(QuickstartError::Child)?);
    command
        .arg("--dir")
        .arg(directory)
        .args(settings.arguments())
        .args(["--child", &first_client.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let mut child = Mortal(command.spawn().map_err(QuickstartError::Child)?);
    let pipe = child
        .0
        .stdout
        .take()
        .ok_or_else(|| QuickstartError::Child(io::Error::other("it has no pipe")))?;
    let (sender, lines) = sync_channel(LINES);
    let read = move || {
        let lines = BufReader::new(pipe).lines().map_while(Result::ok);
        lines.take_while(|line| sender.send(line.clone()).is_ok()).for_each(drop);
    };
    thread::Builder::new().name("pipe".into()).spawn(read).map_err(QuickstartError::Child)?;
    Ok((child, lines))
}

/// A random share, from 0 to 1.
fn random() -> f64 {
    RandomState::new().hash_one(()) as f64 / u64::MAX as f64
}
