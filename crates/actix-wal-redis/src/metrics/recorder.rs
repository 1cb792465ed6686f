//! The recorder that keeps the figures between two scrapes.

use actix_wal::metrics::{Kind, Unit};
use metrics::{describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{
    BuildError, Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};

use super::TABLE;

/// Keeps the figures, and renders them as Prometheus reads them.
///
/// It takes a bounded amount of memory if [`upkeep`](Self::upkeep) is called from time to time: histograms have fixed
/// buckets, and what was recorded since the last call waits in a list.
#[derive(Clone, Debug)]
pub struct Exporter {
    handle: PrometheusHandle,
}

impl Exporter {
    /// A recorder, and what renders it. To be [installed](metrics::set_global_recorder) before a log is opened.
    ///
    /// # Errors
    /// The bounds of a histogram are wrong.
    pub fn new() -> Result<(PrometheusRecorder, Exporter), BuildError> {
        let histograms = actix_wal::metrics::TABLE.iter();
        let histograms = histograms.filter_map(|metric| Some((metric.name, metric.buckets()?)));
        let mut builder = PrometheusBuilder::new();
        for (name, bounds) in histograms {
            builder = builder.set_buckets_for_metric(Matcher::Full(name.to_owned()), bounds)?;
        }
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        Ok((recorder, Exporter { handle }))
    }

    /// Sorts what was recorded since the last time into its buckets.
    pub fn upkeep(&self) {
        self.handle.run_upkeep();
    }

    /// The text format of Prometheus.
    pub fn render(&self) -> String {
        self.handle.render()
    }
}

/// Describes the metrics of the [`TABLE`] to the recorder that is installed. The log describes its own.
pub(super) fn describe() {
    for metric in TABLE {
        let unit = match metric.unit {
            Unit::Seconds => metrics::Unit::Seconds,
            Unit::Bytes => metrics::Unit::Bytes,
            Unit::Count => metrics::Unit::Count,
        };
        match metric.kind {
            Kind::Counter => describe_counter!(metric.name, unit, metric.meaning),
            Kind::Gauge => describe_gauge!(metric.name, unit, metric.meaning),
            Kind::Histogram => describe_histogram!(metric.name, unit, metric.meaning),
        }
    }
}
