//! A coordinator and two participants, each in a process of its own with a log of its own. All three are killed (SIGKILL)
//! at random while money goes from one participant to the other. At the end nothing that was acknowledged is missing, no
//! transfer is torn, and nobody is in doubt.
//!
//! ```text
//! cargo run --release -p actix-wal-txn --example two_phase [-- KILLS [SEED]]
//! ```
//!
//! The seed chooses whom to kill, and when; what the machine does meanwhile no seed repeats.

#[path = "two_phase/node.rs"]
mod node;

use std::collections::BTreeSet;
use std::error::Error;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, thread};

use actix_wal::testkit::Random;
use actix_wal_txn::store::Write;
use actix_wal_txn::two_phase::messages::{Operation, Work, WorkKind};
use node::{ACCOUNT, COORDINATOR, PARTICIPANTS, Question, Reply, START, ask};

/// The three processes. They do not outlive this one.
struct Cluster {
    folder: PathBuf,
    nodes: Vec<(&'static str, Child)>,
}

impl Cluster {
    fn start(folder: &Path) -> Result<Self, Box<dyn Error>> {
        let mut cluster = Cluster { folder: folder.to_owned(), nodes: Vec::new() };
        for name in [COORDINATOR, PARTICIPANTS[0], PARTICIPANTS[1]] {
            let child = cluster.spawn(name)?;
            cluster.nodes.push((name, child));
        }
        Ok(cluster)
    }

    fn spawn(&self, name: &str) -> Result<Child, Box<dyn Error>> {
        let mut command = Command::new(env::current_exe()?);
        Ok(command.arg("node").arg(name).arg(&self.folder).stdin(Stdio::piped()).spawn()?)
    }

    fn kill(&mut self, at: usize) -> Result<(), Box<dyn Error>> {
        let (name, child) = &mut self.nodes[at];
        child.kill()?;
        child.wait()?;
        let name = *name;
        self.nodes[at].1 = self.spawn(name)?;
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for (_, child) in &mut self.nodes {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// How long anything takes at most, with a restart in between.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks until there is an answer: a process may be dead for the moment.
fn ask_until(
    folder: &Path,
    name: &str,
    question: &Question,
    is_it: fn(&Reply) -> bool,
) -> Result<Reply, String> {
    let began = Instant::now();
    loop {
        match ask(folder, name, question) {
            Ok(reply) if is_it(&reply) => return Ok(reply),
            other if began.elapsed() > PATIENCE => {
                return Err(format!("{name} does not come back: {other:?}"));
            }
            _ => thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// What one participant does in a transfer: its balance goes from what it is to this, and it notes the transfer.
fn half(folder: &Path, name: &str, number: u64, change: i64) -> Result<(String, Work), String> {
    let is_account = |reply: &Reply| matches!(reply, Reply::Account { .. });
    let reply = ask_until(folder, name, &Question::Account, is_account)?;
    let Reply::Account { life, balance } = reply else { return Err(format!("{reply:?}")) };
    let put = |key: String, value: String| {
        Operation::Write(Write { key: key.into(), value: Some(value.into()) })
    };
    let was = Operation::Expect { key: ACCOUNT.into(), value: Some(balance.to_string().into()) };
    let now = put(ACCOUNT.to_owned(), (balance + change).to_string());
    let note = put(format!("transfer {number:06}"), String::new());
    Ok((name.to_owned(), Work { life, kind: WorkKind::Whole(vec![was, now, note]) }))
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    if let [kind, name, folder] = &arguments[..]
        && kind == "node"
    {
        return node::run(name, Path::new(folder));
    }
    let kills: usize = arguments.first().map_or(Ok(20), |kills| kills.parse())?;
    let seed =
        arguments.get(1).map_or_else(|| Ok(u64::from(std::process::id())), |it| it.parse())?;
    println!("seed {seed}");
    let mut random = Random::new(seed);
    let folder = tempfile::tempdir_in(".")?;
    let mut cluster = Cluster::start(folder.path())?;
    let (mut committed, mut aborted, mut unknown) = (BTreeSet::new(), 0, 0);
    let (mut killed, mut last_kill) = (0, Instant::now());
    let mut number = 0;
    while killed < kills {
        let halves = vec![
            half(folder.path(), PARTICIPANTS[0], number, -1)?,
            half(folder.path(), PARTICIPANTS[1], number, 1)?,
        ];
        // The kill falls somewhere into the transfer.
        let transfer = {
            let folder = folder.path().to_owned();
            thread::spawn(move || ask(&folder, COORDINATOR, &Question::Commit(halves)))
        };
        if last_kill.elapsed() > Duration::from_millis(120) {
            thread::sleep(Duration::from_micros(random.below(4_000)));
            cluster.kill(random.of(0..=2))?;
            (killed, last_kill) = (killed + 1, Instant::now());
        }
        match transfer.join() {
            Ok(Ok(Reply::Committed)) => drop(committed.insert(number)),
            Ok(Ok(Reply::Aborted(_))) => aborted += 1,
            // It was not even asked: it is dead for the moment.
            Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => {
                thread::sleep(Duration::from_millis(5));
                continue;
            }
            _ => unknown += 1,
        }
        number += 1;
    }

    let mut balances = Vec::new();
    let mut noted: Vec<BTreeSet<u64>> = Vec::new();
    for name in PARTICIPANTS {
        let is_decided = |reply: &Reply| matches!(reply, Reply::Nothing);
        ask_until(folder.path(), name, &Question::Doubts, is_decided)?;
        let is_list = |reply: &Reply| matches!(reply, Reply::Transfers { .. });
        if let Reply::Transfers { balance, transfers } =
            ask_until(folder.path(), name, &Question::Transfers, is_list)?
        {
            balances.push(balance);
            noted.push(transfers);
        }
    }
    let lost = committed.difference(&noted[0]).count();
    println!(
        "{number} transfers: {} committed, {aborted} aborted, {unknown} unknown to their client; killed {killed}; lost {lost}; \
         sum {}",
        committed.len(),
        balances.iter().sum::<i64>()
    );
    let moved = i64::try_from(noted[0].len())?;
    let is_whole = noted[0] == noted[1] && balances == [START - moved, START + moved];
    if lost > 0 || !is_whole || committed.is_empty() {
        return Err(format!("a transfer is torn or lost: {balances:?}, {noted:?}").into());
    }
    Ok(())
}
