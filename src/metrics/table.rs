//! The table of all metrics: `docs/metrics.md` shows it, and a test compares it with what a recorder gets.

use super::{Kind, Label, Metric, Unit};

const LOG: Label = Label { name: "log", values: &[] };
const MODE: Label = Label { name: "mode", values: &["synchronous", "group_commit", "async"] };
const OUTCOME: Label = Label { name: "outcome", values: &["durable", "not_durable", "unknown"] };
const CAUSE: Label = Label {
    name: "cause",
    values: &[
        "timer",
        "count",
        "bytes",
        "urgent",
        "idle",
        "linger",
        "rotation",
        "epoch",
        "start",
        "seal",
        "checkpoint",
        "close",
    ],
};
const REASON: Label = Label {
    name: "reason",
    values: &[
        "overloaded",
        "too_large",
        "wrong_permit",
        "empty_group",
        "no_space",
        "unavailable",
        "poisoned",
        "epoch_ended",
        "closed",
        "other",
    ],
};
const STATE: Label = Label {
    name: "state",
    values: &["opening", "running", "unavailable", "no_space", "poisoned", "closing", "closed"],
};
const OP: Label = Label {
    name: "op",
    values: &[
        "open_directory",
        "list",
        "create",
        "open",
        "read",
        "write",
        "sync",
        "sync_directory",
        "rename",
        "remove",
        "truncate",
        "prepare",
        "start_thread",
        "other",
    ],
};
const ERRNO: Label = Label { name: "errno", values: &[] };
const DAMAGE: Label = Label { name: "outcome", values: &["salvaged", "refused"] };
const HOLD: Label = Label { name: "kind", values: &["reader", "hold"] };

/// What a log does for its clients.
const COMMITS: &str = "Commits";
/// Where the time of a commit goes.
const LATENCY: &str = "Stages of a commit";
/// What the flush thread does.
const FLUSHES: &str = "Flushes";
/// How far the log has come.
const PROGRESS: &str = "Progress";
/// What is under way.
const IN_FLIGHT: &str = "In flight";
/// What the log takes of the disk.
const DISK: &str = "Disk";
/// Whether it works.
const HEALTH: &str = "Health";
/// What the last open found.
const RECOVERY: &str = "Recovery";

const fn row(kind: Kind, unit: Unit, name: &'static str, panel: &'static str) -> Metric {
    let (labels, meaning, normal) = (&[LOG] as &[Label], "", "");
    Metric { name, kind, unit, labels, meaning, normal, panel, alerts: &[] }
}

const fn counter(unit: Unit, name: &'static str, panel: &'static str) -> Metric {
    row(Kind::Counter, unit, name, panel)
}

const fn gauge(unit: Unit, name: &'static str, panel: &'static str) -> Metric {
    row(Kind::Gauge, unit, name, panel)
}

const fn histogram(unit: Unit, name: &'static str, panel: &'static str) -> Metric {
    row(Kind::Histogram, unit, name, panel)
}

impl Metric {
    const fn with(self, labels: &'static [Label]) -> Self {
        Metric { labels, ..self }
    }

    const fn says(self, meaning: &'static str) -> Self {
        Metric { meaning, ..self }
    }

    const fn normally(self, normal: &'static str) -> Self {
        Metric { normal, ..self }
    }

    const fn alerts(self, alerts: &'static [&'static str]) -> Self {
        Metric { alerts, ..self }
    }
}

use Unit::{Bytes, Count, Seconds};

/// Every metric of a log. Nothing is published that is not in it.
pub const TABLE: &[Metric] = &[
    counter(Count, "wal_commits_total", COMMITS)
        .with(&[LOG, MODE, OUTCOME])
        .says("Records whose outcome is known, by the mode of their append. A group counts as its records.")
        .normally("only `durable` grows")
        .alerts(&["WalCommitsFail"]),
    counter(Count, "wal_appended_records_total", COMMITS)
        .says("Records that were given an LSN.")
        .normally("grows as `wal_commits_total` does"),
    counter(Bytes, "wal_append_bytes_total", COMMITS)
        .says("Bytes of these records, with five bytes of overhead each.")
        .normally("the load of the host"),
    counter(Count, "wal_refusals_total", COMMITS)
        .with(&[LOG, REASON])
        .says("Records that were refused before they had an LSN.")
        .normally("0; `overloaded` under more load than the disk takes")
        .alerts(&["WalBackPressure"]),
    histogram(Seconds, "wal_admission_wait_seconds", LATENCY)
        .says("How long an append waited for room in flight, or until it was refused. An append that found room at once gives no value.")
        .normally("no values")
        .alerts(&["WalBackPressure"]),
    histogram(Seconds, "wal_queue_seconds", LATENCY)
        .says("From the LSN of the oldest record of a batch until the flush thread drained it from its queue. A flush that runs meanwhile is part of it.")
        .normally("up to the time of one sync"),
    histogram(Seconds, "wal_linger_seconds", LATENCY)
        .says("From there until its flush began: what the flush policy waits for. After a fault it is the time until the next epoch.")
        .normally("0 to `max_delay`"),
    histogram(Seconds, "wal_write_seconds", LATENCY)
        .says("From the beginning of the flush until its last `pwrite` returned: the frame is built and written.")
        .normally("below 1 ms"),
    histogram(Seconds, "wal_sync_seconds", LATENCY)
        .says("The `fdatasync` of a batch, and nothing else.")
        .normally("what the device takes: 0.1 ms to 10 ms")
        .alerts(&["WalSyncSlow", "WalLatencyNotDisk"]),
    histogram(Seconds, "wal_notify_seconds", LATENCY)
        .says("From the return of the sync until the Flusher sent its event to the Appender and the first subscribers. An Arbiter that is blocked shows here.")
        .normally("below 1 ms")
        .alerts(&["WalArbiterBlocked"]),
    histogram(Seconds, "wal_commit_seconds", LATENCY)
        .says("From the LSN of the oldest record of a batch until that event was sent: all stages but admission.")
        .normally("up to `max_delay` and two syncs")
        .alerts(&["WalCommitSlow", "WalLatencyNotDisk"]),
    histogram(Count, "wal_batch_records", FLUSHES)
        .says("Records of a batch.")
        .normally("about the number of committers at once")
        .alerts(&["WalBatchCollapse"]),
    histogram(Bytes, "wal_batch_bytes", FLUSHES)
        .says("Bytes of a batch, as its records take them in a frame.")
        .normally("below `max_in_flight_bytes`"),
    counter(Count, "wal_flushes_total", FLUSHES)
        .with(&[LOG, CAUSE])
        .says("Frames that were written and synced, by why. `start`, `seal`, `checkpoint` and `close` have no records; the others are batches.")
        .normally("`idle`, `linger` and `urgent` prevail; `seal` once for each pause"),
    counter(Count, "wal_syncs_total", FLUSHES)
        .says("Syncs of files and directories that returned without an error, also those of segments prepared ahead.")
        .normally("a little more than `wal_flushes_total`")
        .alerts(&["WalSyncsStopped"]),
    counter(Bytes, "wal_written_bytes_total", FLUSHES)
        .says("Bytes written, also the zeros of segments prepared ahead.")
        .normally("two to three times `wal_append_bytes_total` with large batches, more with small ones"),
    gauge(Count, "wal_accepted_lsn", PROGRESS)
        .says("The highest LSN that was assigned.")
        .normally("grows"),
    gauge(Count, "wal_written_lsn", PROGRESS)
        .says("The highest LSN that was passed to the file system and not refused by it.")
        .normally("`wal_durable_lsn`"),
    gauge(Count, "wal_durable_lsn", PROGRESS)
        .says("The watermark: the highest LSN whose sync has returned.")
        .normally("close to `wal_accepted_lsn`")
        .alerts(&["WalNoCheckpoint"]),
    gauge(Count, "wal_checkpoint_lsn", PROGRESS)
        .says("The highest LSN that a checkpoint has released.")
        .normally("follows `wal_durable_lsn` in the steps of the host's checkpoints")
        .alerts(&["WalNoCheckpoint"]),
    gauge(Count, "wal_epoch", PROGRESS)
        .says("The epoch that takes records. Each open and each restart begins one.")
        .normally("constant while the log is open"),
    gauge(Bytes, "wal_unsynced_bytes", PROGRESS)
        .says("Bytes of records that have an LSN and no outcome yet.")
        .normally("the bytes of one or two batches"),
    gauge(Seconds, "wal_unsynced_age_seconds", PROGRESS)
        .says("How long ago the oldest record without an outcome got its LSN; 0 if there is none.")
        .normally("below `max_delay` and two syncs")
        .alerts(&["WalUnsyncedOld"]),
    gauge(Count, "wal_in_flight_records", IN_FLIGHT)
        .says("Records that have a permit and no outcome yet.")
        .normally("well below its limit")
        .alerts(&["WalSyncsStopped", "WalBackPressure"]),
    gauge(Count, "wal_in_flight_limit_records", IN_FLIGHT)
        .says("The most records that may be in flight.")
        .normally("`max_in_flight_entries`")
        .alerts(&["WalBackPressure"]),
    gauge(Bytes, "wal_in_flight_bytes", IN_FLIGHT)
        .says("Bytes that have a permit and no outcome yet.")
        .normally("well below its limit")
        .alerts(&["WalBackPressure"]),
    gauge(Bytes, "wal_in_flight_limit_bytes", IN_FLIGHT)
        .says("The most bytes that may be in flight.")
        .normally("`max_in_flight_bytes`")
        .alerts(&["WalBackPressure"]),
    gauge(Count, "wal_waiting_appends", IN_FLIGHT)
        .says("Appends that wait for a permit.")
        .normally("0"),
    gauge(Count, "wal_subscriber_lag_records", IN_FLIGHT)
        .says("How many LSNs the slowest subscriber is behind the watermark that was announced last.")
        .normally("0; with more than 16 subscribers a few batches")
        .alerts(&["WalSubscriberBehind"]),
    gauge(Count, "wal_segments", DISK)
        .says("Segments that are part of the log, with those that wait to be removed.")
        .normally("falls after each checkpoint"),
    gauge(Bytes, "wal_disk_bytes", DISK)
        .says("Bytes of these segments. Up to three prepared and spare ones come on top.")
        .normally("falls after each checkpoint")
        .alerts(&["WalHoldOld", "WalNoCheckpoint"]),
    gauge(Bytes, "wal_free_bytes", DISK)
        .says("Bytes that the file system has left, as of the last second. NaN if that is not known.")
        .normally("at least four segments")
        .alerts(&["WalDiskFills"]),
    gauge(Count, "wal_prepared_segments", DISK)
        .says("Segments that are prepared for a rotation or a restart.")
        .normally("1 or 2"),
    counter(Count, "wal_rotations_total", DISK)
        .says("Times the log went on in another segment within an epoch.")
        .normally("one for each `segment_size` of frames"),
    counter(Count, "wal_rotation_waits_total", DISK)
        .says("Rotations that had to wait for a segment that was not prepared yet.")
        .normally("0, but for the first seconds of a busy log")
        .alerts(&["WalRotationWaits"]),
    gauge(Seconds, "wal_hold_age_seconds", DISK)
        .with(&[LOG, HOLD])
        .says("The age of the oldest reader, and of the oldest hold without a lease: they keep segments. 0 if there is none.")
        .normally("below the longest scan; below the longest transaction")
        .alerts(&["WalHoldOld"]),
    gauge(Count, "wal_state", HEALTH)
        .with(&[LOG, STATE])
        .says("1 for the state that the log is in, 0 for the others.")
        .normally("`running` is 1")
        .alerts(&["WalPoisoned", "WalNotRunning"]),
    gauge(Count, "wal_stalled", HEALTH)
        .says("1 while a sync has not returned for `stalled_after`, or else 0.")
        .normally("0")
        .alerts(&["WalStalled"]),
    gauge(Count, "wal_low_space", HEALTH)
        .says("1 while the next segment can not be prepared because the disk is full, or else 0.")
        .normally("0")
        .alerts(&["WalDiskFills"]),
    counter(Count, "wal_io_errors_total", HEALTH)
        .with(&[LOG, OP, ERRNO])
        .says("I/O errors of the flush thread, of segments that are prepared, and of readers. `errno` is the name of the error number, or the number; `none` for an error without one.")
        .normally("no series")
        .alerts(&["WalIoErrors"]),
    counter(Count, "wal_restarts_total", HEALTH)
        .says("Restarts of the Flusher after a fault.")
        .normally("0")
        .alerts(&["WalRestarts"]),
    gauge(Seconds, "wal_recovery_seconds", RECOVERY)
        .says("How long the last open took for recovery, the host's share of the replay included.")
        .normally("about 1 s for each GB"),
    gauge(Count, "wal_recovered_records", RECOVERY)
        .says("Live records that the last open found.")
        .normally("what was appended since the last checkpoint"),
    gauge(Bytes, "wal_recovered_bytes", RECOVERY)
        .says("Bytes of segments that the last open read.")
        .normally("`wal_disk_bytes` of the life before"),
    gauge(Bytes, "wal_torn_tail_bytes", RECOVERY)
        .says("Bytes of the unfinished write that the last open cut.")
        .normally("0 after a clean end, up to one batch after a crash")
        .alerts(&["WalTornTail"]),
    counter(Count, "wal_damages_total", RECOVERY)
        .with(&[LOG, DAMAGE])
        .says("Opens that found damage: `salvaged` cut the log before it, `refused` failed.")
        .normally("0")
        .alerts(&["WalDamaged"]),
];
