//! The parent's side of [`child`](crate::child): lives of a log in real processes, and the ledger of what
//! their clients were told, which is held against what a recovery finds.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use actix_wal::storage::Directory;
use actix_wal::testkit::internals::Parts;
use actix_wal::{Lsn, OpenError, WalConfig};

use crate::child::{Job, TEST};
use crate::facts::{Fact, Head, Key};
use crate::oracle::Oracle;
use crate::recovered::{Recovered, replayed};

/// Longer than any child takes for anything, however slow the machine. Who needs all of it hangs.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// This very program, as a child that is still to be started. Programs that start other programs (`strace`,
/// `sh`) come first.
pub fn command(before: &[&str], job: &Job) -> Command {
    let this = std::env::current_exe().unwrap();
    let mut words = before.iter().map(Into::into).chain([this.into_os_string()]);
    let mut command = Command::new(words.next().unwrap());
    command.args(words).args(["--exact", TEST, "--nocapture", "--test-threads=1"]);
    let (name, value) = job.variable();
    command.env(name, value);
    command
}

/// One process that has the log. It never outlives the test.
pub struct Life {
    child: Child,
    lines: Receiver<String>,
}

impl Life {
    pub fn start(job: &Job) -> Life {
        Life::of(command(&[], job))
    }

    pub fn of(mut command: Command) -> Life {
        // A group of its own, so that what it starts dies with it.
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let pipe = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        thread::spawn(move || {
            let lines = pipe.lines().map_while(Result::ok);
            lines.take_while(|line| sender.send(line.clone()).is_ok()).for_each(drop);
        });
        Life { child, lines }
    }

    /// Takes down what it says for so long, or until it has ended or said what is looked for. Whether it may
    /// say more.
    pub fn listen(
        &self,
        ledger: &mut Ledger,
        time: Duration,
        mut enough: impl FnMut(&Ledger) -> bool,
    ) -> bool {
        let until = Instant::now() + time;
        while !enough(ledger) {
            match self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) => ledger.note(&line),
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => return false,
            }
        }
        true
    }

    /// Until so many records more are acknowledged. Panics if they never are.
    pub fn acknowledges(&self, more: u64, ledger: &mut Ledger) {
        let enough = ledger.acknowledged + more;
        self.listen(ledger, PATIENCE, |ledger| ledger.acknowledged >= enough);
        let Ledger { acknowledged, errors, states, .. } = ledger;
        assert!(*acknowledged >= enough, "{acknowledged} of {enough}: {errors:?} {states:?}");
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it this signal.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status();
        assert!(sent.expect("kill is there").success(), "{name}");
    }

    /// `SIGKILL`, and the rest of what it had said.
    pub fn kill(mut self, ledger: &mut Ledger) {
        self.child.kill().unwrap();
        self.drain(ledger);
    }

    /// Waits until it ends by itself. Panics if it does not.
    pub fn end(mut self, ledger: &mut Ledger) -> ExitStatus {
        self.drain(ledger)
    }

    fn drain(&mut self, ledger: &mut Ledger) -> ExitStatus {
        let more = self.listen(ledger, PATIENCE, |_| false);
        assert!(!more, "hangs: the child has not ended; errors: {:?}", ledger.errors);
        self.child.wait().unwrap()
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            let group = format!("-{}", self.child.id());
            let _ = Command::new("kill").args(["-9", "--", &group]).status();
            let _ = self.child.wait();
        }
    }
}

/// What the client of an append was told in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Durable,
    NotDurable,
    Unknown,
}

/// What all clients of all lives were told.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// Since the last look at the log, and before it what matters still.
    facts: Vec<Fact>,
    /// Of the lives since the last look.
    outcomes: BTreeMap<Key, Option<Outcome>>,
    /// The highest LSN that was given out.
    last_assigned: u64,
    /// The same, at the beginning of the present life.
    before_this_life: u64,
    checkpoint: u64,
    next_client: u32,
    /// Whether the present life has come as far as to open the log, and how long that took.
    pub opening: Option<Instant>,
    pub opened: Option<Duration>,
    pub closed: bool,
    /// What the present life has said of errors.
    pub errors: Vec<String>,
    /// What its log has done, as far as that was seen.
    pub states: Vec<String>,
    pub acknowledged: u64,
}

impl Ledger {
    /// Lets a new life begin. Its clients have never been heard of before.
    pub fn begin(&mut self, mut job: Job) -> Job {
        job.first_client = self.next_client;
        self.next_client += job.clients;
        self.before_this_life = self.last_assigned;
        (self.opening, self.opened, self.closed) = (None, None, false);
        self.errors.clear();
        self.states.clear();
        job
    }

    /// How many appends of the lives since the last look ended so; `None` is "nobody was told".
    pub fn count(&self, outcome: Option<Outcome>) -> usize {
        self.outcomes.values().filter(|known| **known == outcome).count()
    }

    /// From here on outcomes are counted anew. What was in flight before stays so.
    pub fn settle_earlier(&mut self) {
        self.outcomes.clear();
    }

    /// A close on a full disk may leave no close frame; all it says is that everything is durable.
    pub fn was_closed_on_a_full_disk(&mut self) {
        self.closed = false;
        self.facts.retain(|fact| !matches!(fact, Fact::Closed));
    }

    fn note(&mut self, line: &str) {
        let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
        let words = rest.split(' ').map_while(|word| word.parse::<u64>().ok()).collect::<Vec<_>>();
        let key =
            |client: u64, sequence: u64| Key { client: client as u32, sequence: sequence as u32 };
        match (kind, &words[..]) {
            ("O", []) => {
                self.opening = Some(Instant::now());
                self.facts.push(Fact::Opening);
            }
            ("R", []) => self.opened = self.opening.map(|began| began.elapsed()),
            ("X", []) => {
                self.closed = true;
                self.facts.push(Fact::Closed);
            }
            ("S", &[client, sequence, count]) => {
                let (key, count) = (key(client, sequence), count as u32);
                assert_eq!(self.outcomes.insert(key, None), None, "{key:?} is used twice");
                self.facts.push(Fact::Submitted { key, count });
            }
            ("L", &[client, sequence, first]) => {
                assert!(first > self.before_this_life, "P9: LSN {first} was given out before");
                self.last_assigned = self.last_assigned.max(first);
                let first = Lsn::new(first);
                self.facts.push(Fact::Assigned { key: key(client, sequence), first });
            }
            ("A", &[client, sequence]) => self.settle(key(client, sequence), Outcome::Durable),
            ("N", &[client, sequence]) => self.settle(key(client, sequence), Outcome::NotDurable),
            ("U", &[client, sequence]) => self.settle(key(client, sequence), Outcome::Unknown),
            ("C", &[lsn]) => {
                self.checkpoint = self.checkpoint.max(lsn);
                self.facts.push(Fact::Checkpoint(Lsn::new(lsn)));
            }
            ("W", &[lsn]) => self.facts.push(Fact::Watermark(Lsn::new(lsn))),
            ("!", _) => self.errors.push(rest.to_owned()),
            ("T", _) => self.states.push(rest.to_owned()),
            // What the test harness has to say.
            _ => {}
        }
    }

    fn settle(&mut self, key: Key, outcome: Outcome) {
        let known = self.outcomes.get_mut(&key).expect("nobody is told of what was not submitted");
        assert_eq!(known.replace(outcome), None, "P6: {key:?} has two outcomes");
        match outcome {
            Outcome::Durable => {
                self.acknowledged += 1;
                self.facts.push(Fact::Acknowledged { key });
            }
            Outcome::NotDurable => self.facts.push(Fact::NotDurable { key }),
            Outcome::Unknown => {}
        }
    }

    /// Recovers a copy of the log, and holds it against what was told: every record that was acknowledged
    /// is there unless released, in order and once, nothing that was refused, and nothing invented. What is
    /// found there must stay from now on, and what is not must not come back.
    pub fn verify(&mut self, directory: &Path, config: &WalConfig) -> Recovered {
        let copy = crate::scratch::folder();
        copy_files(directory, copy.path());
        let recovered = recover(copy.path(), config)
            .unwrap_or_else(|error| panic!("what {directory:?} held does not open: {error}"));
        let mut oracle = Oracle::after(&self.facts, Oracle::default());
        if let Err(broken) = oracle.check(&recovered) {
            let kept = copy.keep();
            panic!("{broken}\n{:?}\nits files: {}", recovered.report, kept.display());
        }
        self.forget(&recovered);
        recovered
    }

    /// Keeps what later lives are held to.
    fn forget(&mut self, recovered: &Recovered) {
        self.outcomes.clear();
        self.facts.clear();
        let mut known = None;
        for (lsn, bytes) in &recovered.records {
            let Head { key, index, count, .. } = Head::read(bytes).expect("the oracle knows it");
            if known.replace(key) != Some(key) {
                let first = Lsn::new(lsn - u64::from(index));
                self.facts.push(Fact::Submitted { key, count });
                self.facts.push(Fact::Assigned { key, first });
                self.facts.push(Fact::Acknowledged { key });
            }
        }
        // Whose it was does not matter any more, but nobody may get it again.
        let key = Key { client: u32::MAX, sequence: 0 };
        self.facts.push(Fact::Submitted { key, count: 1 });
        self.facts.push(Fact::Assigned { key, first: Lsn::new(self.last_assigned) });
        self.facts.push(Fact::NotDurable { key });
        self.facts.push(Fact::Checkpoint(Lsn::new(self.checkpoint)));
        self.facts.push(Fact::Watermark(recovered.report.last_lsn));
        if self.closed {
            self.facts.push(Fact::Closed);
        }
    }
}

/// Copies the files of a log, as they are now.
pub fn copy_files(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// What a clean open of this directory finds.
pub fn recover(directory: &Path, config: &WalConfig) -> Result<Recovered, OpenError> {
    let storage = Arc::new(Directory::open(directory).expect("nobody has it"));
    replayed(storage, config, &Parts::new(config), None)
}
