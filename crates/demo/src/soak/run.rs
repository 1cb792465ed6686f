//! The run: lives in this process and lives of children that are killed, in turn, and between them looks at
//! the whole log and at what is held when nothing happens.

use std::cell::RefCell;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};
use std::{env, io, thread};

use actix_wal::testkit::{FaultPlan, Random};
use actix_wal::{OpenError, RecoveryReport};

use super::floors::Sample;
use super::life::{self, CLIENTS, Life};
use crate::clients::ledger::{Ledger, Verifier};
use crate::clients::told::{Tell, Told, to_the_parent};

/// Tells a process that it is a child: its first client, its seed, and the directory.
pub const CHILD: &str = "ACTIX_WAL_SOAK_CHILD";

/// A child that says nothing for so long is stuck.
const PATIENCE: Duration = Duration::from_secs(60);

const SIGKILL: i32 = 9;

/// A soak under way.
pub struct Soak {
    directory: PathBuf,
    /// Starts this program again.
    again: Command,
    chance: Random,
    next_client: u64,
    ledger: Rc<RefCell<Ledger>>,
    /// Children that were killed in mid-flight.
    pub kills: u64,
    /// What was held at the end of each period.
    pub samples: Vec<Sample>,
}

impl Soak {
    /// A soak of the log in a directory, with children that `again` starts.
    pub fn new(directory: &Path, again: Command, seed: u64) -> Self {
        Soak {
            directory: directory.to_owned(),
            again,
            chance: Random::new(seed),
            next_client: 0,
            ledger: Rc::default(),
            kills: 0,
            samples: Vec::new(),
        }
    }

    pub fn ledger(&self) -> std::cell::Ref<'_, Ledger> {
        self.ledger.borrow()
    }

    /// Lives and dies for so long, then looks, releases everything, and takes a sample.
    pub fn period(&mut self, time: Duration) -> io::Result<()> {
        let end = Instant::now() + time;
        while Instant::now() < end && self.is_sound() {
            self.live_here()?;
            self.look(false)?;
            self.live_and_die()?;
        }
        self.look(true)?;
        self.samples.push(Sample::take(&self.directory)?);
        Ok(())
    }

    pub fn is_sound(&self) -> bool {
        self.ledger.borrow().counts.are_sound()
    }

    fn life(&mut self, time: Option<Duration>) -> Life {
        let first_client = self.next_client;
        self.next_client += CLIENTS;
        let seed = self.chance.below(u64::MAX);
        Life { directory: self.directory.clone(), first_client, seed, time }
    }

    fn tell(&self) -> Tell {
        let ledger = Rc::clone(&self.ledger);
        Rc::new(move |told| ledger.borrow_mut().note(told))
    }

    fn live_here(&mut self) -> io::Result<()> {
        let time = life::time(&mut self.chance, 200, 800);
        let (life, tell, ledger) = (self.life(Some(time)), self.tell(), Rc::clone(&self.ledger));
        let first = life.first_client;
        let lived = actix::System::new().block_on(async move {
            let verifier = Verifier::default();
            let opened = |report: &RecoveryReport| {
                let mut ledger = ledger.borrow_mut();
                ledger.compare(verifier.take(), report.low_water);
                ledger.admit(first..first + CLIENTS);
            };
            life::live(life, Some(&verifier), tell, opened).await
        });
        self.judge(lived)
    }

    /// Opens the log, compares all of it, and closes it; `release` has a checkpoint release it.
    fn look(&mut self, release: bool) -> io::Result<()> {
        let (tell, ledger, directory) = (self.tell(), &self.ledger, &self.directory);
        let looked = actix::System::new().block_on(async move {
            let (verifier, plan) = (Verifier::default(), FaultPlan::new());
            let wal = life::open(directory, &plan, |_| {}, Some(&verifier)).await?;
            let report = wal.recovery_report().clone();
            ledger.borrow_mut().compare(verifier.take(), report.low_water);
            if release {
                tell(Told::Checkpoint(report.last_lsn));
                if let Err(error) = wal.checkpoint(report.last_lsn).await {
                    tell(Told::Broken(format!("a checkpoint on a sound disk: {error}")));
                }
            }
            if let Err(error) = wal.close().await {
                tell(Told::Broken(format!("a close on a sound disk: {error}")));
            }
            Ok(())
        });
        self.judge(looked)
    }

    /// A log that refuses what it has acknowledged is the answer; any other failure to open is none.
    fn judge(&self, result: Result<(), OpenError>) -> io::Result<()> {
        match result {
            Ok(()) => Ok(()),
            Err(error @ (OpenError::Damaged(_) | OpenError::Replay { .. })) => {
                self.ledger.borrow_mut().note(Told::Broken(error.to_string()));
                Ok(())
            }
            Err(error) => Err(io::Error::other(error)),
        }
    }

    /// A child lives until it is killed at a random moment; what it has told by then counts.
    fn live_and_die(&mut self) -> io::Result<()> {
        let life = self.life(None);
        self.ledger.borrow_mut().admit(life.first_client..life.first_client + CLIENTS);
        let place = life.directory.display();
        self.again.env(CHILD, format!("{} {} {place}", life.first_client, life.seed));
        let mut child = self.again.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let pipe = child.stdout.take().ok_or_else(|| io::Error::other("it has no pipe"))?;
        let (sender, lines) = channel();
        let reader = thread::spawn(move || {
            // What is cut off by the kill was not told.
            BufReader::new(pipe).lines().map_while(Result::ok).for_each(|line| {
                let _ = sender.send(line);
            });
        });
        let mut kill_at = None;
        loop {
            let wait = kill_at.map_or(PATIENCE, |at: Instant| at - Instant::now().min(at));
            match lines.recv_timeout(wait) {
                Ok(line) => {
                    let Some(told) = Told::parse(&line) else { continue };
                    kill_at.get_or_insert(Instant::now() + life::time(&mut self.chance, 50, 600));
                    self.ledger.borrow_mut().note(told);
                }
                Err(RecvTimeoutError::Timeout) => {
                    child.kill()?;
                    kill_at = Some(Instant::now() + PATIENCE);
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.kills += u64::from(child.wait()?.signal() == Some(SIGKILL));
        let _ = reader.join();
        Ok(())
    }
}

/// If this process is a child: lives until it is killed, or the log takes nothing more.
pub fn be_a_child_if_told() -> bool {
    let Ok(told) = env::var(CHILD) else { return false };
    let mut words = told.splitn(3, ' ');
    let mut number = || words.next().and_then(|word| word.parse().ok()).unwrap_or(0);
    let (first_client, seed) = (number(), number());
    let directory = PathBuf::from(words.next().unwrap_or_default());
    let life = Life { directory, first_client, seed, time: None };
    let tell = to_the_parent();
    let lived = actix::System::new().block_on(life::live(life, None, Rc::clone(&tell), |_| {}));
    if let Err(error) = lived {
        tell(Told::Broken(error.to_string()));
    }
    true
}
