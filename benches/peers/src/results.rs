//! What is said of an engine: medians over rounds, as a line of JSON or of a table.

use serde::Serialize;

use crate::limit::Bounds;
use crate::meter::Measured;

/// One line. Without a round that went well, the figures are `null` and `error` says why.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    pub engine: String,
    pub committers: usize,
    pub size: usize,
    /// Of an open loop only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offered_per_second: Option<u64>,
    #[serde(flatten)]
    pub figures: Figures,
    /// Of a closed loop only.
    #[serde(flatten)]
    pub bounds: Option<Bounds>,
    /// Rounds that went well.
    pub rounds: usize,
    /// Of the last round that did not.
    pub error: Option<String>,
}

/// The medians.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Figures {
    pub commits_per_second: Option<f64>,
    pub p50_us: Option<f64>,
    pub p99_us: Option<f64>,
    pub p999_us: Option<f64>,
    pub syncs: Option<u64>,
    pub commits_per_sync: Option<f64>,
    pub cpu_us_per_commit: Option<f64>,
    pub bytes_written: Option<u64>,
    pub commits: Option<u64>,
}

impl Figures {
    /// The medians of some rounds.
    pub fn of(rounds: &[Measured]) -> Self {
        let each = |figure: &dyn Fn(&Measured) -> Option<f64>| {
            median(rounds.iter().filter_map(figure).collect())
        };
        let count = |figure: &dyn Fn(&Measured) -> u64| {
            each(&|round| Some(figure(round) as f64)).map(|count| count.round() as u64)
        };
        let per = |count: f64, divisor: u64| (divisor > 0).then(|| count / divisor as f64);
        Figures {
            commits_per_second: each(&|round| Some(round.commits as f64 / round.seconds)),
            p50_us: each(&|round| (round.commits > 0).then_some(round.p50_us)),
            p99_us: each(&|round| (round.commits > 0).then_some(round.p99_us)),
            p999_us: each(&|round| (round.commits > 0).then_some(round.p999_us)),
            syncs: count(&|round| round.syncs),
            commits_per_sync: each(&|round| per(round.commits as f64, round.syncs)),
            cpu_us_per_commit: each(&|round| per(round.cpu_us as f64, round.commits)),
            bytes_written: count(&|round| round.bytes_written),
            commits: count(&|round| round.commits),
        }
    }
}

/// The one in the middle; of two in the middle, their mean.
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        count if count % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}

/// In MiB, for tables.
pub fn mebibytes(bytes: Option<u64>) -> Option<f64> {
    bytes.map(|bytes| bytes as f64 / f64::from(1 << 20))
}

/// The head of the table; `load` is the column that says how much was asked.
pub fn table_head(load: &str) -> String {
    format!(
        "{:<26} {:>9} {:>6} {:>11} {:>9} {:>9} {:>9} {:>8} {:>9} {:>8} {:>7} {:>8}",
        "engine",
        load,
        "bytes",
        "commits/s",
        "p50 µs",
        "p99 µs",
        "p99.9 µs",
        "syncs",
        "per sync",
        "CPU µs",
        "MiB",
        "of bound"
    )
}

impl Line {
    /// A line of the table.
    pub fn table(&self) -> String {
        let number = |value: Option<f64>, digits| match value {
            Some(value) => format!("{value:.digits$}"),
            None => "-".to_owned(),
        };
        let figures = &self.figures;
        let mut line = format!(
            "{:<26} {:>9} {:>6} {:>11} {:>9} {:>9} {:>9} {:>8} {:>9} {:>8} {:>7} {:>8}",
            self.engine,
            self.offered_per_second.unwrap_or(self.committers as u64),
            self.size,
            number(figures.commits_per_second, 0),
            number(figures.p50_us, 0),
            number(figures.p99_us, 0),
            number(figures.p999_us, 0),
            number(figures.syncs.map(|syncs| syncs as f64), 0),
            number(figures.commits_per_sync, 1),
            number(figures.cpu_us_per_commit, 2),
            number(mebibytes(figures.bytes_written), 1),
            self.bounds.map_or_else(
                || "-".to_owned(),
                |bounds| format!("{:.0} %", bounds.efficiency * 100.0)
            ),
        );
        if let Some(error) = &self.error {
            line += &format!("  FAILED: {error}");
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }
}
