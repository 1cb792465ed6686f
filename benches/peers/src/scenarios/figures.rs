//! What a measurement of a scenario says: numbers with names.

use serde::{Deserialize, Serialize};

use crate::meter::Measured;

/// Figures of one measurement, in the order in which they are shown.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Figures(Vec<(String, f64)>);

impl Figures {
    /// The same, and one more.
    pub fn and(mut self, name: &str, value: f64) -> Self {
        self.0.push((name.to_owned(), value));
        self
    }

    /// The figure of this name.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| *value)
    }

    /// The names of all of them.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }
}

/// Of a closed loop.
impl From<Measured> for Figures {
    fn from(measured: Measured) -> Self {
        let (commits, syncs) = (measured.commits as f64, measured.syncs as f64);
        let figures = Figures::default()
            .and(COMMITS, commits / measured.seconds)
            .and("syncs_per_second", syncs / measured.seconds);
        // Without commits there are no latencies, and without syncs no batches.
        let figures = match measured.syncs {
            0 => figures,
            _ => figures.and("commits_per_sync", commits / syncs),
        };
        match measured.commits {
            0 => figures,
            _ => figures
                .and("p50_us", measured.p50_us)
                .and(P99, measured.p99_us)
                .and(P999, measured.p999_us)
                .and("cpu_us_per_commit", measured.cpu_us as f64 / commits),
        }
    }
}

/// Names that are used more than once.
pub const COMMITS: &str = "commits_per_second";
pub const P99: &str = "p99_us";
pub const P999: &str = "p999_us";
