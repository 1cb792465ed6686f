//! One of the processes: a coordinator or a participant behind a socket. A message is a length and a serde value.

use std::collections::BTreeSet;
use std::error::Error;
use std::io::{Read as _, Write as _};
use std::net::TcpStream as Connection;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io, str};

use actix::{Actor, Addr, Context, Handler};
use actix_wal::codec::{Bincode, Codec};
use actix_wal::{Wal, WalConfig};
use actix_wal_txn::coordinator::{CoordinatorLimits, TransactionCoordinator};
use actix_wal_txn::error::TxnError;
use actix_wal_txn::messages::Execute;
use actix_wal_txn::recovery;
use actix_wal_txn::store::{Budget, KeyRange, Limits, StoreError, Write};
use actix_wal_txn::two_phase::coordinator_actor::{
    self, AcrossError, CommitAcross, TwoPhaseCoordinator,
};
use actix_wal_txn::two_phase::decider::{DeciderLimits, Member};
use actix_wal_txn::two_phase::messages::{Outgoing, ToCoordinator, ToParticipant, Work};
use actix_wal_txn::two_phase::participant::ParticipantLimits;
use actix_wal_txn::two_phase::participant_actor::{GetInDoubt, GetLife, TwoPhase};
use actix_wal_txn::two_phase::{Address, Life};
use actix_wal_txn::workspace::WorkError;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub(crate) const COORDINATOR: &str = "coordinator";
pub(crate) const PARTICIPANTS: [&str; 2] = ["a", "b"];

/// The key of a participant's account, and what is in it at first.
pub(crate) const ACCOUNT: &str = "account";
pub(crate) const START: i64 = 1_000_000;

/// The longest message that is taken.
const LONGEST: usize = 1 << 20;

/// How long somebody who asks waits for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Serialize, Deserialize)]
enum Frame {
    ToParticipant(ToParticipant),
    ToCoordinator(ToCoordinator),
    Question(Question),
}

#[derive(Clone, Serialize, Deserialize)]
pub(crate) enum Question {
    Account,
    Transfers,
    Doubts,
    Commit(Vec<(String, Work)>),
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    Account {
        life: Life,
        balance: i64,
    },
    Transfers {
        balance: i64,
        transfers: BTreeSet<u64>,
    },
    Committed,
    Aborted(String),
    /// Nothing is in doubt.
    Nothing,
    /// Not now.
    No(String),
}

fn encoded<T: Serialize>(value: &T) -> io::Result<Vec<u8>> {
    let bytes = Bincode.encode(value).map_err(io::Error::other)?;
    let len = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    Ok([&len.to_le_bytes()[..], &bytes].concat())
}

/// Where a process listens now: each life has a port of its own.
fn port_file(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.port"))
}

fn place(folder: &Path, name: &str) -> io::Result<String> {
    fs::read_to_string(port_file(folder, name))
}

/// Asks a process, and waits for its answer.
pub(crate) fn ask(folder: &Path, name: &str, question: &Question) -> io::Result<Reply> {
    let mut connection = Connection::connect(place(folder, name)?)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.write_all(&encoded(&Frame::Question(question.clone()))?)?;
    let mut len = [0; 4];
    connection.read_exact(&mut len)?;
    let mut bytes = vec![0; (u32::from_le_bytes(len) as usize).min(LONGEST)];
    connection.read_exact(&mut bytes)?;
    Bincode.decode(&bytes).map_err(io::Error::other)
}

/// Carries messages to other processes. What does not arrive is lost; the protocol sends it again.
struct Transport(PathBuf);

impl Actor for Transport {
    type Context = Context<Self>;
}

impl Transport {
    fn carry(&self, to: &Address, frame: Frame) {
        let (folder, to) = (self.0.clone(), to.clone());
        actix::spawn(async move {
            let name = str::from_utf8(&to.0).map_err(io::Error::other)?;
            let mut connection = TcpStream::connect(place(&folder, name)?).await?;
            connection.write_all(&encoded(&frame)?).await
        });
    }
}

impl Handler<Outgoing<ToParticipant>> for Transport {
    type Result = ();

    fn handle(&mut self, sent: Outgoing<ToParticipant>, _: &mut Context<Self>) {
        self.carry(&sent.to, Frame::ToParticipant(sent.message));
    }
}

impl Handler<Outgoing<ToCoordinator>> for Transport {
    type Result = ();

    fn handle(&mut self, sent: Outgoing<ToCoordinator>, _: &mut Context<Self>) {
        self.carry(&sent.to, Frame::ToCoordinator(sent.message));
    }
}

/// What a process is.
#[derive(Clone)]
enum Node {
    Coordinator(Addr<TwoPhaseCoordinator>),
    Participant(Addr<TransactionCoordinator>),
}

/// Opens the log of a process, and answers until it is killed, or the one that has started it is gone.
#[actix::main]
pub(crate) async fn run(name: &str, folder: &Path) -> Result<(), Box<dyn Error>> {
    std::thread::spawn(|| {
        // The other end is closed when the parent ends.
        let _ = io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
    let opening = Wal::open(WalConfig::new(folder.join(name)));
    let transport = Transport(folder.to_owned()).start();
    // The log stays open as long as its handle is there.
    let (_wal, node) = if name == COORDINATOR {
        let limits = DeciderLimits::default();
        let (wal, decider) =
            coordinator_actor::open(opening, Address(name.to_owned().into()), limits).await?;
        let across = TwoPhaseCoordinator::start(&wal, decider, transport.recipient()).await?;
        (wal, Node::Coordinator(across))
    } else {
        let (wal, recovered) = recovery::open(opening, Limits::default()).await?;
        let two_phase =
            TwoPhase { limits: ParticipantLimits::default(), transport: transport.recipient() };
        let limits = CoordinatorLimits::default();
        let participant =
            TransactionCoordinator::start_participant(&wal, recovered, limits, two_phase).await?;
        match participant.send(Execute::new(open_account)).await? {
            // In doubt, so it is there.
            Ok(_) | Err(TxnError::Work(WorkError::Store(StoreError::Prepared { .. }))) => {}
            Err(error) => return Err(error.into()),
        }
        (wal, Node::Participant(participant))
    };
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let unfinished = folder.join(format!("{name}.new"));
    fs::write(&unfinished, listener.local_addr()?.to_string())?;
    fs::rename(unfinished, port_file(folder, name))?;
    loop {
        let (connection, _) = listener.accept().await?;
        let node = node.clone();
        // A connection that breaks is the problem of the one who asks.
        actix::spawn(async move { node.serve(connection).await });
    }
}

fn open_account(latest: &mut actix_wal_txn::latest::Latest<'_>) -> Result<(), TxnError> {
    if latest.get(ACCOUNT.as_bytes())?.is_none() {
        let value = Some(START.to_string().into());
        latest.write(Write { key: ACCOUNT.into(), value })?;
    }
    Ok(())
}

impl Node {
    async fn serve(self, mut connection: TcpStream) -> io::Result<()> {
        let len = connection.read_u32_le().await?;
        let mut bytes = vec![0; (len as usize).min(LONGEST)];
        connection.read_exact(&mut bytes).await?;
        let frame = Bincode.decode(&bytes).map_err(io::Error::other)?;
        match (self, frame) {
            (Node::Participant(participant), Frame::ToParticipant(order)) => {
                participant.do_send(order);
            }
            (Node::Coordinator(across), Frame::ToCoordinator(word)) => across.do_send(word),
            (node, Frame::Question(question)) => {
                let reply = node.answer(question).await.unwrap_or_else(Reply::No);
                connection.write_all(&encoded(&reply)?).await?;
            }
            _ => {}
        }
        Ok(())
    }

    async fn answer(self, question: Question) -> Result<Reply, String> {
        let gone = |error: actix::MailboxError| error.to_string();
        match (self, question) {
            (Node::Coordinator(across), Question::Commit(halves)) => {
                let member =
                    |(name, work): (String, Work)| Member { address: Address(name.into()), work };
                let members = halves.into_iter().map(member).collect();
                match across.send(CommitAcross { members }).await.map_err(gone)? {
                    Ok(()) => Ok(Reply::Committed),
                    Err(AcrossError::Aborted { reason, .. }) => Ok(Reply::Aborted(reason)),
                    Err(error) => Err(error.to_string()),
                }
            }
            (Node::Participant(participant), Question::Account) => {
                let life = participant.send(GetLife).await.map_err(gone)?;
                let life = life.ok_or("it is no participant")?;
                let (balance, _) = account(&participant).await?;
                Ok(Reply::Account { life, balance })
            }
            (Node::Participant(participant), Question::Transfers) => {
                let (balance, transfers) = account(&participant).await?;
                Ok(Reply::Transfers { balance, transfers })
            }
            (Node::Participant(participant), Question::Doubts) => {
                let doubts = participant.send(GetInDoubt).await.map_err(gone)?;
                let some = || Err(format!("{} in doubt", doubts.in_doubt.len()));
                if doubts.in_doubt.is_empty() { Ok(Reply::Nothing) } else { some() }
            }
            _ => Err("this is another one's".to_owned()),
        }
    }
}

/// The balance, and the transfers that are noted.
async fn account(
    participant: &Addr<TransactionCoordinator>,
) -> Result<(i64, BTreeSet<u64>), String> {
    let read = Execute::new(|latest| {
        let (mut balance, mut transfers) = (0, BTreeSet::new());
        let mut range = KeyRange::all();
        loop {
            let piece = latest.scan(&range, Budget::default())?;
            for (key, value) in &piece.rows {
                let text = |bytes| str::from_utf8(bytes).map_err(|_| TxnError::aborted("no text"));
                match text(key)?.strip_prefix("transfer ").map(str::parse) {
                    Some(Ok(number)) => drop(transfers.insert(number)),
                    _ => balance = text(value)?.parse().unwrap_or(balance),
                }
            }
            match piece.next {
                Some(last) => range = range.behind(last),
                None => return Ok((balance, transfers)),
            }
        }
    });
    let done = participant.send(read).await.map_err(|gone| gone.to_string())?;
    done.map(|done| done.value).map_err(|error| error.to_string())
}
