//! `INFO`: what the server does, in figures. What it does not measure is not there.

use std::fmt::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use actix_wal_txn::messages::{Execute, GetLatencies, GetSnapshots, GetUsage};

use super::connection::VERSION;
use super::memory::human;
use crate::keyspace::{DATABASES, Database, Fault};
use crate::resp::{Reply, Request};
use crate::server::Server;

/// The sections, in the order in which they are shown.
const SECTIONS: &[&str] = &[
    "server",
    "clients",
    "memory",
    "persistence",
    "stats",
    "replication",
    "cpu",
    "cluster",
    "keyspace",
];

/// The sections that are asked for.
pub(super) fn sections(request: &Request) -> Vec<&'static str> {
    let all = ["all", "everything", "default"];
    let is = |word: &str| {
        let mut asked = request.parts_from(1);
        asked.any(|asked| asked.eq_ignore_ascii_case(word.as_bytes()))
    };
    let is_all = request.len() == 1 || all.iter().any(|word| is(word));
    SECTIONS.iter().copied().filter(|section| is_all || is(section)).collect()
}

/// Lines of `name:value`.
#[derive(Default)]
struct Text(String);

impl Text {
    fn section(&mut self, name: &str) {
        let space = if self.0.is_empty() { "" } else { "\r\n" };
        let (first, rest) = name.split_at(1);
        let first = first.to_ascii_uppercase();
        // To write to a `String` does not fail.
        let _ = write!(self.0, "{space}# {first}{rest}\r\n");
    }

    fn line(&mut self, name: &str, value: impl std::fmt::Display) {
        let _ = write!(self.0, "{name}:{value}\r\n");
    }

    fn bytes(&mut self, name: &str, bytes: u64) {
        self.line(name, bytes);
        self.line(&format!("{name}_human"), human(bytes));
    }
}

pub(super) async fn info(sections: &[&'static str], server: &Server) -> Reply {
    let mut text = Text::default();
    for section in sections {
        let name = if *section == "cpu" { "CPU" } else { section };
        text.section(name);
        match *section {
            "server" => of_server(&mut text, server),
            "clients" => of_clients(&mut text, server),
            "memory" => memory(&mut text, server).await,
            "persistence" => persistence(&mut text, server).await,
            "stats" => stats(&mut text, server).await,
            "replication" => {
                text.line("role", "master");
                text.line("connected_slaves", 0);
            }
            "cpu" => cpu(&mut text),
            "cluster" => text.line("cluster_enabled", 0),
            _ => keyspace(&mut text, server).await,
        }
    }
    Reply::Verbatim(text.0.into())
}

fn of_server(text: &mut Text, server: &Server) {
    let settings = server.settings.borrow();
    let up = server.started.elapsed().as_secs();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    text.line("redis_version", VERSION);
    text.line("redis_mode", "standalone");
    text.line("server_name", env!("CARGO_PKG_NAME"));
    text.line("server_version", env!("CARGO_PKG_VERSION"));
    text.line("os", std::env::consts::OS);
    text.line("arch_bits", usize::BITS);
    text.line("process_id", std::process::id());
    text.line("tcp_port", settings.address.port());
    text.line("server_time_usec", now.as_micros());
    text.line("uptime_in_seconds", up);
    text.line("uptime_in_days", up / (24 * 60 * 60));
    text.line("config_file", "");
}

fn of_clients(text: &mut Text, server: &Server) {
    let all = server.clients.all();
    let most = |of: fn(&crate::server::Client) -> usize| {
        all.iter().map(|client| of(client)).max().unwrap_or_default()
    };
    text.line("connected_clients", all.len());
    text.line("maxclients", server.settings.borrow().max_clients);
    text.line("client_recent_max_input_buffer", most(|client| client.input.get()));
    text.line("client_recent_max_output_buffer", most(|client| client.output.get()));
    text.line("blocked_clients", server.counters.blocked.get());
}

async fn memory(text: &mut Text, server: &Server) {
    if let Ok(usage) = server.coordinator.send(GetUsage).await {
        text.bytes("used_memory", usage.store.bytes as u64);
        text.line("store_keys", usage.store.keys);
        text.line("store_versions", usage.store.versions);
        text.line("store_old_versions_bytes", usage.store.pinned);
    }
    if let Some(resident) = resident() {
        text.bytes("used_memory_rss", resident);
    }
    text.bytes("maxmemory", server.settings.borrow().max_memory as u64);
    text.line("maxmemory_policy", "noeviction");
}

/// What the process has in memory, where the operating system says it so.
fn resident() -> Option<u64> {
    let pages = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = pages.split_ascii_whitespace().nth(1)?.parse().ok()?;
    pages.checked_mul(rustix::param::page_size() as u64)
}

async fn persistence(text: &mut Text, server: &Server) {
    let (status, stats) = (server.wal.status(), server.wal.stats());
    let is_running = matches!(status.state, actix_wal::LogState::Running) && !status.stalled;
    text.line("loading", 0);
    text.line("aof_enabled", 1);
    text.line("aof_last_write_status", if is_running { "ok" } else { "err" });
    text.line("wal_state", status.state.name());
    text.line("wal_sync_stalled", u8::from(status.stalled));
    text.line("wal_low_space", u8::from(status.low_space));
    text.line("wal_accepted_lsn", status.accepted);
    text.line("wal_durable_lsn", status.durable);
    text.line("wal_released_lsn", status.low_water);
    text.line("wal_segments", status.segments);
    text.line("wal_syncs", stats.fsyncs);
    text.line("wal_batches", stats.batches);
    text.line("wal_durable_records", stats.durable);
    text.line("wal_restarts", stats.restarts);
    text.line("wal_io_errors", stats.io_errors);
    if let Ok(Some(snapshots)) = server.coordinator.send(GetSnapshots).await {
        text.line("snapshot_in_progress", u8::from(snapshots.running.is_some()));
        text.line("snapshots_taken", snapshots.taken);
        text.line("snapshots_failed", snapshots.failed);
        text.line("snapshot_log_bytes_since", snapshots.log_bytes);
    }
}

async fn stats(text: &mut Text, server: &Server) {
    let counters = &server.counters;
    text.line("total_connections_received", counters.connections.get());
    text.line("total_commands_processed", counters.commands.get());
    text.line("total_net_input_bytes", counters.input.get());
    text.line("total_net_output_bytes", counters.output.get());
    text.line("rejected_connections", counters.rejected.get());
    text.line("expired_keys", server.host.expired());
    text.line("evicted_keys", 0);
    if let Ok(latencies) = server.coordinator.send(GetLatencies).await {
        let (commits, at_once) = (latencies.commits, latencies.at_once);
        let micros = |time: Duration| time.as_micros();
        text.line("commits", commits.count);
        text.line("commit_usec_p50", micros(commits.p50));
        text.line("commit_usec_p99", micros(commits.p99));
        text.line("commit_usec_p99.9", micros(commits.p99_9));
        text.line("commit_usec_max", micros(commits.max));
        text.line("commits_at_once_p50", at_once.p50);
        text.line("commits_at_once_max", at_once.max);
    }
}

fn cpu(text: &mut Text) {
    // As the operating system counts it for the process.
    let Ok(stat) = std::fs::read_to_string("/proc/self/stat") else { return };
    // Behind the name of the program, which stands in brackets and may hold anything.
    let Some((_, behind)) = stat.rsplit_once(')') else { return };
    let mut fields = behind.split_ascii_whitespace().skip(11);
    let mut seconds = || -> Option<f64> {
        let ticks: f64 = fields.next()?.parse().ok()?;
        Some(ticks / rustix::param::clock_ticks_per_second() as f64)
    };
    if let (Some(user), Some(system)) = (seconds(), seconds()) {
        text.line("used_cpu_sys", format_args!("{system:.6}"));
        text.line("used_cpu_user", format_args!("{user:.6}"));
    }
}

/// How many keys each database has. Nothing is kept that says how many of those expire.
async fn keyspace(text: &mut Text, server: &Server) {
    let host = std::sync::Arc::clone(&server.host);
    let count = Execute::new(move |latest| {
        let count = |database: usize| -> Result<u64, Fault> {
            Database::select(latest, &host, database, 0)?.count()
        };
        let counts: Result<Vec<u64>, Fault> = (0..DATABASES).map(count).collect();
        counts.map_err(|fault| match fault {
            Fault::Txn(error) => error,
            Fault::Error(_) => {
                actix_wal_txn::error::TxnError::aborted("the keys can not be counted")
            }
        })
    });
    match server.coordinator.send(count).await {
        Ok(Ok(counts)) => {
            let some = counts.value.into_iter().enumerate().filter(|(_, keys)| *keys > 0);
            some.for_each(|(db, keys)| {
                text.line(&format!("db{db}"), format_args!("keys={keys},avg_ttl=0"))
            });
        }
        Ok(Err(error)) => text.line("keyspace_error", error),
        Err(_) => text.line("keyspace_error", "the server ends"),
    }
}
