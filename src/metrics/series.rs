//! Where the value of each metric of the [`TABLE`](super::TABLE) is read.

use std::time::Duration;

use crate::config::Durability;
use crate::engine::recovery::RecoveryReport;
use crate::engine::segments::catalog::Usage;
use crate::engine::state::meter::distribution::Distribution;
use crate::engine::state::meter::{Fated, FlushCause, Meter, Refused, Stage};
use crate::engine::state::shared::Shared;
use crate::status::{LogState, Stats, Status};

/// What a log is at one moment.
pub(super) struct Sample<'a> {
    meter: &'a Meter,
    stats: Stats,
    status: Status,
    usage: Usage,
    limits: (usize, usize),
    /// Since when the oldest record without an outcome waits for it.
    unsynced: Duration,
}

impl<'a> Sample<'a> {
    pub(super) fn of(shared: &'a Shared) -> Self {
        let (meter, now) = (&shared.meter, shared.clock.now());
        let (status, admission) = (shared.status(), &shared.admission);
        let oldest = meter.oldest().filter(|_| status.durable < status.accepted);
        Sample {
            meter,
            stats: shared.stats(),
            usage: shared.catalog.usage(now),
            limits: (admission.max_entries(), admission.max_bytes()),
            unsynced: oldest.map_or(Duration::ZERO, |oldest| now.saturating_sub(oldest)),
            status,
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        matches!(self.status.state, LogState::Closed(_))
    }

    /// Whether all that was accepted has an outcome, whatever the numbers say.
    fn has_ended(&self) -> bool {
        self.status.state.is_final()
    }
}

/// How a value is read.
pub(super) enum Value {
    /// A number that only grows.
    Counter(Box<dyn Fn(&Sample<'_>) -> u64 + Send>),
    /// A number, and what it is once the log has closed, where it is not what it was last.
    Gauge(Box<dyn Fn(&Sample<'_>) -> f64 + Send>, Option<f64>),
    /// A distribution, and how many of its units make one of the metric's.
    Histogram(fn(&Meter) -> &Distribution, f64),
}

/// One series of values.
pub(super) struct Series {
    pub(super) name: &'static str,
    pub(super) labels: Vec<(&'static str, &'static str)>,
    pub(super) value: Value,
}

fn counter(
    name: &'static str,
    labels: &[(&'static str, &'static str)],
    read: impl Fn(&Sample<'_>) -> u64 + Send + 'static,
) -> Series {
    Series { name, labels: labels.to_vec(), value: Value::Counter(Box::new(read)) }
}

/// A gauge that keeps its last value when the log has closed.
fn gauge(name: &'static str, read: impl Fn(&Sample<'_>) -> f64 + Send + 'static) -> Series {
    Series { name, labels: Vec::new(), value: Value::Gauge(Box::new(read), None) }
}

/// A gauge of something that a closed log does not have.
fn live(
    name: &'static str,
    labels: &[(&'static str, &'static str)],
    read: impl Fn(&Sample<'_>) -> f64 + Send + 'static,
) -> Series {
    Series { name, labels: labels.to_vec(), value: Value::Gauge(Box::new(read), Some(0.0)) }
}

fn seconds(name: &'static str, of: fn(&Meter) -> &Distribution) -> Series {
    Series { name, labels: Vec::new(), value: Value::Histogram(of, 1e9) }
}

fn number(name: &'static str, of: fn(&Meter) -> &Distribution) -> Series {
    Series { name, labels: Vec::new(), value: Value::Histogram(of, 1.0) }
}

/// Every series of a log, but for I/O errors, which have one as soon as they happen.
pub(super) fn all(report: &RecoveryReport) -> Vec<Series> {
    let mut all = commits();
    all.extend(flushes());
    all.extend(latencies());
    all.extend(progress());
    all.extend(in_flight());
    all.extend(disk());
    all.extend(health());
    all.extend(recovery(report));
    all
}

const MODES: [(Durability, &str); 3] = [
    (Durability::Synchronous, "synchronous"),
    (Durability::GroupCommit, "group_commit"),
    (Durability::Async, "async"),
];

const OUTCOMES: [(Fated, &str); 3] =
    [(Fated::Durable, "durable"), (Fated::NotDurable, "not_durable"), (Fated::Unknown, "unknown")];

fn commits() -> Vec<Series> {
    let mut series = vec![
        counter("wal_appended_records_total", &[], |now| now.stats.accepted),
        counter("wal_append_bytes_total", &[], |now| now.meter.accepted_bytes.get()),
    ];
    for (mode, of) in MODES {
        series.extend(OUTCOMES.map(|(outcome, name)| {
            let labels = [("mode", of), ("outcome", name)];
            counter("wal_commits_total", &labels, move |now| now.meter.commits(mode, outcome))
        }));
    }
    series.extend(Refused::ALL.map(|reason| {
        let labels = [("reason", refused(reason))];
        counter("wal_refusals_total", &labels, move |now| now.meter.refusals(reason))
    }));
    series
}

fn refused(reason: Refused) -> &'static str {
    match reason {
        Refused::Overloaded => "overloaded",
        Refused::TooLarge => "too_large",
        Refused::WrongPermit => "wrong_permit",
        Refused::EmptyGroup => "empty_group",
        Refused::NoSpace => "no_space",
        Refused::Unavailable => "unavailable",
        Refused::Poisoned => "poisoned",
        Refused::EpochEnded => "epoch_ended",
        Refused::Closed => "closed",
        Refused::Other => "other",
    }
}

fn flushes() -> Vec<Series> {
    let mut series = vec![
        counter("wal_syncs_total", &[], |now| now.stats.fsyncs),
        counter("wal_written_bytes_total", &[], |now| now.stats.bytes_written),
        counter("wal_rotations_total", &[], |now| now.stats.rotations),
        counter("wal_rotation_waits_total", &[], |now| now.meter.awaited_segments.get()),
    ];
    series.extend(FlushCause::ALL.map(|cause| {
        let labels = [("cause", name_of(cause))];
        counter("wal_flushes_total", &labels, move |now| now.meter.flushes(cause))
    }));
    series
}

fn name_of(cause: FlushCause) -> &'static str {
    match cause {
        FlushCause::Timer => "timer",
        FlushCause::Count => "count",
        FlushCause::Bytes => "bytes",
        FlushCause::Urgent => "urgent",
        FlushCause::Idle => "idle",
        FlushCause::Linger => "linger",
        FlushCause::Rotation => "rotation",
        FlushCause::Epoch => "epoch",
        FlushCause::Start => "start",
        FlushCause::Seal => "seal",
        FlushCause::Checkpoint => "checkpoint",
        FlushCause::Close => "close",
    }
}

fn latencies() -> Vec<Series> {
    vec![
        seconds("wal_admission_wait_seconds", |meter| meter.stage(Stage::AdmissionWait)),
        seconds("wal_queue_seconds", |meter| meter.stage(Stage::Queue)),
        seconds("wal_linger_seconds", |meter| meter.stage(Stage::Linger)),
        seconds("wal_write_seconds", |meter| meter.stage(Stage::Write)),
        seconds("wal_sync_seconds", |meter| meter.stage(Stage::Sync)),
        seconds("wal_notify_seconds", |meter| meter.stage(Stage::Notify)),
        seconds("wal_commit_seconds", |meter| meter.stage(Stage::Commit)),
        number("wal_batch_records", |meter| &meter.batch_records),
        number("wal_batch_bytes", |meter| &meter.batch_bytes),
    ]
}

fn progress() -> Vec<Series> {
    vec![
        // A status is read number by number, while the log goes on.
        gauge("wal_accepted_lsn", |Sample { status, .. }| {
            status.accepted.max(status.written).max(status.durable).get() as f64
        }),
        gauge("wal_written_lsn", |Sample { status, .. }| {
            status.written.max(status.durable).get() as f64
        }),
        gauge("wal_durable_lsn", |now| now.status.durable.get() as f64),
        gauge("wal_checkpoint_lsn", |now| now.status.low_water.get() as f64),
        gauge("wal_epoch", |now| now.status.epoch.get() as f64),
        live("wal_unsynced_bytes", &[], |now| {
            if now.has_ended() { 0.0 } else { now.meter.unsettled_bytes() as f64 }
        }),
        live("wal_unsynced_age_seconds", &[], |now| {
            if now.has_ended() { 0.0 } else { now.unsynced.as_secs_f64() }
        }),
    ]
}

fn in_flight() -> Vec<Series> {
    vec![
        live("wal_in_flight_records", &[], |now| now.status.entries_in_flight as f64),
        gauge("wal_in_flight_limit_records", |now| now.limits.0 as f64),
        live("wal_in_flight_bytes", &[], |now| now.status.bytes_in_flight as f64),
        gauge("wal_in_flight_limit_bytes", |now| now.limits.1 as f64),
        live("wal_waiting_appends", &[], |now| now.status.waiting_for_admission as f64),
        live("wal_subscriber_lag_records", &[], |now| now.meter.subscriber_lag() as f64),
    ]
}

fn disk() -> Vec<Series> {
    let free = |now: &Sample<'_>| now.meter.free_bytes().map_or(f64::NAN, |free| free as f64);
    vec![
        gauge("wal_segments", |now| now.usage.segments as f64),
        gauge("wal_disk_bytes", |now| now.usage.bytes as f64),
        gauge("wal_free_bytes", free),
        live("wal_prepared_segments", &[], |now| now.meter.prepared_segments() as f64),
        live("wal_hold_age_seconds", &[("kind", "reader")], |now| {
            now.usage.oldest_reader.as_secs_f64()
        }),
        live("wal_hold_age_seconds", &[("kind", "hold")], |now| {
            now.usage.oldest_hold.as_secs_f64()
        }),
    ]
}

type IsState = fn(&LogState) -> bool;

/// The states, by the name that a label has for them.
const STATES: [(&str, IsState); 7] = [
    ("opening", |state| matches!(state, LogState::Opening)),
    ("running", |state| matches!(state, LogState::Running)),
    ("unavailable", |state| matches!(state, LogState::Unavailable(_))),
    ("no_space", |state| matches!(state, LogState::NoSpace(_))),
    ("poisoned", |state| matches!(state, LogState::Poisoned(_))),
    ("closing", |state| matches!(state, LogState::Closing)),
    ("closed", |state| matches!(state, LogState::Closed(_))),
];

fn health() -> Vec<Series> {
    let mut series = vec![
        live("wal_stalled", &[], |now| f64::from(u8::from(now.status.stalled))),
        live("wal_low_space", &[], |now| f64::from(u8::from(now.status.low_space))),
        counter("wal_restarts_total", &[], |now| now.stats.restarts),
    ];
    series.extend(STATES.map(|(name, is_it)| {
        let read = move |now: &Sample<'_>| f64::from(u8::from(is_it(&now.status.state)));
        let at_end = f64::from(u8::from(name == "closed"));
        let value = Value::Gauge(Box::new(read), Some(at_end));
        Series { name: "wal_state", labels: vec![("state", name)], value }
    }));
    series
}

fn recovery(report: &RecoveryReport) -> Vec<Series> {
    let (elapsed, records) = (report.elapsed.as_secs_f64(), report.records as f64);
    let torn = report.torn_tail.as_ref().map_or(0.0, |(_, torn)| torn.bytes as f64);
    let (bytes, salvaged) = (report.bytes as f64, u64::from(report.salvaged.is_some()));
    vec![
        gauge("wal_recovery_seconds", move |_| elapsed),
        gauge("wal_recovered_records", move |_| records),
        gauge("wal_recovered_bytes", move |_| bytes),
        gauge("wal_torn_tail_bytes", move |_| torn),
        counter("wal_damages_total", &[("outcome", "salvaged")], move |_| salvaged),
        // A log that is refused has no series of its own: the open counts it.
        counter("wal_damages_total", &[("outcome", "refused")], |_| 0),
    ]
}
