//! A ledger server in a screen: accounts, and transfers between them. Each answer that begins with `ok` is durable.
//!
//! ```text
//! cargo run -p actix-wal-txn --example ledger -- [DIRECTORY]     prints `listening on 127.0.0.1:PORT`; then, with `nc`:
//! open NAME AMOUNT       a new account                             ok 100
//! move FROM TO AMOUNT    a transfer                                ok 90 in FROM
//! show NAME              what it has                               ok 90
//! total                  what all have                             ok 1000
//! ```
//!
//! Ctrl-C ends it.
//!
//! A transfer is sent whole, so it has no conflicts: all of them may have one account in common. A client whose connection
//! breaks before its answer does not know the outcome; one that must know sends a token with it.

use std::time::Duration;
use std::{env, error::Error, str};

use actix::{Addr, clock::timeout};
use actix_wal::{Wal, WalConfig};
use actix_wal_txn::coordinator::{CoordinatorLimits, TransactionCoordinator};
use actix_wal_txn::store::{Budget, KeyRange, Limits, Write};
use actix_wal_txn::{error::TxnError, latest::Latest, messages::Execute, recovery};
use futures_util::{SinkExt, StreamExt};
use tokio::{
    net::{TcpListener, TcpStream},
    signal,
};
use tokio_util::codec::{Framed, LinesCodec};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

type Coordinator = Addr<TransactionCoordinator>;

const USAGE: &str = "open NAME AMOUNT | move FROM TO AMOUNT | show NAME | total";

fn amount(text: &[u8]) -> Result<u64, TxnError> {
    let number = str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    number.ok_or_else(|| TxnError::aborted("an amount is a number from 0 to 2^64 - 1"))
}

fn balance(latest: &mut Latest<'_>, name: &str) -> Result<u64, TxnError> {
    let none = || TxnError::aborted(format!("there is no account {name}"));
    amount(&latest.get(name.as_bytes())?.ok_or_else(none)?)
}

fn set(latest: &mut Latest<'_>, name: &str, to: u64) -> Result<(), TxnError> {
    let value = Some(to.to_string().into());
    Ok(latest.write(Write { key: name.to_owned().into(), value })?)
}

/// What a line asks for. It runs alone, on the newest state.
fn run(latest: &mut Latest<'_>, line: &str) -> Result<String, TxnError> {
    match line.split_whitespace().collect::<Vec<_>>()[..] {
        ["open", name, _] if latest.get(name.as_bytes())?.is_some() => {
            Err(TxnError::aborted(format!("there is an account {name} already")))
        }
        ["open", name, has] => set(latest, name, amount(has.as_bytes())?).map(|()| has.to_owned()),
        ["move", from, to, many] => {
            let many = amount(many.as_bytes())?;
            let left = balance(latest, from)?.checked_sub(many);
            let left = left.ok_or_else(|| TxnError::aborted(format!("{from} has too little")))?;
            set(latest, from, left)?;
            let has = balance(latest, to)?.checked_add(many);
            set(latest, to, has.ok_or_else(|| TxnError::aborted(format!("{to} is full")))?)?;
            Ok(format!("{left} in {from}"))
        }
        ["show", name] => balance(latest, name).map(|has| has.to_string()),
        ["total"] => {
            let all = Budget { keys: usize::MAX, bytes: usize::MAX };
            let rows = latest.scan(&KeyRange::all(), all)?.rows;
            let total: Result<u128, _> =
                rows.iter().map(|(_, has)| amount(has).map(u128::from)).sum();
            Ok(total?.to_string())
        }
        _ => Err(TxnError::aborted(USAGE)),
    }
}

/// Answers one client, line by line, until it goes away or the server stops.
async fn serve(client: TcpStream, coordinator: Coordinator, stop: CancellationToken) {
    let mut lines = Framed::new(client, LinesCodec::new_with_max_length(1024));
    while let Some(Some(line)) = stop.run_until_cancelled(lines.next()).await {
        let Ok(line) = line else {
            let _ = lines.send("error: the line is too long, or no text").await;
            return;
        };
        let answer = match coordinator.send(Execute::new(move |latest| run(latest, &line))).await {
            Ok(Ok(done)) => format!("ok {}", done.value),
            Ok(Err(error)) => format!("error: {error}"),
            Err(gone) => format!("error: it is not known what became of it: {gone}"),
        };
        if lines.send(answer).await.is_err() {
            return;
        }
    }
}

#[actix::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let directory = env::args().nth(1).unwrap_or_else(|| "target/ledger".to_owned());
    let opening = Wal::open(WalConfig::new(directory));
    let (wal, recovered) = recovery::open(opening, Limits::default()).await?;
    let limits = CoordinatorLimits::default();
    let coordinator = TransactionCoordinator::start(&wal, recovered, limits).await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listening on {}", listener.local_addr()?);

    let (stop, clients) = (CancellationToken::new(), TaskTracker::new());
    loop {
        tokio::select! {
            client = listener.accept() => {
                let client = serve(client?.0, coordinator.clone(), stop.clone());
                actix::spawn(clients.track_future(client));
            }
            ctrl_c = signal::ctrl_c() => break ctrl_c?,
        }
    }
    // Each client gets the answer that it waits for, unless it does not read.
    stop.cancel();
    clients.close();
    let _ = timeout(Duration::from_secs(5), clients.wait()).await;
    Ok(wal.close().await?)
}
