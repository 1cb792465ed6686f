//! How long commits take, and how many become durable at once.
//!
//! A plain type of a fixed size: two histograms of logarithmic buckets, exact to a hundredth. To record a commit costs two
//! readings of the clock and the addition of one.

use std::time::Duration;

use hdrhistogram::Histogram;

/// The middle and the end of many values, since the coordinator has started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spread<T> {
    /// How many values there are.
    pub count: u64,
    /// Half of them are not above this.
    pub p50: T,
    /// 99 of 100 are not above this.
    pub p99: T,
    /// 999 of 1,000 are not above this.
    pub p99_9: T,
    /// The highest.
    pub max: T,
}

/// What a [`TransactionCoordinator`](crate::coordinator::TransactionCoordinator) has measured since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CoordinatorLatencies {
    /// From putting a commit into the log until the log has settled it, durable or not. `Async` commits count too.
    pub commits: Spread<Duration>,
    /// How many commits became durable by one event of the log: the size of a batch, as its clients see it.
    pub at_once: Spread<u64>,
}

/// Records them.
#[derive(Debug)]
pub(crate) struct Latencies {
    /// In microseconds.
    commits: Histogram<u64>,
    at_once: Histogram<u64>,
}

/// What takes longer than a quarter of an hour counts as that.
const LONGEST: Duration = Duration::from_secs(900);
const MOST_AT_ONCE: u64 = 1 << 24;

impl Latencies {
    pub(crate) fn new() -> Self {
        let up_to = |highest| {
            #[allow(clippy::expect_used, reason = "the bounds are constants that are in order")]
            Histogram::new_with_max(highest, 2).expect("bounds in order")
        };
        Latencies { commits: up_to(micros(LONGEST)), at_once: up_to(MOST_AT_ONCE) }
    }

    /// A commit has been settled so long after it was put in.
    pub(crate) fn settled(&mut self, after: Duration) {
        self.commits.saturating_record(micros(after));
    }

    /// So many became durable by one event.
    pub(crate) fn durable(&mut self, commits: u64) {
        if commits > 0 {
            self.at_once.saturating_record(commits);
        }
    }

    pub(crate) fn read(&self) -> CoordinatorLatencies {
        CoordinatorLatencies {
            commits: spread(&self.commits, Duration::from_micros),
            at_once: spread(&self.at_once, |commits| commits),
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn spread<T>(of: &Histogram<u64>, unit: impl Fn(u64) -> T) -> Spread<T> {
    let at = |quantile| unit(of.value_at_quantile(quantile));
    Spread { count: of.len(), p50: at(0.5), p99: at(0.99), p99_9: at(0.999), max: unit(of.max()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p16_each_value_counts_and_those_above_the_bound_take_no_memory() {
        let mut latencies = Latencies::new();
        assert_eq!(latencies.read(), CoordinatorLatencies::default());
        let size = latencies.commits.distinct_values();
        for micros in 1..=1000 {
            latencies.settled(Duration::from_micros(micros));
            latencies.durable(micros % 4);
        }
        let CoordinatorLatencies { commits, at_once } = latencies.read();
        let near = |found: Duration, micros: u64| found.as_micros().abs_diff(micros.into()) <= 10;
        assert!(near(commits.p50, 500) && near(commits.p99, 990), "{commits:?}");
        assert!(near(commits.p99_9, 999) && near(commits.max, 1000), "{commits:?}");
        assert_eq!((commits.count, at_once.count), (1000, 750), "none at once is no value");
        assert_eq!((at_once.p50, at_once.max), (2, 3));
        latencies.settled(Duration::MAX);
        latencies.durable(u64::MAX);
        assert!(latencies.read().commits.max >= LONGEST);
        assert_eq!(latencies.commits.distinct_values(), size);
    }
}
