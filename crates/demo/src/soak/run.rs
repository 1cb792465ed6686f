//! The run: lives in this process and lives of children that are killed, in turn, and between them looks at
//! the whole log and at what is held when nothing happens.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::time::{Duration, Instant};

use actix_wal::testkit::{FaultPlan, Random};
use actix_wal::{OpenError, RecoveryReport};

use super::floors::Sample;
use super::life::{self, CLIENTS, Life};
use crate::DemoError;
use crate::child::{self, Job};
use crate::clients::ledger::{Ledger, Verifier};
use crate::clients::told::{Tell, Told, to_the_parent};
use crate::panics::silence_injected_panics;

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
    /// A soak of the log in a directory, with children that `again` starts: they are this program, which begins with
    /// [`be_one_if_asked`](child::be_one_if_asked).
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

    /// What was told and found so far.
    pub fn ledger(&self) -> std::cell::Ref<'_, Ledger> {
        self.ledger.borrow()
    }

    /// Lives and dies for so long, then looks, releases everything, and takes a sample.
    ///
    /// # Errors
    /// The run can not be carried out.
    pub fn period(&mut self, time: Duration) -> Result<(), DemoError> {
        let end = Instant::now() + time;
        while Instant::now() < end && self.is_sound() {
            self.live_here()?;
            self.look(false)?;
            self.live_and_die()?;
        }
        self.look(true)?;
        self.samples.push(Sample::take(&self.directory).map_err(DemoError::Floor)?);
        Ok(())
    }

    /// Whether the log has kept its promises so far.
    pub fn is_sound(&self) -> bool {
        self.ledger.borrow().counts.are_sound()
    }

    /// The number of its first client, and the seed of the next life.
    fn next_life(&mut self) -> (u64, u64) {
        let first_client = self.next_client;
        self.next_client += CLIENTS;
        (first_client, self.chance.below(u64::MAX))
    }

    fn tell(&self) -> Tell {
        let ledger = Rc::clone(&self.ledger);
        Rc::new(move |told| ledger.borrow_mut().note(told))
    }

    fn live_here(&mut self) -> Result<(), DemoError> {
        let time = Some(life::time(&mut self.chance, 200, 800));
        let (first, seed) = self.next_life();
        let life = Life { directory: self.directory.clone(), first_client: first, seed, time };
        let (tell, ledger) = (self.tell(), Rc::clone(&self.ledger));
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
    fn look(&mut self, release: bool) -> Result<(), DemoError> {
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
    fn judge(&self, result: Result<(), OpenError>) -> Result<(), DemoError> {
        match result {
            Ok(()) => Ok(()),
            Err(error @ (OpenError::Damaged(_) | OpenError::Replay { .. })) => {
                self.ledger.borrow_mut().note(Told::Broken(error.to_string()));
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// A child lives until it is killed at a random moment.
    fn live_and_die(&mut self) -> Result<(), DemoError> {
        let (first_client, seed) = self.next_life();
        let after = life::time(&mut self.chance, 50, 600);
        let mut ledger = self.ledger.borrow_mut();
        ledger.admit(first_client..first_client + CLIENTS);
        let job = Job::Soak { first_client, seed };
        let end = child::live_and_die(&mut self.again, &job, &self.directory, after, |told| {
            ledger.note(told);
            true
        })?;
        self.kills += u64::from(end.is_a_kill());
        Ok(())
    }
}

/// Lives until it is killed, or the log takes nothing more.
pub(crate) fn be_a_child(
    directory: PathBuf,
    first_client: u64,
    seed: u64,
) -> Result<(), DemoError> {
    silence_injected_panics();
    let (life, tell) = (Life { directory, first_client, seed, time: None }, to_the_parent()?);
    let lived = actix::System::new().block_on(life::live(life, None, Rc::clone(&tell), |_| {}));
    if let Err(error) = lived {
        tell(Told::Broken(error.to_string()));
    }
    Ok(())
}
