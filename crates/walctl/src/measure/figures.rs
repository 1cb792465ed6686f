//! Latencies and processor time, and the figures that are made of them.

use std::time::Duration;

use hdrhistogram::Histogram;
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

/// A latency above this counts as this.
const LONGEST: Duration = Duration::from_secs(60);

/// The latencies of one measurement, with an error of at most a thousandth each.
#[derive(Clone, Debug)]
pub(crate) struct Latencies(Histogram<u64>);

impl Latencies {
    pub(crate) fn new() -> Self {
        match Histogram::new_with_bounds(1, LONGEST.as_nanos() as u64, 3) {
            Ok(histogram) => Latencies(histogram),
            Err(_) => unreachable!("these bounds are constants, and valid"),
        }
    }

    pub(crate) fn add(&mut self, latency: Duration) {
        self.0.saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
    }

    pub(crate) fn merge(&mut self, other: &Latencies) {
        // Both have the same bounds, so each value fits.
        let _ = self.0.add(&other.0);
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.len()
    }

    /// How often this could be done in a second, one after the other.
    pub(crate) fn per_second(&self) -> f64 {
        per(1e9, self.0.mean())
    }

    pub(crate) fn quantiles(&self) -> Quantiles {
        let us = |nanos: u64| nanos as f64 / 1000.0;
        let at = |quantile| us(self.0.value_at_quantile(quantile));
        let max_us = us(self.0.max());
        // The histogram answers with the upper end of a bucket, which may lie above the largest value.
        let at = |quantile| f64::min(at(quantile), max_us);
        Quantiles { p50_us: at(0.5), p99_us: at(0.99), p999_us: at(0.999), max_us }
    }
}

/// Latencies in microseconds; zero where nothing was measured.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Quantiles {
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) p999_us: f64,
    pub(crate) max_us: f64,
}

/// The processor time that this process has used, in user and system mode.
pub(crate) fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

/// A value per unit; zero where there is no unit.
pub(crate) fn per(value: f64, units: f64) -> f64 {
    if units > 0.0 { value / units } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_never_exceed_the_largest_latency() {
        let mut latencies = Latencies::new();
        (1..=1000).for_each(|us| latencies.add(Duration::from_micros(us)));
        let Quantiles { p50_us, p99_us, p999_us, max_us } = latencies.quantiles();
        assert!((p50_us - 500.0).abs() < 1.0 && (p99_us - 990.0).abs() < 2.0, "{p50_us} {p99_us}");
        assert!(p50_us <= p99_us && p99_us <= p999_us && p999_us <= max_us);
        assert_eq!(latencies.count(), 1000);
        assert_eq!(Latencies::new().quantiles().max_us, 0.0);
    }

    #[test]
    fn processor_time_grows_with_work() {
        let before = cpu_time();
        let mut sum = 0_u64;
        while cpu_time() == before {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(cpu_time() > before);
    }
}
