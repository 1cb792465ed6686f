//! The same transfers in PostgreSQL, and by the program with SQLite.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::clients::ACCOUNTS;
use crate::support::load::Load;
use crate::support::postgres::{Postgres, run};

const TABLE: &str =
    "CREATE TABLE accounts (id bigint PRIMARY KEY, balance bigint NOT NULL) WITH (fillfactor = 50)";

/// One round trip for a transfer: what `Execute` is here. Rows are locked in one order, so that none waits in a circle.
const FUNCTION: &str = "
CREATE FUNCTION transfer(payer bigint, payee bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE payer_has bigint; payee_has bigint;
BEGIN
  PERFORM 1 FROM accounts WHERE id = least(payer, payee) FOR UPDATE;
  SELECT balance INTO payer_has FROM accounts WHERE id = payer FOR UPDATE;
  SELECT balance INTO payee_has FROM accounts WHERE id = payee FOR UPDATE;
  UPDATE accounts SET balance = payer_has - 1 WHERE id = payer;
  UPDATE accounts SET balance = payee_has + 1 WHERE id = payee;
END $$
";

/// A server with the accounts, in an empty folder.
pub(crate) fn postgres(place: &Path) -> Result<Postgres, String> {
    let last = ACCOUNTS - 1;
    let rows =
        format!("INSERT INTO accounts SELECT id, 1000000000 FROM generate_series(0, {last}) AS id");
    let statements = [TABLE, &rows, FUNCTION, "VACUUM ANALYZE accounts", "CHECKPOINT"];
    Postgres::start(place, "", &statements.map(str::to_owned))
}

/// Transfers per second of PostgreSQL.
pub(crate) fn in_postgres(postgres: &Postgres, load: &Load) -> f64 {
    let last = ACCOUNTS - 1;
    let script = format!(
        "\\set payer random(0, {last})\n\
         \\set payee (:payer + random(1, {last})) % {ACCOUNTS}\n\
         SELECT transfer(:payer, :payee);\n"
    );
    postgres.pgbench(load, &script, &["-M", "prepared"])
}

/// Transfers per second of SQLite, by the program in `benches/peers`.
pub(crate) fn sqlite(program: &Path, load: &Load) -> f64 {
    fs::create_dir_all(&load.directory).expect("a directory");
    let mut sqlite = Command::new(program);
    sqlite.arg(&load.directory).arg(load.clients.to_string());
    let said = run(sqlite.arg(load.time.as_secs_f64().to_string())).expect("it runs");
    said.trim().parse().expect("a number")
}
