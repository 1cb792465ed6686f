//! Metrics: what a log counts and measures, for the exporter of the host (feature `metrics`).
//!
//! The log publishes by the facade [`metrics`](https://docs.rs/metrics): install a recorder before the log is opened, such as that of
//! `metrics-exporter-prometheus`. Then every log of the process gives the metrics of the [`TABLE`], each with a label
//! `log`: [`WalConfig::name`](crate::WalConfig::name), or the place where the log lies. No label has a value that a
//! client chooses.
//!
//! * The parts of a log write fixed arrays of atomics. A thread of the log, `wal-metrics`, moves what was added to the
//!   recorder: once a second, and when the state of the log changes. It ends with the log, after it has said so.
//! * [`Wal::publish_metrics`](crate::Wal::publish_metrics) does the same at once, for a host that renders them now. A
//!   host that [composes](crate::Wal::compose) the actors of a log itself has no such thread: it calls this.
//! * Times are of batches, not of records: but for `wal_admission_wait_seconds`, each batch that became durable gives
//!   one value to each histogram, that of its oldest record. So no record costs a look at the clock.
//! * A histogram gets the mean of the values of each of its buckets, with their number. The buckets here are finer than
//!   [`SECONDS`], [`RECORDS`] and [`BYTES`], and their bounds include all of those: an exporter with these bounds, or
//!   some of them, counts every value in the right bucket.
//! * Counters count since the first log with this label in the process. They go on where the log is opened again.
//! * Metrics decide nothing: with them the log writes the same bytes and gives the same answers.

mod publisher;
mod series;
mod table;

pub(crate) use self::publisher::{Publisher, note_refused_open};
pub use self::table::TABLE;

/// What a metric is to a recorder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It is what it is now.
    Gauge,
    /// A distribution of values.
    Histogram,
}

impl Kind {
    /// In a word, as in the exposition format of Prometheus.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        }
    }
}

/// What a metric is measured in. Always the base unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unit {
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
    /// A number of things, which the name says.
    Count,
}

/// A label of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Label {
    /// Its name.
    pub name: &'static str,
    /// The values that it may have; empty if they are no fixed set: the name of a log, and the numbers of errors that
    /// the operating system gave.
    pub values: &'static [&'static str],
}

/// A row of the [`TABLE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// What it is to a recorder.
    pub kind: Kind,
    /// What it is measured in.
    pub unit: Unit,
    /// Its labels; `log` is the first.
    pub labels: &'static [Label],
    /// What it says.
    pub meaning: &'static str,
    /// What it is in a log that works as it should.
    pub normal: &'static str,
    /// The panel of a dashboard that shows it.
    pub panel: &'static str,
    /// The alerts of `ops/alerts.yml` that use it.
    pub alerts: &'static [&'static str],
}

impl Metric {
    /// The bounds for its buckets, if it is a histogram.
    pub fn buckets(&self) -> Option<&'static [f64]> {
        match (self.kind, self.unit) {
            (Kind::Counter | Kind::Gauge, _) => None,
            (Kind::Histogram, Unit::Seconds) => Some(&SECONDS),
            (Kind::Histogram, Unit::Bytes) => Some(&BYTES),
            (Kind::Histogram, Unit::Count) => Some(&RECORDS),
        }
    }
}

/// The bounds for the buckets of histograms of times, in seconds: from 16 µs on each is twice the one before, and the
/// last is 30 s.
pub const SECONDS: [f64; 22] = {
    let mut bounds = [30.0; 22];
    let mut at = 0;
    while at < 21 {
        bounds[at] = (16_000_u64 << at) as f64 / 1e9;
        at += 1;
    }
    bounds
};

/// The bounds for the buckets of `wal_batch_records`: powers of four, up to 16,777,216.
pub const RECORDS: [f64; 13] = powers_of_four(1);

/// The bounds for the buckets of `wal_batch_bytes`: 64 bytes times powers of four, up to 4 GiB.
pub const BYTES: [f64; 14] = powers_of_four(64);

const fn powers_of_four<const N: usize>(first: u64) -> [f64; N] {
    let mut bounds = [0.0; N];
    let mut at = 0;
    while at < N {
        bounds[at] = (first << (2 * at)) as f64;
        at += 1;
    }
    bounds
}

/// Describes all metrics of the [`TABLE`] to the recorder that is installed. A log that is opened does so too: call
/// this for a recorder that has to know them before.
pub fn describe() {
    use ::metrics::{Unit as Of, describe_counter, describe_gauge, describe_histogram};
    for metric in TABLE {
        let unit = match metric.unit {
            Unit::Seconds => Of::Seconds,
            Unit::Bytes => Of::Bytes,
            Unit::Count => Of::Count,
        };
        match metric.kind {
            Kind::Counter => describe_counter!(metric.name, unit, metric.meaning),
            Kind::Gauge => describe_gauge!(metric.name, unit, metric.meaning),
            Kind::Histogram => describe_histogram!(metric.name, unit, metric.meaning),
        }
    }
}
