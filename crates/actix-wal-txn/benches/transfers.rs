//! Transfers between accounts: two reads and two writes of 100,000 accounts, by so many clients that each wait until theirs is
//! durable; beside the log alone with the same bytes, PostgreSQL and SQLite.
//!
//! ```text
//! cargo build --release --manifest-path benches/peers/Cargo.toml --bin sqlite_transfers
//! cargo bench -p actix-wal-txn --bench transfers -- sqlite=PATH/sqlite_transfers dir=DIR rounds=5 seconds=1 clients=1,16
//! cargo bench -p actix-wal-txn --bench transfers -- clients=256 only=transfers        one row, to profile it
//! ```
//!
//! Each measurement has a fresh directory. They take turns, round by round; a figure is the median of the rounds.
//!
//! | row | what |
//! |---|---|
//! | log alone | an actor that keeps so many records in flight: no clients, no store |
//! | log, clients | clients that send an actor their record, and are answered when it is durable |
//! | transfers | clients that send a [`TransactionCoordinator`] an [`Execute`] |
//! | one hot key | the same, but all take from one account |
//! | with readers | the same as transfers, beside 16 interactive transactions that each read a key every millisecond |
//! | PostgreSQL | `pgbench`, prepared: one call of a function, over a Unix socket; `synchronous_commit = on` |
//! | SQLite | threads around one connection, prepared statements; `synchronous = FULL`, its write-ahead log |

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a benchmark whose disk fails has no result"
)]

mod support;
mod transfers {
    pub(crate) mod clients;
    pub(crate) mod log_alone;
    pub(crate) mod peers;
}

use std::path::{Path, PathBuf};

use support::load::{Arguments, Load, median, value};
use support::postgres::Postgres;
use transfers::clients::{self, Mix};
use transfers::{log_alone, peers};

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Row {
    Log,
    LogClients,
    Transfers(Mix),
    Postgres,
    Sqlite,
}

const ROWS: [(Row, &str); 7] = [
    (Row::Log, "log alone"),
    (Row::LogClients, "log, clients"),
    (Row::Transfers(Mix::Spread), "transfers"),
    (Row::Transfers(Mix::Hot), "one hot key"),
    (Row::Transfers(Mix::Readers), "with readers"),
    (Row::Postgres, "PostgreSQL"),
    (Row::Sqlite, "SQLite"),
];

fn main() {
    let arguments = Arguments::read("1,16,64,256", "transfers");
    let sqlite = value("sqlite").map(PathBuf::from);
    let postgres = match arguments.chooses_peer("PostgreSQL") {
        false => None,
        true => peers::postgres(&arguments.place.join("postgres"))
            .map_err(|why| println!("PostgreSQL is left out: {why}"))
            .ok(),
    };
    if sqlite.is_none() {
        println!("SQLite is left out: no sqlite=PROGRAM is given");
    }
    println!(
        "commits per second, medians of {} rounds of {:?} on {}\n",
        arguments.rounds,
        arguments.time,
        arguments.place.display()
    );
    for &clients in &arguments.clients {
        let mut found = ROWS.map(|_| Vec::new());
        for _ in 0..arguments.rounds {
            for ((row, name), found) in ROWS.iter().zip(&mut found) {
                if arguments.chooses(name) {
                    found.extend(arguments.in_fresh_directory(clients, |load| {
                        measure(*row, load, postgres.as_ref(), sqlite.as_deref())
                    }));
                }
            }
        }
        print(clients, found.map(median));
    }
}

fn measure(
    row: Row,
    load: &Load,
    postgres: Option<&Postgres>,
    sqlite: Option<&Path>,
) -> Option<f64> {
    match row {
        Row::Log => Some(log_alone::run(load, false)),
        Row::LogClients => Some(log_alone::run(load, true)),
        Row::Transfers(mix) => Some(clients::run(load, mix)),
        Row::Postgres => postgres.map(|postgres| peers::in_postgres(postgres, load)),
        Row::Sqlite => sqlite.map(|program| peers::sqlite(program, load)),
    }
}

/// The figures, and how the issue wants them to compare.
fn print(clients: usize, found: [Option<f64>; 7]) {
    println!("{clients} clients");
    for ((_, name), rate) in ROWS.iter().zip(found) {
        println!("  {name:<14}{}", rate.map_or("-".to_owned(), |rate| format!("{rate:>9.0}")));
    }
    let [log, log_clients, transfers, hot, readers, postgres, sqlite] = found;
    for (what, above, below, target, with) in [
        ("transfers / log alone", transfers, log, 0.5, 16..=64),
        ("transfers / log, clients", transfers, log_clients, 0.5, 16..=64),
        ("transfers / PostgreSQL", transfers, postgres, 5.0, 16..=256),
        ("transfers / SQLite", transfers, sqlite, 5.0, 16..=256),
        ("one hot key / transfers", hot, transfers, 0.7, 64..=256),
        ("with readers / transfers", readers, transfers, 0.9, 1..=256),
    ] {
        if let (Some(above), Some(below)) = (above, below) {
            let ratio = above / below;
            let met = match with.contains(&clients) {
                false => String::new(),
                true if ratio >= target => format!("   target {target}"),
                true => format!("   target {target}  MISSED"),
            };
            println!("  {what:<26}{ratio:>6.2}{met}");
        }
    }
    println!();
}
