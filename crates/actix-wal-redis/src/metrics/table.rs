//! The table of the metrics of transactions and of the server. The README shows it, and tests compare it with a scrape.

use actix_wal::metrics::Kind::{Counter, Gauge};
use actix_wal::metrics::Unit::{Bytes, Count, Seconds};
use actix_wal::metrics::{Kind, Unit};

use super::{LOG, Metric};

type Labels = &'static [(&'static str, &'static [&'static str])];

const OF_LOG: Labels = &[("log", &[LOG])];
const OUTCOME: Labels = &[
    ("log", &[LOG]),
    (
        "outcome",
        &[
            "committed",
            "read_only",
            "conflict",
            "aborted",
            "refused",
            "not_durable",
            "saw_failed",
            "unknown",
        ],
    ),
];
const SNAPSHOT: Labels = &[("log", &[LOG]), ("outcome", &["written", "failed"])];

const fn row(
    (kind, unit, name): (Kind, Unit, &'static str),
    labels: Labels,
    meaning: &'static str,
    normal: &'static str,
) -> Metric {
    Metric { name, kind, unit, labels, meaning, normal, alerts: &[] }
}

impl Metric {
    const fn alerts(self, alerts: &'static [&'static str]) -> Self {
        Metric { alerts, ..self }
    }
}

/// Every metric of the transactions and of the server.
pub const TABLE: &[Metric] = &[
    row(
        (Counter, Count, "txn_transactions_total"),
        OUTCOME,
        "Transactions by what became of them; a command is one. Branches of two-phase commit do not count.",
        "`committed` and `read_only` grow",
    ),
    row(
        (Counter, Count, "txn_answers_kept_back_total"),
        OF_LOG,
        "Answers of reads that were kept back until what they tell was durable.",
        "grows where clients read what others write",
    ),
    row(
        (Counter, Count, "txn_lost_commits_total"),
        OF_LOG,
        "Commits that were answered before they were durable, and are not: with `--durability async`.",
        "0",
    ),
    row(
        (Gauge, Count, "txn_commits_in_flight"),
        OF_LOG,
        "Commits that the log has not settled.",
        "about the number of clients that write at once",
    ),
    row(
        (Gauge, Count, "txn_open_transactions"),
        OF_LOG,
        "Interactive transactions that are open. Commands of clients are none.",
        "0",
    ),
    row(
        (Gauge, Count, "txn_store_keys"),
        OF_LOG,
        "Keys in memory, with those that are deleted but not collected yet.",
        "the keys of the data, and a few for each database",
    ),
    row(
        (Gauge, Count, "txn_store_versions"),
        OF_LOG,
        "Versions of all keys in memory.",
        "a little more than `txn_store_keys`",
    ),
    row(
        (Gauge, Bytes, "txn_store_bytes"),
        OF_LOG,
        "What the versions take in memory, by an estimate.",
        "below `redis_memory_limit_bytes`",
    ),
    row(
        (Gauge, Bytes, "txn_store_pinned_bytes"),
        OF_LOG,
        "How much of it are versions that have been overwritten or deleted: open snapshots keep them.",
        "grows while a snapshot is written, and falls after it",
    ),
    row((Gauge, Count, "txn_snapshots"), OF_LOG, "Snapshots of the store that are open.", "0 or 1"),
    row(
        (Gauge, Seconds, "txn_oldest_snapshot_age_seconds"),
        OF_LOG,
        "How long the oldest of them has been open; 0 if there is none.",
        "below the time that a snapshot takes to write",
    )
    .alerts(&["TxnSnapshotOld"]),
    row(
        (Counter, Count, "txn_snapshot_files_total"),
        SNAPSHOT,
        "Files of snapshots, by whether they were written. Each that was written lets the log release segments.",
        "`failed` is 0",
    )
    .alerts(&["TxnSnapshotFails"]),
    row(
        (Gauge, Bytes, "txn_log_since_snapshot_bytes"),
        OF_LOG,
        "How much the log has grown since the newest snapshot.",
        "falls to 0 with each snapshot",
    ),
    row(
        (Gauge, Count, "txn_prepared_transactions"),
        OF_LOG,
        "Transactions over several logs that are prepared and not decided.",
        "0: this server takes part in none",
    ),
    row(
        (Gauge, Seconds, "txn_oldest_prepared_age_seconds"),
        OF_LOG,
        "How long ago the oldest of them was prepared; 0 if there is none.",
        "0",
    )
    .alerts(&["TxnPreparedOld"]),
    row(
        (Gauge, Count, "txn_heuristic_mismatches"),
        OF_LOG,
        "Transactions that an operator decided otherwise than their coordinator, and that no operator has cleared.",
        "0",
    )
    .alerts(&["TxnHeuristicMismatch"]),
    row((Gauge, Count, "redis_connections"), &[], "Clients that are connected.", "the clients"),
    row(
        (Gauge, Count, "redis_connections_limit"),
        &[],
        "How many may be connected.",
        "`--maxclients`",
    ),
    row(
        (Counter, Count, "redis_connections_total"),
        &[],
        "Clients that have connected.",
        "grows slowly where clients keep their connections",
    ),
    row(
        (Counter, Count, "redis_rejected_connections_total"),
        &[],
        "Clients that were sent away because there were too many.",
        "0",
    ),
    row(
        (Gauge, Count, "redis_blocked_clients"),
        &[],
        "Clients that wait in `WAITAOF`.",
        "0 without `--durability async`",
    ),
    row(
        (Counter, Count, "redis_commands_total"),
        &[],
        "Commands that were taken, with those that fail.",
        "the load of the clients",
    ),
    row((Counter, Bytes, "redis_input_bytes_total"), &[], "Bytes that clients have sent.", "grows"),
    row((Counter, Bytes, "redis_output_bytes_total"), &[], "Bytes sent to clients.", "grows"),
    row(
        (Counter, Count, "redis_expired_keys_total"),
        &[],
        "Keys that were deleted because their time was over.",
        "grows where keys expire",
    ),
    row(
        (Gauge, Bytes, "redis_memory_limit_bytes"),
        &[],
        "How many bytes keys and values may take; 0 is no limit.",
        "`--maxmemory`",
    ),
];
