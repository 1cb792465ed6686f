//! Gives the recorder what the coordinator and the server have counted.

use std::rc::Rc;
use std::time::Duration;

use actix_wal_txn::messages::{
    CoordinatorCounts, CoordinatorUsage, GetCounts, GetSnapshots, GetUsage, SnapshotsStatus,
};
use metrics::{Label, counter, gauge};

use super::{LOG, recorder};
use crate::server::Server;

/// How often.
const EVERY: Duration = Duration::from_secs(1);

/// Publishes once a second, on the thread of the server, until it is dropped.
#[derive(Debug)]
pub(crate) struct Publisher(tokio::task::JoinHandle<()>);

impl Publisher {
    pub(crate) fn start(server: &Rc<Server>) -> Self {
        recorder::describe();
        let server = Rc::clone(server);
        Publisher(actix::spawn(async move {
            let mut ticks = tokio::time::interval(EVERY);
            // A thread that was busy for a while has nothing to make up for.
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                publish(&server).await;
            }
        }))
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Publishes what is now. Nothing of the coordinator once that has ended.
async fn publish(server: &Server) {
    of_server(server);
    if let Ok(usage) = server.coordinator.send(GetUsage).await {
        of_usage(&usage);
    }
    if let Ok(counts) = server.coordinator.send(GetCounts).await {
        of_counts(&counts);
    }
    if let Ok(Some(snapshots)) = server.coordinator.send(GetSnapshots).await {
        of_snapshots(&snapshots);
    }
}

fn of_server(server: &Server) {
    let (counters, settings) = (&server.counters, server.settings.borrow());
    let total = |name, value| counter!(name).absolute(value);
    total("redis_connections_total", counters.connections.total());
    total("redis_rejected_connections_total", counters.rejected.total());
    total("redis_commands_total", counters.commands.total());
    total("redis_input_bytes_total", counters.input.total());
    total("redis_output_bytes_total", counters.output.total());
    total("redis_expired_keys_total", server.host.expired_in_all());
    let now = |name, value: usize| gauge!(name).set(value as f64);
    now("redis_connections", server.clients.len());
    now("redis_connections_limit", settings.max_clients);
    now("redis_memory_limit_bytes", settings.max_memory);
    gauge!("redis_blocked_clients").set(counters.blocked.get() as f64);
}

fn labels(outcome: Option<&'static str>) -> Vec<Label> {
    let log = Label::from_static_parts("log", LOG);
    let outcome = outcome.map(|outcome| Label::from_static_parts("outcome", outcome));
    std::iter::once(log).chain(outcome).collect()
}

fn set(name: &'static str, value: f64) {
    gauge!(name, labels(None)).set(value);
}

fn of_usage(usage: &CoordinatorUsage) {
    let CoordinatorUsage { store, open, on_the_way, lost, .. } = *usage;
    counter!("txn_lost_commits_total", labels(None)).absolute(lost);
    set("txn_commits_in_flight", on_the_way as f64);
    set("txn_open_transactions", open as f64);
    set("txn_store_keys", store.keys as f64);
    set("txn_store_versions", store.versions as f64);
    set("txn_store_bytes", store.bytes as f64);
    set("txn_store_pinned_bytes", store.pinned as f64);
    set("txn_snapshots", store.snapshots as f64);
}

fn of_counts(counts: &CoordinatorCounts) {
    let outcomes = counts.outcomes;
    for (outcome, total) in [
        ("committed", outcomes.committed),
        ("read_only", outcomes.read_only),
        ("conflict", outcomes.conflict),
        ("aborted", outcomes.aborted),
        ("refused", outcomes.refused),
        ("not_durable", outcomes.not_durable),
        ("saw_failed", outcomes.saw_failed),
        ("unknown", outcomes.unknown),
    ] {
        counter!("txn_transactions_total", labels(Some(outcome))).absolute(total);
    }
    counter!("txn_answers_kept_back_total", labels(None)).absolute(counts.kept_back);
    set("txn_oldest_snapshot_age_seconds", counts.oldest_snapshot.as_secs_f64());
    set("txn_prepared_transactions", counts.prepared as f64);
    set("txn_oldest_prepared_age_seconds", counts.oldest_prepared.as_secs_f64());
    set("txn_heuristic_mismatches", counts.mismatches as f64);
}

fn of_snapshots(snapshots: &SnapshotsStatus) {
    for (outcome, total) in [("written", snapshots.taken), ("failed", snapshots.failed)] {
        counter!("txn_snapshot_files_total", labels(Some(outcome))).absolute(total);
    }
    set("txn_log_since_snapshot_bytes", snapshots.log_bytes as f64);
}
