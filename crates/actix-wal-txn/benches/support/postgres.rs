//! PostgreSQL, started for a benchmark.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::load::Load;

/// Where distributions put what belongs to the server.
const PLACES: [&str; 3] = ["/usr/lib/postgresql/15/bin", "/usr/local/bin", "/usr/bin"];
/// In seconds: a busy machine takes some of them to connect 256 clients.
const LEAST: u64 = 5;
/// It refuses to run as root.
const USER: &str = "postgres";

/// A server for as long as this lives.
#[derive(Debug)]
pub(crate) struct Postgres {
    place: PathBuf,
    bin: PathBuf,
}

impl Postgres {
    /// Starts one in an empty folder, and runs these statements, each in a transaction of its own. `settings` are further
    /// ones, as its command line has them.
    pub(crate) fn start(
        place: &Path,
        settings: &str,
        statements: &[String],
    ) -> Result<Self, String> {
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
             -c max_connections=300 -c shared_buffers=256MB -c max_wal_size=8GB {settings}",
            place.display()
        );
        let mut start = postgres.tool("pg_ctl");
        start.args(["start", "-w", "-l"]).arg(place.join("log")).arg("-D").arg(&data);
        run(start.args(["-o", &settings]))?;
        for statement in statements {
            run(postgres.client("psql").args(["-q", "-c", statement]))?;
        }
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

    /// Lets clients run a script. Transactions per second. `arguments` are further ones of pgbench.
    pub(crate) fn pgbench(&self, load: &Load, script: &str, arguments: &[&str]) -> f64 {
        let file = self.place.join("script.sql");
        fs::write(&file, script).expect("the folder is ours");
        let clients = load.clients.to_string();
        let seconds = load.time.as_secs().max(LEAST).to_string();
        let threads = load.clients.min(2).to_string();
        let mut pgbench = self.client("pgbench");
        pgbench.args(["-n", "-c", &clients, "-j", &threads, "-T", &seconds]).args(arguments);
        let said = run(pgbench.arg("-f").arg(file)).expect("pgbench runs");
        let line = said.lines().find_map(|line| line.strip_prefix("tps = "));
        let rate = line.and_then(|line| line.split(' ').next()).unwrap_or_else(|| panic!("{said}"));
        rate.parse().expect("a number")
    }
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
pub(crate) fn run(command: &mut Command) -> Result<String, String> {
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
