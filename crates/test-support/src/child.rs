//! A process that commits and says what it knows, one fact a line, until it is done or killed: the child of
//! the tests with real processes. It is the test binary itself, started for the one test [`TEST`], which
//! does nothing unless the variable `ACTIX_WAL_CHILD` is set.
//!
//! The lines that go through its [`Pipe`]:
//!
//! ```text
//! O                                  the log is about to be opened
//! R                                  it is open
//! S <client> <sequence> <count>      about to append so many records
//! L <client> <sequence> <first>      they have these LSNs
//! A <client> <sequence>              durable
//! N <client> <sequence>              certainly not in the log
//! U <client> <sequence>              nobody knows
//! C <LSN>                            about to release everything up to here
//! W <LSN>                            the watermark
//! X                                  closed cleanly
//! T <state>                          what the log does, each time that this is something else
//! ! <error>                          an error, as `Debug` shows it
//! ```

use std::path::{Path, PathBuf};
use std::time::Duration;

use actix_wal::{
    AppendError, CommitError, FaultPolicy, FlushPolicy, LogState, Lsn, RestartBudget, Wal,
    WalConfig,
};
use demo::pipe::Pipe;

use crate::facts::{Key, payload};

/// The test that is the child.
pub const TEST: &str = "the_child_of_these_tests";
/// Set in the child: what to do.
const JOB: &str = "ACTIX_WAL_CHILD";
/// How many of the latest LSNs no checkpoint releases.
const KEPT: u64 = 100;
/// How long a client waits after a refusal that will pass.
const PAUSE: Duration = Duration::from_millis(5);

/// What a child has to do.
#[derive(Clone, Debug)]
pub struct Job {
    pub directory: PathBuf,
    pub first_client: u32,
    pub clients: u32,
    /// By each client; 0 is "until killed".
    pub commits: u32,
    pub segment_size: u64,
    pub fail_fast: bool,
    /// A sync is stuck after two seconds, and nobody waits on after two more.
    pub impatient: bool,
}

impl Job {
    /// Some clients that commit until the process is killed, in segments that are full at once.
    pub fn endless(directory: &Path) -> Job {
        let directory = directory.to_owned();
        Job {
            directory,
            first_client: 0,
            clients: 6,
            commits: 0,
            segment_size: 64 << 10,
            fail_fast: false,
            impatient: false,
        }
    }

    /// For the environment of the child.
    pub fn variable(&self) -> (&'static str, String) {
        let Job { directory, first_client, clients, commits, segment_size, .. } = self;
        let choices = u8::from(self.fail_fast) + 2 * u8::from(self.impatient);
        let directory = directory.display();
        let job =
            format!("{first_client} {clients} {commits} {segment_size} {choices} {directory}");
        (JOB, job)
    }

    fn of_this_process() -> Option<Job> {
        let text = std::env::var(JOB).ok()?;
        let mut words = text.splitn(6, ' ');
        let mut number = || words.next().and_then(|word| word.parse::<u64>().ok()).expect("number");
        let (first_client, clients, commits) = (number() as u32, number() as u32, number() as u32);
        let (segment_size, choices) = (number(), number());
        let (fail_fast, impatient) = (choices & 1 == 1, choices & 2 == 2);
        let directory = words.next().expect("a directory").into();
        Some(Job { directory, first_client, clients, commits, segment_size, fail_fast, impatient })
    }

    /// The settings of the log of all these tests, but for what the job says. Restarts are quick; there are
    /// as many as by default.
    pub fn config(&self) -> WalConfig {
        let mut config = WalConfig::new(&self.directory);
        config.segment_size = self.segment_size;
        config.flush_policy = FlushPolicy::Eager;
        config.seal_after = Duration::from_millis(20);
        config.restart_budget = RestartBudget {
            backoff: Duration::from_millis(1),
            max_backoff: Duration::from_millis(20),
            ..RestartBudget::default()
        };
        // A fault that lasts is to be over within a test.
        config.give_up_after = Duration::from_secs(5);
        if self.impatient {
            config.slow_sync = Duration::from_millis(200);
            config.stalled_after = Duration::from_secs(2);
            config.give_up_after = Duration::from_secs(2);
        }
        if self.fail_fast {
            config.fault_policy = FaultPolicy::FailFast;
        }
        config
    }
}

/// Does the job of this process, if it is a child.
pub fn run() {
    if let Some(job) = Job::of_this_process() {
        actix::System::new().block_on(work(job, Pipe::to_the_parent().expect("a descriptor")));
    }
}

async fn work(job: Job, pipe: Pipe) {
    pipe.tell("O");
    let wal = match Wal::open(job.config()).await {
        Ok(wal) => wal,
        Err(error) => return pipe.tell(format_args!("! {error:?}")),
    };
    pipe.tell("R");
    actix::spawn(say_states(wal.clone(), pipe.clone()));
    let clients: Vec<_> = (job.first_client..job.first_client + job.clients)
        .map(|client| {
            let client = Client { wal: wal.clone(), pipe: pipe.clone(), client, job: job.clone() };
            actix::spawn(client.run())
        })
        .collect();
    for client in clients {
        client.await.expect("no client panics");
    }
    match wal.close().await {
        Ok(()) => pipe.tell("X"),
        Err(error) => pipe.tell(format_args!("! {error:?}")),
    }
}

async fn say_states(wal: Wal, pipe: Pipe) {
    let mut said = String::new();
    loop {
        let state = wal.status().state;
        let now = match &state {
            LogState::Unavailable(cause) | LogState::Poisoned(cause) => {
                format!("{}: {cause}", state.name())
            }
            _ => state.name().to_owned(),
        };
        if said != now {
            pipe.tell(format_args!("T {now}"));
            said = now;
        }
        actix::clock::sleep(PAUSE).await;
    }
}

struct Client {
    wal: Wal,
    pipe: Pipe,
    client: u32,
    job: Job,
}

impl Client {
    async fn run(self) {
        let mut sequence = 0;
        while self.job.commits == 0 || sequence < self.job.commits {
            let key = Key { client: self.client, sequence };
            let outcome = self.append(key).await;
            let name = format!("{} {sequence}", self.client);
            let kind = match &outcome {
                Ok(()) => "A",
                Err(error) if error.is_not_durable() => "N",
                Err(_) => "U",
            };
            self.pipe.tell(format_args!("{kind} {name}"));
            if let Err(error) = outcome {
                self.pipe.tell(format_args!("! {error:?}"));
                if is_the_end(&error) {
                    return;
                }
                actix::clock::sleep(PAUSE).await;
            }
            if self.client == self.job.first_client && sequence % 8 == 7 {
                self.checkpoint().await;
            }
            sequence += 1;
        }
    }

    /// In one phase, in two, or as a group.
    async fn append(&self, key: Key) -> Result<(), CommitError> {
        let count = if key.sequence % 7 == 3 { 3 } else { 1 };
        let len = (key.client * 131 + key.sequence * 97) % 700;
        let mut records = (0..count).map(|index| payload(key, index, count, len));
        self.pipe.tell(format_args!("S {} {} {count}", key.client, key.sequence));
        let assigned = |first: Lsn| {
            self.pipe.tell(format_args!("L {} {} {first}", key.client, key.sequence));
        };
        if count > 1 {
            let range = self.wal.append_all(records).await?;
            assigned(range.first);
            return self.wal.wait_for_lsn(range.last).await;
        }
        let record = records.next().expect("one");
        if key.sequence.is_multiple_of(2) {
            self.wal.commit(record).await.map(assigned)
        } else {
            let lsn = self.wal.append(record).await?;
            assigned(lsn);
            self.wal.wait_for_lsn(lsn).await
        }
    }

    async fn checkpoint(&self) {
        let durable = self.wal.durable_lsn();
        self.pipe.tell(format_args!("W {durable}"));
        if durable.get() > KEPT {
            let lsn = Lsn::new(durable.get() - KEPT);
            self.pipe.tell(format_args!("C {lsn}"));
            if let Err(error) = self.wal.checkpoint(lsn).await {
                self.pipe.tell(format_args!("! {error:?}"));
            }
        }
    }
}

/// Whether the log will never take another record.
fn is_the_end(error: &CommitError) -> bool {
    use AppendError::{Closed, Poisoned};
    matches!(error, CommitError::Refused(Poisoned { .. } | Closed { .. }))
}
