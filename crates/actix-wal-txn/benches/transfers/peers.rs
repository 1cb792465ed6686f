//! PostgreSQL, started for the benchmark, and the program with SQLite.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::clients::ACCOUNTS;
use crate::Load;

/// Where distributions put what belongs to the server.
const PLACES: [&str; 3] = ["/usr/lib/postgresql/15/bin", "/usr/local/bin", "/usr/bin"];
/// In seconds: a busy machine takes some of them to connect 256 clients.
const LEAST: u64 = 5;
/// It refuses to run as root.
const USER: &str = "postgres";

/// One round trip for a transfer: what `Execute` is here. Rows are locked in one order, so that none waits in a circle.
const SCHEMA: &str = "
CREATE TABLE accounts (id bigint PRIMARY KEY, balance bigint NOT NULL) WITH (fillfactor = 50);
INSERT INTO accounts SELECT id, 1000000000 FROM generate_series(0, LAST) AS id;
CREATE FUNCTION transfer(payer bigint, payee bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE payer_has bigint; payee_has bigint;
BEGIN
  PERFORM 1 FROM accounts WHERE id = least(payer, payee) FOR UPDATE;
  SELECT balance INTO payer_has FROM accounts WHERE id = payer FOR UPDATE;
  SELECT balance INTO payee_has FROM accounts WHERE id = payee FOR UPDATE;
  UPDATE accounts SET balance = payer_has - 1 WHERE id = payer;
  UPDATE accounts SET balance = payee_has + 1 WHERE id = payee;
END $$;
VACUUM ANALYZE accounts;
CHECKPOINT;
";

const SCRIPT: &str = "\\set payer random(0, LAST)
\\set payee (:payer + random(1, LAST)) % (LAST + 1)
SELECT transfer(:payer, :payee);
";

/// A server for as long as this lives.
pub(crate) struct Postgres {
    place: PathBuf,
    bin: PathBuf,
}

impl Postgres {
    /// Starts one in an empty folder.
    pub(crate) fn start(place: &Path) -> Result<Self, String> {
        let has = |name: &str| PLACES.iter().map(PathBuf::from).find(|bin| bin.join(name).exists());
        let bin = has("initdb").ok_or("initdb is not installed")?;
        has("pgbench").ok_or("pgbench is not installed")?;
        let _ = fs::remove_dir_all(place);
        fs::create_dir_all(place).map_err(|error| error.to_string())?;
        let postgres = Postgres { place: place.to_owned(), bin };
        if is_root() {
            run(Command::new("chown").arg(USER).arg(place))?;
        }
        let data = place.join("data");
        run(postgres.tool("initdb").args(["-A", "trust", "-U", USER, "-D"]).arg(&data))?;
        let settings = format!(
            "-c listen_addresses= -c unix_socket_directories={} -c synchronous_commit=on -c fsync=on \
             -c max_connections=300 -c shared_buffers=256MB -c max_wal_size=8GB",
            place.display()
        );
        let start = ["start", "-w", "-l"];
        let mut start = {
            let mut tool = postgres.tool("pg_ctl");
            tool.args(start).arg(place.join("log")).arg("-D").arg(&data).args(["-o", &settings]);
            tool
        };
        run(&mut start)?;
        let schema = SCHEMA.replace("LAST", &(ACCOUNTS - 1).to_string());
        for statement in schema.split("\n\n").flat_map(split) {
            run(postgres.client("psql").args(["-q", "-c", &statement]))?;
        }
        let script = SCRIPT.replace("LAST", &(ACCOUNTS - 1).to_string());
        fs::write(place.join("transfer.sql"), script).map_err(|error| error.to_string())?;
        Ok(postgres)
    }

    /// A program of the server, run by its user.
    fn tool(&self, name: &str) -> Command {
        if !is_root() {
            return Command::new(self.bin.join(name));
        }
        let mut tool = Command::new("setpriv");
        let who =
            [format!("--reuid={USER}"), format!("--regid={USER}"), "--clear-groups".to_owned()];
        tool.args(who).arg(self.bin.join(name)).current_dir(&self.place);
        tool
    }

    fn client(&self, name: &str) -> Command {
        let mut client = Command::new(name);
        client.env("PGHOST", &self.place).env("PGUSER", USER).env("PGDATABASE", "postgres");
        client
    }

    /// Transfers per second.
    pub(crate) fn run(&self, load: &Load) -> f64 {
        let clients = load.clients.to_string();
        let seconds = load.time.as_secs().max(LEAST).to_string();
        let threads = load.clients.min(2).to_string();
        let mut pgbench = self.client("pgbench");
        pgbench
            .args(["-n", "-M", "prepared", "-c", &clients, "-j", &threads, "-T", &seconds, "-f"]);
        let said = run(pgbench.arg(self.place.join("transfer.sql"))).expect("pgbench runs");
        let line = said.lines().find_map(|line| line.strip_prefix("tps = "));
        let rate = line.and_then(|line| line.split(' ').next()).unwrap_or_else(|| panic!("{said}"));
        rate.parse().expect("a number")
    }
}

/// A statement of each: a `VACUUM` must not share a transaction.
fn split(schema: &str) -> Vec<String> {
    let (tables, rest) = schema.split_once("CREATE FUNCTION").expect("it has one");
    let (function, rest) = rest.split_once("END $$;").expect("it has an end");
    let plain = |text: &str| text.split(';').map(str::trim).map(str::to_owned).collect::<Vec<_>>();
    let function = vec![format!("CREATE FUNCTION{function}END $$")];
    let all = [plain(tables), function, plain(rest)].concat();
    all.into_iter().filter(|statement| !statement.is_empty()).collect()
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let mut stop = self.tool("pg_ctl");
        let _ = run(stop.args(["stop", "-m", "immediate", "-D"]).arg(self.place.join("data")));
        let _ = fs::remove_dir_all(&self.place);
    }
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|id| id.stdout == b"0\n")
}

/// Runs a program to its end. What it says, or why it failed.
fn run(command: &mut Command) -> Result<String, String> {
    // A server that goes on must not keep a pipe of ours.
    let is_server = command.get_args().any(|argument| argument == "start");
    if is_server {
        let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
        let is_good = status.as_ref().is_ok_and(|status| status.success());
        return if is_good { Ok(String::new()) } else { Err(format!("{command:?}: {status:?}")) };
    }
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(format!("{command:?}: {}", text(&output.stderr)))
    }
}

/// Transfers per second of SQLite, by the program in `benches/peers`.
pub(crate) fn sqlite(program: &Path, load: &Load) -> f64 {
    fs::create_dir_all(&load.directory).expect("a directory");
    let mut sqlite = Command::new(program);
    sqlite.arg(&load.directory).arg(load.clients.to_string());
    let said = run(sqlite.arg(load.time.as_secs_f64().to_string())).expect("it runs");
    said.trim().parse().expect("a number")
}
