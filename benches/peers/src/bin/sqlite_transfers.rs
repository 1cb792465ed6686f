//! Transfers in SQLite, for `cargo bench -p actix-wal-txn --bench transfers`, which has the accounts in common:
//! `sqlite_transfers DIRECTORY THREADS SECONDS` prints the transfers per second.
//!
//! One connection behind a mutex, as in the comparison of logs, and prepared statements: that is faster than a
//! connection for each thread, of which one may write at a time.

use std::error::Error;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rusqlite::Connection;

const ACCOUNTS: u64 = 100_000;

fn open(place: &Path) -> rusqlite::Result<Connection> {
    let database = Connection::open(place.join("sqlite"))?;
    database.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    database.execute_batch(&format!(
        "PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 10000;
         CREATE TABLE accounts (id INTEGER PRIMARY KEY, balance INTEGER NOT NULL);
         WITH RECURSIVE ids(id) AS (SELECT 0 UNION ALL SELECT id + 1 FROM ids LIMIT {ACCOUNTS})
         INSERT INTO accounts SELECT id, 1000000000 FROM ids;"
    ))?;
    Ok(database)
}

fn transfer(database: &mut Connection, from: u64, to: u64) -> rusqlite::Result<()> {
    let transaction =
        database.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    for (account, more) in [(from, -1), (to, 1)] {
        let mut read = transaction.prepare_cached("SELECT balance FROM accounts WHERE id = ?1")?;
        let has: i64 = read.query_row([account as i64], |row| row.get(0))?;
        let mut write =
            transaction.prepare_cached("UPDATE accounts SET balance = ?2 WHERE id = ?1")?;
        write.execute([account as i64, has + more])?;
    }
    transaction.commit()
}

/// Numbers that differ, and need no more than that.
fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [place, threads, seconds] = &arguments[..] else {
        return Err("sqlite_transfers DIRECTORY THREADS SECONDS".into());
    };
    let (threads, time) = (threads.parse::<u64>()?, Duration::from_secs_f64(seconds.parse()?));
    let database = Mutex::new(open(Path::new(place))?);
    let from = Instant::now() + time / 4;
    let (until, done) = (from + time, AtomicU64::new(0));
    let client = |seed: u64| -> rusqlite::Result<()> {
        let mut state = 0x9e37_79b9_7f4a_7c15 ^ (seed + 1);
        while Instant::now() < until {
            let payer = next(&mut state) % ACCOUNTS;
            let payee = (payer + 1 + next(&mut state) % (ACCOUNTS - 1)) % ACCOUNTS;
            transfer(&mut database.lock(), payer, payee)?;
            let now = Instant::now();
            done.fetch_add(u64::from(now >= from && now < until), Ordering::Relaxed);
        }
        Ok(())
    };
    let client = &client;
    thread::scope(|scope| -> Result<(), Box<dyn Error>> {
        let clients: Vec<_> = (0..threads).map(|seed| scope.spawn(move || client(seed))).collect();
        for client in clients {
            client.join().map_err(|_| "a client panicked")??;
        }
        Ok(())
    })?;
    println!("{:.0}", done.load(Ordering::Relaxed) as f64 / time.as_secs_f64());
    Ok(())
}
