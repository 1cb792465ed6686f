//! Clients of a coordinator.

use std::time::Duration;

use actix::{Addr, System};
use actix_wal::testkit::Random;
use actix_wal::{Wal, WalConfig};
use actix_wal_txn::coordinator::{CoordinatorLimits, TransactionCoordinator};
use actix_wal_txn::error::TxnError;
use actix_wal_txn::latest::Latest;
use actix_wal_txn::messages::{Abort, Begin, Execute, Get};
use actix_wal_txn::recovery;
use actix_wal_txn::store::{Budget, KeyRange, Limits, Write};
use bytes::Bytes;

use crate::support::load::Load;
use crate::support::window::Window;

/// How many accounts there are.
pub(crate) const ACCOUNTS: u64 = 100_000;
const HAS: u64 = 1_000_000_000;
const READERS: u64 = 16;

/// Which accounts, and who else is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mix {
    /// Two of all accounts.
    Spread,
    /// The first one, and another one.
    Hot,
    /// As `Spread`, beside readers at snapshots.
    Readers,
}

fn key(account: u64) -> Bytes {
    Bytes::copy_from_slice(&account.to_be_bytes())
}

fn value(of: u64) -> Bytes {
    Bytes::copy_from_slice(&of.to_be_bytes())
}

fn number(value: &[u8]) -> u64 {
    u64::from_be_bytes(value.try_into().expect("eight bytes"))
}

fn set(latest: &mut Latest<'_>, account: u64, to: u64) -> Result<(), TxnError> {
    Ok(latest.write(Write { key: key(account), value: Some(value(to)) })?)
}

fn transfer(from: u64, to: u64) -> Execute<()> {
    Execute::new(move |latest| {
        let has = |latest: &mut Latest<'_>, account: u64| {
            let found = latest.get(&account.to_be_bytes())?;
            found.map(|value| number(&value)).ok_or_else(|| TxnError::aborted("no account"))
        };
        let (left, more) = (has(latest, from)? - 1, has(latest, to)? + 1);
        set(latest, from, left)?;
        set(latest, to, more)
    })
}

/// Transfers per second.
pub(crate) fn run(load: &Load, mix: Mix) -> f64 {
    System::new().block_on(async {
        let opening = Wal::open(WalConfig::new(&load.directory));
        let (wal, recovered) = recovery::open(opening, Limits::default()).await.expect("opens");
        let limits = CoordinatorLimits::default();
        let coordinator =
            TransactionCoordinator::start(&wal, recovered, limits).await.expect("it is open");
        fill(&coordinator).await;
        let rate = transfers(&coordinator, load, mix).await;
        assert_eq!(total(&coordinator).await, ACCOUNTS * HAS);
        wal.close().await.expect("it closes");
        rate
    })
}

async fn fill(coordinator: &Addr<TransactionCoordinator>) {
    for first in (0..ACCOUNTS).step_by(1000) {
        let fill = Execute::new(move |latest| {
            (first..first + 1000).try_for_each(|account| set(latest, account, HAS))
        });
        coordinator.send(fill).await.unwrap().unwrap();
    }
}

async fn total(coordinator: &Addr<TransactionCoordinator>) -> u64 {
    let total = Execute::new(|latest| {
        let rows = latest.scan(&KeyRange::all(), Budget { keys: usize::MAX, bytes: usize::MAX })?;
        Ok(rows.rows.iter().map(|(_, value)| number(value)).sum::<u64>())
    });
    coordinator.send(total).await.unwrap().unwrap().value
}

async fn transfers(coordinator: &Addr<TransactionCoordinator>, load: &Load, mix: Mix) -> f64 {
    let window = Window::new(load);
    let clients: Vec<_> = (0..load.clients as u64)
        .map(|client| {
            let (window, coordinator) = (window.share(), coordinator.clone());
            actix::spawn(async move {
                let mut random = Random::new(client);
                while {
                    let from = if mix == Mix::Hot { 0 } else { random.below(ACCOUNTS) };
                    let to = (from + 1 + random.below(ACCOUNTS - 1)) % ACCOUNTS;
                    coordinator.send(transfer(from, to)).await.unwrap().unwrap();
                    window.goes_on()
                } {}
            })
        })
        .collect();
    let readers: Vec<_> = (0..if mix == Mix::Readers { READERS } else { 0 })
        .map(|reader| actix::spawn(read(coordinator.clone(), reader)))
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    readers.iter().for_each(|reader| reader.abort());
    window.rate()
}

/// Reads a key each millisecond, a hundred of them at one snapshot.
async fn read(coordinator: Addr<TransactionCoordinator>, seed: u64) {
    let mut random = Random::new(1000 + seed);
    loop {
        let txn = coordinator.send(Begin::default()).await.unwrap().unwrap();
        for _ in 0..100 {
            let get = Get { txn, key: key(random.below(ACCOUNTS)), tracked: true };
            coordinator.send(get).await.unwrap().unwrap().expect("an account");
            actix::clock::sleep(Duration::from_millis(1)).await;
        }
        coordinator.send(Abort { txn }).await.unwrap().unwrap();
    }
}
