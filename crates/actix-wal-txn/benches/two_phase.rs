//! Two-phase commit over three logs on one disk, beside one commit of the same writes in one log, and a prepared transaction
//! of PostgreSQL. Three writes of 99,999 keys, by so many clients that each wait until theirs is durable.
//!
//! ```text
//! cargo bench -p actix-wal-txn --bench two_phase -- dir=DIR rounds=5 seconds=1 clients=1,16
//! cargo bench -p actix-wal-txn --bench two_phase -- clients=16 only=2PC              one row, to profile it
//! cargo bench -p actix-wal-txn --bench two_phase -- policy=eager                     logs that never wait for a batch
//! ```
//!
//! Each measurement has a fresh directory. They take turns, round by round; a figure is the median of the rounds, and a ratio
//! that of the ratios in each round.
//!
//! | row | what |
//! |---|---|
//! | one commit | clients that send a [`TransactionCoordinator`] an [`Execute`] with the three writes: one log |
//! | 2PC | clients that send a [`TwoPhaseCoordinator`], which has a log of its own, a [`CommitAcross`] with a write at each of three participants with logs of their own. All are actors of one thread of one process; an actor carries their messages, and loses none |
//! | PostgreSQL | `pgbench` over a Unix socket: `BEGIN`, three updates and `PREPARE TRANSACTION` in one round trip, `COMMIT PREPARED` in another; `synchronous_commit = on`. That is one prepared transaction in one server with one log, through SQL |
//! | one sync | threads without a log: a block is written and synced in one file. For one client |
//! | 3 syncs, then 1 | the same in three files at once, and then in a fourth: what a transaction of 2PC needs of the disk |
//!
//! No two clients take the same key. Below the ratios it prints what the logs have done for a transaction: in one of 2PC,
//! the prepare of three logs at once and then the decision have to be synced before its client is answered. Syncs that are
//! no flushes prepare segments; the first ones are small, so a run of less than about five seconds has many of them.
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
    pub(crate) mod syncs;
}

use actix_wal::FlushPolicy;
use support::load::{Arguments, Load, median, value};
use support::postgres::Postgres;
use two_phase::found::Found;
use two_phase::{logs, prepared, syncs};

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Row {
    OneCommit,
    TwoPhase,
    Postgres,
    OneSync,
    Syncs,
}

const ROWS: [(Row, &str); 5] = [
    (Row::OneCommit, "one commit"),
    (Row::TwoPhase, "2PC"),
    (Row::Postgres, "PostgreSQL"),
    (Row::OneSync, "one sync"),
    (Row::Syncs, "3 syncs, then 1"),
];

fn policy() -> FlushPolicy {
    match value("policy").as_deref() {
        None | Some("adaptive") => FlushPolicy::default(),
        Some("eager") => FlushPolicy::Eager,
        Some(other) => panic!("policy={other}: it is adaptive or eager"),
    }
}

fn main() {
    let arguments = Arguments::read("1,16", "two-phase");
    let policy = policy();
    let postgres = match arguments.chooses_peer("PostgreSQL") {
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
        print(clients, &found);
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
        Row::OneSync => (load.clients == 1).then(|| syncs::run(load, 0)),
        Row::Syncs => (load.clients == 1).then(|| syncs::run(load, logs::PARTS as usize)),
    }
}

/// How the rows are to compare: a figure of one over that of another.
struct Comparison {
    what: &'static str,
    above: Row,
    below: Row,
    of: fn(&Found) -> f64,
    /// With so many clients, the ratio has a target.
    target: Option<(usize, Target)>,
}

#[derive(Clone, Copy, Debug)]
enum Target {
    AtMost(f64),
    AtLeast(f64),
}

impl Target {
    fn compare(self, ratio: f64) -> String {
        let (sign, bound, is_met) = match self {
            Target::AtMost(bound) => ("<=", bound, ratio <= bound),
            Target::AtLeast(bound) => (">=", bound, ratio >= bound),
        };
        format!("   target {sign} {bound}{}", if is_met { "" } else { "  MISSED" })
    }
}

const COMPARISONS: [Comparison; 4] = [
    Comparison {
        what: "2PC / one commit, p50",
        above: Row::TwoPhase,
        below: Row::OneCommit,
        of: |found| found.p50,
        target: Some((1, Target::AtMost(3.0))),
    },
    Comparison {
        what: "3 syncs, then 1 / one sync, p50",
        above: Row::Syncs,
        below: Row::OneSync,
        of: |found| found.p50,
        target: None,
    },
    Comparison {
        what: "2PC / 3 syncs, then 1, p50",
        above: Row::TwoPhase,
        below: Row::Syncs,
        of: |found| found.p50,
        target: None,
    },
    Comparison {
        what: "2PC / PostgreSQL, per second",
        above: Row::TwoPhase,
        below: Row::Postgres,
        of: |found| found.rate,
        target: Some((16, Target::AtLeast(3.0))),
    },
];

/// The figures, how they compare in each round, and where the time goes.
fn print(clients: usize, found: &[Vec<Found>; 5]) {
    println!("{clients} clients{:>17}{:>9}{:>13}", "p50", "p99", "per second");
    let medians = found.each_ref().map(|rounds| Found::of_rounds(rounds));
    for ((_, name), found) in ROWS.iter().zip(&medians) {
        if let Some(Found { p50, p99, rate, .. }) = found {
            println!("  {name:<16}{p50:>9.0}{p99:>9.0}{rate:>13.0}");
        }
    }
    let rounds =
        |row: Row| ROWS.iter().zip(found).filter(move |it| it.0.0 == row).flat_map(|it| it.1);
    for Comparison { what, above, below, of, target } in COMPARISONS {
        let ratios = rounds(above).zip(rounds(below)).map(|(above, below)| of(above) / of(below));
        let Some(ratio) = median(ratios.collect()) else { continue };
        let target = target.filter(|(with, _)| *with == clients);
        let target = target.map_or(String::new(), |(_, target)| target.compare(ratio));
        println!("  {what:<38}{ratio:>6.2}{target}");
    }
    medians.iter().flatten().for_each(Found::print_parts);
    println!();
}
