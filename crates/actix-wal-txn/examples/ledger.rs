//! A ledger server in a screen: accounts, and transfers between them. Each answer that begins with `ok` is durable.
//!
//! ```text
//! cargo run -p actix-wal-txn --example ledger -- [DIRECTORY]     prints `listening on 127.0.0.1:PORT`; then, with `nc`:
//! open NAME AMOUNT       a new account                             ok 100
//! move FROM TO AMOUNT    a transfer                                ok 90 in FROM
//! show NAME              what it has                               ok 90
//! total                  what all have                             ok 1000
//! stop                   ends the server, as Ctrl-C does
//! ```
//!
//! A transfer is sent whole, so it has no conflicts: all of them may have one account in common. A client whose connection
//! breaks before its answer does not know the outcome; one that must know sends a token with it.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;
use std::{env, io, str};

use actix::Addr;
use actix_wal::{Wal, WalConfig};
use actix_wal_txn::coordinator::{CoordinatorLimits, TransactionCoordinator};
use actix_wal_txn::error::TxnError;
use actix_wal_txn::latest::Latest;
use actix_wal_txn::messages::Execute;
use actix_wal_txn::recovery;
use actix_wal_txn::store::{Budget, KeyRange, Limits, Write};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// The bytes that a line may have.
const LONGEST: u64 = 1024;

const USAGE: &str = "open NAME AMOUNT | move FROM TO AMOUNT | show NAME | total | stop";

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
            let (mut range, mut total) = (KeyRange::all(), 0u128);
            loop {
                let piece = latest.scan(&range, Budget::default())?;
                for (_, has) in &piece.rows {
                    total += u128::from(amount(has)?);
                }
                let Some(last) = piece.next else { return Ok(total.to_string()) };
                range = range.behind(last);
            }
        }
        _ => Err(TxnError::aborted(USAGE)),
    }
}

/// Answers one client, line by line, until it goes away or the server stops.
async fn serve(
    client: TcpStream,
    coordinator: Addr<TransactionCoordinator>,
    stop: Arc<watch::Sender<bool>>,
) -> io::Result<()> {
    let (read, mut write) = client.into_split();
    let (mut read, mut stopped) = (BufReader::new(read).take(LONGEST), stop.subscribe());
    loop {
        read.set_limit(LONGEST);
        let mut line = Vec::new();
        tokio::select! {
            read = read.read_until(b'\n', &mut line) => drop(read?),
            _ = stopped.wait_for(|stopped| *stopped) => return Ok(()),
        }
        if read.limit() == 0 {
            return write.write_all(b"error: the line is too long\n").await;
        }
        let line = match String::from_utf8(line) {
            Ok(line) if line.trim() == "stop" => return stop.send(true).map_err(io::Error::other),
            Ok(line) if line.ends_with('\n') => line,
            _ => return Ok(()), // it has hung up, or this is no text
        };
        let answer = match coordinator.send(Execute::new(move |latest| run(latest, &line))).await {
            Ok(Ok(done)) => format!("ok {}\n", done.value),
            Ok(Err(error)) => format!("error: {error}\n"),
            Err(gone) => format!("error: it is not known what became of it: {gone}\n"),
        };
        write.write_all(answer.as_bytes()).await?;
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

    let stop = Arc::new(watch::Sender::new(false));
    let mut stopped = stop.subscribe();
    loop {
        tokio::select! {
            client = listener.accept() => {
                actix::spawn(serve(client?.0, coordinator.clone(), Arc::clone(&stop)));
            }
            _ = stopped.wait_for(|stopped| *stopped) => break,
            ctrl_c = tokio::signal::ctrl_c() => break ctrl_c?,
        }
    }
    // Each client gets the answer that it waits for, unless it does not read.
    stop.send_replace(true);
    drop(stopped);
    let _ = actix::clock::timeout(Duration::from_secs(5), stop.closed()).await;
    Ok(wal.close().await?)
}
