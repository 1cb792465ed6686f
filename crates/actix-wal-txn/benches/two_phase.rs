//! Two-phase commit over three logs on one disk, beside one commit of the same writes in one log, and a prepared transaction
//! of PostgreSQL. Three writes of 99,999 keys, by so many clients that each wait until theirs is durable.
//!
//! ```text
//! cargo bench -p actix-wal-txn --bench two_phase -- dir=DIR rounds=5 seconds=1 clients=1,16
//! cargo bench -p actix-wal-txn --bench two_phase -- clients=16 only=2PC              one row, to profile it
//! cargo bench -p actix-wal-txn --bench two_phase -- policy=eager                     logs that never wait for a batch
//! ```
//!
//! Each measurement has a fresh directory. They take turns, round by round; a figure is the median of the rounds.
//!
//! | row | what |
//! |---|---|
//! | one commit | clients that send a [`TransactionCoordinator`] an [`Execute`] with the three writes: one log |
//! | 2PC | clients that send a [`TwoPhaseCoordinator`], which has a log of its own, a [`CommitAcross`] with a write at each of three participants with logs of their own. All are actors of one thread of one process; an actor carries their messages, and loses none |
//! | PostgreSQL | `pgbench` over a Unix socket: `BEGIN`, three updates and `PREPARE TRANSACTION` in one round trip, `COMMIT PREPARED` in another; `synchronous_commit = on`. That is one prepared transaction in one server with one log, through SQL |
//!
//! No two clients take the same key. Below the ratios it prints what the logs have done for a transaction: in one of 2PC,
//! the prepare of three logs at once and then the decision have to be synced before its client is answered.
//!
//! [`TransactionCoordinator`]: actix_wal_txn::coordinator::TransactionCoordinator
//! [`Execute`]: actix_wal_txn::messages::Execute
//! [`TwoPhaseCoordinator`]: actix_wal_txn::two_phase::coordinator_actor::TwoPhaseCoordinator
//! [`CommitAcross`]: actix_wal_txn::two_phase::coordinator_actor::CommitAcross

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a benchmark whose disk fails has no result"
)]

mod support;
mod two_phase {
    pub(crate) mod found;
    pub(crate) mod logs;
    pub(crate) mod prepared;
}

use actix_wal::FlushPolicy;
use support::load::{Arguments, Load, value};
use support::postgres::Postgres;
use two_phase::found::Found;
use two_phase::{logs, prepared};

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Row {
    OneCommit,
    TwoPhase,
    Postgres,
}

const ROWS: [(Row, &str); 3] =
    [(Row::OneCommit, "one commit"), (Row::TwoPhase, "2PC"), (Row::Postgres, "PostgreSQL")];

fn policy() -> FlushPolicy {
    match value("policy").as_deref() {
        None | Some("adaptive") => FlushPolicy::default(),
        Some("eager") => FlushPolicy::Eager,
        Some(other) => panic!("policy={other}: it is adaptive or eager"),
    }
}

fn main() {
    let arguments = Arguments::read("1,16", "target/two-phase");
    let policy = policy();
    let postgres = match arguments.chooses("PostgreSQL") {
        false => None,
        true => prepared::start(&arguments.place.join("postgres"))
            .map_err(|why| println!("PostgreSQL is left out: {why}"))
            .ok(),
    };
    println!(
        "microseconds until a transaction is durable, and transactions per second: medians of {} rounds of {:?} on {}; logs \
         flush by the policy {}\n",
        arguments.rounds,
        arguments.time,
        arguments.place.display(),
        policy.name()
    );
    for &clients in &arguments.clients {
        let mut found = ROWS.map(|_| Vec::new());
        for _ in 0..arguments.rounds {
            for ((row, name), found) in ROWS.iter().zip(&mut found) {
                if arguments.chooses(name) {
                    found.extend(arguments.in_fresh_directory(clients, |load| {
                        measure(*row, load, policy, postgres.as_ref())
                    }));
                }
            }
        }
        print(clients, &found.map(|rounds| Found::of_rounds(&rounds)));
    }
}

fn measure(
    row: Row,
    load: &Load,
    policy: FlushPolicy,
    postgres: Option<&Postgres>,
) -> Option<Found> {
    match row {
        Row::OneCommit => Some(logs::one_commit(load, policy)),
        Row::TwoPhase => Some(logs::two_phase(load, policy)),
        Row::Postgres => postgres.map(|postgres| prepared::run(postgres, load)),
    }
}

fn target(target: &str, is_met: bool) -> String {
    format!("   target {target}{}", if is_met { "" } else { "  MISSED" })
}

/// The figures, how the issue wants them to compare, and where the time goes.
fn print(clients: usize, found: &[Option<Found>; 3]) {
    println!("{clients} clients{:>17}{:>9}{:>13}", "p50", "p99", "per second");
    for ((_, name), found) in ROWS.iter().zip(found) {
        match found {
            None => println!("  {name:<16}{:>9}", "-"),
            Some(found) => {
                println!("  {name:<16}{:>9.0}{:>9.0}{:>13.0}", found.p50, found.p99, found.rate)
            }
        }
    }
    let [one, two_phase, postgres] = found;
    if let (Some(one), Some(two_phase)) = (one, two_phase) {
        let ratio = two_phase.p50 / one.p50;
        let target = if clients == 1 { target("<= 3", ratio <= 3.0) } else { String::new() };
        println!("  {:<38}{ratio:>6.2}{target}", "2PC / one commit, p50");
    }
    if let (Some(two_phase), Some(postgres)) = (two_phase, postgres) {
        let ratio = two_phase.rate / postgres.rate;
        let target = if clients == 16 { target(">= 3", ratio >= 3.0) } else { String::new() };
        println!("  {:<38}{ratio:>6.2}{target}", "2PC / PostgreSQL, per second");
    }
    found.iter().flatten().for_each(Found::print_parts);
    println!();
}
