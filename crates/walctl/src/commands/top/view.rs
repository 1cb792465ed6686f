//! The lines of one frame of `top`: plain text, so that tests read what a terminal shows.

use std::time::Duration;

use super::scrape::Metrics;
use crate::words;

/// Stages of a commit, in their order, and the metric of each.
const STAGES: [(&str, &str); 7] = [
    ("admission", "wal_admission_wait_seconds"),
    ("queue", "wal_queue_seconds"),
    ("linger", "wal_linger_seconds"),
    ("write", "wal_write_seconds"),
    ("sync", "wal_sync_seconds"),
    ("notify", "wal_notify_seconds"),
    ("commit", "wal_commit_seconds"),
];

/// A log of a server, between two looks.
pub(super) struct Span<'a> {
    pub(super) log: &'a str,
    pub(super) before: &'a Metrics,
    pub(super) now: &'a Metrics,
    pub(super) time: Duration,
}

impl Span<'_> {
    fn gauge(&self, name: &str) -> f64 {
        self.now.sum(self.log, name, &[])
    }

    /// How much a counter grew in a second.
    fn rate(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let grown = self.now.sum(self.log, name, labels) - self.before.sum(self.log, name, labels);
        grown.max(0.0) / self.time.as_secs_f64()
    }

    fn state(&self) -> String {
        let state = self.now.which(self.log, "wal_state", "state");
        let mut state = state.unwrap_or_else(|| "unknown".to_owned());
        for (gauge, word) in [("wal_stalled", "STALLED"), ("wal_low_space", "LOW SPACE")] {
            if self.gauge(gauge) > 0.5 {
                state = format!("{state}, {word}");
            }
        }
        state
    }

    /// Every line, the most important ones first: a small terminal shows the first.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = vec![
            format!("{}  {}  epoch {}", self.log, self.state(), self.gauge("wal_epoch")),
            self.commits(),
            self.trouble(),
            self.positions(),
            self.in_flight(),
            self.space(),
            String::new(),
        ];
        lines.extend(self.stages());
        lines
    }

    fn commits(&self) -> String {
        let durable = self.rate("wal_commits_total", &[("outcome", "durable")]);
        let syncs = self.rate("wal_syncs_total", &[]);
        let batch = self.now.histogram(self.log, "wal_batch_records");
        let batch = batch.since(&self.before.histogram(self.log, "wal_batch_records"));
        let mean = batch.mean().map_or_else(|| "-".to_owned(), |mean| format!("{mean:.1}"));
        let bytes = words::bytes(self.rate("wal_append_bytes_total", &[]) as u64);
        format!("{durable:.0} commits/s  {syncs:.0} syncs/s  {mean} records a batch  {bytes}/s")
    }

    /// Counts since the log was opened: what should be zero.
    fn trouble(&self) -> String {
        let all = |name: &str, labels: &[(&str, &str)]| self.now.sum(self.log, name, labels);
        let failed =
            all("wal_commits_total", &[]) - all("wal_commits_total", &[("outcome", "durable")]);
        let (refused, errors) = (all("wal_refusals_total", &[]), all("wal_io_errors_total", &[]));
        let (restarts, damages) = (all("wal_restarts_total", &[]), all("wal_damages_total", &[]));
        format!(
            "{failed} failed  {refused} refused  {errors} I/O errors  {restarts} restarts  {damages} damages"
        )
    }

    fn positions(&self) -> String {
        let (accepted, durable) = (self.gauge("wal_accepted_lsn"), self.gauge("wal_durable_lsn"));
        let (checkpoint, age) =
            (self.gauge("wal_checkpoint_lsn"), self.gauge("wal_unsynced_age_seconds"));
        format!(
            "LSN {accepted:.0} accepted  {durable:.0} durable  {checkpoint:.0} released  oldest unsynced {}",
            seconds(Some(age))
        )
    }

    fn in_flight(&self) -> String {
        let (records, limit) =
            (self.gauge("wal_in_flight_records"), self.gauge("wal_in_flight_limit_records"));
        let (waiting, lag) =
            (self.gauge("wal_waiting_appends"), self.gauge("wal_subscriber_lag_records"));
        format!(
            "{records:.0} of {limit:.0} records in flight  {waiting:.0} wait  slowest subscriber {lag:.0} behind"
        )
    }

    fn space(&self) -> String {
        let size = |name: &str| words::bytes(self.gauge(name) as u64);
        let (segments, prepared) =
            (self.gauge("wal_segments"), self.gauge("wal_prepared_segments"));
        let hold = self.now.most(self.log, "wal_hold_age_seconds");
        format!(
            "{segments:.0} segments ({})  {prepared:.0} prepared  {} free  oldest hold {}",
            size("wal_disk_bytes"),
            size("wal_free_bytes"),
            seconds(Some(hold))
        )
    }

    fn stages(&self) -> Vec<String> {
        let row = |(name, metric): &(&str, &str)| {
            let histogram = self.now.histogram(self.log, metric);
            let new = histogram.since(&self.before.histogram(self.log, metric));
            let count = new.buckets.last().map_or(0.0, |bucket| bucket.1);
            [
                (*name).to_owned(),
                seconds(new.quantile(0.5)),
                seconds(new.quantile(0.99)),
                format!("{:.0}", count / self.time.as_secs_f64()),
            ]
        };
        words::table(
            ["stage", "p50", "p99", "batches/s"],
            &STAGES.iter().map(row).collect::<Vec<_>>(),
        )
    }
}

/// A time in the unit that fits it.
fn seconds(time: Option<f64>) -> String {
    match time {
        None => "-".to_owned(),
        Some(0.0) => "0".to_owned(),
        Some(time) if time.is_infinite() => "> 30 s".to_owned(),
        Some(time) if time < 1e-3 => format!("{:.0} µs", time * 1e6),
        Some(time) if time < 1.0 => format!("{:.1} ms", time * 1e3),
        Some(time) => format!("{time:.1} s"),
    }
}
