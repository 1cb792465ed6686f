//! The same three writes in PostgreSQL, as a prepared transaction.

use std::fs;
use std::path::Path;

use super::found::{Found, latencies};
use super::logs::{KEYS, PARTS};
use crate::support::load::Load;
use crate::support::postgres::Postgres;

const TABLE: &str =
    "CREATE TABLE accounts (id bigint PRIMARY KEY, balance bigint NOT NULL) WITH (fillfactor = 50)";

/// A server with the keys, in an empty folder.
pub(crate) fn start(place: &Path) -> Result<Postgres, String> {
    let last = PARTS * KEYS - 1;
    let rows = format!("INSERT INTO accounts SELECT id, 0 FROM generate_series(0, {last}) AS id");
    let statements = [TABLE, &rows, "VACUUM ANALYZE accounts", "CHECKPOINT"];
    Postgres::start(place, "-c max_prepared_transactions=300", &statements.map(str::to_owned))
}

/// Two round trips: all but `COMMIT PREPARED` go together, and that must be sent alone. Rows are locked in one order. The
/// number of a transaction is a literal of SQL, so that the statements can not be prepared ones.
fn script(clients: u64) -> String {
    let keys = KEYS / clients - 1;
    let mut script = "\\set n :n + 1\n\\set gid :client_id * 1000000000 + :n\n".to_owned();
    let mut begin = "BEGIN".to_owned();
    for part in 0..PARTS {
        let first = part * KEYS;
        script +=
            &format!("\\set key{part} {first} + random(0, {keys}) * {clients} + :client_id\n");
        begin += &format!("\\; UPDATE accounts SET balance = balance + 1 WHERE id = :key{part}");
    }
    script + &begin + "\\; PREPARE TRANSACTION 'g:gid';\nCOMMIT PREPARED 'g:gid';\n"
}

/// How long each transaction took is in the log of pgbench.
pub(crate) fn run(postgres: &Postgres, load: &Load) -> Found {
    fs::create_dir_all(&load.directory).expect("a directory");
    let prefix = load.directory.join("log").display().to_string();
    let arguments = ["-M", "simple", "-D", "n=0", "-l", "--log-prefix", &prefix];
    let rate = postgres.pgbench(load, &script(load.clients as u64), &arguments);
    let mut latencies = latencies();
    for file in fs::read_dir(&load.directory).expect("it is ours") {
        let log = fs::read_to_string(file.expect("it is ours").path()).expect("it is text");
        for line in log.lines() {
            // The client, the number of the transaction, its microseconds ...
            let micros = line.split(' ').nth(2).and_then(|it| it.parse().ok());
            latencies.saturating_record(micros.unwrap_or_else(|| panic!("{line}")));
        }
    }
    Found::new(&latencies, rate)
}
