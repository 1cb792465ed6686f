//! What a measurement has found.

use hdrhistogram::Histogram;

use crate::support::load::median;

/// In microseconds, up to a minute, exact to a thousandth.
pub(crate) fn latencies() -> Histogram<u64> {
    Histogram::new_with_max(60_000_000, 3).expect("bounds in order")
}

/// What the logs of one kind have done.
#[derive(Clone, Debug, Default)]
pub(crate) struct Part {
    pub(crate) name: &'static str,
    /// How many logs are of this kind.
    pub(crate) logs: u64,
    pub(crate) flushes: u64,
    pub(crate) syncs: u64,
    pub(crate) flush_nanos: u64,
}

/// One measurement, or the medians of many.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// In microseconds.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    /// Transactions per second.
    pub(crate) rate: f64,
    /// Where the logs are ours.
    pub(crate) parts: Vec<Part>,
    /// All of them, the warm-up included: what `parts` have done is for these.
    pub(crate) transactions: u64,
}

impl Found {
    pub(crate) fn new(latencies: &Histogram<u64>, rate: f64) -> Found {
        let at = |quantile| latencies.value_at_quantile(quantile) as f64;
        Found { p50: at(0.5), p99: at(0.99), rate, parts: Vec::new(), transactions: 0 }
    }

    /// The medians, and the sums of what the logs have done.
    pub(crate) fn of_rounds(rounds: &[Found]) -> Option<Found> {
        let median = |of: fn(&Found) -> f64| median(rounds.iter().map(of).collect());
        let mut parts = rounds.first()?.parts.clone();
        for round in &rounds[1..] {
            for (sum, part) in parts.iter_mut().zip(&round.parts) {
                sum.flushes += part.flushes;
                sum.syncs += part.syncs;
                sum.flush_nanos += part.flush_nanos;
            }
        }
        Some(Found {
            p50: median(|it| it.p50)?,
            p99: median(|it| it.p99)?,
            rate: median(|it| it.rate)?,
            parts,
            transactions: rounds.iter().map(|it| it.transactions).sum(),
        })
    }

    /// Where the time goes: how often each log is flushed for a transaction, and how long that takes.
    pub(crate) fn print_parts(&self) {
        let transactions = self.transactions.max(1) as f64;
        for Part { name, logs, flushes, syncs, flush_nanos } in &self.parts {
            let each = (*logs as f64) * transactions;
            println!(
                "  {name:<24}{:>5.2} flushes of {:>5.0} µs and {:.2} syncs for a transaction",
                *flushes as f64 / each,
                *flush_nanos as f64 / 1e3 / (*flushes).max(1) as f64,
                *syncs as f64 / each,
            );
        }
    }
}
