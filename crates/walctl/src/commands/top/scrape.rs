//! What a server's `/metrics` says, as far as `top` shows it.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use prometheus_parse::{Sample, Scrape, Value};

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// More than any server of ours answers, in bytes.
const LONGEST: u64 = 4 << 20;

/// One look at a server.
#[derive(Debug)]
pub(super) struct Metrics(Scrape);

impl Metrics {
    /// Asks a server at `host:port`.
    pub(super) fn fetch(address: &str) -> Result<Self, String> {
        let failed = |what: &str, error: std::io::Error| format!("{address}: {what}: {error}");
        let mut places = address.to_socket_addrs().map_err(|error| failed("no address", error))?;
        let place = places.next().ok_or_else(|| format!("{address}: no address"))?;
        let mut stream = TcpStream::connect_timeout(&place, PATIENCE)
            .map_err(|error| failed("no connection (is --metrics-port set?)", error))?;
        let exchange = stream
            .set_read_timeout(Some(PATIENCE))
            .and_then(|()| stream.set_write_timeout(Some(PATIENCE)))
            .and_then(|()| {
                let request = format!("GET /metrics HTTP/1.0\r\nHost: {address}\r\n\r\n");
                stream.write_all(request.as_bytes())
            });
        exchange.map_err(|error| failed("asking", error))?;
        let mut answer = Vec::new();
        stream.take(LONGEST).read_to_end(&mut answer).map_err(|error| failed("reading", error))?;
        Metrics::of_answer(&String::from_utf8_lossy(&answer))
            .map_err(|reason| format!("{address}: {reason}"))
    }

    fn of_answer(answer: &str) -> Result<Self, String> {
        let (head, body) = answer.split_once("\r\n\r\n").ok_or("it is no HTTP server")?;
        let status = head.split_whitespace().nth(1).unwrap_or_default();
        if status != "200" {
            return Err(format!("it answers {status} to GET /metrics"));
        }
        Metrics::parse(body)
    }

    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let scrape = Scrape::parse(text.lines().map(|line| Ok(line.to_owned())));
        let metrics =
            Metrics(scrape.map_err(|error| format!("its metrics can not be read: {error}"))?);
        if metrics.logs().is_empty() {
            return Err("it has no metrics of a log".to_owned());
        }
        Ok(metrics)
    }

    /// The logs that it has, by their label.
    pub(super) fn logs(&self) -> Vec<String> {
        let of = |sample: &Sample| Some(sample.labels.get("log")?.to_owned());
        let mut logs: Vec<_> = self
            .0
            .samples
            .iter()
            .filter(|it| it.metric == "wal_durable_lsn")
            .filter_map(of)
            .collect();
        logs.sort();
        logs.dedup();
        logs
    }

    fn samples<'a>(&'a self, log: &'a str, name: &'a str) -> impl Iterator<Item = &'a Sample> {
        let is_it = move |it: &&Sample| it.metric == name && it.labels.get("log") == Some(log);
        self.0.samples.iter().filter(is_it)
    }

    /// The sum of all series of a counter or gauge with these labels.
    pub(super) fn sum(&self, log: &str, name: &str, labels: &[(&str, &str)]) -> f64 {
        let fits =
            |it: &&Sample| labels.iter().all(|(key, value)| it.labels.get(key) == Some(*value));
        // The sum of nothing is -0.
        self.samples(log, name).filter(fits).map(number).sum::<f64>() + 0.0
    }

    /// The largest value of a gauge.
    pub(super) fn most(&self, log: &str, name: &str) -> f64 {
        self.samples(log, name).map(number).fold(0.0, f64::max)
    }

    /// The value of a label of the series that is 1.
    pub(super) fn which(&self, log: &str, name: &str, label: &str) -> Option<String> {
        let one = self.samples(log, name).find(|sample| number(sample) > 0.5)?;
        Some(one.labels.get(label)?.to_owned())
    }

    /// The cumulative counts of a histogram by their upper bounds, its count and its sum.
    pub(super) fn histogram(&self, log: &str, name: &str) -> Histogram {
        let mut histogram = Histogram::default();
        for sample in self.samples(log, name) {
            if let Value::Histogram(buckets) = &sample.value {
                let bounds = buckets.iter().map(|bucket| (bucket.less_than, bucket.count));
                histogram.buckets.extend(bounds);
            }
        }
        histogram.count = self.sum(log, &format!("{name}_count"), &[]);
        histogram.sum = self.sum(log, &format!("{name}_sum"), &[]);
        histogram
    }
}

fn number(sample: &Sample) -> f64 {
    match sample.value {
        Value::Counter(number) | Value::Gauge(number) | Value::Untyped(number) => number,
        _ => 0.0,
    }
}

/// The buckets of a histogram.
#[derive(Clone, Debug, Default)]
pub(super) struct Histogram {
    /// Upper bound, and how many values are at or below it; in the order of the bounds.
    pub(super) buckets: Vec<(f64, f64)>,
    pub(super) count: f64,
    pub(super) sum: f64,
}

impl Histogram {
    /// What came since an earlier look.
    pub(super) fn since(&self, before: &Histogram) -> Histogram {
        let of = |at: usize, now: f64| now - before.buckets.get(at).map_or(0.0, |it| it.1);
        let buckets = self.buckets.iter().enumerate();
        let buckets = buckets.map(|(at, (bound, count))| (*bound, of(at, *count))).collect();
        Histogram { buckets, count: self.count - before.count, sum: self.sum - before.sum }
    }

    /// The upper bound of the bucket with this part of all values below it; `None` without a value.
    pub(super) fn quantile(&self, part: f64) -> Option<f64> {
        let all = self.buckets.last()?.1;
        let found = self.buckets.iter().find(|(_, count)| all > 0.0 && *count >= part * all)?;
        Some(found.0)
    }

    pub(super) fn mean(&self) -> Option<f64> {
        (self.count > 0.0).then(|| self.sum / self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# TYPE wal_durable_lsn gauge
wal_durable_lsn{log=\"a\"} 10
# TYPE wal_commits_total counter
wal_commits_total{log=\"a\",mode=\"group\",outcome=\"durable\"} 7
wal_commits_total{log=\"a\",mode=\"async\",outcome=\"durable\"} 2
wal_commits_total{log=\"a\",mode=\"group\",outcome=\"unknown\"} 1
# TYPE wal_state gauge
wal_state{log=\"a\",state=\"running\"} 1
wal_state{log=\"a\",state=\"closed\"} 0
# TYPE wal_sync_seconds histogram
wal_sync_seconds_bucket{log=\"a\",le=\"0.001\"} 50
wal_sync_seconds_bucket{log=\"a\",le=\"0.01\"} 99
wal_sync_seconds_bucket{log=\"a\",le=\"+Inf\"} 100
wal_sync_seconds_sum{log=\"a\"} 0.5
wal_sync_seconds_count{log=\"a\"} 100
";

    #[test]
    fn counters_states_and_histograms_are_read_by_log_and_label() {
        let metrics = Metrics::parse(TEXT).unwrap();
        assert_eq!(metrics.logs(), ["a"]);
        assert_eq!(metrics.sum("a", "wal_commits_total", &[("outcome", "durable")]), 9.0);
        assert_eq!(metrics.sum("b", "wal_commits_total", &[]).to_string(), "0");
        assert_eq!(metrics.which("a", "wal_state", "state").as_deref(), Some("running"));
        let syncs = metrics.histogram("a", "wal_sync_seconds");
        assert_eq!((syncs.quantile(0.5), syncs.quantile(0.99)), (Some(0.001), Some(0.01)));
        assert_eq!(syncs.mean(), Some(0.005));
        assert_eq!(syncs.since(&syncs).quantile(0.5), None, "nothing came since");
    }

    #[test]
    fn what_is_no_answer_of_a_server_with_a_log_says_why() {
        for (answer, reason) in [
            ("", "no HTTP server"),
            ("SSH-2.0-OpenSSH\r\n", "no HTTP server"),
            ("HTTP/1.1 404 Not Found\r\n\r\n", "answers 404"),
            ("HTTP/1.1 200 OK\r\n\r\nup 1\n", "no metrics of a log"),
            ("HTTP/1.1 200 OK\r\n\r\n<html>", "no metrics of a log"),
        ] {
            let error = Metrics::of_answer(answer).unwrap_err();
            assert!(error.contains(reason), "{answer:?}: {error}");
        }
    }
}
